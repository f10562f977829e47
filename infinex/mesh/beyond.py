"""What lies beyond a picture's border where it cuts through a person: hair, skin and clothes go on.

A head that sinks, turns away from the border or grows smaller brings into view what was never photographed. A band
around the picture is made like the person next to it, by matching patches; beyond that band it is mirrored.
"""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.surroundings import smoothstep
from infinex.mesh.fill import continued

BAND = 0.75  # width of what is continued; IOD
LARGEST = 224  # pixels of the longer side at which patches are matched
TOUCHES = 0.05  # alpha from which on a border counts as cutting through the person
FEATURES = (  # no second eye, nose or mouth may grow: chains around them ...
    [*top.RIGHT_EYE, 70, 63, 105, 66, 107, 55, 65, 52, 53, 46],
    [*top.LEFT_EYE, 300, 293, 334, 296, 336, 285, 295, 282, 283, 276],
    [168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 129, 358, 64, 294, 48, 278],
    list(top.LIPS_OUTER),
)
AROUND = 0.09  # ... and this much about them; IOD
MIRROR = 0.06  # over which the mirror gives way to what was matched; IOD
HAIRS = 0.05  # width of what ends beyond a border, and how far beyond it has; IOD
SLACK = 0.03  # pixels outside that sampling rounds away

Image = NDArray[np.uint8]
Sides = tuple[bool, bool, bool, bool]


def cut_sides(alpha: NDArray[np.float32], sides: Sides) -> Sides:
    """Which of the `sides` (left, top, right, bottom) cut through the person of `alpha` (H, W)."""
    lines = alpha[:, 0], alpha[0], alpha[:, -1], alpha[-1]
    cut = [side and bool((line > TOUCHES).any()) for side, line in zip(sides, lines)]
    return cut[0], cut[1], cut[2], cut[3]


class Beyond:
    """The person of a part of a picture, continued beyond those of its sides that are the picture's own borders."""

    def __init__(self, person: Image, points: NDArray, unit: float, sides: Sides, match: bool = True) -> None:
        """`person` (H, W, 4) with alpha, `points` (478, 2) of the face in its pixels, `unit` the inter-ocular
        distance in pixels; `sides` (left, top, right, bottom) are borders. Without `match` all is mirrored."""
        self._size = person.shape[:2]
        self._sides = cut_sides(person[..., 3].astype(np.float32) / 255, sides)  # type: ignore[arg-type]
        self._corner = self._widths(unit)[:2]
        self._person, self._points, self._unit, self._match = person, points, unit, match

    def _widths(self, unit: float) -> tuple[int, int, int, int]:
        """Pixels added left, above, right and below."""
        band = max(4, round(BAND * unit))
        left, above, right, below = (band * side for side in self._sides)
        return left, above, right, below

    @cached_property
    def _picture(self) -> Image:
        """The person with what lies beyond, (H', W', 4): made when a frame first shows some of it."""
        (h, w), unit = self._size, self._unit
        left, above, right, below = self._widths(unit)
        wide = cv2.copyMakeBorder(self._person, above, below, left, right, cv2.BORDER_REFLECT_101)
        # The outline goes on the way it reaches the border.
        alpha = cv2.copyMakeBorder(self._person[..., 3], above, below, left, right, cv2.BORDER_REPLICATE)
        outer = np.ones(alpha.shape, np.uint8)
        outer[above : above + h, left : left + w] = 0
        away = cv2.distanceTransform(outer, cv2.DIST_L2, 5) / unit
        # Single hairs end: further out none goes on as a bar.
        soft = cv2.GaussianBlur(alpha, (0, 0), max(1.0, HAIRS * unit)).astype(np.float64)
        soft = 255 * smoothstep((soft / 255 - 0.3) / 0.4)
        share = smoothstep(away / HAIRS)
        alpha = np.round(alpha + share * (soft - alpha)).astype(np.uint8)
        if self._match:
            inside = np.zeros(alpha.shape, bool)
            inside[above : above + h, left : left + w] = True
            known = ((alpha > 235) & inside).astype(np.uint8)
            for chain in FEATURES:
                hull = cv2.convexHull(np.round(self._points[chain] + self._corner).astype(np.int32))
                cv2.fillConvexPoly(known, hull, 0)
                cv2.polylines(known, [hull], True, 0, max(1, round(2 * AROUND * unit)))
            wanted = ~inside & (alpha > 0)
            made = continued(np.ascontiguousarray(wide[..., :3]), known > 0, wanted, unit, LARGEST)
            if made is not None:
                share = smoothstep(away / MIRROR)[..., None]  # close by nothing goes on better than the mirror
                wide[..., :3] = np.round(wide[..., :3] * (1 - share) + made * share)
        wide[..., 3] = alpha
        return wide

    @property
    def sides(self) -> Sides:
        """Left, top, right, bottom: which borders the person is continued beyond."""
        return self._sides

    def lay(self, sampled: Image, map_x: NDArray[np.float32], map_y: NDArray[np.float32]) -> None:
        """Put into `sampled` (h, w, 3 or 4), in place, what its maps (h, w) take from beyond the borders."""
        h, w = self._size
        edges = (map_x, -SLACK, cv2.CMP_LT), (map_y, -SLACK, cv2.CMP_LT), (
            map_x, w - 1 + SLACK, cv2.CMP_GT), (map_y, h - 1 + SLACK, cv2.CMP_GT)  # fmt: skip
        for side, (at, limit, how) in zip(self._sides, edges):
            if not side:
                continue
            outside = cv2.compare(at, limit, how)
            x, y, dx, dy = cv2.boundingRect(outside)
            if not dx:
                continue
            view = (slice(y, y + dy), slice(x, x + dx))
            found = cv2.remap(
                self._picture, map_x[view] + np.float32(self._corner[0]), map_y[view] + np.float32(self._corner[1]),
                cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101,
            )  # fmt: skip
            np.copyto(sampled[view], found[..., : sampled.shape[2]], where=outside[view][..., None] > 0)
