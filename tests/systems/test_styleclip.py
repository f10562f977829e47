"""StyleCLIP at work: a mapper learns, its file keeps its text, and a portrait walks a straight line."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from infinex.errors import InputError, WeightsError  # noqa: E402
from infinex.face.topology import mean_face  # noqa: E402
from infinex.jobs.act import act  # noqa: E402
from infinex.media.video import VideoReader  # noqa: E402
from infinex.nn.stylegan2 import StyleGAN2, StyleGAN2Config  # noqa: E402
from infinex.options import Options  # noqa: E402
from infinex.systems.styleclip.actor import Optimisation, StyleclipAnimator, optimised  # noqa: E402
from infinex.systems.styleclip.losses import clip_input, clip_loss  # noqa: E402
from infinex.systems.styleclip.model import StyleclipConfig, mapper  # noqa: E402
from infinex.systems.styleclip.recipe import RECIPES, StyleclipTask, samples  # noqa: E402
from infinex.systems.styleclip.weights import StyleclipWeights, read, save  # noqa: E402

SIZES = StyleGAN2Config(size=32, latent=512, style=24, layers=2, channels=(8, 8, 8, 8))


class TinyClip(torch.nn.Module):
    """Colours of a picture, and a text's wish for some."""

    size = 3

    def plain(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(x.mean((2, 3)) + 0.01, dim=1)

    def text(self, texts: list[str]) -> torch.Tensor:
        return torch.tensor([[1.0, 0.2, 0.1]] * len(texts))


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


def recipe(**changes):
    return replace(RECIPES["styleclip"], text="a red face", rate=5.0, draws=4, **changes)


@pytest.mark.parametrize("kind", ["levels", "single", "styles"])
def test_a_mapper_learns_its_text(generator: StyleGAN2, kind: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    task = StyleclipTask(recipe(kind=kind), generator, TinyClip())  # type: ignore[arg-type]
    batch = {"z": torch.randn(2, 512)}
    losses = [task.step(batch, Direct())["clip"] for _ in range(12)]
    assert all(b < a for a, b in pairwise(losses[4:]))  # its rate rises slowly, and it falls all the time
    assert task.sample_panel(batch).shape == (64, 64, 3)
    task.save(tmp_path / "m.safetensors")
    weights = read(tmp_path / "m.safetensors")
    assert weights.config == task.config and weights.origin["text"] == "a red face"
    again = StyleclipTask(task.recipe, generator, TinyClip())  # type: ignore[arg-type]
    again.load_file(tmp_path / "m.safetensors")
    assert again.measure(batch) == task.measure(batch)
    if kind != "levels":
        other = StyleclipTask(recipe(), generator, TinyClip())  # type: ignore[arg-type]
        with pytest.raises(WeightsError, match="does not fit"):
            other.load_file(tmp_path / "m.safetensors")


def test_levels_without_a_mapper_stay(generator: StyleGAN2) -> None:
    network = mapper(StyleclipConfig(levels=("medium",), style=24))
    w = torch.randn(2, 10, 24)
    change = network.change(w)
    assert not change[:, :4].any() and change[:, 4:8].any() and not change[:, 8:].any()


def test_the_published_norm_divides_by_codes() -> None:
    torch.manual_seed(0)
    ours = mapper(StyleclipConfig("single", style=24))
    theirs = mapper(StyleclipConfig("single", style=24, norm="codes"))
    theirs.load_state_dict(ours.state_dict())
    w = torch.randn(1, 10, 24) * torch.linspace(0.1, 3, 24)
    assert not torch.allclose(ours.change(w), theirs.change(w), atol=1e-3)
    # Ours does not care how long a code is.
    assert torch.allclose(ours.change(3 * w), ours.change(w), atol=1e-5)


def test_any_text_by_optimisation(generator: StyleGAN2) -> None:
    clip = TinyClip()
    codes = generator.spread(generator.mean_w[None]).clone()
    found = optimised(generator, codes, clip.text(["red"]), clip.plain, Optimisation(steps=12))

    def distance(w: torch.Tensor) -> float:
        with torch.no_grad():
            return float(clip_loss(clip.plain(clip_input(generator(w))), clip.text(["red"])))

    assert distance(found) < distance(codes)
    far = optimised(generator, codes, clip.text(["red"]), clip.plain, Optimisation(steps=12, change=10.0))
    assert (far - codes).square().sum() < (found - codes).square().sum()


def weights_for(kind: str, generator: StyleGAN2) -> StyleclipWeights:
    widths = tuple(s.shape[1] for s in generator.style_vectors(generator.mean_w[None]))
    config = StyleclipConfig(kind, style=24, widths=widths if kind == "styles" else (), step=1.0)
    return StyleclipWeights(config, {"mapper": mapper(config).state_dict()}, origin={"text": "angry"})


@pytest.mark.parametrize("kind", ["levels", "styles"])
def test_a_portrait_walks_a_straight_line(generator: StyleGAN2, kind: str, portrait: Path, tmp_path: Path) -> None:
    actor = StyleclipAnimator(generator, None, weights_for(kind, generator), None)
    with pytest.raises(InputError, match="trained for 'angry'"):
        act(portrait, "a happy face", actor, tmp_path / "no.mp4")
    with pytest.raises(InputError, match="trained for 'angry'"):
        actor.check("a face")
    actor.check("a person with an angry face")
    for name, choice, said in (
        ("strength", 2.0, "--strength: the engine styleclip"),
        ("background", "none", "--background: the engine"),
        ("refine", False, "--no-refine: the engine"),
        ("fps", 0.0, "--fps 0.0: it goes from 1"),
    ):
        with pytest.raises(InputError, match=said):
            act(portrait, "Angry.", actor, tmp_path / "no.mp4", Options(**{name: choice}))  # type: ignore[arg-type]
    done = act(portrait, "Angry.", actor, tmp_path / "out.mp4", Options(mark=True), frames=5)
    assert (done.frames, done.width, done.engine) == (5, 32, "styleclip")
    with VideoReader(tmp_path / "out.mp4") as video:
        assert sum(1 for _ in video) == 5
    face = np.zeros((64, 64, 3), np.uint8)
    line = actor.prepare(face, mean_face() * 10 + 32)
    with torch.no_grad():
        first, *_, last = list(actor.stream(line, "angry", 3))
        start = generator(line.codes)
    assert np.abs(first / 127.5 - 1 - start[0].permute(1, 2, 0).clamp(-1, 1).numpy()).max() < 0.01
    assert not np.array_equal(first, last)


def test_what_does_not_fit_is_said(generator: StyleGAN2, tmp_path: Path) -> None:
    wrong = StyleclipConfig(style=16)
    with pytest.raises(WeightsError, match="another generator"):
        StyleclipAnimator(generator, None, StyleclipWeights(wrong, {"mapper": mapper(wrong).state_dict()}), None)
    with pytest.raises(WeightsError, match="lacks generator"):
        StyleclipAnimator.from_folder(tmp_path)
    with pytest.raises(InputError, match="say what the mapper is for"):
        StyleclipTask(RECIPES["styleclip"], generator, TinyClip())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="needs a StyleGAN2"):
        StyleclipTask(replace(RECIPES["styleclip"], text="x"))
    with pytest.raises(InputError, match=r"kind=all: kind is levels, single or styles"):
        StyleclipTask(recipe(kind="all"), generator, TinyClip())  # type: ignore[arg-type]
    torch.save({"state_dict": {"weight": torch.zeros(1)}}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="no mapper"):
        read(tmp_path / "other.pt")
    save(tmp_path / "m.safetensors", weights_for("levels", generator))
    assert samples(recipe(), None, "train").get(0, np.random.default_rng(0))["z"].shape == (512,)


def test_a_published_file(generator: StyleGAN2, tmp_path: Path) -> None:
    state = {}
    network = mapper(StyleclipConfig(levels=("coarse", "fine"), style=24))
    for key, value in network.state_dict().items():
        _, name, _, place, last = key.split(".")
        theirs = {"coarse": "course"}.get(name, name)
        state[f"mapper.{theirs}_mapping.mapping.{int(place) + 1}.{last}"] = value
    state["decoder.input.input"] = torch.zeros(1)
    torch.save({"state_dict": state, "opts": {"description": "a surprised face"}}, tmp_path / "surprised.pt")
    weights = read(tmp_path / "surprised.pt")
    assert weights.config == StyleclipConfig(levels=("coarse", "fine"), style=24, norm="codes")
    assert weights.origin["text"] == "a surprised face"
