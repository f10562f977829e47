"""MoCoGAN-HD against the outputs of the authors' code, sizes taken from the files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from infinex.nn.losses import generator_adversarial  # noqa: E402
from infinex.nn.stylegan2 import from_state  # noqa: E402
from infinex.systems.mocogan_hd.losses import (  # noqa: E402
    contrastive,
    gradient_penalty,
    matching,
    mutual,
    relativistic,
)
from infinex.systems.mocogan_hd.model import (  # noqa: E402
    Critic,
    Memory,
    MocoganConfig,
    PictureCritic,
    interpolated,
    pairs,
)
from infinex.systems.mocogan_hd.weights import motion_of, rename_critic, rename_pictures  # noqa: E402

pytestmark = pytest.mark.parity
TOLERANCE = 1e-4


def opened(folder: Path, name: str) -> dict[str, np.ndarray]:
    path = folder / name
    if not path.is_file():
        pytest.skip(f"no {path.name} in {folder}: set INFINEX_PARITY_DIR")
    with np.load(path, allow_pickle=False) as data:
        return dict(data)


@pytest.fixture(scope="module")
def file(parity_dir: Path) -> Mapping[str, np.ndarray]:
    return opened(parity_dir, "mocogan_hd.npz")


@pytest.fixture(scope="module")
def judged(parity_dir: Path) -> Mapping[str, np.ndarray]:
    return opened(parity_dir, "mocogan_hd_losses.npz")


def state(file: Mapping[str, np.ndarray], network: str) -> dict[str, torch.Tensor]:
    prefix = f"state/{network}/"
    return {k.removeprefix(prefix): torch.from_numpy(v) for k, v in file.items() if k.startswith(prefix)}


def tensor(file: Mapping[str, np.ndarray], name: str) -> torch.Tensor:
    return torch.from_numpy(np.asarray(file[name]))


def close(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    return ours.shape == theirs.shape and float((ours - theirs).detach().abs().max()) < TOLERANCE


@torch.no_grad()
def test_motion(file: Mapping[str, np.ndarray]) -> None:
    weights = motion_of(state(file, "modelR"), tensor(file, "in/pca_comp"), tensor(file, "in/pca_stdev"))
    assert (weights.config.style, weights.config.noise, weights.config.hidden, weights.config.directions) == (
        32,
        32,
        24,
        20,
    )
    generator = from_state(state(file, "generator"))
    first = generator.mapping(tensor(file, "in/z"))
    assert close(first, tensor(file, "out/w_first"))
    motion = weights.motion()(first, 6, tensor(file, "in/noise"))
    assert close(motion.codes.flatten(0, 1), tensor(file, "out/w_frames"))
    assert close(motion.noise.flatten(0, 1), tensor(file, "out/noise_sequence"))
    assert close(motion.told.flatten(0, 1), tensor(file, "out/noise_reconstructed"))
    assert float(mutual(motion.noise, motion.told)) == pytest.approx(file["out/loss/mutual"].item(), abs=TOLERANCE)
    assert close(generator(motion.codes.flatten(0, 1), "none"), tensor(file, "out/frames"))
    assert close(generator(motion.codes.flatten(0, 1)), tensor(file, "out/frames_stored_noise"))
    more = interpolated(motion.codes).flatten(0, 1)
    assert close(more, tensor(file, "out/interpolated/w"))
    assert close(generator(more, "none"), tensor(file, "out/interpolated/frames"))


def critic(file: Mapping[str, np.ndarray], network: str, dims: int) -> Critic:
    own = rename_critic(state(file, network))
    shape = own["fine.layers.0.0.weight"].shape
    made = Critic(shape[1], shape[0], dims)
    made.load_state_dict(own)
    return made


def test_video_critic(judged: Mapping[str, np.ndarray]) -> None:
    network = critic(judged, "modelD_3d", 3)
    real, fake = (tensor(judged, f"in/{n}").transpose(1, 2) for n in ("real", "fake"))
    said = {"real": network(real), "fake": network(fake)}
    for name, scales in said.items():
        for k in (0, 1):
            assert close(scales[k][-1], tensor(judged, f"out/discriminator_3d/{name}_scale{k}_prediction"))
            assert close(scales[k][k], tensor(judged, f"out/discriminator_3d/{name}_scale{k}_feature{k}"))
    over, under = relativistic(said["real"], said["fake"])
    assert float(over) == pytest.approx(judged["out/loss/D_3d_real"].item(), rel=TOLERANCE)
    assert float(under) == pytest.approx(judged["out/loss/D_3d_fake"].item(), rel=TOLERANCE)
    penalty = 10 * gradient_penalty(network, real, fake, tensor(judged, "in/alpha").reshape(-1))
    assert float(penalty.detach()) == pytest.approx(judged["out/loss/gradient_penalty_3d"].item(), rel=TOLERANCE)
    first, second = relativistic(said["fake"], said["real"])
    assert 0.5 * float(first + second) == pytest.approx(judged["out/loss/G_3d"].item(), rel=TOLERANCE)


@torch.no_grad()
def test_critics_that_know_the_domain(judged: Mapping[str, np.ndarray]) -> None:
    real, fake = tensor(judged, "in/real"), tensor(judged, "in/fake")
    network = critic(judged, "modelD_3d_in_domain", 3)
    said = {n: network(pairs(v)) for n, v in (("real", real), ("fake", fake))}
    over, under = relativistic(said["real"], said["fake"])
    assert float(over) == pytest.approx(judged["out/loss/in_domain/D_3d_real"].item(), rel=TOLERANCE)
    assert float(under) == pytest.approx(judged["out/loss/in_domain/D_3d_fake"].item(), rel=TOLERANCE)
    flat = critic(judged, "modelD_img_in_domain", 2)
    said2 = {n: flat(pairs(v)[:, :, 1]) for n, v in (("real", real), ("fake", fake))}  # the fixture's later frame
    for k in (0, 1):
        assert close(said2["real"][k][-1], tensor(judged, f"out/in_domain/img_real_prediction_scale{k}"))
    over, under = relativistic(said2["real"], said2["fake"])
    assert float(over) == pytest.approx(judged["out/loss/in_domain/D_img_real"].item(), rel=TOLERANCE)
    assert float(under) == pytest.approx(judged["out/loss/in_domain/D_img_fake"].item(), rel=TOLERANCE)


def picture_critic(judged: Mapping[str, np.ndarray]) -> tuple[PictureCritic, Memory]:
    own, memory = rename_pictures(state(judged, "modelD_img"))
    config = MocoganConfig(size=32, picture_width=own["blocks.0.conv1.bias"].shape[0] // 4,
                           projection=own["proj2.bias"].shape[0], queue=memory["real"].shape[0])  # fmt: skip
    network = PictureCritic(config)
    network.load_state_dict(own)
    kept = Memory(network, config)
    kept.load_state_dict(memory)
    return network.eval(), kept.eval()


@torch.no_grad()
def test_picture_critic(judged: Mapping[str, np.ndarray]) -> None:
    network, memory = picture_critic(judged)
    said = {n: network(tensor(judged, f"in/img/{n}")) for n in ("first", "first2", "later", "later2")}
    for name in ("first", "later"):
        assert close(said[name].score, tensor(judged, f"out/discriminator_img/score_{name}"))
        assert close(said[name].projection, tensor(judged, f"out/discriminator_img/projection_{name}"))
    losses = {k: judged[f"out/loss/{k}"].item() for k in ("D_img_real", "D_img_fake", "G_img", "contrastive")}
    real, fake = said["first"].score, said["later"].score
    assert float((1 - real).relu().mean()) == pytest.approx(losses["D_img_real"], abs=TOLERANCE)
    assert float((1 + fake).relu().mean()) == pytest.approx(losses["D_img_fake"], abs=TOLERANCE)
    assert float(generator_adversarial(fake, "hinge")) == pytest.approx(losses["G_img"], abs=TOLERANCE)
    both = contrastive((said["first"].projection, said["first2"].projection), memory.real) + contrastive(
        (said["later"].projection, said["later2"].projection), memory.fake
    )
    assert float(both) == pytest.approx(losses["contrastive"], abs=TOLERANCE)
    assert float(matching(said["later"].projection, said["first"].projection)) == pytest.approx(
        judged["out/loss/match"].item(), abs=TOLERANCE
    )
    slow = memory.slow(tensor(judged, "in/img/first")).projection
    assert close(slow, tensor(judged, "out/discriminator_img/ema_projection_first"))
    memory.remember(tensor(judged, "in/img/first"), tensor(judged, "in/img/later"))
    memory.follow(network)
    assert int(memory.place) == judged["out/queue_ptr_after"].item()
    after = dict(memory.slow.named_parameters())["linear.weight_orig"]
    assert close(after, tensor(judged, "out/ema_after/linear.weight_orig"))
    assert close(memory.real, tensor(judged, "out/queue_real_after"))
