"""Pictures drawn from landmarks: where lines lie, how they fade, and that places between pixels count."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from infinex.face import drawn
from infinex.face import topology as top


def face(size: float = 64) -> np.ndarray:
    """The mean face in pixels of a square."""
    return top.mean_face() * (0.3 * size) + [0.5 * size, 0.45 * size, 0]


def test_conventions_are_means_of_the_mesh() -> None:
    """Every row sums to 1, so moving, turning and scaling a face does the same to its points."""
    for n in (68, 98, 106):
        weights = drawn.convention(n)
        assert weights.shape == (n, 478) and np.allclose(weights.sum(1), 1) and (weights >= 0).all()
    with pytest.raises(ValueError, match="68, 98, 106"):
        drawn.convention(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [68, 98, 106])
def test_conventions_are_mirror_images_of_themselves(n: int) -> None:
    """The mean face is symmetric: so is the set of points, and no two of them are one."""
    points = drawn.in_convention(top.mean_face(), n)[:, :2]
    away = np.linalg.norm(points[:, None] - points[None] * [-1, 1], axis=2)
    assert away.min(1).max() < 0.02 and len(set(away.argmin(1))) == n
    between = np.linalg.norm(points[:, None] - points[None], axis=2) + np.eye(n)
    assert between.min() > 0.005 or n > 68  # an iris may lie on the middle of the eye


def test_68_points_are_where_ibug_has_them() -> None:
    """Chin lowest, nose tip foremost, eyes from the picture's left, the mouth's corners furthest apart."""
    p = drawn.in_convention(top.mean_face(), 68)
    assert p[:17, 1].argmax() == 8 and p[27:31, 2].argmin() == 3
    assert p[36, 0] < p[39, 0] < p[42, 0] < p[45, 0] and p[37, 1] < p[41, 1] and p[43, 1] < p[47, 1]
    assert p[48, 0] == p[48:60, 0].min() and p[54, 0] == p[48:60, 0].max() and p[51, 1] < p[62, 1] < p[66, 1] < p[57, 1]
    assert (np.diff(p[17:27, 0]) > 0).all()


def test_heat_maps_are_one_on_the_curve_and_fade_with_distance() -> None:
    """Exactly the Gaussian of the distance to the nearest segment, by brute force; nothing from three sigmas on."""
    rng = np.random.default_rng(0)
    points = rng.uniform(2, 38, (478, 2))
    parts = {"a": [0, 1, 2], "b": [3, 4]}
    maps = drawn.heat_maps(points, 40, sigma=1.7, parts=parts)
    assert maps.shape == (2, 40, 40)
    at = np.stack(np.meshgrid(np.arange(40.0), np.arange(40.0)), -1)
    for made, chain in zip(maps, parts.values()):
        dense = [points[a] + t * (points[b] - points[a]) for a, b in pairwise(chain) for t in np.linspace(0, 1, 900)]
        d = np.min([np.hypot(*(at - p).transpose(2, 0, 1)) for p in dense], axis=0)
        wanted = np.where(d < 5.1, np.exp(-(d**2) / (2 * 1.7**2)), 0)
        assert np.abs(made - wanted).max() < 0.012  # e^-4.5, where the edge falls otherwise
        assert np.abs(made - wanted).mean() < 1e-3


def test_a_window_moves_what_is_drawn() -> None:
    """Drawing through a window is drawing the places that it leads to; outside nothing is drawn and nothing fails."""
    matrix = np.array([[0.5, 0.1, 3.0], [-0.1, 0.5, 7.0]])
    a = drawn.heat_maps(face(128), 64, matrix)
    b = drawn.heat_maps(drawn.through(face(128), matrix), 64)
    assert np.array_equal(a, b) and a.max(axis=(1, 2)).min() > 0.6
    assert not drawn.heat_maps(face() + 1e7, 64).any()
    assert np.allclose(drawn.through(np.array([[-0.5, 511.5]]), drawn.scaled(512, 64)), [[-0.5, 63.5]])
    with pytest.raises(ValueError, match="finite"):
        drawn.heat_maps(face() * np.nan, 64)


def test_lines_cover_what_they_should_between_pixels_too() -> None:
    """The area of a line is its length by its thickness wherever it lies; coverage moves with a tenth of a pixel."""
    for down in (10.0, 10.1, 10.35, 10.5):
        line = np.array([[-20.0, down], [60.0, down]])
        for thickness in (0.5, 1.0, 2.0, 3.3):
            column = drawn.lines([line], 40, thickness=thickness)[:, 20, 0] / 255
            assert abs(column.sum() - thickness) < (0.02 if thickness >= 1 else 0.26)
            middle = (column * np.arange(40)).sum() / column.sum()
            assert abs(middle - down) < 0.06 or thickness < 1


def test_coloured_lines_have_the_colours_of_their_parts() -> None:
    """Jaw green, brows yellow, nose blue, eyes red, lips cyan, the rest black; twice the size is the same picture."""
    picture = drawn.coloured(face(256), 256)
    at = np.round(drawn.in_convention(face(256), 68)).astype(int)
    for point, colour in (
        (8, (0, 128, 0)),
        (19, (255, 255, 0)),
        (29, (0, 0, 255)),
        (36, (255, 0, 0)),
        (51, (0, 255, 255)),
    ):
        x, y = at[point, :2]
        assert np.array_equal(picture[y, x], colour), point
    assert (picture.max(2) == 0).mean() > 0.9
    half = drawn.coloured(face(256), 128, drawn.scaled(256, 128), thickness=1.0)
    shrunk = picture.reshape(128, 2, 128, 2, 3).mean((1, 3))
    assert np.abs(half - shrunk).mean() < 1.5


def test_dots_and_white_lines() -> None:
    """A disc has the area of a disc; white lines are the boundaries' and stay in 0..1."""
    dot = drawn.dots([[20.3, 17.8]], 40, 5.0)
    assert abs(dot.sum() - np.pi * 25) < 2 and dot.max() == 1
    picture = drawn.white(face(), 64)
    assert picture.min() == 0 and 0.9 < picture.max() <= 1
    assert (picture[drawn.heat_maps(face(), 64).max(0) > 0.9] > 0.4).all()
