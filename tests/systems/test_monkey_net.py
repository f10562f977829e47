"""Monkey-Net: its recipe learns, its files come back, its engine moves a portrait."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from learned import Plain, comes_back, moved_by, pair  # noqa: E402

from infinex.drivers.contract import Drive  # noqa: E402
from infinex.engine import load_engine  # noqa: E402
from infinex.errors import InputError, WeightsError  # noqa: E402
from infinex.face.topology import mean_face  # noqa: E402
from infinex.face.tracker import FaceTracker  # noqa: E402
from infinex.media.image import read_image  # noqa: E402
from infinex.options import Options  # noqa: E402
from infinex.systems.fomm.teacher import UNIT, keypoints  # noqa: E402
from infinex.systems.monkey_net.losses import LossWeights  # noqa: E402
from infinex.systems.monkey_net.model import (  # noqa: E402
    CONFIGS,
    Keypoints,
    MonkeyConfig,
    networks_of,
    relative_motion,
)
from infinex.systems.monkey_net.recipe import RECIPES, MonkeyRecipe, MonkeyTask, samples, task  # noqa: E402
from infinex.systems.monkey_net.weights import LAYOUT  # noqa: E402
from infinex.systems.window import Square  # noqa: E402

SMALL = MonkeyConfig(
    size=32,
    keypoints=3,
    scale=0.5,
    norm=10.0,
    detector_width=8,
    detector_max=16,
    detector_levels=2,
    motion_width=8,
    motion_max=16,
    motion_levels=2,
    generator_width=8,
    generator_max=16,
    generator_levels=2,
    generator_blocks=1,
    critic_width=8,
    critic_max=16,
    critic_blocks=2,
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, "small", SMALL)
    torch.manual_seed(0)


def _recipe(**changes: object) -> MonkeyRecipe:
    return replace(MonkeyRecipe(config="small", batch_size=2), **changes)


def test_published_sizes() -> None:
    with torch.device("meta"):
        networks = networks_of(CONFIGS["monkey-net-vox"])
    millions = {n: round(sum(p.numel() for p in net.parameters()) / 1e6, 2) for n, net in networks.items()}
    assert millions == {"detector": 14.13, "generator": 80.63, "discriminator": 1.72}
    assert all(r.config in CONFIGS for r in RECIPES.values())


def test_one_step_moves_every_network() -> None:
    # The motion network starts at a mixture that nothing before it can change.
    terms = moved_by(MonkeyTask(_recipe()), pair(32), share=0.3)
    assert set(terms) == {"reconstruction", "feature_matching", "generator_gan", "discriminator_gan"}


def test_losses_fall_on_one_pair() -> None:
    made = MonkeyTask(_recipe(rate=3e-3, weights=LossWeights(deformed=10.0, generator_gan=0.0)))
    traces = [made.step(pair(32, 1), Plain())["reconstruction"] for _ in range(40)]
    assert traces[-1] < 0.5 * traces[0]
    assert made.sample_panel(pair(32)).shape == (64, 128, 3)
    assert made.measure(pair(32, 1))["l1"] < made.measure(pair(32, 1))["l1_static"]


def test_a_file_comes_back_and_begins_a_run(tmp_path: Path) -> None:
    made = task(_recipe())
    torch.manual_seed(1)
    comes_back(made, task(_recipe()), tmp_path / "weights.safetensors")
    with pytest.raises(WeightsError, match="does not fit the"):
        task(MonkeyRecipe(config="monkey-net-tiny")).load_file(tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match="there are monkey-net-vox"):
        samples(_recipe(config="other"), tmp_path, "train")


def test_files_of_something_else_are_refused(tmp_path: Path) -> None:
    torch.save({"generator": {}, "epoch": 3}, tmp_path / "half.pth.tar")
    with pytest.raises(WeightsError, match="it has no detector"):
        LAYOUT.read(tmp_path / "half.pth.tar")
    torch.save({"netG": {}}, tmp_path / "other.pth.tar")
    with pytest.raises(WeightsError, match="is no Monkey-Net: it holds netG"):
        LAYOUT.read(tmp_path / "other.pth.tar")


def test_relative_motion_at_rest_is_the_source() -> None:
    generator = torch.Generator().manual_seed(2)
    root = torch.rand(2, 1, 3, 2, 2, generator=generator)
    mean, variance = torch.rand(2, 1, 3, 2, generator=generator), root @ root.transpose(-1, -2) + 0.1 * torch.eye(2)
    source, still = (Keypoints(m, v) for m, v in zip(mean, variance))
    out = relative_motion(source, still, still, scale=0.7, shape=True)
    assert torch.allclose(out.mean, source.mean, atol=1e-6)
    assert torch.allclose(out.variance, source.variance, atol=1e-4)


@pytest.mark.parametrize("own", [{"adapt_shape": "true"}, {"adapt_scale": "false"}])
def test_its_engine_follows_the_performer(tmp_path: Path, own: dict) -> None:
    from test_every_engine import begun, filmed, moved, portrait

    with torch.no_grad():
        made = MonkeyTask(_recipe())
        made.networks["generator"].motion.mixture.weight.normal_(std=0.3)
    made.save(tmp_path / "weights.safetensors")
    options = Options(engine="monkey-net", own=own)
    engine = load_engine("monkey-net", options, str(tmp_path / "weights.safetensors"))
    stage = begun(engine, portrait())
    first = stage.render(filmed(moved()))[0].copy()
    drive = filmed(moved())
    other = stage.render(Drive(drive.move, np.roll(drive.image, 9, axis=1), drive.points))[0]
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("alone", ["points", "motion"])
def test_what_is_taught_alone_is_learned_alone(alone: str) -> None:
    recipe = RECIPES[f"monkey-net-face-{alone}"]
    made = task(replace(recipe, rate=1e-3, weights=replace(recipe.weights, deformed=1.0)))
    taught = np.tile(keypoints(mean_face()[:, :2] * UNIT), (2, 2, 1, 1))
    taught[:, 0, :, :2] += 0.1
    batch = pair(64) | {"taught": torch.from_numpy(taught)}
    before = {(n, k): p.detach().clone() for n, net in made.networks.items() for k, p in net.named_parameters()}
    traces = [made.step(batch, Plain()) for _ in range(24)]
    falling = ("taught_mean", "taught_variance") if alone == "points" else ("taught_field",)
    assert all(np.mean([t[k] for t in traces[-8:]]) < 0.8 * traces[0][k] for k in falling)
    after = {(n, k): p for n, net in made.networks.items() for k, p in net.named_parameters()}
    moved = {
        n if n == "detector" else k.split(".")[0] for (n, k), p in after.items() if not torch.equal(before[n, k], p)
    }
    assert moved == {"detector" if alone == "points" else "motion"}
    assert set(made.schedulers()) == {"detector" if alone == "points" else "generator"}
    assert made.weights().origin == {"picture": "deformed"}
    with pytest.raises(InputError, match="above 0 where something is trained alone"):
        task(replace(recipe, taught=0.0))


def test_what_comes_along_follows_a_face(portrait: Path) -> None:
    """Its keypoints lie where the face tracker has them, and the picture follows a head that moved."""
    image = read_image(portrait)
    painter = load_engine("monkey-net", Options(engine="monkey-net", absolute=True)).painter  # type: ignore[attr-defined]
    with FaceTracker() as tracker:
        face = tracker(image)
    assert face is not None
    square = Square(image, face.landmarks)
    still = square.cut(image, painter.size)
    wanted = keypoints(square.points(face.landmarks, painter.size)[:, :2] * 2 / (painter.size - 1) - 1)[:, :2]
    prepared = painter.prepare([still])
    found = prepared.keypoints.mean[0].numpy()
    assert np.linalg.norm(found - wanted, axis=1).max() < 0.12  # of a picture 2 wide
    moved = np.roll(still, 5, axis=1)  # to the right
    painter.begin(prepared, still, None)
    out = painter.paint(prepared, moved, None)
    middle = (slice(20, 44), slice(20, 44))

    def apart(a: np.ndarray) -> float:
        return float(np.abs(a[middle].astype(float) - moved[middle]).mean())

    assert apart(out.picture) < 0.6 * apart(still)
