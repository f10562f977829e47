"""Motion by way of an embedded face: warps undo each other, taught stages learn, what comes along follows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from learned import Plain, pair  # noqa: E402

from infinex.engine import load_engine  # noqa: E402
from infinex.errors import InputError  # noqa: E402
from infinex.face import topology as top  # noqa: E402
from infinex.face.tracker import FaceTracker  # noqa: E402
from infinex.media.image import read_image  # noqa: E402
from infinex.motion import Rest  # noqa: E402
from infinex.options import Options  # noqa: E402
from infinex.systems.dae_gan import recipe as dae_gan  # noqa: E402
from infinex.systems.embedded import Passed, inverse, looked_at_often, still, then  # noqa: E402
from infinex.systems.square import ramp  # noqa: E402
from infinex.systems.window import Square  # noqa: E402
from infinex.systems.x2face import recipe as x2face  # noqa: E402
from infinex.training.embedded import SurfaceTeacher, embedded_points, warp_apart  # noqa: E402


def _bent(seed: int) -> torch.Tensor:
    coarse = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(seed))
    away = torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bicubic").permute(0, 2, 3, 1)
    return still(away) + 0.08 * away


def test_a_warp_is_undone_and_a_performer_at_rest_moves_nothing() -> None:
    warp = _bent(0)
    away = (warp - still(warp)).abs().mean()
    for undone in (then(inverse(warp), warp), then(warp, inverse(warp))):
        assert (undone - still(warp))[:, 3:-3, 3:-3].abs().mean() < 0.02 * away
    passed = Passed(_bent(1))
    assert torch.equal(passed(warp), then(warp, _bent(1)))
    passed.rest(warp)
    assert (passed(warp) - still(warp))[:, 3:-3, 3:-3].abs().mean() < 0.02 * away


@pytest.mark.parametrize("reads", [True, False])
def test_looks_from_several_sides_agree(reads: bool) -> None:
    """A network that finds a dot wherever it is says the same of every view."""

    def network(pictures: torch.Tensor) -> torch.Tensor:
        place = still(torch.zeros(len(pictures), 32, 32, 2))
        weight = pictures[:, :1].permute(0, 2, 3, 1)
        dot = (weight * place).sum((1, 2), keepdim=True) / weight.sum((1, 2), keepdim=True)
        return place + dot if reads else place - dot  # the embedded face has it in the middle

    picture = torch.zeros(1, 3, 32, 32)
    picture[:, :, 10:13, 18:21] = 1
    once, often = network(picture), looked_at_often(network, picture, reads)
    assert (often - once)[:, 14:18, 14:18].abs().max() < 0.05


def test_the_embedded_face_is_its_own_mirror() -> None:
    rows = np.concatenate([embedded_points(), np.tile([1, 0, 0, 1], (top.SURFACE, 1))], 1).astype(np.float32)
    assert np.abs(SurfaceTeacher().mirrored(rows)[:, :2] - rows[:, :2]).max() < 0.02
    grid = still(torch.zeros(2, 16, 16, 2))
    points = torch.from_numpy(embedded_points())[None]
    assert float(warp_apart(grid, points, points)) < 1e-6


def _taught() -> dict[str, torch.Tensor]:
    """Pairs whose faces are where the embedded one is, the first of each a little aside."""
    rows = torch.from_numpy(np.concatenate([embedded_points(), np.tile([1, 0, 0, 1], (top.SURFACE, 1))], 1)).float()
    taught = rows.repeat(2, 2, 1, 1)
    taught[:, 0, :, :2] += 0.1
    return pair(64) | {"taught": taught}


def test_both_taught_stages_learn(tmp_path: Path) -> None:
    """The second stage begins with the file that the first one wrote."""
    name, batch = "x2face-face", _taught()
    first = x2face.task(x2face.RECIPES[f"{name}-points"])
    traces = [first.step(batch, Plain())["points"] for _ in range(12)]
    assert traces[-1] < 0.7 * traces[0]
    first.save(tmp_path / "points.safetensors")
    second = x2face.task(replace(x2face.RECIPES[name], rate=2e-3))
    second.load_file(tmp_path / "points.safetensors")
    sums = [sum(v for k, v in second.step(batch, Plain()).items() if "rough" not in k) for _ in range(10)]
    assert min(sums[-3:]) < 0.8 * sums[0]
    assert second.sample_panel(batch).shape == (128, 256, 3)
    with pytest.raises(InputError, match="taught"):
        x2face.task(replace(x2face.RECIPES[f"{name}-points"], taught=0.0))


def test_warps_are_taught_to_borrowed_eyes() -> None:
    """Encoders that are another system's stay as they are, whatever the warps learn."""
    task = dae_gan.task(dae_gan.RECIPES["dae-gan-face"])
    batch, before = _taught(), [{k: v.clone() for k, v in e.state_dict().items()} for e in task.eyes]
    sums = [sum(v for k, v in task.step(batch, Plain()).items() if "rough" not in k) for _ in range(10)]
    assert min(sums[-3:]) < 0.8 * sums[0]
    for encoder, was in zip(task.eyes, before, strict=True):
        assert all(torch.equal(v, was[k]) for k, v in encoder.state_dict().items())
    assert task.sample_panel(batch).shape == (128, 256, 3)
    with pytest.raises(InputError, match="eyes=latent-pose-face: its pose encoder is none of dae-gan-tiny"):
        dae_gan.task(replace(dae_gan.RECIPES["dae-gan-tiny"], eyes="latent-pose-face"))


@pytest.mark.parametrize("engine", ["x2face", "dae-gan"])
def test_what_comes_along_follows_a_face(engine: str, portrait: Path) -> None:
    """A performer at rest leaves the portrait as it is; a head that went aside takes the portrait's along."""
    image = read_image(portrait)
    painter = load_engine(engine, Options(engine=engine)).painter  # type: ignore[attr-defined]
    with FaceTracker() as tracker:
        face = tracker(image)
    assert face is not None
    at_rest = Square(image, face.landmarks).cut(image, painter.size)
    prepared = painter.prepare([at_rest])
    painter.begin(prepared, at_rest, Rest.neutral())
    middle = (slice(20, 44), slice(20, 44))
    away = [painter.paint(prepared, np.roll(at_rest, by, axis=1), None).field - ramp(painter.size) for by in (0, 5)]
    still_there, aside = ((a[middle] * painter.size / 2).mean((0, 1)) for a in away)  # pixels; where they are read
    assert np.abs(still_there).max() < 0.3
    assert -7.5 < aside[0] < -3.0 and abs(aside[1]) < 1.0
