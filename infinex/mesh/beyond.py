"""What lies beyond a picture's border where it cuts through a person: hair, skin and clothes go on.

A head that sinks, turns away from the border or grows smaller brings into view what was never photographed. A band
around the picture is made like the person next to it, by matching patches; close to the border and beyond that band
the picture is mirrored, in such a way that strands and outlines go straight on.
"""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.surroundings import smoothstep
from infinex.media.kept import kept
from infinex.mesh.fill import about, blurred, continued, push_pull

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
EARS = ([127, 234, 93, 132], [356, 454, 323, 361])  # nor a second ear, nor the cheek anew beside the head
EAR = 0.2  # how far ears reach from there; IOD
FRONT = 0.06  # over which the face beyond the border gives way to what is beside it; IOD
HAIRLINE = 0.35  # how far above the face's topmost point hair begins at the latest; IOD
LEAST = 0.01  # of what is beside the face, to go on with it; squared IOD
MIRROR = 0.11  # over which the mirror gives way to what was matched; IOD
DEPTH = 0.25  # of the picture along a border that tells how it leans there; IOD
STEEP = 1.0  # at most, sideways per pixel outwards
ALIKE = 0.08  # of a border that leans as one, about; twice as much in every further level; IOD
LEVELS = 5
REACH = 0.5  # from the border on over which it leans so, about; IOD
FLAT = 0.3  # squared grey levels a pixel: what changes less along a border tells nothing
HAIRS = 0.05  # width of what ends beyond a border, and how far beyond it has; IOD
SLACK = 0.03  # pixels outside that sampling rounds away

Image = NDArray[np.uint8]
Sides = tuple[bool, bool, bool, bool]


def cut_sides(alpha: NDArray[np.float32], sides: Sides) -> Sides:
    """Which of the `sides` (left, top, right, bottom) cut through the person of `alpha` (H, W)."""
    lines = alpha[:, 0], alpha[0], alpha[:, -1], alpha[-1]
    cut = [side and bool((line > TOUCHES).any()) for side, line in zip(sides, lines)]
    return cut[0], cut[1], cut[2], cut[3]


def mirrored(image: Image, widths: tuple[int, int, int, int], unit: float) -> Image:
    """A picture (H, W, 4) mirrored beyond its borders by `widths` (left, above, right, below) pixels, leaning.

    A strand that meets the border at an angle would come back from a mirror as a V. Each place is taken from so far
    along the border that it goes on as it came."""
    for turns, width in zip((3, 0, 1, 2), widths):  # the border in question turned upwards
        if width:
            image = np.rot90(_above(np.ascontiguousarray(np.rot90(image, turns)), width, unit), -turns)
    return np.ascontiguousarray(image)


def _above(image: Image, width: int, unit: float) -> Image:
    """A picture (H, W, 4) with `width` rows more above it."""
    h, w = image.shape[:2]
    rows = min(h, max(3, round(DEPTH * unit)))
    strip = cv2.GaussianBlur(
        cv2.cvtColor(image[:rows], cv2.COLOR_RGBA2GRAY).astype(np.float32), (0, 0), 0.01 * unit + 0.5
    )
    across, down = cv2.Sobel(strip, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(strip, cv2.CV_32F, 0, 1, scale=0.125)
    near = np.linspace(1, 0, rows, endpoint=False, dtype=np.float32)[:, None]
    near = near * (image[:rows, :, 3] > 235)
    # A line x = x0 + lean * depth is where across * lean + down = 0: by least squares along the border.
    sums = np.stack([(near * across * down).sum(0), (near * across * across).sum(0), near.sum(0)])
    leans = []
    for level in range(LEVELS):  # the farther out, the more of the border goes on as one, so that nothing folds
        near_by = cv2.GaussianBlur(sums, (0, 0), sigmaX=ALIKE * 2**level * unit + 0.5, sigmaY=1e-3)
        leans.append(np.clip(-near_by[0] / (near_by[1] + FLAT * near_by[2] + 1e-6), -STEEP, STEEP))
    field = np.stack(leans).astype(np.float32)
    depth, x = (v.astype(np.float32) for v in np.mgrid[width:0:-1, :w])
    level = np.log2(np.maximum(depth / (ALIKE * unit), 1))
    far = np.float32(REACH * unit) * (1 - np.exp(-depth / np.float32(REACH * unit)))
    lean = cv2.remap(field, x, level, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    lean = cv2.remap(field, x + lean * far, level, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    beyond = cv2.remap(image, x + 2 * lean * far, depth, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.concatenate([beyond, image])


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
        """Pixels added left, above, right and below: what is sampled beyond them is mirrored.

        Sides that do not cut through the person get them, too: a head that sinks would come back there, mirrored."""
        band = max(4, round(BAND * unit)) if any(self._sides) else 0
        return band, band, band, band

    @cached_property
    def _picture(self) -> Image:
        """The person with what lies beyond, (H', W', 4): made when a frame first shows some of it."""
        given = self._person, self._points, self._unit, np.array([*self._sides, self._match])
        (picture,) = kept("beyond", lambda: (self._joined(),), *given)
        return picture

    def _joined(self) -> Image:
        (h, w), unit = self._size, self._unit
        left, above, right, below = self._widths(unit)
        cut = [band * side for band, side in zip((left, above, right, below), self._sides)]
        wide = mirrored(self._person, (cut[0], cut[1], cut[2], cut[3]), unit)
        none = [band - own for band, own in zip((left, above, right, below), cut)]  # there nobody is
        wide = cv2.copyMakeBorder(wide, none[1], none[3], none[0], none[2], cv2.BORDER_REPLICATE)
        # The outline goes on the way it reaches the border.
        alpha = cv2.copyMakeBorder(self._person[..., 3], above, below, left, right, cv2.BORDER_REPLICATE)
        if self._match:  # else all is the person
            outer = np.ones(alpha.shape, np.uint8)
            outer[above : above + h, left : left + w] = 0
            away = cv2.distanceTransform(outer, cv2.DIST_L2, 5) / unit
            # Single hairs end: further out none goes on as a bar.
            soft = blurred(alpha, max(1.0, HAIRS * unit))
            soft = np.asarray(255 * smoothstep((soft / 255 - 0.3) / 0.4), np.float32)  # type: ignore[arg-type]
            share = smoothstep(away / HAIRS)
            alpha = np.round(alpha + share * (soft - alpha)).astype(np.uint8)
        rows, columns = alpha.shape
        alpha[: none[1]] = alpha[rows - none[3] :] = 0
        alpha[:, : none[0]] = alpha[:, columns - none[2] :] = 0
        if self._match:
            inside = np.zeros(alpha.shape, bool)
            inside[above : above + h, left : left + w] = True
            known = ((alpha > 235) & inside).astype(np.uint8)
            for chain in FEATURES:
                hull = cv2.convexHull(np.round(self._points[chain] + self._corner).astype(np.int32))
                cv2.fillConvexPoly(known, hull, 0)
                cv2.polylines(known, [hull], True, 0, max(1, round(2 * AROUND * unit)))
            made = self._made(np.ascontiguousarray(wide[..., :3]), known > 0, ~inside & (alpha > 0))
            if made is not None:
                part = about(~inside & (alpha > 0))  # elsewhere nothing was made
                share = smoothstep(away[part] / MIRROR)[..., None]  # close by nothing goes on better than the mirror
                wide[part][..., :3] = np.round(wide[part][..., :3] * (1 - share) + made[part] * share)
        wide[..., 3] = alpha
        return wide

    def _made(self, image: Image, known: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> NDArray | None:
        """`image` (H', W', 3) with what is `wanted` (H', W') made like what is `known`; None where that is too little.

        A face that the border cuts goes on as face, up to where hair begins; beside and above that comes what the
        picture shows there, hair or a hat, no more skin and no second ear."""
        (h, w), unit = self._size, self._unit
        left, above, right, below = self._widths(unit)
        points = (self._points + self._corner).astype(np.float32)
        brow, chin = points[10], points[152]
        up = (brow - chin) / (float(np.linalg.norm(brow - chin)) + 1e-6)
        y, x = np.arange(known.shape[0], dtype=np.float32)[:, None], np.arange(known.shape[1], dtype=np.float32)
        height = ((x - brow[0]) * up[0] + (y - brow[1]) * up[1]) / unit  # above the top of the face
        face = np.zeros(known.shape, np.uint8)
        for rise in (0.0, HAIRLINE / 2, HAIRLINE):
            cv2.fillPoly(face, [np.round(points[top.OVAL] + rise * unit * up).astype(np.int32)], 1)
        inner = face[above : above + h, left : left + w].astype(np.float32)
        front = cv2.copyMakeBorder(inner, above, below, left, right, cv2.BORDER_REPLICATE)
        front = blurred(front, FRONT * unit + 0.5) * (1 - smoothstep(2 * height / HAIRLINE - 1))
        lips, low = (float((p - brow) @ up) / unit for p in (points[13], chin))
        under = smoothstep((lips - height) / (lips - low + 1e-6))  # neck and shoulders
        front = np.maximum(front, under)
        for chain in EARS:
            cv2.polylines(face, [np.round(points[chain]).astype(np.int32)], False, 1, max(1, round(2 * EAR * unit)))
        beside = known & (face == 0) & (height > lips) & (height < HAIRLINE)  # of a hat its brim, not its crown
        around = None
        if np.count_nonzero(beside) > LEAST * unit**2:
            around = continued(image, beside, wanted, unit, LARGEST)
            if around is None:  # too little for patches: its colours
                k = min(1.0, LARGEST / max(image.shape[:2]))
                small, weight = (cv2.resize(v, None, fx=k, fy=k, interpolation=cv2.INTER_AREA) for v in (
                    image, beside.astype(np.float32)))  # fmt: skip
                soft = push_pull(small, np.floor(weight))
                around = cv2.resize(soft, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        if around is None:
            return continued(image, known, wanted, unit, LARGEST)
        on = wanted & (front > 0)
        ahead = continued(image, known, on, unit, LARGEST) if on.any() else None
        if ahead is None:
            return around
        part = about(on)  # elsewhere nothing was made
        out = around.astype(np.float32)
        out[part] += front[part][..., None] * (ahead[part].astype(np.float32) - out[part])
        return out

    @property
    def continued(self) -> tuple[Image, int, int]:
        """The person with what lies beyond, (H', W', 4), and where in it the part's own corner lies, x and y."""
        return self._picture, *self._corner

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
