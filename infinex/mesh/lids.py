"""Upper lids that come down: clean skin out of the crease, a lash line where the lids meet, lashes that turn over.

Warping alone would draw down what lies on an open lid's edge - lashes, shadow, rims of paint - into bars. So the lid is
laid out once for each portrait, straightened along its edge: the band of the lashes, and the skin above without them.
A lid that closes is put together from both: the band stays as thick as it was and turns over while the lid sinks, the
skin above it is lengthened, and goes over into that of the socket (`sockets.py`) as it comes out of the crease.
Lengths here are in widths of the eye, upright in its own frame; `d` is the height above the edge of the upper lid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.interior import lab_of, ramp
from infinex.face.portrait import EYES, SourceFace
from infinex.face.surroundings import smoothstep
from infinex.mesh.layers import polygon_mask
from infinex.mesh.raster import blend
from infinex.mesh.retarget import Target
from infinex.mesh.sockets import Outline, Socket, grid, size
from infinex.mesh.warp import Flow

Array = NDArray[np.float64]
Plane = NDArray[np.float32]
Image = NDArray[np.uint8]
CREASES = ([247, 30, 29, 27, 28, 56, 190], [467, 260, 259, 257, 258, 286, 414])  # above the lids, from the outside
BROWS = ([46, 53, 52, 65, 55], [276, 283, 282, 295, 285])  # their lower edges
ASIDE = 0.12  # beyond the corners that is laid out
HIGH, LOW = 0.42, -0.14  # heights above the edge that are laid out
FINEST = 150  # columns that a lid is laid out in at most
EDGE = (-0.06, 0.12)  # where the dark edge of a lid is looked for beside the tracked one
BAND = (0.025, 0.10)  # thickness of the lash band, least and most
BELOW = (0.14, 0.34)  # depths below the lower lid at which the skin tells of the light
LIT, TINTED = 0.6, 0.9  # shares of that light and its colour that fall on the lower edge of a shut lid, too
RIM = 0.01  # of it that is a lid's own wet rim
UNDER = 0.15  # depth below the tracked lower lid to which the ball of an eye may show
LINED = 20.0  # lightness by which a line around it is darker than both sides
MOSTLY = 50  # percentile of the columns that tells how far it shows
FOLDS = 0.05  # log lightness of surface from where on it is folds
BENEATH = (0.16, 0.62)  # depths below the lower lid whose surface a shut lid has
SURFACE, WORN = 0.045, 0.8  # width up to which detail is surface, and how much of it a lid has
FINE, GRAINED = 1.2, 1.6  # pixels up to which it is grain, and how much of that: sampling it twice softens it
CLOSEST = 320  # columns that this is laid out in at most
LID = 0.30  # height up to which an open lid's skin tells how that of a shut one looks
CLOSING = (0.15, 0.42)  # share closed over which the painted lid takes over from the warp
AROUND = (0.8, 1.1)  # share of a lid's height over which its skin goes over into what the warp shows above it
SMOOTH = (0.15, 0.55)  # ... and over which its skin is smoothed
HAIR = 0.07  # widths of an eye that a lash, or a few that cling together, are across
SPILL = (0.16, 0.28)  # height up to which lashes are looked for, and beyond which the brow may begin
ROUNDED = 0.6  # power of the parabola that a shut lid's crease stays below
BULGE = 0.07  # by how much a shut lid is lighter over the ball than beside it
FOLD = 0.04  # darkness of the crease above a shut lid, and ...
KEPT = (1.0, 0.55)  # ... share of the portrait's own that is left in an open lid and in a shut one
NARROW, LONG = 0.10, 0.22  # heights of what is a crease at most, and how far it goes along the eye at least
WOBBLE = 0.06  # height by which its columns are moved onto an arc at most
BESIDE = 0.10  # height over which what is laid on beside a corner ends
NEAR = (0.07, 0.14)  # how far from the tracked crease it is looked for
TURN = (0.75, 0.15)  # opening over which lashes turn over
DOWN, FAINT = 0.7, 0.65  # length and darkness of lashes on a shut eye, of those on an open one
LINER = 0.12  # widths of an eye along which what is dark without a gap is a rim or a liner, not lashes
THINNED = ((0.0, 0.6), (0.35, 1.0))  # openings of a lid, and the share of its thickness that such a rim has there
FLATTEST = 0.3  # of the length of lashes that point at the viewer
LINE = (0.013, 0.031)  # half the thickness of the line where lids meet, of faces without lashes and of thick ones
LEAST_LINE = 0.32  # its darkness in a face without lashes, as a share of the skin's lightness


def _median(values: Array, size: int) -> Array:
    """The median of the odd number `size` of values (N,) around each; beyond the ends they are nothing.

    SciPy has that, too, in a part of it that is slow to load."""
    beside = np.lib.stride_tricks.sliding_window_view(np.pad(values, size // 2), size)
    return np.asarray(np.median(beside, axis=1))


def _smoothed(values: NDArray, columns: float) -> NDArray:
    """Rows or a row of values, each column's mean with its neighbours'."""
    flat = np.asarray(values, np.float32)
    lone = flat.ndim == 1
    out = cv2.GaussianBlur(flat[None] if lone else flat, (0, 0), columns, sigmaY=1e-3, borderType=cv2.BORDER_REPLICATE)
    return out[0] if lone else out


@dataclass(frozen=True)
class _Frame:
    """An eye's own coordinates: from the outer corner (0, 0) to the inner one (1, 0), and upwards."""

    corner: complex
    along: complex
    up: float  # which way is up in the picture

    @staticmethod
    def of(points: Array, k: int) -> _Frame:
        ids = EYES[k][0]
        a, b = (complex(*points[i, :2]) for i in (ids[0], ids[-1]))
        return _Frame(a, b - a, -1.0 if (b - a).real > 0 else 1.0)

    def local(self, points: Array) -> tuple[Array, Array]:
        """Place along the eye and height of points (N, 2)."""
        z = (points[..., 0] + 1j * points[..., 1] - self.corner) / self.along
        return z.real, self.up * z.imag

    def pixels(self, u: Array, height: Array) -> tuple[Plane, Plane]:
        """The inverse, x and y."""
        z = (u + 1j * self.up * height) * self.along + self.corner
        return z.real.astype(np.float32), z.imag.astype(np.float32)


def _curve(frame: _Frame, points: Array, ids: list[int]) -> tuple[Array, Array]:
    """A chain of points as heights over places along the eye, sorted."""
    u, height = frame.local(points[ids, :2])
    order = np.argsort(u)
    return u[order], height[order]


class Lid:
    """One upper lid of a portrait, laid out straight."""

    def __init__(self, image: Image, points: Array, k: int, grain: Plane, glasses: bool = False) -> None:
        """`image` shows landmarks `points` (478, 3) in its pixels; `grain` is the skin's, see `MouthTone`; behind
        `glasses` what is dark may be their frame."""
        self.k, self._glasses = k, glasses
        frame = _Frame.of(points, k)
        self.fits = abs(frame.along) >= 8
        if not self.fits:
            return
        n = int(np.clip((1 + 2 * ASIDE) * abs(frame.along), 24, FINEST))
        m = max(12, round(n * (HIGH - LOW) / (1 + 2 * ASIDE)))
        self._u = np.linspace(-ASIDE, 1 + ASIDE, n)
        d = np.linspace(HIGH, LOW, m)
        edge = np.interp(self._u, *_curve(frame, points, EYES[k][0]))
        x, y = frame.pixels(np.tile(self._u, (m, 1)), edge + d[:, None])
        seen = cv2.remap(image, x, y, cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
        light = lab_of(seen)[..., 0]
        # The dark root of the lashes: trackers put the edge of a lid a little above or below it.
        near = (d > EDGE[0]) & (d < EDGE[1])
        column = 0.06 * n
        weight = (
            np.exp(-_smoothed(light, 0.02 * n)[near] / 6 + light.min() / 6) * np.exp(-((d[near] / 0.07) ** 2))[:, None]
        )
        root = _smoothed((weight * d[near, None]).sum(0) / np.maximum(weight.sum(0), 1e-9), column)
        root *= ramp(self._u, -0.08, 0.04) * ramp(-self._u, -1.02, -0.92)
        self.root = root
        x, y = frame.pixels(np.tile(self._u, (m, 1)), edge + root + d[:, None])
        self.seen = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
        lab = lab_of(self.seen)
        middle = (self._u > 0.15) & (self._u < 0.85)
        profile = np.median(lab[:, middle, 0], 1)
        above = (d > 0.03) & (d < LID)
        bright = float(np.percentile(profile[above], 70))
        dark = float(profile[(d > -0.03) & (d < 0.05)].min())
        clear = np.flatnonzero((profile > dark + 0.7 * (bright - dark)) & (d > 0))
        self.band = float(np.clip(d[clear[-1]] if len(clear) else BAND[0], *BAND))
        low = np.interp(self._u, *_curve(frame, points, EYES[k][1]))
        x, y = frame.pixels(np.tile(self._u, (8, 1)), low - np.linspace(*BELOW, 8)[:, None])
        below = lab_of(cv2.remap(image, x, y, cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE))
        self._skin(lab, below, d, column)
        self._under = self._beneath(image, frame, low, np.median(below, 0), column)
        self._lashes(lab, d, bright, dark)
        self._hairs(lab, d, bright - dark)
        crease = [EYES[k][0][0], *CREASES[k], EYES[k][0][-1]]
        self._height = np.maximum(np.interp(self._u, *_curve(frame, points, crease)) - edge - root, self.band + 0.02)
        self._creased(lab, d)
        self._texture(image, points, frame, low, grain)
        self._edge = edge + root
        self._socket(image, points, frame, self._edge, low, crease)

    def _socket(self, image: Image, points: Array, frame: _Frame, edge: Array, low: Array, crease: list[int]) -> None:
        """The socket without an eye, and the heights of crease and lower lid in it."""
        width = abs(frame.along)
        m, n = size(width)
        u, h = grid(m, n)
        x, y = frame.pixels(np.tile(u, (m, 1)), np.tile(h[:, None], (1, n)))
        coarse = (u[1] - u[0]) * width
        lo = np.maximum(np.floor([x.min(), y.min()]) - 8, 0).astype(int)
        hi = np.ceil([x.max(), y.max()]).astype(int) + 8
        part = image[lo[1] : hi[1], lo[0] : hi[0]]
        if coarse > 1.2:
            part = cv2.GaussianBlur(part, (0, 0), 0.4 * coarse)
        seen = cv2.remap(
            part, x - np.float32(lo[0]), y - np.float32(lo[1]), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        self._frame = frame
        oval = np.stack(frame.local(points[top.OVAL, :2]), 1)
        oval = np.stack([(oval[:, 0] - u[0]) / (u[1] - u[0]), (oval[:, 1] - h[0]) / (h[1] - h[0])], 1)
        inside = polygon_mask(m, n, oval)
        meet = low - self._under
        brow = np.interp(self._u, *_curve(frame, points, BROWS[self.k]))
        lines = Outline(self._u, edge, meet, edge + self._height, brow)
        lid = np.stack([np.interp(u, self._u, c) for c in self.skin.T], 1)
        self.socket = Socket(seen, inside, lines, lid, self._glasses)
        self._meet, self._crease = meet, np.interp(self._u, *_curve(frame, points, crease))

    def _skin(self, lab: Plane, below: Plane, d: Array, column: float) -> None:
        """What the lower edge of the shut lid looks like: by column, free of lashes, folds and rims of glasses.

        It bulges out from under the brow into the light that falls on the skin `below` the eye, (n, columns, 3)."""
        over = lab[(d > self.band) & (d < LID)]
        order = np.argsort(over[..., 0], axis=0)
        some = order[int(0.6 * len(over)) : max(int(0.9 * len(over)), int(0.6 * len(over)) + 1)]
        base = np.take_along_axis(over, some[..., None], 0).mean(0)
        under = np.median(below, 0)
        base = base + (under - base) * [LIT, TINTED, TINTED]
        middle = np.median(base, 0)
        base = middle + np.clip(base - middle, [-16, -9, -9], [10, 9, 9])  # no glint, no rim
        skin = np.stack([_smoothed(c, 1.6 * column) for c in base.T], 1)
        self.skin: Plane = skin.astype(np.float32)  # (n, 3)

    def _beneath(self, image: Image, frame: _Frame, low: Array, skin: Plane, column: float) -> Array:
        """How far the ball shows below the tracked lower lid, by column: eyes that are drawn large reach beyond it."""
        depth = np.linspace(-0.05, UNDER, 16)
        x, y = frame.pixels(np.tile(self._u, (16, 1)), low - depth[:, None])
        lab = lab_of(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
        ball = lab[:3].mean(0)
        white = ball[ball[:, 0] >= np.percentile(ball[:, 0], 75)].mean(0)
        seen = np.zeros(lab.shape[:2], bool)
        for one in (ball, np.broadcast_to(white, ball.shape)):  # below an iris that stands low there is white again
            way = one - skin
            apart = np.maximum((way**2).sum(-1), 1.0)
            share = ((lab - skin) * way).sum(-1) / apart  # 1 on the ball, 0 on the skin
            seen |= (share > 0.5) & (apart > 12.0**2)
        still = np.minimum.accumulate(seen, 0)
        out = np.maximum(np.where(still, depth[:, None], 0).max(0) - RIM, 0)
        # The line where lids meet is one arc, whatever shadows and strokes of the brush do below the eye.
        middle = (self._u > 0.2) & (self._u < 0.8)
        sag = float(np.percentile(out[middle], MOSTLY))
        arc = sag * np.sqrt(np.clip(4 * self._u * (1 - self._u), 0, 1))
        rim = self._rimmed(image, frame, low)
        found = np.isfinite(rim)
        if found[middle].mean() > 0.6:
            drawn = (
                np.interp(self._u, self._u[found], rim[found])
                * ramp(self._u, -0.12, -0.04)
                * ramp(-self._u, -1.06, -0.98)
            )
            arc = np.maximum(arc, _median(drawn, max(3, len(drawn) // 10) | 1) - RIM)
        return np.asarray(1.15 * _smoothed(np.minimum(arc, UNDER), column), np.float64)

    def _rimmed(self, image: Image, frame: _Frame, low: Array) -> Array:
        """Depth by column of the dark line below the tracked lower lid at which a drawn eye ends; nan where none is."""
        depth = np.arange(-0.04, UNDER + 0.05, 0.0125)
        x, y = frame.pixels(np.tile(self._u, (len(depth), 1)), low - depth[:, None])
        light = lab_of(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))[..., 0]
        beside = np.ones((5, 1), np.uint8)
        above, below = (cv2.dilate(light, beside, anchor=(0, a), borderType=cv2.BORDER_REPLICATE) for a in (4, 0))
        line = (np.minimum(above, below) - light > LINED) & ((depth > 0.01) & (depth < UNDER))[:, None]
        return np.where(line.any(0), np.where(line, depth[:, None], -1.0).max(0), np.nan)

    def _lashes(self, lab: Plane, d: Array, bright: float, dark: float) -> None:
        """How dark the lash band is, (m, n) in 0..1, and its colour."""
        base = self.skin[None, :, 0]
        reach = self.band + 0.05
        contrast = np.maximum(base - dark, 6.0)
        amount = np.clip((0.94 * base - lab[..., 0]) / contrast, 0, 1)
        amount *= ramp(-d, -reach, -0.5 * self.band)[:, None] * ramp(d, -0.05, -0.01)[:, None]
        amount *= (ramp(self._u, -0.06, 0.02) * ramp(-self._u, -1.0, -0.9))[None]
        self.lash: Plane = amount.astype(np.float32)
        wide = max(3, round(LINER / (self._u[1] - self._u[0]))) | 1
        self.rim: Plane = cv2.morphologyEx(self.lash, cv2.MORPH_OPEN, np.ones((1, wide), np.uint8))
        mass = float(amount[:, (self._u > 0.15) & (self._u < 0.85)].sum(0).mean()) * (HIGH - LOW) / len(d)
        self.line = float(np.interp(mass, [0.01, 0.09], LINE))
        band = lab[(d > -0.02) & (d < self.band)].reshape(-1, 3)
        ink = band[band[:, 0] <= np.percentile(band[:, 0], 20)].mean(0)
        level, *hue = np.median(self.skin, 0).tolist()
        ink[1:] = (ink[1:] + hue) / 2  # an iris beside it lends it no blue
        ink[0] = min(float(ink[0]), (1 - LEAST_LINE) * level)
        self._written(ink.astype(np.float32), level)

    def _written(self, ink: NDArray, level: float) -> None:
        """Draw lines and lashes with `ink` (3,) in Lab on skin that is so light."""
        self._ink_of, self._level = ink, max(level, 1.0)
        self._ink = cv2.cvtColor(ink[None, None], cv2.COLOR_LAB2RGB)[0, 0] * 255
        self.depth = float(np.clip(1.25 * (1 - ink[0] / self._level), LEAST_LINE, 1))

    def like(self, other: Lid) -> None:
        """Go half of the way to another lid's lines where those are darker beside its skin: light differs."""
        share, theirs = self._ink_of[0] / self._level, other._ink_of[0] / other._level
        if theirs < share:
            self._written(self._ink_of * np.array([(share + theirs) / 2 / share, 1, 1], np.float32), self._level)
            self.line = max(self.line, (self.line + other.line) / 2)

    def _hairs(self, lab: Plane, d: Array, contrast: float) -> None:
        """The skin without lashes that reach over the crease, and where those were in 0..1, (m, n, 4)."""
        # They are narrow across; folds and shadows, however slanted, are not.
        wide = max(3, round(HAIR * lab.shape[1])) | 1
        bare = cv2.morphologyEx(self.seen, cv2.MORPH_CLOSE, np.ones((1, wide), np.uint8))
        hair = (lab_of(bare)[..., 0] - lab[..., 0]) / max(0.3 * contrast, 3.0)
        hair *= (ramp(d, 0.0, 0.02) * ramp(-d, -SPILL[1], -SPILL[0]))[:, None]
        mask = cv2.dilate((hair > 0.25).astype(np.float32), np.ones((3, 3), np.uint8))
        hair = cv2.GaussianBlur(cv2.dilate(mask, np.ones((3, 3), np.uint8)), (0, 0), 1.0)
        bare = self.seen + (bare - self.seen) * cv2.GaussianBlur(mask, (0, 0), 0.7)[..., None]
        self.bare: Plane = np.dstack([bare, hair])

    def _creased(self, lab: Plane, d: Array) -> None:
        """The portrait's own crease, (m, n, 3) darkness in 0..1: narrow in height, long, and near the tracked one."""
        cell = (HIGH - LOW) / (len(d) - 1)
        rows, columns = (max(3, round(s / cell)) | 1 for s in (NARROW, LONG))
        upright = np.ones((rows, 1), np.uint8)
        stands = cv2.morphologyEx(cv2.GaussianBlur(lab[..., 0], (0, 0), 0.7), cv2.MORPH_BLACKHAT, upright)
        slack = np.ones((max(1, round(0.02 / cell)) | 1, 1), np.uint8)
        long = cv2.morphologyEx(cv2.dilate(stands, slack), cv2.MORPH_OPEN, np.ones((1, columns), np.uint8))
        near = ramp(-np.abs(d[:, None] - self._height), -NEAR[1], -NEAR[0])
        near = near * ramp(d, self.band, self.band + 0.03)[:, None]
        near *= ramp(self._u, 0.0, 0.15) * ramp(-self._u, -1.0, -0.85)
        share = near * np.minimum(stands, long) / np.maximum(stands, 1e-3)
        smooth = cv2.GaussianBlur(self.bare[..., :3], (0, 0), 0.7)
        dark = cv2.morphologyEx(smooth, cv2.MORPH_BLACKHAT, upright)
        crease = (dark / np.maximum(smooth + dark, 16.0) * share[..., None]).astype(np.float32)
        self.crease: Plane = cv2.GaussianBlur(self._arched(crease, d, cell), (0, 0), 0.025 / cell, sigmaY=0.006 / cell)

    def _arched(self, crease: Plane, d: Array, cell: float) -> Plane:
        """A crease whose columns are moved onto one arc: stretched out over a shut eye, every wobble would be seen."""
        amount = crease.mean(-1)
        mass = amount.sum(0)
        if float(mass.max()) <= 1e-4 or int((mass > 0.2 * mass.max()).sum()) < 8:
            return crease
        height = (amount * d[:, None]).sum(0) / np.maximum(mass, 1e-6)
        arc = np.polynomial.Polynomial.fit(self._u, height, 2, w=np.sqrt(mass / mass.max()))(self._u)
        lift = _smoothed(np.where(mass > 0.05 * mass.max(), np.clip(arc - height, -WOBBLE, WOBBLE), 0), 1.5)
        x, y = np.meshgrid(np.arange(len(self._u)), np.arange(len(d)))
        from_ = (y + lift[None] / cell).astype(np.float32)  # rows run downwards
        return cv2.remap(crease, x.astype(np.float32), from_, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)

    def _texture(self, image: Image, points: Array, frame: _Frame, low: Array, grain: Plane) -> None:
        """Surface of the painted skin, (rows, columns, 3) factors: that of the skin below the eye, mirrored."""
        width = abs(frame.along)
        n = int(np.clip((1 + 2 * ASIDE) * width, 24, CLOSEST))
        cell = (1 + 2 * ASIDE) / n
        depth = np.arange(*BENEATH, cell)
        u = np.linspace(-ASIDE, 1 + ASIDE, n)
        arc = np.polynomial.Polynomial.fit(self._u, low, 2)(u)
        x, y = frame.pixels(np.tile(u, (len(depth), 1)), arc - depth[:, None])
        seen = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32) + 8
        detail = np.log(seen / cv2.GaussianBlur(seen, (0, 0), SURFACE / cell, borderType=cv2.BORDER_REFLECT))
        # Single strong things, a fold or a strand of hair, are toned down to the rest.
        usual = np.sqrt(np.median(cv2.blur(detail.mean(-1) ** 2, (9, 9)))) * 2 + 1e-3
        strength = np.sqrt(cv2.GaussianBlur(detail.mean(-1) ** 2, (0, 0), 1.5))
        # Wrinkles below an old eye would be pleats on its lid, unless all of the face is drawn so.
        share = min(1.0, max(FOLDS, 2 * float(grain.std())) / usual)
        fine = detail - cv2.GaussianBlur(detail, (0, 0), FINE)
        detail = share * (WORN * detail + (GRAINED - WORN) * fine)  # grain, weave and strokes are no wrinkles
        detail *= np.minimum(1, usual / np.maximum(strength, 1e-4))[..., None]
        oval = polygon_mask(len(depth), n, np.stack(self._cells(frame, points[top.OVAL, :2], u, arc, depth), 1))
        own = cv2.GaussianBlur(cv2.erode(oval, np.ones((5, 5), np.uint8)), (0, 0), 2.0)[..., None]
        if self._glasses:
            own = own * 0
        rows, columns = (np.arange(s) * max(cell * width, 1e-3) for s in x.shape)
        tile = grain[np.ix_(rows.astype(int) % grain.shape[0], columns.astype(int) % grain.shape[1])]
        self._grain = np.exp(np.where(own > 0, detail, 0) * own + 1.2 * tile[..., None] * (1 - own)).astype(np.float32)
        self._cell = cell

    @staticmethod
    def _cells(frame: _Frame, points: Array, u: Array, arc: Array, depth: Array) -> tuple[Array, Array]:
        """Columns and rows of points (N, 2) in a plane that is laid out below a curve."""
        along, height = frame.local(points)
        cell = u[1] - u[0]
        return (along - u[0]) / cell, (np.interp(along, u, arc) - height - depth[0]) / cell

    def _surface(self, column: Plane, d: Plane) -> Plane:
        """Factors (..., 3) of the surface at a column of those laid out, and a height above the edge."""
        rows, n = self._grain.shape[:2]
        turned = np.abs(np.mod(d / (rows * self._cell) + 1, 2) - 1) * (rows - 1)
        across = column * ((n - 1) / (len(self._u) - 1))
        f32 = np.float32
        at = across.astype(f32), turned.astype(f32)
        return cv2.remap(self._grain, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)

    def draw(self, out: Image, points: Array, openness: float, flow: Flow | None = None) -> None:
        """Lay the lid over `out`, in place, with landmarks `points` (478, 3) in its pixels.

        `openness`: 1 as in the portrait, 0 shut; `flow` says how `out` was warped, if it was."""
        closed = 1 - openness
        shown = float(ramp(np.array(closed), *CLOSING)) if self.fits else 0.0
        frame = _Frame.of(points, self.k)
        width = abs(frame.along)
        if shown <= 0 or width < 6:
            return
        upper, lower = EYES[self.k]
        crease = [upper[0], *CREASES[self.k], upper[-1]]
        ring = points[[*crease, *lower], :2]
        smooth = float(ramp(np.array(closed), *SMOOTH))
        pad = (0.3 if smooth > 0 else 0.16) * width
        x0, y0 = np.maximum(np.floor(ring.min(0) - pad), 0).astype(int)
        x1, y1 = np.minimum(np.ceil(ring.max(0) + pad) + 1, out.shape[1::-1]).astype(int)
        if x1 - x0 < 4 or y1 - y0 < 4:
            return
        yy, xx = np.mgrid[y0:y1, x0:x1]
        place: Any = frame.local(np.stack([xx, yy], -1))
        u, height = (v.astype(np.float32) for v in place)
        edge = np.interp(self._u, *_curve(frame, points, upper))
        edge = edge + self.root * np.clip(openness, 0, 1) - self._under * np.clip(closed, 0, 1)
        tall = np.interp(self._u, *_curve(frame, points, crease)) - edge
        corner = smoothstep((self._u + 0.04) / 0.22) * smoothstep((1.04 - self._u) / 0.22)
        # The mesh's crease stands upright at the corners; a lid is an arc.
        tall = np.minimum(tall, tall.max() * np.clip(4 * self._u * (1 - self._u), 0, 1) ** ROUNDED)
        tall = np.maximum(tall, 0.02 + (self.band + 0.01) * corner)
        row = np.clip((u - np.float32(self._u[0])) / np.float32(self._u[1] - self._u[0]), 0, len(self._u) - 1)
        across = np.sin(np.pi * np.clip(self._u, 0, 1))
        lower_edge, tall, own, across = self._over(row, edge, tall, self._height, across)
        d = height - lower_edge
        # The skin: the band keeps its thickness, what is above lengthens.
        band = self.band
        source = np.where(d < band, d, band + (d - band) * (own - band) / np.maximum(tall - band, 0.01))
        source = np.where(d > tall, own + (d - tall), source)  # above the crease the skin is as the warp shows it
        seen, hair = np.split(self._at(self.bare, row, source), [3], -1)
        s = np.clip(d / tall, 0, 1)
        box = (int(x0), int(y0)), (int(x1), int(y1))
        where = self._hidden(row, u, height, frame, points, crease, (xx, yy) if flow is None else flow.maps(1, *box))
        clean, alpha = np.split(self.socket.at(*where), [3], -1)
        shade = 1 + across * (BULGE * np.exp(-(((s - 0.5) / 0.28) ** 2)) - 0.08 * np.exp(-s / 0.15))
        clean *= shade[..., None] * self._surface(row, d)
        # Where lashes are on the source's skin it is replaced at once: they are laid on again below.
        layer = seen + (clean - seen) * np.minimum(1, 1.6 * self._at(self.lash, row, source))[..., None]
        pixel = 1 / width
        # Beside the eye there is no edge that the lid ends at: what is laid on fades below it.
        soft = 0.5 * pixel + BESIDE * np.maximum(ramp(-u, -0.04, 0.06), ramp(u, 0.96, 1.06))
        over = np.clip(0.5 + 0.5 * d / soft, 0, 1)
        inside = np.maximum(smoothstep((1.1 * tall - d) / (0.5 * tall)), hair[..., 0]) * over
        inside *= smoothstep((u + 0.05) / 0.24) * smoothstep((1.04 - u) / 0.24)
        part = np.ascontiguousarray(out[y0:y1, x0:x1], np.float32)
        part += (layer - part) * inside[..., None]
        if smooth > 0:
            part += (clean - part) * (alpha * (smooth * over)[..., None])
        # The crease: what the face has of its own, else as dark as it has lines.
        fold = FOLD * self.depth * closed * np.exp(-((np.maximum(d - tall, (tall - d) / 2.5) / 0.035) ** 2))
        fold *= np.maximum(across, 0.06) ** 0.7
        laid = np.maximum(inside, alpha[..., 0] * (smooth * over) if smooth > 0 else 0.0)
        column = np.clip((where[0] - np.float32(self._u[0])) / np.float32(self._u[1] - self._u[0]), 0, len(self._u) - 1)
        edge_then = self._over(column, self._edge, self._edge, self._edge, self._edge)[0]
        worn = self._at(self.crease, column, where[1] - edge_then)
        part *= 1 - worn * (laid * float(np.interp(closed, (0, 1), KEPT)))[..., None]
        fold *= 1 - np.clip(worn.max(-1) / 0.05, 0, 1)
        # The lid's shadow on the ball.
        under = 0.30 * closed * ramp(d, -0.12, 0.0) * (d < 0) * min(1.0, 3 * max(openness, 0.0))
        under *= ramp(u, 0.0, 0.15) * ramp(-u, -1.0, -0.85)
        part *= (1 - np.clip(fold + under, 0, 0.6))[..., None]
        # Lashes, turned over as far as the lid has sunk, and the line.
        turn = float(np.interp(openness, TURN[::-1], [-DOWN, 1.0]))
        length = np.sign(turn if turn else 1.0) * max(abs(turn), FLATTEST)
        lash = self._at(self.lash, row, d / length) * (FAINT if length < 0 else 1.0)
        lash = np.maximum(lash, self._at(self.rim, row, d / float(np.interp(openness, *THINNED))))
        thick = max(self.line, 0.8 * pixel)
        line = np.exp(-((np.where(d < 0, d / 1.7, d) / thick) ** 2))  # lashes and their shadow lie below it
        line *= 0.85 * self.depth * ramp(u, -0.02, 0.16) * ramp(-u, -1.0, -0.75)
        ink = np.clip(np.maximum(lash * min(1.0, 1.2 * self.depth), line), 0, 1)[..., None]
        part += (self._ink - part) * ink
        blend(out, part, np.full(part.shape[:2], shown, np.float32), int(x0), int(y0))

    def _hidden(
        self, row: Plane, u: Plane, height: Plane, frame: _Frame, points: Array, crease: list[int], seen: Any
    ) -> tuple[Plane, Plane]:
        """Where pixels lie in the source's socket, along it and upright.

        On the lid crease and the line where lids meet are anchors; around it they lie where the warp took them from,
        at `seen` (x, y), or what was lashes or liner beside the eye would not be met."""
        fold = np.interp(self._u, *_curve(frame, points, crease))
        line = np.interp(self._u, *_curve(frame, points, EYES[self.k][1])) - self._under
        # The mesh's crease stands upright at the corners.
        inner = smoothstep(self._u / 0.3) * smoothstep((1 - self._u) / 0.3)
        high, low = (self._crease - fold) * inner, self._meet - line
        above, below, at, gap = self._over(row, high, low, line, np.maximum(fold - line, 0.15))
        share = (height - at) / gap
        lid = height + below + (above - below) * np.clip(share, 0, 1)
        turn, f32 = 1 / self._frame.along, np.float32  # as `_Frame.local`, in single precision
        x, y = seen[0] - f32(self._frame.corner.real), seen[1] - f32(self._frame.corner.imag)
        along = x * f32(turn.real) - y * f32(turn.imag)
        up = f32(self._frame.up) * (x * f32(turn.imag) + y * f32(turn.real))
        around = np.maximum(ramp(share, *AROUND), np.maximum(ramp(-u, -0.06, 0.02), ramp(u, 0.94, 1.02)))
        return np.asarray(u + (along - u) * around, np.float32), np.asarray(lid + (up - lid) * around, np.float32)

    def _over(self, row: Plane, *curves: Array) -> Any:
        """Four curves, each of a value by column, at places of a picture: four planes."""
        flat = np.stack(curves, -1).astype(np.float32)[None]
        found = cv2.remap(flat, row, np.zeros_like(row), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return cv2.split(found)

    def _at(self, laid: Plane, column: Array, d: Array) -> Plane:
        """What is laid out at a column and a height above the edge."""
        height = (HIGH - np.clip(d, LOW, HIGH)) / (HIGH - LOW) * (len(laid) - 1)
        return cv2.remap(laid, column, height.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


class Lids:
    """Both upper lids of a portrait."""

    def __init__(
        self, image: Image, face: SourceFace, origin: tuple[int, int], grain: Plane, glasses: bool = False
    ) -> None:
        """`image` (H, W, 3) has its corner at `origin` of the picture that `face` is in."""
        points = face.points - [*origin, 0]
        self._origin = origin
        self._each = right, left = [Lid(image, points, k, grain, glasses) for k in (0, 1)]
        if right.fits and left.fits:
            right.like(left)
            left.like(right)

    def draw(self, out: Image, target: Target, flow: Flow | None = None) -> None:
        """Lay them over a frame, in place, that was warped by `flow`."""
        points = target.points - [*self._origin, 0]
        for k, lid in enumerate(self._each):
            lid.draw(out, points, float(target.openness[k]), flow)
