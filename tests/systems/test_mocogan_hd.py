"""MoCoGAN-HD at work: what it learns from, its steps, its files, and a portrait that moves by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from infinex.errors import InputError, WeightsError  # noqa: E402
from infinex.face.topology import mean_face  # noqa: E402
from infinex.nn.stylegan2 import StyleGAN2, StyleGAN2Config  # noqa: E402
from infinex.systems.mocogan_hd.actor import MocoganAnimator  # noqa: E402
from infinex.systems.mocogan_hd.recipe import RECIPES, MocoganTask, augmented, principal  # noqa: E402
from infinex.systems.mocogan_hd.weights import read  # noqa: E402

SIZES = StyleGAN2Config(size=32, latent=24, style=24, layers=2, channels=(8, 8, 8, 8))
SMALL = replace(
    RECIPES["mocogan-hd-small"], hidden=12, directions=10, frames=5, width=4, picture_width=4, queue=16, codes=500,
)  # fmt: skip


class Direct:
    """Backward passes as they are."""

    def backward(self, tensor: torch.Tensor) -> None:
        tensor.backward()


@pytest.fixture(scope="module")
def generator() -> StyleGAN2:
    torch.manual_seed(0)
    made = StyleGAN2(SIZES).eval()
    made.measure_mean(64, torch.Generator().manual_seed(0))
    return made


def test_principal_directions_are_those_of_w(generator: StyleGAN2) -> None:
    found = principal(generator, 3000, 24, batch=700)
    w = generator.mapping(torch.randn(3000, 24, generator=torch.Generator().manual_seed(0))).detach()
    assert torch.allclose(found.T @ found, torch.cov(w.T, correction=0), atol=1e-5)
    lengths = found.norm(dim=1)
    assert (lengths[:-1] >= lengths[1:] - 1e-6).all()


@pytest.mark.parametrize("in_domain", [False, True])
def test_steps(generator: StyleGAN2, in_domain: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    recipe = replace(SMALL, in_domain=in_domain, motion_steps=2)
    task = MocoganTask(recipe, generator)
    batch = {"video": torch.rand(2, 5, 3, 32, 32) * 2 - 1}
    frozen = {k: v.clone() for k, v in generator.state_dict().items()}
    directions = task.networks["motion"].directions.clone()
    before = {n: [p.clone() for p in net.parameters()] for n, net in task.networks.items()}
    first = task.step(batch, Direct())
    kept = first["critic_video"]
    second = task.step(batch, Direct())
    assert second["critic_video"] == kept  # the critics rest
    assert set(first) == set(second) and all(np.isfinite(v) for v in second.values())
    for name in ("motion", "video", "picture"):
        assert any(not torch.equal(a, b) for a, b in zip(before[name], task.networks[name].parameters()))
    assert all(torch.equal(v, frozen[k]) for k, v in generator.state_dict().items())
    assert torch.equal(task.networks["motion"].directions, directions)
    assert task.measure(batch)["moves"] > 0
    assert task.sample_panel(batch).shape == (64, 8 * 32, 3)
    task.save(tmp_path / "w.safetensors")
    again = MocoganTask(replace(recipe, codes=10), generator)
    again.load_file(tmp_path / "w.safetensors")
    for name, network in task.networks.items():
        assert all(torch.equal(v, again.networks[name].state_dict()[k]) for k, v in network.state_dict().items())
    other = MocoganTask(replace(recipe, hidden=8, codes=10), generator)
    with pytest.raises(WeightsError, match="does not fit"):
        other.load_file(tmp_path / "w.safetensors")
    with pytest.raises(FloatingPointError):
        task.step({"video": batch["video"] * float("nan")}, Direct())


def test_noise_is_told_after_some_steps(generator: StyleGAN2) -> None:
    torch.manual_seed(0)
    task = MocoganTask(replace(SMALL, rate=3e-3, motion_steps=1000), generator)
    batch = {"video": torch.rand(2, 5, 3, 32, 32) * 2 - 1}
    losses = [task.step(batch, Direct())["mutual"] for _ in range(30)]
    assert losses[-1] < losses[0] - 0.1


def test_a_portrait_moves_by_itself(generator: StyleGAN2, tmp_path: Path) -> None:
    torch.manual_seed(3)
    task = MocoganTask(SMALL, generator)
    task.save(tmp_path / "w.safetensors")
    actor = MocoganAnimator(generator, None, read(tmp_path / "w.safetensors"))
    source = actor.prepare(np.zeros((64, 64, 3), np.uint8), mean_face() * 10 + 32)
    frames = list(actor.stream(source, "", 6))
    assert len(frames) == 6 and frames[0].shape == (32, 32, 3)
    assert not np.array_equal(frames[0], frames[-1])
    assert all(np.array_equal(a, b) for a, b in zip(frames, actor.stream(source, "", 3)))
    assert not np.array_equal(frames[-1], list(actor.stream(source, "", 6, seed=1))[-1])
    wrong = read(tmp_path / "w.safetensors")
    wrong.config = replace(wrong.config, style=16)
    with pytest.raises(WeightsError, match="codes of 16"):
        MocoganAnimator(generator, None, wrong)
    with pytest.raises(WeightsError, match="lacks generator"):
        MocoganAnimator.from_folder(tmp_path)


def test_views_differ_and_stay_in_size() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 32, 32)
    for _ in range(6):
        y = augmented(x)
        assert y.shape == x.shape and not torch.equal(x, y)


def test_what_is_missing_is_said(generator: StyleGAN2, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a StyleGAN2"):
        MocoganTask(SMALL)
    for wrong in ({"size": 100}, {"frames": 1}):
        with pytest.raises(InputError, match=r"(size=100|frames=1): "):
            MocoganTask(replace(SMALL, **wrong), generator)
    torch.save({"w": torch.zeros(3, 2)}, tmp_path / "modelR_epoch_1.pth")
    with pytest.raises(WeightsError, match=r"needs pca_comp\.npy beside it"):
        read(tmp_path / "modelR_epoch_1.pth")
    for name in ("pca_comp.npy", "pca_stdev.npy"):
        np.save(tmp_path / name, np.ones((4, 4), np.float32))
    with pytest.raises(WeightsError, match="no motion generator"):
        read(tmp_path / "modelR_epoch_1.pth")
