"""A picture seen as another one: small, grey, and with chosen places where the other has them, for optical flow."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def halved(picture: Image, k: float) -> Image:
    """A picture (H, W[, C]) with about `k` pixels for each, 0 < k <= 1: halved as often as that allows, then sampled.

    Halves are means of two by two pixels, which takes a tenth of the time that other means take."""
    h, w = picture.shape[:2]
    wanted = max(1, round(w * k)), max(1, round(h * k))
    while k <= 0.5 and min(picture.shape[:2]) > 1:
        part = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
        picture = cv2.resize(part, (part.shape[1] // 2, part.shape[0] // 2), interpolation=cv2.INTER_AREA)
        k *= 2
    return picture if picture.shape[1::-1] == wanted else cv2.resize(picture, wanted, interpolation=cv2.INTER_LINEAR)


@dataclass(frozen=True)
class Part:
    """Those cells of a grid that are looked at: rows and columns from one to another."""

    rows: tuple[int, int]
    columns: tuple[int, int]

    @classmethod
    def around(cls, used: NDArray) -> Part:
        """What holds all cells of a grid (rows, columns) that are true, and those beside them; all where none is."""
        used = used if used.any() else np.ones_like(used)
        lines = np.flatnonzero(used.any(1)), np.flatnonzero(used.any(0))
        rows, columns = ((max(0, int(k[0]) - 1), min(n, int(k[-1]) + 2)) for k, n in zip(lines, used.shape))
        return cls(rows, columns)

    def cells(self, more: int = 0) -> tuple[slice, slice]:
        """They and `more` around them."""
        rows, columns = (slice(max(0, a - more), b + more) for a, b in (self.rows, self.columns))
        return rows, columns

    def pixels(self, grid: tuple[int, int], size: tuple[int, int]) -> tuple[slice, slice]:
        """Their pixels in a view of `size` (width, height) of a whole `grid` (rows, columns)."""
        (a, b), (c, d) = self.rows, self.columns
        (rows, columns), (w, h) = grid, size
        return slice(a * h // rows, -(-b * h // rows)), slice(c * w // columns, -(-d * w // columns))


def unwarped(
    image: Image,
    places: NDArray,
    grid: tuple[int, int],
    size: tuple[int, int],
    unit: float,
    wanted: float,
    part: Part | None = None,
) -> Image:
    """What `image` (H, W, 3) shows at `places` (rows * columns, 2; x, y in pixels), in grey.

    `places` belong to the middles of the cells of a `grid` (rows, columns); the view has `size` (width, height), or is
    the `part` of that. Where the picture has more than `wanted` pixels for its `unit`, it is made smaller first, near
    the places alone."""
    h, w = image.shape[:2]
    cells = places.reshape(*grid, 2)
    near = places if part is None else cells[part.cells(1)].reshape(-1, 2)
    lo = np.clip(np.floor(near.min(0)).astype(int) - 8, 0, [w - 1, h - 1])
    k = min(1.0, wanted / unit)
    n = 2 ** int(np.log2(1 / k))  # sides that are halved without a remainder keep places where they are
    count = (np.clip(np.ceil(near.max(0)).astype(int) + 8 + n, lo + 1, [w, h]) - lo) // n * n
    if not count.all():
        count, k = np.array([w, h]) - lo, 1.0
    grey = cv2.cvtColor(image[lo[1] : lo[1] + count[1], lo[0] : lo[0] + count[0]], cv2.COLOR_RGB2GRAY)
    small = halved(grey, k)
    scale = np.array([small.shape[1] / grey.shape[1], small.shape[0] / grey.shape[0]])
    maps = cv2.resize(((cells - lo + 0.5) * scale - 0.5).astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    maps = maps if part is None else maps[part.pixels(grid, size)]
    return np.asarray(cv2.remap(small, maps, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def make_flow() -> cv2.DISOpticalFlow:
    """Dense inverse search (Kroeger et al. 2016) as both measures use it.

    Patches four pixels apart, eight steps and one round of refinement take two thirds of the time of the preset's
    three, 25 and five, and move landmarks by 0.0003 to 0.0014 IOD, a sixth of what they tremble from frame to frame."""
    made = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    made.setPatchStride(4)
    made.setGradientDescentIterations(8)
    made.setVariationalRefinementIterations(1)
    return made
