"""StyleCLIP against the outputs of the authors' code, sizes taken from the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from infinex.nn import arcface  # noqa: E402
from infinex.nn.ranger import Ranger  # noqa: E402
from infinex.nn.stylegan2 import StyleGAN2, from_state  # noqa: E402
from infinex.systems.styleclip.losses import LossWeights, clip_input, clip_loss, identity_loss, ramp, terms  # noqa: E402
from infinex.systems.styleclip.weights import StyleclipWeights, fit, rename  # noqa: E402

pytestmark = pytest.mark.parity
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def file(parity_dir: Path) -> Mapping[str, np.ndarray]:
    path = parity_dir / "styleclip.npz"
    if not path.is_file():
        pytest.skip(f"no {path.name} in {parity_dir}: set INFINEX_PARITY_DIR")
    with np.load(path, allow_pickle=False) as data:
        return dict(data)


def state(file: Mapping[str, np.ndarray], network: str) -> dict[str, torch.Tensor]:
    prefix = f"state/{network}/"
    return {k.removeprefix(prefix): torch.from_numpy(v) for k, v in file.items() if k.startswith(prefix)}


def out(file: Mapping[str, np.ndarray], name: str) -> torch.Tensor:
    return torch.from_numpy(np.asarray(file[name]))


@pytest.fixture(scope="module")
def generator(file: Mapping[str, np.ndarray]) -> StyleGAN2:
    own = {k.removeprefix("decoder."): v for k, v in state(file, "net").items() if k.startswith("decoder.")}
    return from_state(own)


def weights_of(file: Mapping[str, np.ndarray], network: str) -> StyleclipWeights:
    return fit(rename(state(file, network)))


def close(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    return ours.shape == theirs.shape and float((ours - theirs).abs().max()) < TOLERANCE


@torch.no_grad()
def test_codes(file: Mapping[str, np.ndarray], generator: StyleGAN2) -> None:
    w = out(file, "in/w")
    levels, single = (weights_of(file, n) for n in ("net", "single"))
    assert (levels.config.kind, levels.config.norm, levels.config.depth) == ("levels", "codes", 4)
    assert close(levels.mapper().change(w), out(file, "out/delta"))
    assert close(levels.mapper()(w), out(file, "out/w_hat"))
    assert close(single.mapper().change(w), out(file, "out/delta_single"))
    assert close(generator(w), out(file, "out/image"))
    assert close(generator(levels.mapper()(w)), out(file, "out/image_edited"))


@torch.no_grad()
def test_style_space(file: Mapping[str, np.ndarray], generator: StyleGAN2) -> None:
    weights = weights_of(file, "style")
    styles = generator.style_vectors(out(file, "in/w"))
    assert weights.config.widths == tuple(s.shape[1] for s in styles)
    mapper = weights.mapper()
    for k, (s, d) in enumerate(zip(styles, mapper.change(styles))):
        assert close(s, out(file, f"out/style/{k:02}")[:, 0, :, 0, 0])
        assert close(d, out(file, f"out/style_delta/{k:02}")[:, 0, :, 0, 0])
    assert close(generator.draw(mapper(styles)), out(file, "out/image_style_edited"))


@torch.no_grad()
def test_losses(file: Mapping[str, np.ndarray]) -> None:
    image, edited = out(file, "out/image"), out(file, "out/image_edited")
    seen = clip_input(edited)
    small = torch.nn.functional.avg_pool2d(seen, 8)
    assert seen.shape[2:] == (224, 224) and close(small, out(file, "out/clip_input_mean_pooled"))
    kernel = state(file, "clip_standin")["conv.weight"]
    features = torch.nn.functional.conv2d(seen, kernel, stride=kernel.shape[-1]).mean((2, 3))
    distance = clip_loss(features, out(file, "in/text_embedding"))
    assert close(distance[:, None], out(file, "out/clip_loss_per_image"))
    network = arcface.from_state(state(file, "facenet"))
    assert close(network.of(edited), out(file, "out/id_features"))
    assert close(network.of(image), out(file, "out/id_features_source"))
    other = identity_loss(network.of(image.flip(0)), network.of(image))
    assert other >= 0
    w, w_hat = out(file, "in/w"), out(file, "out/w_hat")
    got = terms(LossWeights(), distance, edited, image, w, w_hat, network.of)
    assert float(got["clip"]) == pytest.approx(file["out/loss/clip"].item(), abs=TOLERANCE)
    assert float(got["identity"]) / 0.1 == pytest.approx(file["out/loss/id"].item(), abs=TOLERANCE)
    assert float(got["change"]) / 0.8 == pytest.approx(file["out/loss/latent_l2"].item(), rel=TOLERANCE)
    assert float(sum(got.values())) == pytest.approx(file["out/loss/total"].item(), abs=TOLERANCE)


def test_learning_rate_of_an_optimisation(file: Mapping[str, np.ndarray]) -> None:
    ours = [ramp(k, 300) for k in range(300)]
    assert np.allclose(ours, file["out/optimisation/lr_300_steps"], atol=1e-6)


def test_ranger(file: Mapping[str, np.ndarray]) -> None:
    tensors = [torch.nn.Parameter(out(file, f"in/ranger/{n}").clone()) for n in ("weight", "bias")]
    optimizer = Ranger(tensors, lr=0.5)
    for k in range(14):
        for p, n in zip(tensors, ("weight", "bias")):
            p.grad = out(file, f"in/ranger/{n}_gradients")[k].clone()
        optimizer.step()
        for p, n in zip(tensors, ("weight", "bias")):
            assert close(p.detach(), out(file, f"out/ranger/{n}_trajectory")[k])
