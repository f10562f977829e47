"""The inside of the mouth: retrieved from the performer's frame, or a modelled one lit like the portrait.

The model is analytic: two dental arches as curtains over a smooth curve, cut into teeth along the curve,
gums above and below, a tongue and a cavity. Every pixel's ray is met with them, so the upper teeth stay
with the skull and the lower ones with the jaw whatever the lips do, with true parallax under head turns.
How far both reach beyond the lips is the performer's, where frames showed it (`infinex.face.interior`).
Lengths in IOD (about 90 mm); anatomical sizes are the usual textbook crown widths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.interior import colour_at, interior, lab_of, mid_lips, painted, ramp
from infinex.face.portrait import SourceFace
from infinex.face.pose import to_matrix
from infinex.mesh.eyes import irises, white_of
from infinex.mesh.layers import polygon_mask
from infinex.mesh.raster import blend, drawn
from infinex.mesh.retarget import Target

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

MM = 1 / 90.0
UPPER = np.cumsum([8.5, 6.6, 7.7, 7.0, 6.8, 10.2, 9.5]) * MM  # crown widths from the midline
LOWER = np.cumsum([5.4, 5.9, 6.9, 7.1, 7.2, 11.0, 10.5]) * MM
CROWN_UPPER = np.array([10.2, 9.0, 10.0, 8.5, 8.0, 7.5, 7.0]) * MM
CROWN_LOWER = np.array([9.0, 9.2, 10.5, 8.8, 8.2, 7.5, 7.0]) * MM
SHORTER = np.array([0.0, 9.0, 2.0, 5.0, 8.0, 10.0, 12.0]) * 0.1 * MM  # than the middle ones, at their edge
NOTCH = np.array([12.0, 17.0, 19.0, 19.0, 17.0, 15.0, 15.0]) * 0.1 * MM  # rounding of the far corners of their edge
EDGEWISE = (0.25, 0.55)  # cosine of the angle at which a tooth is seen over which it comes apart from the next
CORNER_FROM = 0.35  # of a tooth's half width, from where on its edge is rounded
TOOTH_TONE = np.array([1.0, 0.985, 0.94, 0.93, 0.90, 0.86, 0.82])  # lightness beside the middle ones
# No two teeth are alike: (2, 7) right and left, at the edge in IOD, and turned about their length (slope).
UNLIKE = np.array([[0.0, 2.0, -1.0, 2.0, 0.0, 1.0, 0.0], [1.0, -1.0, 1.0, -1.0, 2.0, 0.0, 0.0]]) * 0.1 * MM
TURNED = np.array([[0.02, -0.07, 0.05, -0.03, 0.04, 0.0, 0.0], [-0.03, 0.04, -0.06, 0.05, -0.02, 0.0, 0.0]])
# Rays are met in single precision, far finer than a pixel: tables of each tooth of a half and of both halves, one after
# the other.
NOTCHED, TONES, SHORT, TURNS = (t.astype(np.float32).ravel() for t in (NOTCH, TOOTH_TONE, SHORTER + UNLIKE, TURNED))
WIDEST, EDGE_MOST = 0.45, 0.04  # IOD from the middle, and beyond the edges of teeth, from where on there are none
EXACT = 1e-5  # IOD by which a ray is followed no further
HINGE = np.array([0.0, -0.02, 0.10])  # jaw joint, head coordinates
SUN = np.array([0.12, -0.45, -0.88])  # light from the front and above, head coordinates
HALFWAY = (SUN - np.array([0, 0, 1])) / np.linalg.norm(SUN - np.array([0, 0, 1]))  # between light and viewer
SUNWARD, GLOSSWARD = (v.astype(np.float32) for v in (SUN, HALFWAY))
SMILED = (0.12, 0.58, 0.10)  # IOD by which mouths that smile are wider; beyond which any does, and over how much
SHOWS_LIT = 0.7  # share of that smile where the portrait shows its own teeth
SMILE_LIT = 0.20  # how much lighter the upper teeth are in a broad smile
TOOTH_SEEN = np.array([[0.006, 0.020], [0.010, 0.025]])  # IOD of upper and lower teeth told over which they appear
BARED_LEAST = ((0.04, 0.12, 0.30), (0.0, 0.045, 0.075))  # gaps of lips; what of the upper teeth they bare at least, IOD
FLESH_MOST = (0.36, 0.62)  # lightness, of the skin's, that flesh in a mouth nears from where on, and approaches
RINGED = ((0.30, 0.60), 0.75)  # height of an opening, of its width, over which lips go all around it; how surely
RING = (0.048, 0.25, (0.55, 0.9), 0.92)  # how wide, IOD; share of that which is full; where, to the corners; how light
# Of a pursed mouth: share of its width that it lost, IOD that it still has, how surely it is red, where, edge in IOD.
PURSED = ((0.08, 0.28), (0.38, 0.50), 0.8, (0.35, 0.75), 0.012)
NARROW = ((0.15, 0.40), 0.5)  # IOD of an opening's width over which light comes in; what there is of it before
ROUND_LESS = 0.25  # of which round mouths bare less
HINTED = ((0.09, 0.18), 0.038)  # gaps over which lower teeth stand above the lip, and how far, where nobody was seen
# Upper teeth that a camera did not see are there, in the shade: a mouth without any is a hole.
UNSEEN_DIM = 0.3  # of their light, where the upper third was dark, ...
NONE_SEEN = (0.5, 0.7)  # ... by its dark share
DIM_FROM = (0.03, 0.07)  # gaps of lips over which they are: in a slit they would be crumbs
LOWER_BARED = (0.15, 0.45)  # light share of the lower third over which a lip hides them: lower teeth show
TINTED = 0.3  # share of the colour of flesh that shade lends them
LOWER_TINTED = 0.15  # ... and all that lower ones have of it, which stand in it
TOLD_FLESH = (0.56, 0.12)  # lightness of flesh, of the skin's, in a band that was told all lit, and all dark
TOLD_RANGE = (0.25, 1.2)  # by which what was told may darken or lighten flesh
UNSEEN_TONGUE = (0.45, 0.75)  # dark share of the mouth below its roof over which hardly a tongue is to be seen in it
DIMMEST = 0.75  # share of a tongue that is not seen then
DEEPER = ((0.02, 0.10), (1.3, 0.6))  # IOD from the lips, and the light on walls of the mouth there
FRONT = 1.1  # lightness of a tooth that stands in front beside the mean of all that are seen
TONGUE_LIT = ((0.04, 0.20, 0.30), (0.6, 1.1, 1.4))  # gaps of lips, and the light that comes to the tongue through them
GRAIN_MOST = 0.035  # of the skin's texture, in log lightness: what is more is hair
GLOSS = 9.0  # lightness of the light on a wet tooth
TOOTH_COLOUR = np.array([0.5, 0.75])  # of the skin's redness and yellowness that a portrait's teeth have at most
VIVID = 1.2  # ... and by which its colour grows at most
SQUEEZED = (0.4, 0.6)  # share of its own opening under which a portrait's own interior is not shown
BOUNCED = 0.30  # share of the colour of flesh that light in a mouth takes on, where it has come by way of flesh alone
WHITER = (18.0, 3.0)  # lightness by which teeth exceed the whites of eyes at most, unless skin is lighter than that
BLIND = (0.0, 0.3)  # what is said of irises over which a face is taken for carved
TELLING = (60.0, 120.0)  # pixels between the outer corners of the eyes over which their want of irises tells of stone
CARVED = (0.94, 0.94, 0.60, 0.32)  # of a statue: lightness of teeth, gums, flesh and the dark, as shares of the skin's
UNCUT = 0.75  # share that its lines between teeth have lost
CANINE = 2.5  # yellowness of canines beside other teeth
UNDER_FLESH = 1.4  # times the upper lip's shadow as it falls on flesh
UNDER_TEETH = 0.6  # share of the upper lip's shadow on flesh that falls on teeth
LIP_SHADE = ((0.45, 0.022), (0.16, 0.010))  # of the lips' rim on flesh, on teeth: how deep, and how far in IOD
UNDER_REACH = (0.040, 0.022)  # IOD by which the upper lip's shadow falls on flesh, on teeth, ...
UNDER_SHARE = 0.45  # ... and on flesh at least so much of the opening
CORNER_SHADE = (0.42, 0.9)  # share of the way to a corner from where on light dies, and how much of it
MEETING = (0.73, 0.75)  # share of the way to a corner from where on lips come to touch, and how much of it they cover
TALL = (0.25, 0.40)  # height of an opening, of its width, over which they do not
CAVE = (0.11, 0.22, (0.34, 0.21))  # middle below the lip and behind the teeth, half width and height, IOD
CAVE_LIT, CAVE_FADE = 0.45, 2.2  # of flesh where the walls begin, and how fast light dies towards the throat
TONGUE_SIDES, WET = 0.35, 7.0  # light at its sides, of that in its middle; lightness of the light on it
TONGUE_ROUND = 0.30  # how much darker a tongue is at 0.3 IOD from its middle
TONGUE_EDGE = (0.05, 0.7)  # how softly it ends, and how much of it turns away there
CONTACT = ((0.09, 0.12), (0.19, 0.34))  # depth and width, in half teeth, of the line and the hollow where teeth meet
APART = (0.45, 0.65, 0.25)  # of it in the middle of crowns; more at their edges, and at the gum
TOOTH_PIXELS = (4.0, 14.0)  # width of a tooth over which what divides it from the next comes out
TRANSLUCENT = (0.10, 0.007)  # how much darker an edge is, and how far into the crown, IOD
GRAZING = 0.65  # least share of the depth of a ray at which it still crosses the arch
BLURRED, BLUR_MOST = (0.8, 1.5), 2.0  # pixels by which edges are blurred to tell how soft they are; the most told
BLURRED_EDGE = 0.4  # share of that by which the edge of an opening is as soft
LEAST = 0.010  # inner-lip gap under which the lips count as closed
TOOTHLIKE = 0.35  # of the way from the colour of lips to that of teeth, beyond which what shows is teeth
TOOTH_LIGHT = (0.30, 0.45)  # share of light from where on a third of the mouth is full of teeth: upper ones, lower ones
TONGUE_LIGHT = 0.10  # ... up to where it is a tongue that shines, below the first third
TEETH_MOVE = (-0.03, 0.18)  # IOD by which teeth may be shown elsewhere than the skull has them
ROUND = (0.15, 0.27)  # opening as a share of the mouth's width, from narrow to wide open
# Of the upper teeth, below the lip, where nothing is known: in a mouth that is parted, wide open, and in a full smile.
UPPER_SHOWN = (0.045, 0.052, 0.085)
PARTING = (0.03, 0.10)  # IOD of opening over which upper teeth come into view
# Gaps of lips, and times its usual length a crown may be before a second row of teeth is seen in what was told.
LONGEST = ((0.12, 0.22), (1.25, 0.95))
EDGE_SEEN = 0.84  # share of the opening that upper teeth fill at most: their edge is what makes them teeth
LOWER_MOST = 0.045  # IOD of lower teeth that are shown at most: more is a grimace
LOWER_SHOWN = -0.035  # of the lower teeth, above the lip: none
REDDEST = np.array([3.0, 12.0])  # most that a, b may rise: lipstick is no light, and would dye the teeth
LIP_CAST = 0.6  # share of the difference of two people's lips that a performer's mouth takes on
FEW_TEETH = 0.03  # share of the mouth from where on teeth tell their own colour
TOOTH_RANGE = 0.6  # of the colours of teeth, of what compression and light made of it
FACE_DARK, FACE_LIGHT = 1.5, 90  # percentiles of the lightness of a face
DARKEST = 0.6  # of the darkest parts of a face, below which nothing in its mouth is
OVERLOOKED = (0.85, 1.6, 0.6)  # share of their light that teeth have at once; times the lip's light; share in the seam
EDGE = 3.3  # standard deviations of its blur beyond which a mouth does not show
SOFT_EDGE = 0.10  # share of a lip beyond the teeth seen to lie over it that is not wholly lip yet
LIP_RIM = 0.10  # IOD from the line of the lips within which a performer's lip may be in the way
CLOSE_BEHIND = 0.4  # share of their depth by which teeth go aside with the lips of a head that turns: they touch
LARGEST = 288  # widest mouth modelled, in pixels; larger ones are enlarged
STRIP = np.array(top.strip(top.LIPS_INNER_UPPER, top.LIPS_INNER_LOWER), np.int64)


@dataclass(frozen=True)
class MouthTone:
    """How the portrait's own mouth region looks: colours in Lab, and the grain of its surface."""

    skin: NDArray[np.float32]  # (3,)
    lips: NDArray[np.float32]  # (3,)
    grain: NDArray[np.float32]  # (n, n) log-luminance residual of the skin, one cell a pixel
    upper: float = 0.0  # share of the mouth's opening that upper teeth take in the picture
    ceiling: float = 96.0  # lightness that nothing in the mouth exceeds: that of the face's light parts
    teeth: NDArray[np.float32] | None = None  # (3,) of the teeth that the picture shows
    blur: float = 0.0  # standard deviation in pixels that makes what is sharp as soft as the picture's own lips
    beneath: Array | None = None  # (11,) share of the lower lip that the picture's teeth cover below its tracked edge
    white: float | None = None  # lightness of the whites of the eyes, where they are seen
    carved: float = 0.0  # 0..1: how surely the face is of one material, as statues are
    darkest: float = 0.0  # lightness of the darkest parts of the face

    def depth_beneath(self, face: Array) -> Array:
        """How far (9,) in IOD the teeth that `face` (478, 3 in head coordinates) shows reach over its lower lip."""
        if self.beneath is None:
            return np.zeros(9)
        lip = face[top.LIPS_OUTER_LOWER, 1] - face[top.LIPS_INNER_LOWER, 1]
        return np.asarray((self.beneath * np.maximum(lip, 0))[1:-1])

    @staticmethod
    def measure(image: Image, points: Array) -> MouthTone:
        """Measure a portrait (H, W, 3) with landmarks (478, 3) in pixels."""
        h, w = image.shape[:2]
        lo = np.maximum(np.floor(points[: top.SURFACE, :2].min(0)), 0).astype(int)
        hi = np.minimum(np.ceil(points[: top.SURFACE, :2].max(0)) + 1, [w, h]).astype(int)
        part, p = image[lo[1] : hi[1], lo[0] : hi[0]], points[:, :2] - lo
        H, W = part.shape[:2]
        skin = polygon_mask(H, W, p[top.SKIN]) > 0.5
        rim = polygon_mask(H, W, p[top.LIPS_OUTER]) - polygon_mask(H, W, p[top.LIPS_INNER]) > 0.5
        if not skin.any():
            skin[:] = True
        if not rim.any():
            rim = skin
        grey = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY).astype(np.float32)
        logs = np.log(grey + 16)
        residual = logs - cv2.GaussianBlur(logs, (0, 0), max(1.5, np.hypot(*(hi - lo)) * 0.012))
        cheek = p[[205, 425]].mean(0)  # a square of cheek on the better seen side
        side = 205 if abs(p[205, 0] - p[4, 0]) > abs(p[425, 0] - p[4, 0]) else 425
        n = max(8, int(0.22 * float(np.linalg.norm(p[33] - p[263]))))
        x, y = np.clip(p[side] - n / 2, 0, [max(0, W - n), max(0, H - n)]).astype(int)
        patch = residual[y : y + n, x : x + n]
        if min(patch.shape) < 4 or not np.isfinite(cheek).all():
            patch = np.zeros((8, 8), np.float32)
        limit = 2.5 * float(np.abs(patch).mean()) + 1e-6
        patch = np.clip(patch - patch.mean(), -limit, limit)
        patch = np.hstack([patch, patch[:, ::-1]])  # mirrored, so that it tiles without seams
        patch = np.vstack([patch, patch[::-1]])
        own_skin, own_lips = (lab_of(part[where][None]).mean((0, 1)) for where in (skin, rim))
        shown = interior(image, points)
        upper = 0.0 if shown is None else float(_teeth_shown(shown)[0])
        lightness = lab_of(part)[..., 0]
        within = lightness[polygon_mask(H, W, p[top.OVAL]) > 0.5]
        darkest, face = np.percentile(within, (FACE_DARK, FACE_LIGHT)).tolist()
        ceiling = max(face, 25.0)
        beneath, teeth = None, None
        if upper > 0:
            beneath = _beneath(image, points, own_lips)
            teeth = _teeth_of(lab_of(part)[polygon_mask(H, W, p[top.LIPS_INNER]) > 0.5], own_lips, own_skin)
        else:
            beneath, teeth = _overlooked(image, points)
        if teeth is not None:  # what is redder than skin has the light of lips and gums on it
            usual = _tooth_of(own_skin, _alive(own_lips))[1:]
            teeth[1:] = np.minimum(teeth[1:], np.maximum(usual, TOOTH_COLOUR * own_skin[1:]))
        ceiling = ceiling if teeth is None else max(ceiling, float(teeth[0]) + GLOSS)
        blur = _blur_of(grey, cv2.dilate(polygon_mask(H, W, p[top.LIPS_OUTER]), np.ones((5, 5), np.uint8)) > 0.5)
        eyes_apart = float(np.linalg.norm(points[33, :2] - points[263, :2]))
        carved = float((1 - ramp(np.array(irises(image, points)), *BLIND)) * ramp(np.array(eyes_apart), *TELLING))
        white = white_of(image, points)
        return MouthTone(
            own_skin, own_lips, patch.astype(np.float32), upper, ceiling, teeth, blur, beneath, white, carved, darkest
        )


def _blur_of(grey: NDArray[np.float32], where: NDArray[np.bool_]) -> float:
    """How soft (standard deviation, pixels) a picture draws edges `where`: of a sharp one blurring takes more.

    After Elder and Zucker (1998) and those who compare an edge with itself blurred again; less than half a pixel is
    none, and lips are a little softer than what shows between them."""
    if not where.any():
        return 0.0

    def steepest(sigma: float) -> float:
        smooth = cv2.GaussianBlur(grey, (0, 0), sigma)
        gx, gy = (cv2.Sobel(smooth, cv2.CV_32F, *way, scale=1 / 8) for way in ((1, 0), (0, 1)))
        return float(np.percentile(cv2.magnitude(gx, gy)[where], 98))

    once, again = BLURRED
    ratio = steepest(once) / max(steepest(float(np.hypot(once, again))), 1e-3)
    own = np.sqrt(max(again**2 / max(ratio**2 - 1, 1e-3) - once**2, 0.0))
    return float(np.clip(0.7 * own - 0.35, 0, BLUR_MOST))


def _teeth_of(lab: NDArray, lips: NDArray, skin: NDArray) -> NDArray[np.float32] | None:
    """Colour of the teeth among the pixels (N, 3) between the lips; None where what is light there is a lip's inside,
    as red as the lips, rather than on the way from them to the colour that teeth have under such a `skin`."""
    if len(lab) < 20:
        return None
    way = _tooth_of(skin, _alive(lips)) - lips
    for share, least in ((60, 2 * TOOTHLIKE), (88, TOOTHLIKE)):  # teeth of which little shows are a few of the pixels
        light = np.asarray(lab[lab[:, 0] >= np.percentile(lab[:, 0], share)].mean(0), np.float32)
        if light[0] > lips[0] and float((light - lips) @ way) > least * float(way @ way):
            return light
    return None


def _beneath(image: Image, points: Array, lips: NDArray) -> Array | None:
    """How far teeth reach below the tracked edge of the lower lip, (11,) shares of that lip; None where they do not.

    Trackers put the inner edge of a smiling lip across the teeth."""
    inner, outer = points[top.LIPS_INNER_LOWER, :2], points[top.LIPS_OUTER_LOWER, :2]
    upper = points[top.LIPS_INNER_UPPER, :2]
    down = np.linspace(0, 0.6, 12)[:, None, None]
    seen = inner + down * (outer - inner)
    above = (upper + inner) / 2
    places = np.concatenate([above[None], seen]).astype(np.float32)
    lab = lab_of(cv2.remap(image, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    tooth = np.median(lab[0, 3:8], 0)
    way = tooth - lips
    if float(np.linalg.norm(way)) < 15 or tooth[0] < lips[0]:
        return None
    share = (lab[1:] - lips) @ way / float(way @ way)
    still = np.minimum.accumulate(share > 0.5, 0)
    reach = np.where(still, down[..., 0], 0).max(0)
    reach[[0, 1, -2, -1]] = 0
    if reach.max() <= 0.08:
        return None
    return _whole(reach)


def _whole(reach: Array) -> Array:
    """How far teeth lie over a lip, (11,) shares of it, from where they are surely seen: their edge is soft, and
    between the columns that are looked at they may reach farther."""
    reach = np.where(reach > 0, np.minimum(reach + SOFT_EDGE, 1), 0)
    reach = np.maximum.reduce([reach, np.roll(reach, 1), np.roll(reach, -1)])
    return np.asarray(np.convolve(np.pad(reach, 2), [0.1, 0.2, 0.4, 0.2, 0.1], "valid"))


def _overlooked(image: Image, points: Array) -> tuple[Array | None, NDArray[np.float32] | None]:
    """What `_beneath` and `_teeth_of` tell of a smile that the tracker takes for closed lips; None twice if it is none.

    Its teeth lie where the lower lip should be: light from the very edge on, under a dark seam, as far as a lip that
    is darker. The light on a lip that is wet grows from its edge."""
    inner, outer = points[top.LIPS_INNER_LOWER, :2], points[top.LIPS_OUTER_LOWER, :2]
    down = np.linspace(-0.2, 0.9, 23)
    places = (inner + down[:, None, None] * (outer - inner)).astype(np.float32)
    lab = lab_of(cv2.remap(image, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    light = lab[..., 0]
    begins, rest = light[(down > 0.03) & (down < 0.12)].mean(0), light[down > 0.7].mean(0)
    most = light[(down > 0.03) & (down < 0.5)].max(0)
    seam = light[down < -0.08].min(0)
    shows = (begins > OVERLOOKED[0] * most) & (most > OVERLOOKED[1] * rest) & (seam < OVERLOOKED[2] * most)
    shows[[0, 1, -2, -1]] = False
    if shows.sum() < 3:
        return None, None
    still = np.minimum.accumulate((light > (most + rest) / 2)[down > 0.03], 0)
    reach = np.where(still & shows, down[down > 0.03][:, None], 0).max(0)
    teeth = lab[(down > 0.03) & (down < 0.25)][:, shows].reshape(-1, 3)
    teeth = np.asarray(teeth[teeth[:, 0] >= np.percentile(teeth[:, 0], 50)].mean(0), np.float32)
    redness = float(np.median(lab[down > 0.7, 3:8, 1]))
    return (_whole(reach), teeth) if teeth[1] < 0.7 * max(redness, 0.0) + 3 else (None, None)


@dataclass(frozen=True)
class _Gap:
    """An opening between the lips that is to be filled."""

    points: Array  # (478, 2) in the window that is drawn in
    box: tuple[int, int, int, int]  # x0, y0, x1, y1 around it, there
    beyond: float  # how much further open than `least` (IOD)
    own: float  # how much of the portrait's own interior can serve, 0..1

    @staticmethod
    def of(
        face: SourceFace, target: Target, origin: tuple[int, int], shape: tuple[int, ...], least: float
    ) -> _Gap | None:
        """The opening of `target` in a window of `shape` at `origin`; None where there is nothing to fill."""
        gap, mine = float(target.gap[4]), float(max(face.gaps[4], 0))
        own = float(np.clip((1.6 * mine + 0.006 - gap) / (0.3 * mine + 0.006), 0, 1))
        if mine > LEAST:  # ... nor where the lips have come so near that it would be squeezed
            own *= float(ramp(np.array(gap / mine), *SQUEEZED))
        if gap < least or own >= 1:
            return None
        P = target.points[:, :2] - np.array(origin)
        box = _lip_box(P, shape)
        return None if box is None else _Gap(P, box, gap - least, own)

    def share(self, ramp: float) -> float:
        """How strongly to draw it, 0..1: rising over the first `ramp` beyond `least`."""
        return (1 - self.own) * np.clip(self.beyond / ramp, 0, 1)


def _rounded(ring: Array) -> Array:
    """A ring (N, 2) of points as a smooth one (4 N, 2) through them.

    Catmull-Rom by the lengths between them, so that sharp corners stay."""
    ahead = np.roll(ring, -1, 0) - ring
    far = np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-3)
    way, back = ahead / far, np.roll(far, 1, 0)
    slope = (np.roll(way, 1, 0) * far + way * back) / (far + back)
    t = np.arange(4)[:, None, None] / 4
    hermite = (
        (2 * t**3 - 3 * t**2 + 1) * ring + (3 * t**2 - 2 * t**3) * np.roll(ring, -1, 0)
        + (t**3 - 2 * t**2 + t) * slope * far + (t**3 - t**2) * np.roll(slope, -1, 0) * far
    )  # fmt: skip
    return np.asarray(hermite.swapaxes(0, 1).reshape(-1, 2))


def _lip_box(
    P: Array, shape: tuple[int, ...], pad: int = 6, edge: list[int] = top.LIPS_INNER
) -> tuple[int, int, int, int] | None:
    lips = P[edge]
    x0, y0 = np.maximum(np.floor(lips.min(0) - pad), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(lips.max(0) + pad), [shape[1], shape[0]]).astype(int)
    return None if x1 - x0 < 4 or y1 - y0 < 4 else (int(x0), int(y0), int(x1), int(y1))


def draw_performer_mouth(
    out: Image,
    origin: tuple[int, int],
    face: SourceFace,
    target: Target,
    tone: MouthTone,
    image: Image,
    points: Array,
) -> None:
    """Put the inside of the performer's mouth (frame `image`, landmarks `points`) between the portrait's lips.

    Teeth change as the teeth that go with the two skins differ; flesh takes its lightness from the skins and its colour
    from the lips, whose ratio alone would dye the teeth, as the skins' would make mouths grey on pale faces. What is
    left of the performer's lips along the rim becomes the portrait's."""
    place = _Gap.of(face, target, origin, out.shape, LEAST + 0.002)
    if place is None:
        return
    P, (x0, y0, x1, y1) = place.points, place.box
    # Drawn a little larger than the lips, the performer's own lip pixels fall outside them.
    centre = P[top.LIPS_INNER].mean(0)
    grown = P.copy()
    grown[top.LIPS_INNER] = centre + (P[top.LIPS_INNER] - centre) * 1.10
    shape = (y1 - y0, x1 - x0)
    mx, my, covered = drawn(grown, points[:, :2], STRIP, x0, y0, shape)
    _spread(mx, my, covered)
    inside = cv2.remap(image, mx, my, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    theirs, red = colour_at(image, points[top.SKIN]), colour_at(image, mid_lips(points))
    lab = cv2.cvtColor(inside.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    mask = polygon_mask(*shape, P[top.LIPS_INNER] - [x0, y0])
    unit = target.pose.scale
    flesh = lab.copy()
    flesh[..., 0] *= np.clip((tone.skin[0] / max(theirs[0], 1.0)) ** 0.9, 0.4, 1.5)
    alive = _alive(tone.lips)
    flesh[..., 1:] = (flesh[..., 1:] + np.clip(LIP_CAST * (tone.lips[1:] - red[1:]), -12, REDDEST)) * alive
    lips = np.clip((lab / np.maximum(red[0], 1.0))[..., :1], 0.3, 1.15) * tone.lips
    mine, other = _tooth_of(tone.skin, alive), _tooth_of(theirs, 1.0)
    # Teeth are light and have little colour; lips have the colour of lips and touch the rim.
    redness = (lab[..., 1] - theirs[1]) / max(float(red[1] - theirs[1]), 4.0)
    toothy = ramp(lab[..., 0] / max(theirs[0], 1.0), 0.35, 0.7) * ramp(-redness, -0.45, 0.1)
    rim = cv2.distanceTransform((mask > 0.5).astype(np.uint8), cv2.DIST_L2, 3) / unit
    lippy = ramp(redness, 0.6, 1.0) * ramp(lab[..., 0] / max(red[0], 1.0), 0.5, 0.8) * ramp(-rim, -LIP_RIM, -0.05)
    # What colour the light gives the performer's teeth is seen where enough of them shows.
    weight = float(toothy.sum())
    expected = FEW_TEETH * mask.size
    seen = ((lab * toothy[..., None]).sum((0, 1)) + expected * other) / (weight + expected)
    teeth = lab * np.array([mine[0] / other[0], 1, 1], np.float32)
    teeth[..., 1:] = mine[1:] + TOOTH_RANGE * (lab[..., 1:] - seen[1:]) * alive
    lab = flesh + (teeth - flesh) * toothy[..., None]
    lab += (lips - lab) * lippy[..., None]
    lab = np.ascontiguousarray(lab, np.float32)
    layer = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255
    mask = cv2.GaussianBlur(mask, (0, 0), max(0.7, 0.006 * unit))
    mask *= place.share(0.03)
    blend(out, layer.astype(np.float32), mask.astype(np.float32), x0, y0)


def _spread(map_x: NDArray, map_y: NDArray, drawn: NDArray[np.bool_]) -> None:
    """Give pixels that no triangle covers the places of the nearest that one does, in place."""
    if drawn.all() or not drawn.any():
        return
    _, labels = cv2.distanceTransformWithLabels(
        (~drawn).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    places = np.zeros(int(labels.max()) + 1, np.intp)
    places[labels[drawn]] = np.flatnonzero(drawn)
    for values in (map_x, map_y):
        values[:] = values.ravel()[places[labels]]


def _alive(lips: NDArray) -> float:
    """How much colour a picture's mouths have, 0..1, by its lips in Lab."""
    return float(np.clip(np.hypot(lips[1], lips[2]) / 18, 0, 1))


def _tooth_of(skin: NDArray, alive: float, share: float = 0.8, lift: float = 22.0) -> NDArray[np.float32]:
    """Colour (Lab) of teeth lit as a skin is; `alive` 0..1 is how much colour the picture's mouths have."""
    lightness = np.clip(share * float(skin[0]) + lift, 40, 96)
    return np.array([lightness, 0.26 * skin[1] + 1.2 * alive, 0.42 * skin[2] + 4.0 * alive], np.float32)


def roundness(target: Target) -> float:
    """How wide open a mouth is for its width, 0..1."""
    wide = float(np.linalg.norm(target.face[61] - target.face[291]))
    return float(np.clip((target.gap[4] / max(wide, 1e-3) - ROUND[0]) / (ROUND[1] - ROUND[0]), 0, 1))


def _teeth_shown(interior: Array) -> Array:
    """How far the upper and the lower teeth reach from their lips, (2,) as shares of the opening.

    `interior` (3, 2) is what a performer's mouth showed; teeth are what is light from the lip on, without a break."""
    light = interior[:, 0]
    above, below = TOOTH_LIGHT  # what hangs from the lip lies in its shadow
    first = min(float(light[0]) / above, 1.0)
    second, third = ramp(light[1:], TONGUE_LIGHT, above + TONGUE_LIGHT)
    upper = (first + first * second + first * second * third) / 3
    # At the bottom lie a wet tongue and a lip, too, which are half as light.
    third, second = np.clip((light[2:0:-1] - 0.5 * below) / below, 0, 1)
    return np.array([upper, min((third + third * second) / 3, 1 - upper)])


@dataclass(frozen=True)
class Anatomy:
    """Where things lie in the modelled mouth (IOD, from the upper lip's inner edge), and how light they are.

    Fitted to mouths that opened in front of a camera, by `tools/calibrate_mouth.py`: lips hide more of the upper teeth
    than anatomy alone would say. The light of teeth, the shadow of the lip, where a tongue lies, how large and light
    it is, and how dark it is behind, were set by eye since, beside photographs: as in those small, dim pictures teeth
    look grey in a painting, and a tongue that fills the floor from cheek to cheek is a flat disc."""

    upper_edge: float = 0.006  # of the upper incisors, below the lip
    upper_front: float = 0.145  # of their front, behind the lips
    tongue_drop: float = 0.01
    tongue_depth: float = 0.195  # behind the upper front teeth
    tongue_width: float = 0.25
    tongue_height: float = 0.14
    tongue_length: float = 0.217
    tongue_dim: float = 0.50  # light where none falls directly
    tongue_lit: float = 0.5
    tongue_fade: float = 2.2  # darker towards the throat
    flesh: float = 0.52  # lightness as a share of the skin's
    flesh_red: float = 9.0  # redness beyond that of lips and skin
    dark: float = 0.06
    tooth_share: float = 0.8
    tooth_lift: float = 22.0
    upper_bright: float = 1.06
    lower_bright: float = 0.94
    teeth_fade: float = 0.4  # depth by which teeth sink into the dark of the cheeks
    under_lip: float = 0.5  # shadow of the upper lip
    aside: float = 0.0844  # shadow towards the corners


class _Arch:
    """One dental arch as a curtain over z = front + f(|x|), cut into teeth along its length."""

    def __init__(self, front: float, edge: float, up: float, widths: Array, crowns: Array, k: float) -> None:
        self.front, self.edge, self.up, self.k = float(front), float(edge), up, k
        self.widths, self.crowns = widths * k, crowns
        self._crowns = crowns.astype(np.float32)
        self._starts = np.concatenate([[0], self.widths[:-1]]).astype(np.float32)
        self._across = np.diff(self.widths, prepend=0).astype(np.float32)
        self._x = np.linspace(0, 0.62, 200)
        slope = self._slope(self._x)
        step = np.hypot(1, slope) * (self._x[1] - self._x[0])
        self._length = np.concatenate([[0], np.cumsum(step[:-1])])

    def _slope(self, x: NDArray) -> NDArray:
        q = x / self.k
        return q * (3.10 + 120.0 * q * q)

    def _curve(self, x: NDArray, ends: tuple[np.float32, np.float32]) -> tuple[NDArray, NDArray]:
        """Depth behind the front teeth and slope at x (N,); from `ends` on, left and right, it runs straight."""
        aside = np.abs(x)
        inner = np.minimum(aside, np.where(x > 0, *ends[::-1]))
        q = inner * (1 / self.k)
        square = q * q
        slope = q * (3.10 + 120.0 * square)
        depth = self.k * square * (1.55 + 30.0 * square) + slope * (aside - inner)
        return depth, np.copysign(slope, x)

    def meet(self, o: NDArray, d: Array, longer: float = 1.0) -> dict[str, NDArray]:
        """Meet rays `o + t·d` (o is (3, N)) with the curtain, whose crowns are so many times as long: which of them
        meet it (n,), and of those depth, tooth, normal (3, n), and how surely they do."""
        # On the side that turns away the arch would go out of sight before the flatter lips do, and leave a gap.
        steepest = (d[2] - GRAZING) / max(abs(float(d[0])), 1e-6)
        end = float(np.interp(steepest, self._slope(self._x), self._x))
        ends = np.float32(end if d[0] < 0 else np.inf), np.float32(end if d[0] > 0 else np.inf)
        dx, dy, dz = d.tolist()
        ahead = o[2] - self.front
        t = ahead * (-1 / dz)
        for _ in range(4):  # Newton; the rays run nearly along z
            depth, slope = self._curve(_held(o[0] + t * dx, -WIDEST, WIDEST), ends)
            step = (ahead + t * dz - depth) / (dz - slope * dx)
            t -= step
            if max(float(step.max()), -float(step.min())) < EXACT:
                break
        x = o[0] + t * dx
        above = (o[1] + t * dy - self.edge) * self.up
        # Where no tooth and no gum can be there is nothing to be told.
        where = np.flatnonzero((above > -EDGE_MOST) & (np.abs(x) < WIDEST))
        x, above, ahead, t = x[where], above[where], ahead[where], t[where]
        # A mouth that turns shows one side of the arch from behind: rays that graze it there find nothing certain.
        depth, slope = self._curve(x, ends)
        away = (ahead + t * dz - depth) * (1 / 0.01)
        facing = dz - slope * dx
        met = np.exp(-away * away) * _held((facing - 0.15) * (1 / 0.25), 0, 1)
        right, far = x > 0, np.abs(x)
        along = np.interp(far, self._x, self._length).astype(x.dtype)
        n = np.zeros(len(x), np.intp)
        for width in self.widths[:-1].tolist():
            n += along > width
        one = n + len(self.widths) * right  # of all teeth, right ones after left ones
        u = _held(2 * (along - self._starts[n]) / self._across[n] - 1, -1.2, 1.2)
        # The line of incisal edges curves; each crown is rounded at its corners, more so at the far one.
        aside, square = np.abs(u), u * u
        # Where the curtain runs straight teeth are still cut as on the arch, which bends away there.
        bends = self._slope(far)
        cosine = np.minimum(facing / np.sqrt(1 + slope * slope), 1 / np.sqrt(1 + bends * bends))
        cosine = _held(cosine, 0, 1)
        plain = _held((cosine - EDGEWISE[0]) * (1 / (EDGEWISE[1] - EDGEWISE[0])), 0, 1)  # else a comb, not teeth
        corner = _held((aside - CORNER_FROM) * (1 / (1 - CORNER_FROM)), 0, 1)
        above -= 0.16 * x * x + SHORT[one]
        above -= NOTCHED[n] * plain * (1 + 0.3 * np.sign(u)) * corner * corner
        above -= 0.009 * (n == 2) * aside  # > 0: into the crown, away from the edge
        crown = self._crowns[n] * (longer - 0.15 * longer * plain * square * aside)  # scalloped gum line
        bulge = TURNS[one] - np.copysign(plain * u * (0.45 * square + 0.20), x * u)
        height = _held(above / np.maximum(crown, 1e-6), 0, 1)
        normal = np.empty((3, len(x)), x.dtype)
        normal[0], normal[1], normal[2] = slope - bulge, (0.9 * height - 0.35) * (0.6 * self.up), -1
        normal *= 1 / np.sqrt((normal * normal).sum(0))  # vertical curvature of a crown, and across it
        width = self._across[n] * cosine * plain
        return {
            "where": where, "z": depth, "above": above, "crown": crown, "height": height, "u": u, "x": x,
            "normal": normal, "met": met, "tone": TONES[n], "canine": n == 2, "width": width,
        }  # fmt: skip


def _column(of: Any) -> NDArray[np.float32]:
    """Three numbers (3,) beside as many rows (3, N)."""
    return np.asarray(of, np.float32)[:, None]


def _held(x: NDArray, low: float, high: float) -> NDArray:
    """`np.clip` of many numbers, in less time, in place."""
    return np.minimum(np.maximum(x, low, out=x), high, out=x)


def _meeting(P: Array, x0: int, y0: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """How much shows of what lies behind lips, over a box at x0, y0: at their corners lips that smile still touch."""
    a, b = P[78, :2] - [x0, y0], P[308, :2] - [x0, y0]
    wide = max(float(np.linalg.norm(b - a)), 1e-3)
    way = (b - a) / wide**2
    along = (np.arange(shape[1]) - a[0]) * way[0] + ((np.arange(shape[0]) - a[1]) * way[1])[:, None]
    tall = float(np.linalg.norm(P[14, :2] - P[13, :2])) / wide
    most = MEETING[1] * float(1 - ramp(np.array(tall), *TALL))
    return np.asarray(1 - most * ramp(np.abs(2 * along - 1), MEETING[0], 1.0), np.float32)


def _softness(target: Target) -> float:
    """Standard deviation in pixels of the blur of a mouth's edge."""
    return max(0.6, 0.005 * target.pose.scale)


class Mouth:
    """The modelled mouth of one portrait."""

    samples = 2.0  # a pixel of a small mouth and direction; one for pictures in haste

    def __init__(self, face: SourceFace, tone: MouthTone, anatomy: Anatomy | None = None, alone: bool = False) -> None:
        """`alone`: nothing of what the picture shows between the lips may be seen, however little they part."""
        self._least, self._ramp = (0.002, 0.004) if alone else (LEAST, 0.02)
        f = face.face
        self._face, self._tone = face, tone
        self._anatomy = a = anatomy or Anatomy()
        mean = top.mean_face()
        k = float(np.linalg.norm(f[61] - f[291]) / np.linalg.norm(mean[61] - mean[291]))
        k = float(np.clip(k, 0.8, 1.25))
        lip = f[13, 1] if face.gaps[4] < 0.03 else f[13, 1] + 0.25 * face.gaps[4]
        front = (f[13, 2] + f[14, 2]) / 2 + a.upper_front
        self._centre = (f[78, 0] + f[308, 0]) / 2
        self._upper = _Arch(front, lip + a.upper_edge, -1.0, UPPER, CROWN_UPPER, k)
        self._lower = _Arch(front + 0.025, lip + a.upper_edge + 0.002, 1.0, LOWER, CROWN_LOWER, 0.93 * k)
        # Teeth that the portrait shows already stay where they are.
        shown = max(tone.upper * float(face.gaps[4]), float(tone.depth_beneath(f)[4]))
        self._bared = float(np.clip(f[13, 1] + shown - self._upper.edge, 0, TEETH_MOVE[1])) if shown > 0 else 0.0
        self._tongue = (
            np.array([0.0, lip + a.tongue_drop, front + a.tongue_depth]),
            np.array([a.tongue_width * k, a.tongue_height, a.tongue_length]),
        )
        self._colours()

    def _colours(self) -> None:
        skin, lips, a = self._tone.skin, self._tone.lips, self._anatomy
        L = float(skin[0])
        # Of a drawing or a grey photo the lips have no colour of their own, and so has the mouth.
        alive = _alive(lips)
        cast = skin[1:]
        self._tooth = _tooth_of(skin, alive, a.tooth_share, a.tooth_lift)
        if self._tone.white is not None:  # where eyes lie in the shade, no teeth shine
            self._tooth[0] = min(self._tooth[0], max(self._tone.white + WHITER[0], L + WHITER[1]))
        if self._tone.teeth is not None:  # ... before shade and light fall on it
            self._tooth = self._tone.teeth * np.array([FRONT, 1, 1], np.float32)
        # Flesh has the hue of the portrait's own lips and skin; a painter's palette has neither magenta nor lilac.
        flesh = 0.45 * lips[1:] + 0.40 * cast + [a.flesh_red * alive, 1.0 * alive]
        flesh[1] = np.clip(flesh[1], 0.35 * flesh[0] * alive, max(0.75 * flesh[0], 0.5 * cast[1]))
        self._gum = np.array([0.62 * L + 2, *(0.85 * flesh)])
        self._flesh = np.array([a.flesh * L, *flesh])
        self._dark = np.array([(a.dark + 0.12 * (1 - alive)) * L + 1.5, *(0.25 * cast + [9 * alive, 4 * alive])])
        self._tooth, self._gum, self._flesh, self._dark = (
            own + self._tone.carved * (np.array([share * L, *cast]) - own)
            for own, share in zip((self._tooth, self._gum, self._flesh, self._dark), CARVED)
        )

    def draw(self, out: Image, origin: tuple[int, int], target: Target) -> None:
        """Fill the opening of the lips of `target` in `out` (corner at `origin`), in place."""
        place = _Gap.of(self._face, target, origin, out.shape, self._least)
        if place is None:
            return
        P, box = place.points, place.box
        ring = P
        if self._tone.beneath is not None:  # teeth of the picture below the edge of its lip must not go down with it
            ring = P.copy()
            lower = top.LIPS_INNER_LOWER
            ring[lower] += self._tone.beneath[:, None] * (P[top.LIPS_OUTER_LOWER] - P[lower])
            box = _lip_box(ring, out.shape) or box
        x0, y0, x1, y1 = box
        k = self.samples if x1 - x0 < 90 else min(1.0, LARGEST / (x1 - x0))
        W, H = max(4, round((x1 - x0) * k)), max(4, round((y1 - y0) * k))
        layer = self._render(target, ring, box, origin, W, H)
        inter = cv2.INTER_AREA if k > 1 else cv2.INTER_LINEAR
        layer = cv2.resize(layer, (x1 - x0, y1 - y0), interpolation=inter)
        if self._tone.blur > 0.3:
            layer = cv2.GaussianBlur(layer, (0, 0), self._tone.blur)
        layer *= self._grain(x0, y0, x1, y1)[..., None]
        mask = polygon_mask(y1 - y0, x1 - x0, _rounded(ring[top.LIPS_INNER] - [x0, y0]))
        mask = cv2.GaussianBlur(mask, (0, 0), float(np.hypot(_softness(target), BLURRED_EDGE * self._tone.blur)))
        mask *= place.share(self._ramp) * _meeting(P, x0, y0, mask.shape)
        blend(out, layer.astype(np.float32), mask.astype(np.float32), x0, y0)

    def redden(self, out: Image, origin: tuple[int, int], target: Target) -> None:
        """Carry the red of lips around the corners of a tall opening, and to those of a mouth that purses, in place.

        `out` begins at `origin`. A picture shows corners as a line, along which no lip is to be seen; but lips that
        round or gape go all around, and skin that was beside them would make a pursed mouth smaller than it is."""
        P = target.points[:, :2] - np.array(origin)
        a, b = P[78], P[308]
        wide = max(float(np.linalg.norm(b - a)), 1e-3)
        around = RINGED[1] * ramp(float(np.linalg.norm(P[14] - P[13])) / wide, *RINGED[0])
        if float(target.gap[4]) < self._least:
            around = 0.0
        width = float(np.linalg.norm(target.face[61] - target.face[291]))
        own = float(np.linalg.norm(self._face.face[61] - self._face.face[291]))
        pursed = PURSED[2] * ramp(1 - width / own, *PURSED[0]) * (1 - ramp(width, *PURSED[1]))
        if max(around, pursed) < 0.02:
            return
        unit = target.pose.scale
        reach = RING[0] * unit
        box = _lip_box(P, out.shape, int(np.ceil(reach)) + 2, top.LIPS_OUTER)
        if box is None:
            return
        x0, y0, x1, y1 = box
        hole = polygon_mask(y1 - y0, x1 - x0, _rounded(P[top.LIPS_INNER] - [x0, y0]))
        away = cv2.distanceTransform((hole < 0.5).astype(np.uint8), cv2.DIST_L2, 5) / reach

        def aside(first: Array, last: Array) -> Array:
            """How near to either corner pixels are, 0..1 and beyond."""
            way = (last - first) / max(float(((last - first) ** 2).sum()), 1e-6)
            along = (np.arange(x1 - x0) + x0 - first[0]) * way[0]
            return np.abs(2 * (along + ((np.arange(y1 - y0) + y0 - first[1]) * way[1])[:, None]) - 1)

        red = around * ramp(-away, -1.0, -RING[1]) * ramp(aside(a, b), *RING[2])
        if pursed > 0.02:
            lips = polygon_mask(y1 - y0, x1 - x0, _rounded(P[top.LIPS_OUTER] - [x0, y0]), PURSED[4] * unit)
            red = np.maximum(red, pursed * lips * ramp(aside(P[61], P[291]), *PURSED[3]))
        part = out[y0:y1, x0:x1]
        lab = lab_of(part)
        lab += red[..., None] * (self._tone.lips * [RING[3], 1, 1] - lab)
        part[:] = np.clip(cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2RGB) * 255 + 0.5, 0, 255)

    def _grain(self, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.float32]:
        g = self._tone.grain
        rows, columns = np.arange(y1 - y0) % g.shape[0], np.arange(x1 - x0) % g.shape[1]
        return np.exp(np.clip(0.6 * g[np.ix_(rows, columns)], -GRAIN_MOST, GRAIN_MOST))

    def _render(
        self,
        target: Target,
        ring: Array,
        box: tuple[int, int, int, int],
        origin: tuple[int, int],
        W: int,
        H: int,
    ) -> NDArray[np.float32]:
        """The interior over a box at W×H samples, (H, W, 3) RGB 0..255; black where it does not show through `ring`."""
        x0, y0, x1, y1 = box
        xs = x0 + origin[0] + (np.arange(W) + 0.5) * (x1 - x0) / W - 0.5
        ys = y0 + origin[1] + (np.arange(H) + 0.5) * (y1 - y0) / H - 0.5
        pose = target.pose
        q = (ring[top.LIPS_INNER] - [x0, y0]) * [W / (x1 - x0), H / (y1 - y0)]
        opening = polygon_mask(H, W, _rounded(q))
        room = 2 * int(np.ceil((EDGE * _softness(target) + 1) * W / (x1 - x0))) + 1
        rows, columns = np.nonzero(cv2.dilate(opening, np.ones((room, room), np.uint8)))
        if not len(rows):
            return np.zeros((H, W, 3), np.float32)
        # Rays of the samples that count, one after another.
        plane = np.stack([xs[columns], ys[rows], np.zeros(len(rows))]) - pose.translation[:, None]
        o = (pose.rotation.T @ plane / pose.scale).astype(np.float32)
        d = pose.rotation[2]  # the viewing axis in head coordinates
        # The cheeks' own shift carries the arches: a skewed smile keeps its teeth behind the lips.
        o[0] -= float(self._centre + CLOSE_BEHIND * self._anatomy.upper_front * d[0] / d[2])
        told, longer, unseen = None, 1.0, 0.0
        if target.interior is not None:
            told = _teeth_shown(target.interior) * (float(target.gap[4]) + target.beneath)
            least = float(np.interp(target.gap[4], *BARED_LEAST))  # dim ones are not told from flesh
            unseen = float(ramp(target.interior[0, 1], *NONE_SEEN))
            least *= 1 - unseen * (1 - float(ramp(target.gap[4], *DIM_FROM)))
            least *= 1 - unseen * float(ramp(target.interior[2, 0], *LOWER_BARED))
            told[0] = max(told[0], least * (1 - ROUND_LESS * roundness(target)))
            told[0] = min(told[0], EDGE_SEEN * (float(target.gap[4]) + target.beneath))
            # No tooth is much longer than its crown: what is light beyond are the lower ones.
            crown, others = float(self._upper.crowns[0]), float(self._lower.crowns[0])
            most = float(np.interp(target.gap[4], *LONGEST))
            longer = float(np.clip(told[0] / crown, 1, max(most, 1)))
            if told[0] > most * crown:
                told = np.array([most * crown, max(told[1], min(told[0] - most * crown, others))])
        edge = float(target.face[13, 1]) - self._upper.edge
        drawn = self._smile(target)
        if told is None:  # lips that open wide, or smile, bare the upper teeth
            shares = float(ramp(target.gap[4], *PARTING)), roundness(target), drawn
            lowered = max(self._bared, *(share * max(0.0, edge + far) for share, far in zip(shares, UPPER_SHOWN)))
        else:
            # Teeth lie behind the lip: as far below it as was told they lie in the picture, however the head nods.
            behind = (self._upper.front - float(target.face[13, 2])) * float(d[1] / d[2])
            lowered = float(np.clip(edge + told[0] + behind, *TEETH_MOVE))
            if self._bared > 0:
                lowered = max(lowered, self._bared)
        drop = max(0.0, float(target.face[152, 1] - self._face.face[152, 1]))
        swing = to_matrix(np.array([np.arctan2(drop, 0.95), 0.0, 0.0]))
        # Lips hide the lower teeth but for their edge, however little the chin itself went down.
        stand = LOWER_SHOWN if told is None else min(told[1], LOWER_MOST)
        hint = float(ramp(np.array(target.gap[4]), *HINTED[0])) if told is None else 0.0
        stand = max(stand, HINTED[1] * hint)
        hidden = float(target.face[14, 1]) + target.beneath - stand - self._lower.edge
        if told is not None:
            hidden += (self._lower.front - float(target.face[14, 2])) * float(d[1] / d[2])
        front = np.array([0.0, self._lower.edge, self._lower.front])
        gone = float((HINGE + swing @ (front - HINGE) - front)[1])  # they are nearer to the joint than the chin is
        sunk = max(0.0 if told is None else TEETH_MOVE[0], hidden - gone)
        hinge = HINGE + swing.T @ ([0.0, -sunk, 0.0] - HINGE)
        o_jaw = swing.T.astype(np.float32) @ o + hinge.astype(np.float32)[:, None]  # in the frame of the lowered jaw
        d_jaw = d @ swing
        shows = SHOWS_LIT if self._tone.teeth is not None or self._tone.upper > 0.1 else 0.0
        smile = max(drawn, self._tone.upper, shows)  # teeth that the portrait shows are lit already
        seen = np.ones(2) if told is None else ramp(told, *TOOTH_SEEN.T)
        # Lips shade what lies behind them, the upper one more; light dies towards the corners.
        unit = float(pose.scale * W / (x1 - x0))
        rim = cv2.distanceTransform((opening > 0.5).astype(np.uint8), cv2.DIST_L2, 5)[rows, columns] / unit
        line = np.array([q[i] for i in range(len(top.LIPS_INNER_UPPER))])
        order = np.argsort(line[:, 0])
        lip = np.interp(np.arange(W), line[order, 0], line[order, 1])
        below = np.maximum(rows - lip[columns], 0).astype(np.float32) / unit
        under = self._anatomy.under_lip * (1 - 0.7 * smile)
        half = max(1.0, (q[:, 0].max() - q[:, 0].min()) / 2)
        aside = np.abs(np.arange(W) - (q[:, 0].max() + q[:, 0].min()) / 2) / half
        corner = 1 - CORNER_SHADE[1] * ramp(aside, CORNER_SHADE[0], 1.0) ** 2
        corner = corner.astype(np.float32)[columns]
        reaches = max(UNDER_REACH[0], UNDER_SHARE * float(target.gap[4])), UNDER_REACH[1]
        on_flesh, on_teeth = (
            corner * (1 - deep * np.exp(rim * (-1 / wide))) * (1 - less * under * np.exp(below * (-1 / reach)))
            for (deep, wide), less, reach in zip(LIP_SHADE, (UNDER_FLESH, UNDER_TEETH), reaches)
        )
        lab, flesh = self._cavity(o, d), _column(self._flesh)
        shown = target.interior
        (near, deep), (first, last) = DEEPER
        lab *= first + (last - first) * ramp(rim, near, deep)
        tongue = 1.0 if shown is None else 1 - DIMMEST * float(ramp(shown[1:, 1].mean(), *UNSEEN_TONGUE))
        wide = ramp(np.abs(target.face[308, 0] - target.face[78, 0]), *NARROW[0])
        dim = float(1 - NARROW[1] * (1 - wide))
        self._draw_tongue(lab, o_jaw, d_jaw, float(target.gap[4]) + target.beneath, tongue, dim)
        self._shade(lab, on_flesh)
        if target.interior is not None:  # as dark behind the teeth as the performer's mouth was there
            self._tell(lab, target.interior, opening, rows, columns)
        knee, end = (share * float(self._tone.skin[0]) for share in FLESH_MOST)
        over = np.maximum(lab[0] - knee, 0)
        lab[0] -= over - (end - knee) * np.tanh(over / (end - knee))
        bright = self._anatomy.upper_bright * (1 + SMILE_LIT * smile)
        held = min(1.0, self._tone.ceiling / (float(self._tooth[0]) * bright))
        bright *= held * (1 - UNSEEN_DIM * unseen)
        low = hint if told is None else float(seen[1])
        raised = np.array([[0], [lowered], [0]], np.float32)
        for arch, at, way, light, there in (
            (self._lower, o_jaw, d_jaw, self._anatomy.lower_bright * held, low),
            (self._upper, o - raised, d, bright, max(float(seen[0]), float(self._bared > 0))),
        ):
            if there <= 0:
                continue
            met = arch.meet(at, way, longer if arch is self._upper else 1.0)
            where = met["where"]
            colour, present = self._arch_colours(met, light, there, float(pose.scale))
            self._shade(colour, on_teeth[where])
            colour[1:] += (TINTED * unseen if arch is self._upper else LOWER_TINTED) * flesh[1:]
            before = lab[:, where]
            lab[:, where] = before + present * (colour - before)
        _held(lab[0], DARKEST * self._tone.darkest, self._tone.ceiling)
        out = np.zeros((H, W, 3), np.float32)
        out[rows, columns] = cv2.cvtColor(np.ascontiguousarray(lab.T)[None], cv2.COLOR_LAB2RGB)[0] * 255
        return out

    def _shade(self, lab: NDArray, light: NDArray) -> None:
        """Let only a share `light` (N,) fall on colours (3, N), in place; shadows are lit by flesh."""
        lab[0] *= light
        lab[1:] *= 0.6 + 0.4 * light
        lab[1:] += (1 - light) * (BOUNCED * _column(self._flesh)[1:])

    def _tell(self, lab: NDArray, shares: Array, opening: NDArray, rows: NDArray, columns: NDArray) -> None:
        """Bring flesh (3, N) to the lightness that `shares` (3, 2) tell of another's, in place.

        How light falls off from row to row stays the model's, but for half of what was told of it."""
        light, dark = painted(shares, np.ones((len(opening), 1)))
        dark = np.clip(dark[:, 0] / np.maximum(1 - light[:, 0], 0.25), 0, 1)
        want = np.interp(dark, [0, 1], TOLD_FLESH) * float(self._tone.skin[0])
        weight = opening[rows, columns]
        whole = max(float(weight.sum()), 1e-3)
        mean, have = float(weight @ want[rows]) / whole, float(weight @ lab[0]) / whole
        factor = np.clip(mean / max(have, 1.0), *TOLD_RANGE) * np.sqrt(want / max(mean, 1.0))
        factor = factor.astype(np.float32)
        lab[0] *= factor[rows]
        lab[1:] *= np.minimum(factor, VIVID)[rows]

    def _smile(self, target: Target) -> float:
        """How far the mouth is drawn wide, 0..1: lips tight over the teeth let the light in."""
        wide, own = (float(np.linalg.norm(f[61] - f[291])) for f in (target.face, self._face.face))
        return float(np.clip(max((wide - own) / SMILED[0], (wide - SMILED[1]) / SMILED[2]), 0, 1))

    def _cavity(self, o: NDArray, d: Array) -> NDArray:
        """The walls behind everything, colours (3, N): flesh where they begin, darker towards the throat."""
        down, behind, (wide, high) = CAVE
        dx, dy, dz = d.tolist()
        t = (self._upper.front + behind - o[2]) / dz
        x, y = (o[0] + t * dx) / wide, (o[1] + t * dy - (self._upper.edge + down)) / high
        lit = CAVE_LIT * np.exp(-CAVE_FADE * np.exp(-(x * x + y * y)))
        dark = _column(self._dark)
        return np.asarray(dark + (_column(self._flesh) - dark) * lit)

    def _draw_tongue(self, lab: NDArray, o: NDArray, d: Array, gap: float, seen: float, dim: float) -> None:
        """Lay a tongue over colours (3, N), in place, as far as it is to be `seen`, 0..1, in light of which `dim` comes
        in."""
        (centre, radii), k = self._tongue, self._anatomy
        p, v = (o - _column(centre)) / _column(radii), (d / radii).astype(np.float32)
        a, b, c = float(v @ v), v @ p, (p * p).sum(0) - 1
        disc = b * b - a * c
        where = np.flatnonzero(disc > 0)  # what is beside it turns away from the light altogether
        o, p, b, disc = o[:, where], p[:, where], b[where], disc[where]
        hit = 1 / (1 + np.exp(-np.minimum(disc * (1 / (TONGUE_EDGE[0] * a)), 40)))
        t = (-b - np.sqrt(disc)) / a
        n = (p + t * v[:, None]) / _column(radii)
        n /= np.maximum(np.sqrt((n * n).sum(0)), 1e-6)
        light = _held(SUNWARD @ n, 0, 1)
        depth = _held((o[2] + t * float(d[2]) - self._upper.front) / 0.45, 0, 1)
        x = o[0] + t * float(d[0])
        groove = 1 - 0.06 * np.exp(-((x / 0.05) ** 2))  # a sharper one is taken for a gap of teeth
        comes = float(np.interp(gap, *TONGUE_LIT))
        lightness, *hue = self._flesh.tolist()
        colour = np.empty_like(n)
        bright = (k.tongue_dim + k.tongue_lit * light) * _held(1 - k.tongue_fade * depth, 0.12, 1) * groove
        bright *= dim * comes * np.maximum(1 - TONGUE_ROUND / 0.3**2 * x * x, 0.4)
        colour[1:] = _column(hue) * (0.35 + 0.65 * np.minimum(bright, 1))
        turned = np.minimum(disc * (1 / (TONGUE_EDGE[1] * a)), 1)  # its sides turn away into the dark
        eighth = _held(GLOSSWARD @ n, 0, 1)
        for _ in range(5):
            eighth *= eighth
        colour[0] = lightness * bright * (TONGUE_SIDES + (1 - TONGUE_SIDES) * turned) + WET * comes * eighth
        before = lab[:, where]
        lab[:, where] = before + seen * hit * turned * (colour - before)

    def _arch_colours(self, m: dict[str, NDArray], bright: float, seen: float, scale: float) -> tuple[NDArray, NDArray]:
        """Colours (3, N) of an arch in Lab, and how much of it is there (N,); a picture has `scale` pixels an IOD."""
        light = _held(SUNWARD @ m["normal"], 0, 1)
        eighth = _held(GLOSSWARD @ m["normal"], 0, 1)
        for _ in range(3):  # products take a tenth of the time of a power
            eighth *= eighth
        gloss = (eighth * eighth) ** 2 * eighth
        fade = np.exp(m["z"] * (-1 / self._anatomy.teeth_fade))  # back teeth sink into the dark of the cheeks
        height = m["height"]
        # Small teeth, and those seen from aside, run into each other.
        apart = 1 - np.abs(m["u"])
        between = sum(deep * np.exp(-((apart * (1 / wide)) ** 2)) for deep, wide in CONTACT)
        low = 1 - height
        between *= ramp(m["width"] * scale, *TOOTH_PIXELS) * (
            APART[0] + APART[1] * low * low * low + APART[2] * height * height * height
        )
        between *= 1 - UNCUT * self._tone.carved
        gloss *= 1 - self._tone.carved
        tooth = np.empty_like(m["normal"])
        tooth[:] = _column(self._tooth)
        # Enamel is translucent at the edge, warmer towards the gum.
        tooth[0] *= (0.86 + 0.20 * light) * (1 - between) * (0.90 + 0.10 * np.sin(height * np.pi)) * m["tone"]
        tooth[0] *= 1 - TRANSLUCENT[0] * np.exp(np.maximum(m["above"], 0) * (-1 / TRANSLUCENT[1]))
        tooth[0] += GLOSS * gloss
        tooth[2] += (3.0 * height + CANINE * m["canine"]) * float(np.hypot(*self._tooth[1:]) / 8)
        gum = np.empty_like(tooth)
        gum[:] = _column(self._gum)
        beyond = m["above"] - m["crown"]
        gum[0] *= (0.70 + 0.30 * light) * (1 - 0.45 * ramp(beyond, 0.0, 0.05))
        soft = 0.004
        in_gum = 1 / (1 + np.exp(_held(beyond * (-1 / soft), -40, 40)))
        colour = tooth + (gum - tooth) * in_gum
        shown = 0.10 + 0.90 * fade
        colour[0] *= bright * shown
        colour[1:] *= 0.5 + 0.5 * shown
        colour[1:] += (1 - shown) * (BOUNCED * _column(self._flesh)[1:])
        present = 1 / (1 + np.exp(_held(m["above"] * (-1 / (0.8 * soft)), -40, 40)))
        present *= _held((0.42 - np.abs(m["x"])) * (1 / 0.06), 0, 1) * m["met"]
        # Gums end where the cheek begins.
        present *= _held((0.16 - beyond) * (1 / 0.05), 0, 1) * seen
        return colour, present
