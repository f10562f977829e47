"""What eyes reject in a result, as numbers: lids and mouth, read off performer and result by themselves.

Nothing that an engine says of its picture enters: both sides are tracked anew, frame by frame and unsmoothed, and what
landmarks cannot tell is read from pixels. Lengths are in inter-ocular distances (IOD) or, of lids, in widths of the
eye; lightness is that of Lab, 0..100. What lies around the face is read in `infinex.evaluation.edges`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.interior import colour_at, lab_of
from infinex.face.pose import fit_pose
from infinex.face.shape import eye_openness, lip_gaps
from infinex.mesh.layers import polygon_mask

Array = NDArray[np.float64]
Map = NDArray[np.float32]
RGB = NDArray[np.uint8]

SHUT, APART = 0.30, 0.25  # share of its open lids at which an eye is shut; difference of two eyes that a viewer sees
ALIKE = 0.20  # difference up to which the performer's own lids agree
AHEAD, ASIDE = 25.0, 50.0  # degrees of turn beyond which the far eye is not read, and neither
TOUCH = 0.02  # IOD of lip gap at which lips touch
PARTED = 0.05  # IOD from which the inside of a mouth is looked at
EYE_PATCH = (96, 64)  # pixels of a levelled eye whose corners stand at a sixth and five sixths
FACE_PATCH = 96  # pixels of a face held still
MOUTH_PATCH, MOUTH_UNIT = (180, 110), 200.0  # pixels of a levelled mouth, and of one IOD in it
PITCH = 0.15  # of the skin's lightness, below which a mouth is black
TOOTH = 0.6  # of the skin's lightness, from which on what is hardly redder than skin is a tooth
BROWS = [46, 53, 52, 65, 55]  # the lower edge of the right one
PLACES, HEIGHTS = np.linspace(-0.28, 1.08, 80), np.arange(0.70, 0.0, -0.0172)  # above an eye, widths of it
SPECK, BELOW_BROW = 13, 0.12  # columns that a speck is narrower than; widths of an eye left out below the brow
LIVELY = 0.012  # IOD of standard deviation from which a movement is worth a gain


@dataclass(frozen=True)
class Seen:
    """One face in one frame, as landmarks tell: all in head coordinates, so that turns do not count."""

    lids: Array  # (2,) gap over the eye's width, right and left
    gap: float  # mean gap of the middle of the inner lips, IOD
    most: float  # the largest gap of the inner lips, IOD
    mouth: float  # width between the corners of the mouth, IOD
    brow: float  # height of the brows over the corners of the eyes, IOD
    size: float  # log of the IOD in pixels
    angles: Array  # (3,) yaw, pitch and roll in degrees


def seen(points: Array) -> Seen:
    """What landmarks (478, 3) in pixels tell of lids, lips, brows and head."""
    pose = fit_pose(top.mean_face(), points)
    face = pose.to_head(points)
    gaps = lip_gaps(face)
    eyes = face[[33, 133, 362, 263], 1].mean()
    brow = float(eyes - face[top.RIGHT_BROW[:5] + top.LEFT_BROW[:5], 1].mean())
    return Seen(
        eye_openness(face), float(np.clip(gaps[2:7], 0, None).mean()), float(max(0.0, gaps.max())),
        float(np.linalg.norm(face[61] - face[291])), brow, float(np.log(pose.scale)), pose.angles,
    )  # fmt: skip


def levelled(image: RGB, points: Array, side: int) -> RGB:
    """An eye (0 right, 1 left) as if its corners stood level, `EYE_PATCH` pixels, the outer corner to the left."""
    w, h = EYE_PATCH
    outer, inner = ((33, 133), (263, 362))[side]
    a, b = points[outer, :2], points[inner, :2]
    along = b - a
    down = np.array([-along[1], along[0]]) * (1 if side == 0 else -1)
    source = np.stack([a, b, a + down / 2]).astype(np.float32)
    aim = np.array([[w / 6, h * 0.6], [w * 5 / 6, h * 0.6], [w / 6, h * 0.6 + w / 3]], np.float32)
    return np.asarray(
        cv2.warpAffine(image, cv2.getAffineTransform(source, aim), (w, h), flags=cv2.INTER_AREA,
                       borderMode=cv2.BORDER_REPLICATE), np.uint8
    )  # fmt: skip


@dataclass(frozen=True)
class Lid:
    """One shut eye, read from its pixels; shares of the lightness of the skin beneath it."""

    uneven: float  # how much the lid's skin varies: an iris that shines through, lashes drawn down into bars
    smear: float  # how far the lid's skin stands off from the skin beneath, its lightest tenth
    line: float  # how dark and how sharp the lash line is


def lid(image: RGB, points: Array, side: int) -> Lid:
    """A shut eye of a frame (H, W, 3) with landmarks (478, 3)."""
    w, h = EYE_PATCH
    patch = cv2.GaussianBlur(lab_of(levelled(image, points, side))[..., 0], (0, 0), 1.0)
    level, width = int(h * 0.6), w * 2 // 3
    middle = slice(w // 2 - width // 3, w // 2 + width // 3)
    skin = max(float(np.median(patch[level + width // 4 :, middle])), 5.0)
    # Where lids meet: the darkest row of each column near the corners' level.
    near = patch[level - width // 6 : level + width // 5, middle]
    meet = level - width // 6 + cv2.GaussianBlur(near, (0, 0), 1.0).argmin(0)
    meet = np.round(np.median(meet) + 0.5 * (meet - np.median(meet))).astype(int)
    tall = width // 5
    columns = np.arange(middle.start, middle.stop)
    rows = np.clip(meet[None] - 4 - np.arange(tall)[:, None], 0, h - 1)
    lids = patch[rows, columns[None]] / skin
    trend = lids.mean(1, keepdims=True) + cv2.GaussianBlur(lids.mean(0, keepdims=True), (0, 0), 12.0) - lids.mean()
    down = np.clip(meet[None] + np.arange(-3, 4)[:, None], 0, h - 1)
    profile = patch[down, columns[None]] / skin
    line = float(np.median(np.ptp(profile, axis=0)))
    return Lid(float((lids - trend).std()), float(np.percentile(lids, 90)) - 1, line)


def smear(image: RGB, points: Array, own: RGB, own_points: Array, side: int) -> float:
    """How dark specks, hooks and rims stand above a shut eye where the portrait `own` had none, as a share of the
    skin's lightness: the darkest fiftieth of the skin from there to the brow. Creases, which run across, are no specks.

    Both are laid out in widths of the eye, so that liner that a rising brow took along is new where it has come to."""
    found = []
    for picture, at in ((image, points), (own, own_points)):
        light, edge, brow = _socket(picture, at, side)
        hat = cv2.morphologyEx(light, cv2.MORPH_CLOSE, np.ones((1, SPECK), np.uint8)) - light
        found.append((light, hat, HEIGHTS[:, None] < brow - BELOW_BROW, HEIGHTS[:, None] > edge + 0.08))
    (light, hat, below, above), (before, had, free, _) = found
    part = below & above
    if part.sum() < 150 or free.sum() < 150:
        return float("nan")
    skin, usual = (max(float(np.percentile(x[m], q)), 5.0) for x, m, q in ((light, part, 60), (before, free, 75)))
    had = cv2.dilate(had, np.ones((5, 5), np.uint8)) / usual
    return float(np.percentile(np.maximum(hat / skin - had, 0)[part], 98))


def _socket(image: RGB, points: Array, side: int) -> tuple[Map, Array, Array]:
    """Lightness above an eye, laid out by `PLACES` and `HEIGHTS`; heights of the lid's edge and of the brow."""
    upper = (top.RIGHT_LID_UPPER, top.LEFT_LID_UPPER)[side]
    brows = (BROWS, [int(top.mirror()[i]) for i in BROWS])[side]
    corner, inner = (complex(*points[i, :2]) for i in (upper[0], upper[-1]))
    along = inner - corner
    up = -1.0 if along.real > 0 else 1.0
    curves = []
    for ids in (upper, brows):
        z = (points[ids, 0] + 1j * points[ids, 1] - corner) / along
        order = np.argsort(z.real)
        curves.append(np.interp(PLACES, z.real[order], up * z.imag[order]))
    at = (PLACES + 1j * up * HEIGHTS[:, None]) * along + corner
    size = round(abs(along) * float(PLACES[1] - PLACES[0]))
    if size > 1:
        image = np.asarray(cv2.blur(image, (size, size)), np.uint8)
    x, y = at.real.astype(np.float32), at.imag.astype(np.float32)
    light = lab_of(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))[..., 0]
    return np.asarray(cv2.GaussianBlur(light, (0, 0), 1.0), np.float32), curves[0], curves[1]


@dataclass(frozen=True)
class Light:
    """How light a portrait is where it may be lightest: the ceiling of its teeth."""

    white: Array  # (3,) Lab of the lightest of its eyes
    skin: Array  # (3,) Lab
    face: float  # lightness that 95 of 100 of the face's pixels stay under
    mouth: float  # the same of its own open mouth; 0 where it is shut
    lips: Array  # (3,) Lab

    @property
    def ceiling(self) -> float:
        """Lightness that teeth may have."""
        return max(float(self.white[0]), self.face, self.mouth)


def light_of(image: RGB, points: Array) -> Light:
    """The light of a portrait (H, W, 3) with landmarks (478, 3)."""
    lab = lab_of(image)
    h, w = image.shape[:2]
    eyes = np.zeros((h, w), np.float32)
    for ring, iris in ((top.RIGHT_EYE, top.RIGHT_IRIS), (top.LEFT_EYE, top.LEFT_IRIS)):
        hole = polygon_mask(h, w, points[ring])
        reach = float(np.linalg.norm(points[iris[1:], :2] - points[iris[0], :2], axis=1).mean()) * 1.1
        cv2.circle(hole, tuple(int(v) for v in np.round(points[iris[0], :2])), max(1, round(reach)), 0.0, -1)
        eyes = np.maximum(eyes, hole)
    white = lab[eyes > 0.6]
    skin = np.asarray(colour_at(image, points[top.SKIN]), np.float64)
    if len(white) >= 8:
        white = white[white[:, 0] >= np.percentile(white[:, 0], 80)]
    eye = np.median(white, 0) if len(white) else skin
    face = lab[polygon_mask(h, w, points[top.OVAL]) > 0.5]
    own = inside(image, points)
    return Light(
        np.asarray(eye, np.float64), skin, float(np.percentile(face[:, 0], 95)) if len(face) else 100.0,
        0.0 if own is None else float(np.percentile(own[:, 0], 95)), lip_colour(lab, points),
    )  # fmt: skip


def lip_colour(lab: Map, points: Array) -> Array:
    """Median Lab (3,) of the red of both lips."""
    h, w = lab.shape[:2]
    red = polygon_mask(h, w, points[top.LIPS_OUTER]) - polygon_mask(h, w, points[top.LIPS_INNER])
    found = lab[red > 0.6]
    return np.asarray(np.median(found, 0), np.float64) if len(found) else np.array([50.0, 20.0, 15.0])


def inside(image: RGB, points: Array, parted: bool = False) -> Map | None:
    """Lab (n, 3) of what shows between the lips; None where they are not parted far enough to tell.

    Where they are known to be `parted` and landmarks do not see it, as on some paintings, what lies between the middles
    of the lips counts as well: a slab of teeth stands out there, too."""
    ring = points[top.LIPS_INNER, :2]
    if parted and seen(points).gap < PARTED:
        ring = (ring + points[top.LIPS_OUTER, :2]) / 2
    lo, hi = np.floor(ring.min(0)).astype(int) - 2, np.ceil(ring.max(0)).astype(int) + 3
    lo, hi = np.maximum(lo, 0), np.minimum(hi, image.shape[1::-1])
    if (hi - lo < 4).any() or not (parted or seen(points).gap >= PARTED):
        return None
    hole = polygon_mask(int(hi[1] - lo[1]), int(hi[0] - lo[0]), ring - lo)
    hole = cv2.erode(hole, np.ones((3, 3), np.uint8))
    found = lab_of(image[lo[1] : hi[1], lo[0] : hi[0]])[hole > 0.9]
    return found if len(found) >= 24 else None


@dataclass(frozen=True)
class Mouth:
    """An open mouth beside the portrait's own light."""

    over: float  # lightness by which its lightest twelfth is above the ceiling, 0 where it is not
    blue: float  # share of it that is bluer than eye white and skin are
    pink: float  # share of it that is much redder than the lips, towards magenta
    dark: float  # lightness of its darkest quarter, as a share of the skin's
    black: float = float("nan")  # share of it that is all but black
    relief: float = float("nan")  # how much lightness varies from tooth to tooth, of the teeth's; NaN where few show


def mouth(image: RGB, points: Array, light: Light, parted: bool = False) -> Mouth | None:
    """What an open mouth shows; None where lips are not parted (see `inside`)."""
    found = inside(image, points, parted)
    if found is None:
        return None
    lit = found[:, 0] > max(12.0, 0.25 * float(light.skin[0]))
    warm = min(float(light.white[2]), float(light.skin[2]), float(light.lips[2]))
    blue = lit & (found[:, 2] < (0.45 * warm - 2 if warm > 0 else warm - 2))  # in warm light grey is blue already
    pink = lit & (found[:, 1] > max(light.lips[1], light.skin[1]) + 9) & (found[:, 2] < 0.6 * found[:, 1])
    over = max(0.0, float(np.percentile(found[:, 0], 92)) - light.ceiling)
    dark = float(np.percentile(found[:, 0], 25)) / max(float(light.skin[0]), 5.0)
    return Mouth(over, float(blue.mean()), float(pink.mean()), dark, *_depth(image, points, light))


def _depth(image: RGB, points: Array, light: Light) -> tuple[float, float]:
    """`Mouth.black` and `Mouth.relief`, read in a levelled mouth, so that size and tilt do not count."""
    w, h = MOUTH_PATCH
    unit = float(np.exp(seen(points).size)) / MOUTH_UNIT
    along = points[308, :2] - points[78, :2]
    along = along / max(float(np.linalg.norm(along)), 1e-6)
    axes = np.stack([along, [-along[1], along[0]]])
    centre = points[top.LIPS_INNER, :2].mean(0)
    matrix = np.concatenate([axes.T * unit, centre[:, None]], 1)
    matrix[:, 2] -= matrix[:, :2] @ [w / 2, h / 2]
    if unit > 1.5:
        image = np.asarray(cv2.blur(image, (round(unit), round(unit))), np.uint8)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    lab = lab_of(cv2.warpAffine(image, matrix, (w, h), flags=flags, borderMode=cv2.BORDER_REPLICATE))
    ring = (points[top.LIPS_INNER, :2] - centre) @ axes.T / unit + [w / 2, h / 2]
    hole = cv2.erode(polygon_mask(h, w, ring), np.ones((5, 5), np.uint8)) > 0.9
    if hole.sum() < 400:
        return float("nan"), float("nan")
    skin = max(float(light.skin[0]), 5.0)
    black = float((lab[..., 0] < PITCH * skin)[hole].mean())
    redness = 0.5 * float(light.lips[1] + light.skin[1]) + 2
    tooth = (hole & (lab[..., 0] > TOOTH * skin) & (lab[..., 1] < redness)).astype(np.uint8)
    tooth = cv2.morphologyEx(tooth, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    tall = tooth.sum(0)
    columns = np.flatnonzero(tall >= 6)
    if len(columns) < 40:
        return black, float("nan")
    across = (lab[..., 0] * tooth).sum(0)[columns] / tall[columns]
    course = np.interp(np.arange(columns[0], columns[-1] + 1), columns, across)
    smooth = cv2.GaussianBlur(course[None], (0, 0), 7.0, borderType=cv2.BORDER_REFLECT)[0]
    return black, float((course - smooth).std() / course.mean())


def teeth(image: RGB, points: Array) -> float:
    """Share of the seam between the lips, 0.05 IOD wide, that is light and not red: teeth where lips should touch."""
    unit = float(np.exp(seen(points).size))
    upper, lower = points[top.LIPS_INNER_UPPER, :2], points[top.LIPS_INNER_LOWER, :2]
    seam = ((upper + lower) / 2)[1:-1]
    t = np.linspace(0, len(seam) - 1, 40)
    line = np.stack([np.interp(t, np.arange(len(seam)), seam[:, k]) for k in (0, 1)], -1)
    across = points[308, :2] - points[78, :2]
    down = np.array([-across[1], across[0]]) / max(float(np.linalg.norm(across)), 1e-6)
    v = np.linspace(-0.025, 0.025, 9) * unit
    places = (line[None] + v[:, None, None] * down).astype(np.float32)
    lab = cv2.remap(image, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    lab = lab_of(lab)
    own = lip_colour(lab_of(image), points)
    return float(((lab[..., 0] > own[0] + 12) & (lab[..., 1] < own[1] - 5)).mean())


def creases(image: RGB, points: Array) -> Array:
    """How plainly a dark line goes on outward from each corner of the mouth, (2,), as a share of the skin's lightness.

    Lips that open unroll the crease between them; where a picture's stays, it stands as a spike beside the opening.
    A beard has such lines, too."""
    unit = float(np.exp(seen(points).size))
    outward = points[[61, 291], :2] - points[[291, 61], :2]
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
    down = np.array([[-1.0, 1.0], [1.0, -1.0]]) * outward[:, ::-1]
    if unit > 140:  # finer than a viewer sees
        image = np.asarray(cv2.blur(image, (round(unit / 70), round(unit / 70))), np.uint8)
    u, v = np.linspace(0.03, 0.15, 17), np.linspace(-0.10, 0.10, 41)
    skin = max(float(colour_at(image, points[top.SKIN])[0]), 5.0)
    found = []
    for k, corner in enumerate(points[[78, 308], :2]):
        places = corner + unit * (u[None, :, None] * outward[k] + v[:, None, None] * down[k])
        x, y = places[..., 0].astype(np.float32), places[..., 1].astype(np.float32)
        light = lab_of(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))[..., 0] / skin
        light = cv2.GaussianBlur(light, (0, 0), sigmaX=1.0, sigmaY=1e-3)  # along the line
        line = np.ones((9, 1), np.uint8)
        dark = cv2.morphologyEx(light, cv2.MORPH_BLACKHAT, line)[10:-10]
        found.append(float(np.median(dark.max(0))))
    return np.array(found)


def held(image: RGB, points: Array) -> Map:
    """The face as if it stayed, grey (`FACE_PATCH`, `FACE_PATCH`): by what is rigid of it, in the picture's plane."""
    face = top.mean_face()[top.RIGID, :2]
    aim = (face - face.mean(0)) * FACE_PATCH / 2.6 + FACE_PATCH * np.array([0.5, 0.42])
    matrix, _ = cv2.estimateAffinePartial2D(points[top.RIGID, :2].astype(np.float32), aim.astype(np.float32))
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    k = max(1.0, 1 / float(np.hypot(*matrix[:, 0])) / 1.5)
    if k > 1:
        grey = cv2.GaussianBlur(grey, (0, 0), 0.5 * k)
    return cv2.warpAffine(grey, matrix, (FACE_PATCH, FACE_PATCH), borderMode=cv2.BORDER_REPLICATE).astype(np.float32)


@dataclass
class Restless:
    """How restlessly a face changes from frame to frame: what of it no straight course explains."""

    values: list[float] = field(default_factory=list)
    _last: list[Map] = field(default_factory=list)

    def add(self, patch: Map | None) -> None:
        """The next frame; None breaks the course."""
        self._last = [] if patch is None else [*self._last[-2:], patch]
        if len(self._last) < 3:
            return
        a, b, c = self._last
        # Landmarks tremble: whatever moves the face as one in its plane, or lights it, is taken off first. The rest is
        # told in pixels of the patch that would explain it, so that lively texture counts no more than smooth skin.
        off = b - (a + c) / 2
        gx, gy = (cv2.Sobel(b, cv2.CV_32F, *way, scale=1 / 8) for way in ((1, 0), (0, 1)))
        y, x = (np.mgrid[:FACE_PATCH, :FACE_PATCH] / FACE_PATCH - 0.5).astype(np.float32)
        design = np.stack([gx, gy, gx * x, gx * y, gy * x, gy * y, b, np.ones_like(b)], -1).reshape(-1, 8)
        off = off - (design @ np.linalg.lstsq(design, off.ravel(), rcond=None)[0]).reshape(off.shape)
        steep = cv2.blur(np.hypot(gx, gy), (8, 8)) + 1.5
        self.values.append(float(np.percentile(cv2.blur(np.abs(off), (8, 8)) / steep, 95)))

    @property
    def value(self) -> float:
        """The usual one; not a number where there was too little."""
        return float(np.median(self.values)) if len(self.values) >= 5 else float("nan")


# -- a whole performance ------------------------------------------------------------------------------


def opened(lids: Array) -> Array:
    """Opening (T, 2) of both eyes as a share of how open they are when awake, both measured by one."""
    both = lids.mean(1)
    awake = float(np.median(both[both >= np.median(both)]))
    return lids / max(awake, 1e-3)


def gain(result: Array, performer: Array, least: float) -> float:
    """By how much of the performer's movement (T,) the result moves (T,): least squares about the medians.

    Not a number where the performer's deviates by less than `least`."""
    a, b = performer - np.median(performer), result - np.median(result)
    if len(a) < 8 or a.std() < least:
        return float("nan")
    return float((a * b).sum() / (a * a).sum())


def near_eyes(*angles: float) -> list[int]:
    """Which eyes (0 right, 1 left) are seen well at all of some yaws in degrees: both, the near one, or none."""
    right, left = (all(-far < a < other for a in angles) for far, other in ((AHEAD, ASIDE), (ASIDE, AHEAD)))
    return [k for k, well in enumerate((right, left)) if well]


def of_landmarks(result: Sequence[Seen | None], performer: Sequence[Seen | None], fps: float) -> dict[str, float]:
    """Numbers of lids, lips, brows and size, from what was seen of both in the same frames; NaN where there is none."""
    pairs = [(r, p) for r, p in zip(result, performer) if r is not None and p is not None]
    keys = ("apart", "wide", "lids", "residual", "lips", "closed", "brows", "smile", "pumping")
    out = dict.fromkeys(keys, float("nan"))
    if len(pairs) < 8:
        return out
    mine, theirs = (np.stack([s[k].lids for s in pairs]) for k in (0, 1))
    u, v = opened(mine), opened(theirs)
    front = np.array([max(abs(s.angles[0]) for s in pair) < AHEAD for pair in pairs])
    agree = front & (np.abs(v[:, 0] - v[:, 1]) < ALIKE)
    if agree.sum() >= 8:
        out["apart"] = float((np.abs(u[:, 0] - u[:, 1]) > np.abs(v[:, 0] - v[:, 1]) + APART)[agree].mean())
    awake = front & (v.mean(1) < 1.15)
    if awake.sum() >= 8:
        out["wide"] = float((u.mean(1) > np.maximum(v.mean(1), 1) + 0.25)[awake].mean())
    eyes = [near_eyes(*(float(s.angles[0]) for s in pair)) for pair in pairs]
    well = np.array([bool(e) for e in eyes])
    mu, mv, more = (np.array([x[e].mean() if e else np.nan for x, e in zip(of, eyes)]) for of in (u, v, mine - theirs))
    shut = well & (v.max(1) < SHUT)
    moved = well & (mv < 0.6)
    if moved.any():
        out["lids"] = float(((1 - mu) * (1 - mv))[moved].sum() / ((1 - mv) ** 2)[moved].sum())
    if shut.any():
        out["residual"] = float(more[shut].mean())
    touch = np.array([p.most < TOUCH for _, p in pairs])
    if touch.any():
        out["lips"] = float(np.mean([max(0.0, r.gap - p.gap) for (r, p), t in zip(pairs, touch) if t]))
    parted = np.array([p.gap for _, p in pairs])
    out["closed"] = gain(np.array([r.gap for r, _ in pairs]), parted, LIVELY)

    def relative(k: int, name: str) -> Array:
        value = np.array([getattr(s[k], name) for s in pairs])
        return value / max(float(np.median(value)), 1e-3)

    out["brows"] = gain(relative(0, "brow"), relative(1, "brow"), 0.04)
    out["smile"] = gain(relative(0, "mouth"), relative(1, "mouth"), 0.025)
    sizes = [fast(np.array([s[k].size for s in pairs]), fps) for k in (0, 1)]
    out["pumping"] = float((sizes[0].std() + 0.004) / (sizes[1].std() + 0.004))
    return out


def fast(course: Array, fps: float) -> Array:
    """A course (T,) without what is slower than about a second: walking up to a camera is no pumping."""
    return course - cv2.GaussianBlur(course.reshape(-1, 1), (1, 0), sigmaX=0.5, sigmaY=max(1.0, fps / 2)).ravel()
