"""Coordinates, heatmaps, inverses and the thin-plate transform, against their formulas."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from infinex.nn.geometry import (  # noqa: E402
    ALIGN_CORNERS,
    ThinPlateTransform,
    coordinate_grid,
    gaussian_heatmaps,
    inverse_2x2,
    resize_field,
    soft_argmax,
    warp,
)


def test_identity_grid_gives_the_picture_back() -> None:
    assert ALIGN_CORNERS is True
    x = torch.rand(2, 3, 6, 9)
    grid = coordinate_grid(6, 9, x)
    assert grid[0, 0].tolist() == [-1, -1]
    assert grid[-1, -1].tolist() == [1, 1]
    assert torch.allclose(warp(x, grid.expand(2, -1, -1, -1)), x, atol=1e-6)


def test_warp_reads_positions_in_full_precision() -> None:
    x = torch.rand(1, 1, 4, 4, dtype=torch.float16)
    assert warp(x, coordinate_grid(4, 4, x)[None]).dtype == torch.float16


def test_heatmap_is_the_gaussian_of_the_distance() -> None:
    points = torch.tensor([[[0.3, -0.5], [-1.0, 1.0]]])
    grid = coordinate_grid(7, 5, points)
    expected = torch.exp(-((grid - points[:, :, None, None]) ** 2).sum(-1) / 2 / 0.02)
    assert torch.allclose(gaussian_heatmaps(points, 7, 5, 0.02), expected, atol=1e-6)


def test_soft_argmax_finds_a_peak_and_averages_two() -> None:
    heat = torch.zeros(1, 2, 5, 5)
    heat[0, 0, 1, 4] = 1
    heat[0, 1, 0, 0] = heat[0, 1, 4, 4] = 0.5
    assert torch.allclose(soft_argmax(heat), torch.tensor([[[1.0, -0.5], [0.0, 0.0]]]), atol=1e-6)


def test_inverse_agrees_and_stays_finite_when_singular() -> None:
    m = torch.randn(4, 3, 2, 2)
    assert torch.allclose(inverse_2x2(m) @ m, torch.eye(2).expand(4, 3, 2, 2), atol=1e-3)
    for bad in (torch.zeros(2, 2), torch.ones(2, 2), torch.tensor([[1.0, 2.0], [0.5, 1.0]])):
        bad = bad.requires_grad_()
        out = inverse_2x2(bad)
        out.sum().backward()
        assert torch.isfinite(out).all()
        assert torch.isfinite(bad.grad).all()


def test_resizing_a_field_keeps_a_constant() -> None:
    field = torch.full((1, 4, 4, 2), 0.25)
    assert torch.allclose(resize_field(field, 16, 8), torch.full((1, 16, 8, 2), 0.25))
    assert resize_field(field, 4, 4) is field


def _random(points: int = 5) -> ThinPlateTransform:
    generator = torch.Generator().manual_seed(1)
    return ThinPlateTransform.random(2, 0.05, 0.02, points, torch.zeros(1), generator)


def test_transform_is_affine_plus_thin_plate() -> None:
    t = _random()
    z = torch.rand(2, 6, 2) * 2 - 1
    out = t.points(z)
    for b in range(2):
        for n in range(6):
            x = t.theta[b, :, :2] @ z[b, n] + t.theta[b, :, 2]
            for c, w in zip(t.controls[0], t.weights[b]):
                d = (z[b, n] - c).abs().sum()
                x = x + w * d**2 * torch.log(d + 1e-6)
            assert torch.allclose(out[b, n], x, atol=1e-5)


def test_transform_jacobian_is_its_derivative() -> None:
    t = _random()
    z = (torch.rand(2, 4, 2) * 2 - 1).requires_grad_()
    out = t.points(z)
    for row in (0, 1):
        (slope,) = torch.autograd.grad(out[..., row].sum(), z, retain_graph=True)
        assert torch.allclose(t.jacobian(z)[..., row, :], slope, atol=1e-5)


def test_transform_is_finite_on_its_control_points() -> None:
    # The thin-plate kernel takes the logarithm of zero there.
    t = _random()
    z = t.controls.expand(2, -1, -1).clone().requires_grad_()
    (t.points(z).sum() + t.jacobian(z).sum()).backward()
    assert torch.isfinite(t.points(z)).all()
    assert torch.isfinite(z.grad).all()


def test_no_deviation_is_the_identity_and_a_seed_repeats() -> None:
    x = torch.rand(2, 3, 8, 8)
    assert torch.allclose(ThinPlateTransform.random(2, 0, 0, 0, x).frame(x), x, atol=1e-5)
    assert torch.equal(_random().theta, _random().theta)
    assert _random(points=0).weights is None
