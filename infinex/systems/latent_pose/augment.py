"""What the pose encoder sees is changed so that it cannot tell who it is: colours, sharpness and proportions."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Chance = np.random.Generator
MOST = 5  # changes of one picture
BORDER = cv2.BORDER_REFLECT_101


def _clipped(x: NDArray) -> Image:
    return np.clip(np.round(x), 0, 255).astype(np.uint8)


def _blurred(x: Image, rng: Chance) -> Image:
    kind = rng.integers(3)
    if kind == 0:
        return np.asarray(cv2.GaussianBlur(x, (0, 0), rng.uniform(0.05, 1.0)), np.uint8)
    return np.asarray(cv2.blur(x, (3, 3)) if kind == 1 else cv2.medianBlur(x, 3), np.uint8)


def _filtered(x: Image, kernel: NDArray, share: float) -> Image:
    other = cv2.filter2D(x.astype(np.float32), -1, kernel.astype(np.float32), borderType=BORDER)
    return _clipped(x * (1 - share) + other * share)


def _sharpened(x: Image, rng: Chance) -> Image:
    light = rng.uniform(0.75, 1.5)
    return _filtered(x, np.array([[-1, -1, -1], [-1, 8 + light, -1], [-1, -1, -1]]), rng.uniform(0, 0.5))


def _embossed(x: Image, rng: Chance) -> Image:
    k = rng.uniform(0, 2)
    return _filtered(x, np.array([[-1 - k, -k, 0], [-k, 1, k], [0, k, 1 + k]]), rng.uniform(0, 0.5))


def _soft_mask(x: Image, rng: Chance) -> NDArray[np.float32]:
    """(H, W, 1) in 0..1, smooth noise at a few scales."""
    h, w = x.shape[:2]
    total = np.zeros((h, w), np.float32)
    for cells in (3, 6, 12):
        noise = rng.random((cells, cells), dtype=np.float32)
        total += cv2.resize(noise, (w, h), interpolation=cv2.INTER_CUBIC) / cells
    span = np.ptp(total)
    return np.asarray((total - total.min()) / max(float(span), 1e-6), np.float32)[..., None]


def _edged(x: Image, rng: Chance) -> Image:
    edges = np.abs(cv2.Laplacian(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY), cv2.CV_32F))[..., None]
    mask = _soft_mask(x, rng) * rng.uniform(0.3, 0.7)
    return _clipped(x * (1 - mask) + np.minimum(edges, 255) * mask)


def _noised(x: Image, rng: Chance) -> Image:
    shape = x.shape if rng.random() < 0.5 else (*x.shape[:2], 1)
    return _clipped(x + rng.normal(0, rng.uniform(0, 0.05) * 255, shape))


def _added(x: Image, rng: Chance) -> Image:
    return _clipped(x + rng.uniform(-10, 10, 3 if rng.random() < 0.5 else 1))


def _saturated(x: Image, rng: Chance) -> Image:
    hsv = cv2.cvtColor(x, cv2.COLOR_RGB2HSV).astype(np.float32)
    hsv[..., :2] += rng.uniform(-20, 20, 2)
    hsv[..., 0] %= 180
    return np.asarray(cv2.cvtColor(np.clip(hsv, 0, 255).astype(np.uint8), cv2.COLOR_HSV2RGB), np.uint8)


def _compressed(x: Image, rng: Chance) -> Image:
    _, data = cv2.imencode(".jpg", x[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(70, 100))])
    return np.asarray(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)  # type: ignore[arg-type]


def _multiplied(x: Image, rng: Chance) -> Image:
    return _clipped(x * rng.uniform(0.5, 1.5, 3 if rng.random() < 0.5 else 1))


def _contrasted(x: Image, rng: Chance) -> Image:
    if rng.random() < 0.5:
        return _clipped((x.astype(np.float32) - 127) * rng.uniform(0.5, 2.0) + 127)
    gain, middle = rng.uniform(3, 10), rng.uniform(0.4, 0.6)
    return _clipped(255 / (1 + np.exp(gain * (middle - x.astype(np.float32) / 255))))


def _elastic(x: Image, rng: Chance) -> Image:
    h, w = x.shape[:2]
    shift = [cv2.GaussianBlur(rng.uniform(-1, 1, (h, w)).astype(np.float32), (0, 0), 0.25 * 4) for _ in range(2)]
    k = rng.uniform(0.5, 3.5)
    ys, xs = np.mgrid[:h, :w].astype(np.float32)
    return np.asarray(cv2.remap(x, xs + k * shift[0], ys + k * shift[1], cv2.INTER_LINEAR, borderMode=BORDER), np.uint8)


CHANGES: tuple[Callable[[Image, Chance], Image], ...] = (
    _blurred, _sharpened, _embossed, _edged, _noised, _added, _saturated, _compressed, _multiplied, _contrasted,
    _elastic,
)  # fmt: skip


def stretched(x: Image, rng: Chance) -> Image:
    """Other proportions: width and height each changed by up to a fifth, about the middle."""
    h, w = x.shape[:2]
    sx, sy = rng.uniform(0.8, 1.2, 2)
    matrix = np.array([[sx, 0, (1 - sx) * (w - 1) / 2], [0, sy, (1 - sy) * (h - 1) / 2]])
    return np.asarray(cv2.warpAffine(x, matrix, (w, h), borderMode=BORDER), np.uint8)


def disguised(x: Image, rng: Chance, stretch: bool = True) -> Image:
    """A picture (H, W, 3) of the performer under none to `MOST` changes, and half of the time stretched."""
    chosen = rng.permutation(len(CHANGES))[: rng.integers(MOST + 1)]
    for i in chosen:
        x = CHANGES[i](x, rng)
    return stretched(x, rng) if stretch and rng.random() < 0.5 else x


def shifted(images: list[NDArray], rng: Chance, most: float = 0.05) -> list[NDArray]:
    """The same shift, up to `most` of the size, for pictures (H, W[, 3]); what comes in is the picture mirrored."""
    h, w = images[0].shape[:2]
    dx, dy = rng.uniform(-most, most, 2) * [w, h]
    matrix = np.array([[1, 0, dx], [0, 1, dy]])
    return [np.asarray(cv2.warpAffine(x, matrix, (w, h), borderMode=BORDER), x.dtype) for x in images]
