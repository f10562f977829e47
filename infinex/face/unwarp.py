"""A picture seen as another one: small, grey, and with chosen places where the other has them, for optical flow."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.media.grey import Grey, grey_of

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


def unwarped(
    image: Image | Grey, places: NDArray, grid: tuple[int, int], size: tuple[int, int], unit: float, wanted: float
) -> Image:
    """What `image` (H, W[, 3]) shows at `places` (rows * columns, 2; x, y in pixels), in grey.

    `places` belong to the middles of the cells of a `grid` (rows, columns); the view has `size` (width, height). Where
    the picture has more than `wanted` pixels for its `unit`, it is made smaller first, near the places alone."""
    h, w = image.shape[:2]
    first, last = ([f(places[:, 0]), f(places[:, 1])] for f in (np.min, np.max))  # ten times as quick as by axis
    lo = np.clip(np.floor(first).astype(int) - 8, 0, [w - 1, h - 1])
    k = min(1.0, wanted / unit)
    n = 2 ** int(np.log2(1 / k))  # sides that are halved without a remainder keep places where they are
    count = (np.clip(np.ceil(last).astype(int) + 8 + n, lo + 1, [w, h]) - lo) // n * n
    if not count.all():
        count, k = np.array([w, h]) - lo, 1.0
    grey = grey_of(image, slice(lo[1], lo[1] + count[1]), slice(lo[0], lo[0] + count[0]))
    small = halved(grey.plane, k)
    scale = np.array([small.shape[1] / grey.shape[1], small.shape[0] / grey.shape[0]])
    cells = ((places - lo + 0.5) * scale - 0.5).reshape(*grid, 2).astype(np.float32)
    maps = cv2.resize(cells, size, interpolation=cv2.INTER_LINEAR)
    return grey.levelled(cv2.remap(small, maps, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def make_flow(rounds: int = 2) -> cv2.DISOpticalFlow:
    """Dense inverse search (Kroeger et al. 2016) as both measures use it, refined by so many `rounds`.

    Two rounds of refinement leave less of faces unexplained than the five of the preset (3.6 grey levels for 3.7)."""
    made = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    made.setVariationalRefinementIterations(rounds)
    return made
