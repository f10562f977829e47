"""The background without the person, and traces of her beside the matte."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from infinex.mesh import plate as plates
from infinex.mesh.plate import plate

UNIT = 60.0
Map = NDArray[np.float32]


def scene() -> tuple[NDArray[np.uint8], NDArray[np.uint8], Map, Map]:
    """A dark disc before a wall lit from one side: picture, wall, the disc's alpha, distance from its edge in IOD."""
    y, x = np.mgrid[0:220, 0:260]
    wall = np.dstack([90 + 0.4 * x, 110 + 0.3 * x, 130 + 0.2 * x])
    wall += np.random.default_rng(0).normal(0, 1, wall.shape)
    off = np.hypot(y - 110, x - 130) - 60
    alpha = np.clip(0.5 - off, 0, 1).astype(np.float32)
    picture = wall + alpha[..., None] * (np.array([50, 30, 20]) - wall)
    return picture.round().astype(np.uint8), wall.round().astype(np.uint8), alpha, (off / UNIT).astype(np.float32)


@pytest.mark.parametrize("kind", ["hairs", "halo"])
def test_what_the_matte_missed_of_the_person_does_not_stay(kind: str) -> None:
    picture, wall, alpha, off = scene()
    trace = (off > 0.02) & (off < 0.06)
    if kind == "hairs":
        angle = np.arctan2(*(np.mgrid[0:220, 0:260] - np.array([110, 130])[:, None, None]))
        trace &= (np.degrees(angle) % 12) < 3
    picture[trace] = [95, 75, 65] if kind == "hairs" else 235  # a sharpened edge is lighter, though she is dark
    back, near, _ = plate(picture, alpha, UNIT)
    assert near[trace].mean() > 0.9 and near[alpha > 0.02].min() == 1
    assert np.abs(back - wall)[near > 0.5].mean() < 4 and np.abs(back - wall)[trace].max() < 25
    assert near[off > 0.2].max() == 0


def test_things_of_the_background_stay() -> None:
    picture, _, alpha, off = scene()
    lamp = np.hypot(*(np.mgrid[0:220, 0:260] - np.array([110, 200])[:, None, None])) < 4
    assert off[lamp].min() > 0.08
    picture[lamp] = [255, 240, 160]
    near = plate(picture, alpha, UNIT)[1]
    assert near[lamp].max() < 0.3 and near[(off > 0.06) & ~lamp].mean() < 0.02


def test_light_that_falls_off_leaves_no_seam() -> None:
    picture, wall, alpha, off = scene()
    back, near, sure = plate(picture, alpha, UNIT)
    ring = (off > -0.2) & (off < 0)
    assert np.abs((back - wall)[ring].mean(0)).max() < 3 and np.abs(back - wall)[ring].mean() < 4
    assert sure[ring].mean() > 0.9 and near[off > 0.06].mean() < 0.01


def test_where_nothing_but_the_person_shows_nothing_breaks() -> None:
    picture, _, alpha, _ = scene()
    back, near, sure = plate(picture, np.ones_like(alpha), UNIT)
    assert np.array_equal(back, picture) and near.min() == 1 and sure.max() == 0


def test_what_is_spread_small_is_what_is_spread_at_full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    y, x = np.mgrid[0:240, 0:320].astype(np.float32)
    values = np.dstack([12 * np.sin(x / 40), 12 * np.cos(y / 30), (x - y) / 20]).astype(np.float32)
    known = ((np.hypot(x - 160, y - 120) > 60) & (np.hypot(x - 160, y - 120) < 90)).astype(np.float32)
    small, grey = plates._spread(values, known, 12.0), plates._spread(values[..., 0].copy(), known, 12.0)
    monkeypatch.setattr(plates, "SMALL", 1e9)
    apart = np.abs(small - plates._spread(values, known, 12.0))
    assert apart[known > 0].max() < 0.3 and apart.max() < 3  # levels, of 24 that they go up and down
    assert np.allclose(grey, small[..., 0], atol=1e-3)
