"""The guided filter against its definition, solved pixel by pixel in double precision."""

import numpy as np
import pytest

from infinex.mesh import guided


def _defined(guide: np.ndarray, values: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """Least squares in every square, mirrored at the borders; the mean of what its squares say of a pixel."""
    h, w = values.shape

    def padded(x: np.ndarray) -> np.ndarray:
        return np.pad(x, [(radius, radius)] * 2 + [(0, 0)] * (x.ndim - 2), mode="symmetric")

    g, v = padded(guide.astype(np.float64)), padded(values.astype(np.float64))
    side = 2 * radius + 1
    lines = np.empty((h, w, 4))
    for y in range(h):
        for x in range(w):
            colours, wanted = g[y : y + side, x : x + side].reshape(-1, 3), v[y : y + side, x : x + side].ravel()
            middle = colours.mean(0)
            spread = (colours - middle).T @ (colours - middle) / side**2 + eps * np.eye(3)
            slope = np.linalg.solve(spread, (colours - middle).T @ (wanted - wanted.mean()) / side**2)
            lines[y, x] = (*slope, wanted.mean() - slope @ middle)
    wide = padded(lines)
    mean = np.array([[wide[y : y + side, x : x + side].mean((0, 1)) for x in range(w)] for y in range(h)])
    return (mean[..., :3] * guide).sum(-1) + mean[..., 3]


@pytest.mark.parametrize(("radius", "eps"), [(2, 1e-2), (4, 1e-3)])
def test_it_is_what_its_definition_says(monkeypatch: pytest.MonkeyPatch, radius: int, eps: float) -> None:
    rng = np.random.default_rng(0)
    guide = rng.random((31, 24, 3)).astype(np.float32) * 0.7
    guide[:, 11:] += 0.3
    values = (np.arange(24) > 13)[None].repeat(31, 0).astype(np.float32)
    wanted = _defined(guide, values, radius, eps)
    for band in (512, 7):  # whole, and in bands that must leave no seam
        monkeypatch.setattr(guided, "BAND", band)
        assert np.abs(guided.guided_filter(guide, values, radius, eps) - wanted).max() < 1e-4


def test_a_rough_edge_moves_to_that_of_the_picture() -> None:
    guide = np.full((40, 60, 3), 0.2, np.float32)
    guide[:, 30:] = (0.9, 0.6, 0.4)
    rough = np.clip((np.arange(60, dtype=np.float32) - 24) / 12, 0, 1)[None].repeat(40, 0)
    fine = guided.guided_filter(guide, rough, 8, 1e-2)
    assert fine[20, 30] - fine[20, 29] > 0.4 > 4 * (rough[20, 30] - rough[20, 29])


def test_flat_colours_only_smooth() -> None:
    values = (np.arange(60) > 30).astype(np.float32)[None].repeat(40, 0)
    fine = guided.guided_filter(np.full((40, 60, 3), 0.5, np.float32), values, 3, 1e-4)
    assert fine[20] == pytest.approx(
        np.convolve(np.pad(values[20], 6, mode="edge"), np.convolve(*[np.ones(7) / 7] * 2), "valid"), abs=1e-3
    )
