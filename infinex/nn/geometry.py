"""Coordinates, heatmaps, warps and random transforms.

Coordinates are (x, y) in -1..1 with -1 and 1 on the centres of the first and last pixel, which is what
`grid_sample` calls aligned corners. Geometry is always computed in float32, whatever the networks run in:
half precision has neither the range for inverses nor the resolution for coordinates.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from numpy.typing import NDArray
from torch import Tensor

ALIGN_CORNERS = True  # the grids of this project have pixel centres at -1 and 1
DETERMINANT_FLOOR = 1e-6  # keeps the inverse of a collapsed Jacobian, and its gradient, finite
LOG_FLOOR = 1e-6  # keeps the thin-plate kernel d²·log(d) and its derivative finite at d = 0


def coordinate_grid(height: int, width: int, like: Tensor) -> Tensor:
    """(height, width, 2) of (x, y) in -1..1, on the device of `like`, in float32."""
    x = torch.linspace(-1, 1, width, device=like.device)
    y = torch.linspace(-1, 1, height, device=like.device)
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)


def gaussian_heatmaps(points: Tensor, height: int, width: int, variance: float) -> Tensor:
    """Isotropic Gaussians of peak 1 around `points` (B, K, 2): (B, K, height, width)."""
    grid = coordinate_grid(height, width, points)
    # The Gaussian is a product of one along each axis: two exponentials per row and column, none per pixel.
    gx = torch.exp(-((grid[0, :, 0] - points[..., :1].float()) ** 2) / (2 * variance))  # (B, K, W)
    gy = torch.exp(-((grid[:, 0, 1] - points[..., 1:].float()) ** 2) / (2 * variance))  # (B, K, H)
    return gy[..., :, None] * gx[..., None, :]


def soft_argmax(heatmap: Tensor) -> Tensor:
    """Mean position under `heatmap` (B, K, H, W), which sums to 1 over space: (B, K, 2) in -1..1."""
    grid = coordinate_grid(heatmap.shape[2], heatmap.shape[3], heatmap)
    x = (heatmap.sum(2) * grid[0, :, 0]).sum(-1)  # (B, K, W) -> (B, K)
    y = (heatmap.sum(3) * grid[:, 0, 1]).sum(-1)  # (B, K, H) -> (B, K)
    return torch.stack([x, y], dim=-1)


def inverse_2x2(matrix: Tensor) -> Tensor:
    """Inverse of (..., 2, 2) by cofactors, its determinant kept at least `DETERMINANT_FLOOR` from 0."""
    m = matrix.float()
    a, b, c, d = m[..., 0, 0], m[..., 0, 1], m[..., 1, 0], m[..., 1, 1]
    det = a * d - b * c
    floor = torch.where(det < 0, -DETERMINANT_FLOOR, DETERMINANT_FLOOR)
    det = torch.where(det.abs() < DETERMINANT_FLOOR, floor, det)
    rows = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    return rows / det[..., None, None]


def warp(image: Tensor, field: Tensor, padding: Literal["zeros", "reflection"] = "zeros") -> Tensor:
    """Read `image` (B, C, H, W) at the positions `field` (B, h, w, 2) in -1..1: (B, C, h, w).

    Positions stay in float32: half precision would round them to tenths of a pixel.
    """
    out = F.grid_sample(
        image.float(), field.float(), mode="bilinear", padding_mode=padding, align_corners=ALIGN_CORNERS
    )
    return out.to(image.dtype)


def resize_field(field: Tensor, height: int, width: int) -> Tensor:
    """A field (B, h, w, 2) at another resolution, interpolated bilinearly by pixel areas.

    Half-pixel centres are meant here although the field itself uses aligned corners: that is how the
    published networks were trained.
    """
    if field.shape[1:3] == (height, width):
        return field
    planes = F.interpolate(field.permute(0, 3, 1, 2), size=(height, width), mode="bilinear", align_corners=False)
    return planes.permute(0, 2, 3, 1)


def bent(image: Tensor, field: Tensor) -> Tensor:
    """The source (B, 3, H, W) itself under a deformation (B, h, w, 2); its border goes on beyond it."""
    return warp(image, resize_field(field, *image.shape[2:]).clamp(-1, 1))


def hull_area(points: NDArray[np.floating]) -> float:
    """Area of the convex hull of (N, 2) points, by Andrew's monotone chain."""
    ordered = sorted({(float(x), float(y)) for x, y in points})
    if len(ordered) < 3:
        return 0.0

    def half(line: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
        chain: list[tuple[float, float]] = []
        for p in line:
            while len(chain) > 1:
                (ax, ay), (bx, by) = chain[-2:]
                if (bx - ax) * (p[1] - ay) - (by - ay) * (p[0] - ax) > 0:
                    break
                chain.pop()
            chain.append(p)
        return chain[:-1]

    x, y = np.array(half(ordered) + half(reversed(ordered))).T
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


@dataclass(frozen=True)
class ThinPlateTransform:
    """A smooth map of the plane: affine plus thin-plate spline, one per batch item.

    T(z) = A·z + t + Σ_k w_k·U(|z - c_k|₁) with U(d) = d²·log d, the spline adding the same amount to x and y
    (Siarohin et al. 2019, supplementary A). The distance is the city-block one, as in the published training.
    """

    theta: Tensor  # (B, 2, 3) [A | t]
    controls: Tensor | None = None  # (1, K, 2) c_k
    weights: Tensor | None = None  # (B, K) w_k

    @staticmethod
    def random(
        batch: int,
        sigma_affine: float,
        sigma_spline: float,
        points: int,
        like: Tensor,
        generator: torch.Generator | None = None,
    ) -> ThinPlateTransform:
        """Normal deviations from the identity; `points` × `points` control points spread over the picture.

        Drawn on the CPU so that a seed gives the same transforms on every device.
        """
        noise = torch.randn(batch, 2, 3, generator=generator) * sigma_affine
        theta = (torch.eye(2, 3) + noise).to(like.device)
        if not (points and sigma_spline):
            return ThinPlateTransform(theta)
        weights = torch.randn(batch, points * points, generator=generator) * sigma_spline
        controls = coordinate_grid(points, points, like).reshape(1, -1, 2)
        return ThinPlateTransform(theta, controls, weights.to(like.device))

    def points(self, z: Tensor) -> Tensor:
        """T(z) of (B or 1, N, 2): (B, N, 2)."""
        out = z.float() @ self.theta[:, :, :2].transpose(1, 2) + self.theta[:, None, :, 2]
        if self.controls is None or self.weights is None:
            return out
        distance = (z.float()[:, :, None] - self.controls[:, None]).abs().sum(-1)  # (B, N, K)
        bend = (distance**2 * torch.log(distance + LOG_FLOOR) * self.weights[:, None]).sum(-1)
        return out + bend[..., None]

    def jacobian(self, z: Tensor) -> Tensor:
        """dT/dz at (B, N, 2): (B, N, 2, 2), rows the outputs. In closed form, so no second backward pass."""
        affine = self.theta[:, None, :, :2].expand(-1, z.shape[1], -1, -1)
        if self.controls is None or self.weights is None:
            return affine
        offset = z.float()[:, :, None] - self.controls[:, None]  # (B, N, K, 2)
        d = offset.abs().sum(-1)
        slope = 2 * d * torch.log(d + LOG_FLOOR) + d**2 / (d + LOG_FLOOR)  # U'(d)
        bend = ((self.weights[:, None] * slope)[..., None] * offset.sign()).sum(2)  # (B, N, 2)
        return affine + bend[:, :, None, :]

    def frame(self, image: Tensor) -> Tensor:
        """`image` (B, C, H, W) read at T of every pixel, mirrored at the borders: (B, C, H, W)."""
        h, w = image.shape[2:]
        grid = coordinate_grid(h, w, image).reshape(1, -1, 2)
        return warp(image, self.points(grid).reshape(-1, h, w, 2), padding="reflection")
