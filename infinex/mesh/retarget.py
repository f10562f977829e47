"""Carrying one face's motion onto another's shape: proportions, lids, lips and head pose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import dist

import numpy as np
from numpy.typing import NDArray

from infinex.engine import Proportions
from infinex.face import topology as top
from infinex.face.interior import ramp, teeth_over
from infinex.face.landmark_transformer import landmark_transformer
from infinex.face.portrait import EYES, LOWER_LID_RISE, SourceFace
from infinex.face.pose import Pose, to_matrix, to_vector
from infinex.face.shape import eye_openness, lip_gaps
from infinex.face.surroundings import smoothstep
from infinex.motion import Move, Rest

Array = NDArray[np.float64]
# Head turns are followed exactly up to the first angle, and approach the second: more would tear.
NOD_LIMIT = np.radians([13.0, 24.0])  # yaw and pitch
PITCH_LIMIT = np.radians([8.0, 16.0])  # ... and of pitch alone: what lies below nose and chin was not photographed
TO_US = ([5.0, 9.0, 14.0, 20.0, 30.0], [40.0, 16.0, 7.0, 5.0, 3.0])  # most turn towards us of heads turned so; degrees
SHIFT_LIMIT = np.array([0.25, 0.6])  # of the head's place, IOD
RISE_LIMIT = np.array([0.10, 0.22])  # of that upwards: no neck is drawn out ...
SINK_LIMIT = np.array([0.15, 0.35])  # ... and downwards: no chin stands on the chest
TILT_LIMIT = np.radians([30.0, 45.0])  # roll
NARROWING = 1.1  # how much less than in proportion lids follow while they are nearly open
CHEEKS = [117, 118, 50, 101, 123, 346, 347, 280, 330, 352]  # what rises in a smile, ...
LAUGH = (0.012, 0.035)  # ... and how far, IOD, from none to a full one
WIDE_EYED = (0.27, 0.33)  # openings of a performer's eyes, widths of them, over which a smile leaves them alone
SQUINT, TIGHTER = 0.3, 0.35  # share by which lids narrow in one, and of the gap by which the lower ones rise beyond
GLANCES = 1.15  # times as far as it was tracked goes a stranger's gaze: trackers keep irises away from corners
WAKEFUL, DROWSY = 0.7, (0.15, 0.5)  # share of a narrowing undone in lids still as wide as the portrait's; shares open
STARE = 0.35  # share of its opening that eyes widen at most
AWAKE = (0.6, 0.9)  # openings over which eyes can still narrow in a laugh
HALF = (0.5, 2.0)  # opening below which a stranger's lids go on to close, and the power by which they do
UNEVEN = (0.2, 0.5)  # difference of both openings over which it is meant
LARGE = 0.30  # opening, widths of an eye, over which eyes are drawn larger than people's: awake is what they are
LIP_NOISE = 0.015  # IOD: gaps of a performer at rest below which shares of them say little
PRESSED = 0.012  # IOD by which lips that spoke in the source overlap when they are to be shut
WIDER_MOUTH = 0.5  # share of its greater width by which a mouth's corners go farther, or speech would grin
SMALLER_MOUTH = 0.4  # share of its lesser width by which they go less far: cheeks pull them, not lips
NARROWS = 0.06  # IOD of its width over which a mouth counts as narrowed
SWELL, LIP_FADE = (0.10, 0.35), 0.12  # by how much of its thickness a lip may grow; IOD of skin that goes with its edge
# Below the middle of the lower lip's edge, its columns; share of their distance from it that is
# left at least; IOD below it over which skin goes with it then.
HOLLOW, HOLLOWED, HOLLOW_LEFT, LIP_ENDS = [182, 83, 18, 313, 406], slice(3, 8), 0.6, 0.03
TURNING = (4.0, 12.0)  # degrees of turning from rest over which both edges of a face come to do the same
EDGE, FLANK = 0.15, 0.3  # how wide they are, and how far from the middle they begin; IOD
STIFF = 0.3  # share of their way aside and in depth that is left, since jaws and temples are bone
LOPSIDED = (15.0, 30.0)  # degrees of turning over which both halves of a mouth come to open alike
BARED = 0.25  # share of an opening over bared teeth that is a tracker's: it takes the dark seams of lips for teeth
WIDEST, NARROWEST = np.array([0.22, 0.38]), np.array([0.2, 0.36])  # soft limits of a mouth's change, of its width
SLIDE, SLIDE_FADE = np.array([0.03, 0.07]), 0.25  # limit of a mouth's way aside, IOD; skin around that shares it
HALVED = 0.35  # how far the corners of a round opening go to half its height, in portraits that look at us
ROUND = (0.4, 0.65)  # opening as a share of its width, from pointed to round, of a performer, whose lips were seen, ...
ROUND_TOLD = (0.12, 0.45)  # ... and of one that was written or heard
SLENDER = (0.7, 0.45)  # share of the width by which an opening is more slender than the performer's that it loses; most
DRAWN = 0.10  # IOD by which a mouth is wider than the portrait's, over which it is none the less not rounded
LOWERED = 0.5  # share of an opening by which the corners of lips are lowered at most, to where the performer's are
SMILES, SMILE_KEEPS = 0.06, 0.3  # IOD by which a mouth is wider than at rest over which it smiles; share kept then
CORNERS = (0.55, 0.2)  # of the way to the outer corners that the inner ones go in a wide and in a round opening
GRINS = ((0.03, 0.12), 0.10, (0.3, 0.7))  # lips straighten over: IOD of opening, IOD wider, light of the upper teeth
FOLDS = (  # of each eye, from the outside: above the lid, and above that
    ([247, 30, 29, 27, 28, 56, 190], [113, 225, 224, 223, 222, 221, 189]),
    ([467, 260, 259, 257, 258, 286, 414], [342, 445, 444, 443, 442, 441, 413]),
)
FOLDS_RISE = (0.3, 0.6)  # shares of what lifts them beyond the eye's corners
LOWER_LID_NOISE = 0.04  # share of it by which a tracked lower lid wanders


@dataclass(frozen=True)
class Target:
    """The portrait's face in one output frame."""

    face: Array  # (478, 3) canonical
    points: Array  # (478, 3) pixels
    pose: Pose
    turn: float  # radians from the source pose
    openness: Array  # (2,) lid opening, 1 as in the source
    gap: Array  # (9,) inner-lip gaps in IOD
    gaze: Array  # (2,) change of gaze in radians
    still: bool  # exactly the source
    outline: Array | None = None  # (2, 2, 3) see `infinex.face.surroundings`
    interior: Array | None = None  # (3, 2) see `infinex.face.interior`
    beneath: float = 0.0  # IOD of the mouth's opening that lies below the tracked edge of the lower lip


def _limited(angle: float, limit: Array) -> float:
    """Factor that keeps an angle, or a length, below a soft limit."""
    knee, end = limit
    if angle <= knee:
        return 1.0
    return float((knee + (end - knee) * np.tanh((angle - knee) / (end - knee))) / angle)


def _yaw(rotation: Array) -> float:
    """Degrees by which a head turned by a rotation vector is turned aside."""
    return float(Pose(1.0, to_matrix(rotation), np.zeros(3)).angles[0])


def _lopsided(turned: float) -> float:
    """How little can be told of the far half of a face that is turned by so many degrees, 0..1."""
    return float(smoothstep(np.asarray((turned - LOPSIDED[0]) / (LOPSIDED[1] - LOPSIDED[0]))))


def joy(offsets: Array) -> float:
    """How much a face smiles under displacements (478, 3) from its rest, 0..1, told by its cheeks."""
    return float(ramp(-np.asarray(offsets[CHEEKS, 1].mean()), *LAUGH))


def _dimensions(face: Array) -> dict[str, float]:
    def length(a: int, b: int) -> float:
        return dist(face[a].tolist(), face[b].tolist())

    return {
        "mouth": length(61, 291),
        "lower": length(2, 152),
        "brow": (length(105, 159) + length(334, 386)) / 2,
        "width": length(234, 454),
    }


def _hanging(face: Array) -> float:
    """How far the corners of a mouth hang below the middle of its upper lip, IOD."""
    return float((face[61, 1] + face[291, 1]) / 2 - face[13, 1])


def _corners(face: Array) -> float:
    """How low the corners of an opening between lips are: 0 at its upper edge, 1 at its lower one."""
    return float(((face[78, 1] + face[308, 1]) / 2 - face[13, 1]) / max(float(face[14, 1] - face[13, 1]), 1e-3))


def _spread(excess: Array) -> Array:
    """Values of columns (N,), each shared with its neighbours."""
    return np.convolve(np.pad(excess, 1, mode="edge"), [0.25, 0.5, 0.25], "valid")


def _edge(face: Array) -> Array:
    """How much each point of a face (478, 3) lies on its edge, (478,); the chin, which talks, does not."""
    away = np.linalg.norm(face[:, None, :2] - face[None, top.OVAL, :2], axis=2).min(1)
    aside = smoothstep(np.abs(face[:, 0] - face[[10, 152], 0].mean()) / FLANK)
    return np.asarray(np.exp(-((away / EDGE) ** 2)) * aside)


def _slender(face: Array) -> float:
    """Width of the opening between lips, of its height."""
    return abs(float(face[308, 0] - face[78, 0])) / max(float(lip_gaps(face).max()), 1e-3)


def _roundness(face: Array, limits: tuple[float, float]) -> float:
    """How round the opening between lips is, 0..1: it is tall for its width."""
    wide = max(abs(float(face[308, 0] - face[78, 0])), 1e-3)
    return float(smoothstep((lip_gaps(face).max() / wide - limits[0]) / (limits[1] - limits[0])))


class Retarget:
    """Moves of one performer to targets of one portrait."""

    def __init__(
        self, source: SourceFace, rest: Rest, absolute: bool = False, proportions: Proportions = "auto"
    ) -> None:
        self.source, self.rest, self.absolute = source, rest, absolute
        self._split = landmark_transformer() if proportions == "landmark-transformer" else None
        self._bare = absolute and proportions == "plain"  # the performer's landmarks in place of the portrait's
        mine, theirs = _dimensions(source.face), _dimensions(rest.face)
        k = {n: float(np.clip(mine[n] / max(theirs[n], 1e-6), 0.6, 1.6)) for n in mine}
        f = source.face
        lower = np.clip((f[:, 1] - f[1, 1]) / (f[2, 1] + 0.02 - f[1, 1]), 0, 1)
        sideways = 1 + (k["mouth"] - 1) * (WIDER_MOUTH if k["mouth"] > 1 else SMALLER_MOUTH)
        self._scale = np.stack(
            [
                (1 - lower) * k["width"] + lower * sideways,
                (1 - lower) * k["brow"] + lower * k["lower"],
                (1 - lower) * k["width"] + lower * k["lower"],
            ],
            1,
        )
        self._inward = lower * (k["mouth"] - sideways)
        self.brows = k["brow"]  # by how much further than the performer's its brows rise
        self._lip_scale = float(np.sqrt(k["lower"] * k["mouth"]))  # small mouths do not open as far
        if proportions not in ("auto", "scaled"):
            self._scale, self._lip_scale, self._inward = np.ones((len(f), 3)), 1.0, np.zeros(len(f))
            self.brows = 1.0
        self._closed, self._open = rest.lids
        self._rest_openness = eye_openness(rest.face)
        self._rest_gaps = lip_gaps(rest.face)
        self._rest_rotation, self._rest_yaw = to_matrix(rest.rotation), _yaw(rest.rotation)
        self._edge = _edge(rest.face)
        # A three-quarter view shows less of the far cheek, and bears less turning; least of all towards us.
        beyond = max(0.0, abs(float(source.pose.angles[0])) - 10)
        self._room = max(0.5, 1 - beyond / 40)
        self._to_us = np.radians(np.interp(abs(float(source.pose.angles[0])), *TO_US)) * np.array([0.5, 1.0])
        # Absolute: the performer's own pose. A reference that all but matches differs by tracking noise only.
        apart = np.linalg.norm(to_vector(source.pose.rotation @ self._rest_rotation.T))
        self._apart = bool(apart > np.radians(4.0))
        self.own: Array | None = None  # (478, 3) taken off the source first: what its own mouth says
        self.beneath: Array = np.zeros(9)  # IOD by which teeth lie over its lower lip, which is open as far already
        self._limits = self._lips() if proportions in ("auto", "scaled") else []
        away = np.linalg.norm(f[: top.SURFACE, None, :2] - f[None, top.LIPS_INNER, :2], axis=2)
        self._beside = np.exp(-((away.min(1) / SLIDE_FADE) ** 2))
        self._halves = HALVED * float(np.clip(2 - abs(float(source.pose.angles[0])) / 12, 0, 1))
        self._ring = np.array(top.LIPS_INNER)[away.argmin(1)], np.exp(-((away.min(1) / LIP_FADE) ** 2))
        middle, wide = (f[61, 0] + f[291, 0]) / 2, max(abs(float(f[61, 0] - f[291, 0])), 2e-3)
        half = 2 * np.abs(f[: top.SURFACE, 0] - middle) / wide
        self._aside = np.minimum(half, 1.0) ** 2 * self._ring[1]
        self.held: Array | None = None  # (478,) 0..1 see `infinex.mesh.glasses`
        self.sees = 1.0  # 0..1: see `infinex.mesh.eyes.irises`
        self.alike = False  # whether performer and portrait are one person, whose landmarks are exact
        self.shut = False  # whether its lips are taken to be closed at rest, however far apart they are in the picture

    def _lips(self) -> list[tuple[list[int], list[int], float, Array, NDArray[np.intp], Array]]:
        """Of both lips: inner and outer edge, which way it points, how thick it is (11,), and for each surface point
        the nearest of these columns and how far it goes with the outer edge (468,)."""
        f = self.source.face[: top.SURFACE]
        found = []
        for inner, outer, way in (
            (top.LIPS_INNER_UPPER, top.LIPS_OUTER_UPPER, -1.0), (top.LIPS_INNER_LOWER, top.LIPS_OUTER_LOWER, 1.0),
        ):  # fmt: skip
            thick = np.maximum(way * (f[outer, 1] - f[inner, 1]), 0)
            away = np.linalg.norm(f[:, None, :2] - f[None, outer, :2], axis=2)
            column = away.argmin(1)
            along = way * (f[:, 1] - f[np.array(inner)[column], 1]) / np.maximum(thick[column], 1e-3)
            beyond = np.maximum(0, along - 1) * thick[column]
            share = np.clip(along, 0, 1) * np.exp(-((beyond / LIP_FADE) ** 2))
            share *= np.exp(-((np.maximum(0, away.min(1) - beyond) / LIP_FADE) ** 2))
            share[inner] = 0
            self._lip_alone = share * np.exp(-((beyond / LIP_ENDS) ** 2))  # at last, of the lower one
            found.append((inner, outer, way, thick, column, share))
        return found

    def _straightened(self, face: Array, gap: float, interior: Array | None) -> None:
        """Raise corners of lips that are stretched over teeth, in place, as far as they hang lower than the performer's
        at rest: an arch of the upper lip goes as it is stretched, or a smile would be a snarl."""
        hangs = _hanging(self.source.face) - max(_hanging(self.rest.face), 0.0)
        if hangs <= 0:
            return
        wider = ramp(np.array(_dimensions(face)["mouth"] - _dimensions(self.source.face)["mouth"]), 0, GRINS[1])
        bared = 0.0 if interior is None else ramp(interior[0, 0], *GRINS[2])
        share = float(ramp(np.array(gap), *GRINS[0]) * np.maximum(wider, bared))
        face[: top.SURFACE, 1] -= share * hangs * self._aside

    def turns_up_to(self, angle: float) -> None:
        """Let a head turn towards us by so many radians, where that is more than one picture alone bears."""
        self._to_us = np.maximum(self._to_us, min(angle, float(NOD_LIMIT[1])) * np.array([0.5, 1.0]))

    def _centred(self, face: Array) -> None:
        """Keep a mouth from sliding to the edge of the face, in place: one that is pulled aside takes its cheek along,
        which a picture cannot show."""
        aside = float((face[top.LIPS_OUTER, 0] - self.source.face[top.LIPS_OUTER, 0]).mean())
        face[: top.SURFACE, 0] -= self._beside * aside * (1 - _limited(abs(aside), SLIDE * self._room))

    def _within(self, face: Array) -> None:
        """Keep a mouth from being drawn wider, or pursed narrower, than skin goes, in place; in a face that looks aside
        the far corner would come to its edge."""
        own = _dimensions(self.source.face)["mouth"]
        change = _dimensions(face)["mouth"] - own
        less = 1 - _limited(abs(change), (WIDEST * self._room if change > 0 else NARROWEST) * own)
        out = face[: top.SURFACE, 0] - self.source.face[: top.SURFACE, 0]
        face[: top.SURFACE, 0] -= less * self._beside * out

    def _parted(self, face: Array, gap: Array, performer: Array | None) -> None:
        """Shapes the opening of lips that part, in place: its corners, and how round it is.

        That of a `performer` (478, 3) was seen; None: it was written or heard."""
        own, filmed = self.source, performer is not None
        opened = float(np.clip((gap[4] - max(own.gaps[4], 0.0) - 0.02) / 0.10, 0, 1))
        if performer is not None:  # corners that are up in a smile stay up when the lips open, and they snarl
            wider = _dimensions(performer)["mouth"] - _dimensions(self.rest.face)["mouth"]
            parted = max(float(face[14, 1] - face[13, 1]), 1e-3)
            whole = parted + float(self.beneath[4])
            less = float(np.clip(_corners(performer) * whole - _corners(face) * parted, 0, LOWERED * whole)) * opened
            less *= 1 - SMILE_KEEPS * float(np.clip(wider / SMILES, 0, 1))
            gaps = np.concatenate([[0], lip_gaps(face), [0]])
            down = np.zeros(len(face))
            for ids in (top.LIPS_INNER_UPPER, top.LIPS_INNER_LOWER):
                down[ids] = less * np.clip(1 - gaps / max(gaps.max(), 1e-6), 0, 1)
            nearest, weight = self._ring
            face[: top.SURFACE, 1] += weight * down[nearest]
            smiles = float(np.clip(wider / SMILES, 0, 1))
            theirs, mine = _slender(performer), _slender(face)
            far = SLENDER[0] * (1 - smiles) * float(np.clip(1 - theirs / max(mine, 1e-3), 0, SLENDER[1]))
            far *= opened * _roundness(performer, ROUND)  # of others it wavers
            face[: top.SURFACE, 0] -= far * self._beside * (face[: top.SURFACE, 0] - face[[78, 308], 0].mean())
        halved = rounded = _roundness(face, ROUND)
        corners = CORNERS[0]
        if not filmed:
            wider = (_dimensions(face)["mouth"] - _dimensions(own.face)["mouth"]) / DRAWN
            rounded = max(halved, opened * float(np.clip(1 - wider, 0, 1)) * _roundness(face, ROUND_TOLD))
            corners += rounded * (CORNERS[1] - CORNERS[0])
        # The crease between lips that part opens, too: outside of an open mouth it would stand as a spike.
        for inner, outer in ((78, 61), (308, 291)):
            face[inner, :2] += corners * opened * (face[outer, :2] - face[inner, :2])
        if rounded > 0:
            self._round(face, rounded, halved)

    def _round(self, face: Array, share: float, halved: float) -> None:
        """Rounds an opening in place: between the corners of lips that were drawn as a line it would stay pointed, and
        with corners that the jaw does not take along be flat above.

        Columns go aside as far as an ellipse with their gap has them, never to the middle, and all halve one line: of
        either way so large a share."""
        half, middle = (face[308, 0] - face[78, 0]) / 2, (face[78, 0] + face[308, 0]) / 2
        gaps = np.concatenate([[0], lip_gaps(face), [0]])
        aside = np.sqrt(np.maximum(1 - (gaps / max(gaps.max(), 1e-6)) ** 2, 0))
        centre = (face[13, 1] + face[14, 1]) / 2
        down = centre - (face[top.LIPS_INNER_UPPER, 1] + face[top.LIPS_INNER_LOWER, 1]) / 2
        moves = np.zeros((len(face), 2))
        for ids in (top.LIPS_INNER_UPPER, top.LIPS_INNER_LOWER):
            at = (face[ids, 0] - middle) / half
            out = half * np.sign(at) * np.maximum(aside - np.abs(at), 0)
            moves[ids] = np.column_stack([share * out, halved * self._halves * down])
        nearest, weight = self._ring
        face[: top.SURFACE, :2] += weight[:, None] * moves[nearest]

    def _thinned(self, face: Array) -> None:
        """Keep lips from swelling, in place: those of thin-lipped people who pout grow by more than full ones can."""
        for inner, outer, way, thick, column, share in self._limits:
            grown = way * (face[outer, 1] - face[inner, 1]) - thick
            knee, end = (part * thick for part in SWELL)
            most = knee + (end - knee) * np.tanh(np.maximum(grown - knee, 0) / np.maximum(end - knee, 1e-6))
            excess = np.maximum(grown - most, 0)
            if excess.max() > 1e-4:
                face[: top.SURFACE, 1] -= way * share * _spread(excess)[column]
        # Nor may the lower one roll over the hollow between it and the chin, whose skin would end in an edge.
        inner, outer, _, thick, column, share = self._limits[1]
        hollow, own = (f[HOLLOW, 1] - f[outer[HOLLOWED], 1] for f in (face, self.source.face))
        grown = face[outer, 1] - face[inner, 1] - thick
        rolled = np.zeros(len(outer))
        rolled[HOLLOWED] = np.clip(HOLLOW_LEFT * own - hollow, 0, np.maximum(grown[HOLLOWED], 0))
        if rolled.max() > 1e-4:
            face[: top.SURFACE, 1] -= self._lip_alone * _spread(rolled)[column]

    def _even(self, offsets: Array, yaw: float) -> Array:
        """Offsets (478, 3) whose edges of the face do the same on both sides: of a head that turns, trackers follow the
        outline there, which swells and shrinks without anything being expressed."""
        turned = abs(yaw - self._rest_yaw)
        share = float(smoothstep(np.asarray((turned - TURNING[0]) / (TURNING[1] - TURNING[0]))))
        half = _lopsided(turned if self.alike else max(turned, abs(yaw))) / 2
        if max(share, half) <= 0:
            return offsets
        mirrored = offsets[top.mirror()] * [-1.0, 1.0, 1.0]
        offsets = offsets + half * (mirrored - offsets)
        even = (offsets + mirrored) / 2 * [STIFF, 1.0, STIFF]
        return np.asarray(offsets + share * self._edge[:, None] * (even - offsets))

    def _lower_lids(self, offsets: Array, openness: Array) -> Array:
        """Share of the gap by which the performer's lower lids, tightened, rise beyond mere closing, (2,).

        A stranger's both do so alike: one that rises alone is hidden, or misread, far more often than a wish."""
        out = []
        for k, (upper, lower) in enumerate(EYES):
            down = offsets[:, 1]
            lift = (down[lower[0]] + down[lower[-1]]) / 2 - down[lower[2:-2]].mean()
            gap = float((self.rest.face[lower[2:-2], 1] - self.rest.face[upper[2:-2], 1]).mean())
            close = 1 - min(1.0, float(openness[k] / max(self._rest_openness[k], 1e-3)))
            out.append(lift / max(gap, 1e-3) - LOWER_LID_RISE * close)
        return np.clip((np.array(out) if self.alike else np.full(2, np.mean(out))) - LOWER_LID_NOISE, 0, 0.4)

    def _lower_folds(self, face: Array) -> None:
        """Keep the skin just above the eyes from rising with the brows as far as they, in place: it is folded there,
        dark or painted, and would be drawn out; what stretches is the skin beneath the brow."""
        for (upper, _), folds in zip(EYES, FOLDS):
            corners = [upper[0], upper[-1]]
            lid = float((face[corners, 1] - self.source.face[corners, 1]).mean())
            for ids, share in zip(folds, FOLDS_RISE):
                up = np.minimum(face[ids, 1] - self.source.face[ids, 1] - lid, 0)
                face[ids, 1] -= (1 - share) * up

    def __call__(self, move: Move) -> Target:
        """The portrait under one move. A move equal to rest gives exactly the source."""
        src, rest = self.source, self.rest
        still = bool(
            self.own is None
            and not self._bare
            and not (self.absolute and self._split is not None)  # its own expression gives way at rest, too
            and not move.offsets.any()
            and np.array_equal(move.rotation, rest.rotation)
            and np.array_equal(move.translation, rest.translation)
            and move.scale == rest.scale
            and np.array_equal(move.gaze, rest.gaze)
            and (move.outline is None or not move.outline.any())
        )
        if still:
            ones = np.ones(2)
            return Target(src.face, src.points, src.pose, 0.0, ones, np.maximum(src.gaps, 0), np.zeros(2), True)
        filmed = not self.absolute and rest.lids_open is not None
        yaw = _yaw(move.rotation) if filmed else 0.0
        if filmed:
            move = replace(move, offsets=self._even(move.offsets, yaw))
        performer = rest.face + move.offsets
        if self._bare:
            face = performer.copy()
        elif self._split is None:
            face = src.face + move.offsets * self._scale
            narrowed = float(move.offsets[61, 0] - move.offsets[291, 0])
            if narrowed > 0:  # lips that round do so in proportion
                face[:, 0] += min(narrowed / NARROWS, 1.0) * self._inward * move.offsets[:, 0]
        elif self.absolute:  # the performer's expression in place of the portrait's own
            face = self._split.performed(rest.face, move.offsets, src.face)
        else:
            face = src.face + self._split.changed(move.offsets)
        if self.own is not None:
            face -= self.own
        stranger = filmed and not self.alike
        if stranger:
            self._centred(face)
            self._within(face)
        openness = eye_openness(performer)
        laughs, glances = 0.0, 1.0
        if stranger:
            laughs, glances = joy(move.offsets), 1 + (GLANCES - 1) * (1 - _lopsided(abs(yaw)))
        gaps = lip_gaps(performer)
        if filmed:  # the far half of a turned mouth is guessed
            gaps = gaps + _lopsided(abs(yaw)) / 2 * (gaps[::-1] - gaps)
        if self.absolute:
            ratio = np.clip(openness / np.maximum(self._rest_openness, 1e-3), 0, 1.6)
        else:
            ratio = np.clip((openness - self._closed) / np.maximum(self._open - self._closed, 1e-3), 0, 1.5)
            # Large-eyed portraits look asleep where a performer merely smiles: narrow lids less than shut ones.
            ratio = np.where(ratio < 1, 1 - np.abs(1 - ratio) ** NARROWING, ratio)
            if filmed:  # of both eyes alike, or one of them would close further
                # Large-eyed people who smile make others drowsy.
                as_people = np.mean(openness / np.clip(src.openness, 1e-3, LARGE))
                awake = WAKEFUL * ramp(ratio, *DROWSY) * np.maximum(np.minimum(as_people, 1) - ratio, 0)
                ratio = np.where(ratio > 1, 1 + STARE * np.tanh((ratio - 1) / STARE), ratio + awake)
            if stranger:
                # Lids that differ a little are the tracker's, those that differ much a wink.
                ratio = ratio.mean() + (ratio - ratio.mean()) * ramp(np.abs(np.ptp(ratio)), *UNEVEN)
                # Whoever laughs all the time has narrow eyes at rest.
                laughs *= float(ramp(ratio.mean(), *AWAKE) * (1 - ramp(openness.mean(), *WIDE_EYED)))
                ratio = ratio * (1 - SQUINT * laughs)
                # Trackers see some of an eye in lids that are all but shut.
                ratio = np.where(ratio < HALF[0], HALF[0] * np.maximum(ratio / HALF[0], 0) ** HALF[1], ratio)
        if self.shut and (self.absolute or rest.lips_closed is None):
            gap = np.minimum(src.gaps, 0) + np.maximum((gaps - self._rest_gaps) * self._lip_scale, 0)
        elif self.absolute or rest.lips_closed is None:
            change = (gaps - self._rest_gaps) * self._lip_scale
            gap = np.maximum(np.minimum(src.gaps, 0), src.gaps + change)
            if not self.absolute:  # lips that are parted already need not part as far again
                gap = np.where((change > 0) & (src.gaps > 0), np.hypot(src.gaps, change), gap)
                # and close by the same share, so that pressed lips meet.
                share = np.clip(1 + (gaps - self._rest_gaps) / np.maximum(self._rest_gaps, LIP_NOISE), 0, 1)
                gap = np.where(change < 0, np.minimum(gap, np.maximum(src.gaps, 0) * share), gap)
        else:  # lips meet when the performer's do, however open the portrait's are
            gap = np.maximum(0, gaps - rest.lips_closed) * self._lip_scale
            gap = np.hypot(gap, self.beneath) - self.beneath
        if self.own is not None or not self.absolute:
            # What showed between lips that were apart would be left as a line of teeth.
            met = src.gaps if self.own is not None else src.gaps - gap
            gap = gap - PRESSED * np.clip(1 - gap / (2 * PRESSED), 0, 1) * np.clip(met / PRESSED, 0, 1)
        if not (self.alike or self.absolute) and move.interior is not None:
            gap = gap - BARED * teeth_over(move.interior) * np.maximum(gap - np.maximum(src.gaps, 0), 0)
        if not self.absolute:
            self._lower_folds(face)
            self._straightened(face, float(gap[4]), move.interior)
        src.set_lids(face, ratio, (self._lower_lids(move.offsets, openness) + TIGHTER * laughs) * np.clip(ratio, 0, 1))
        src.set_lips(face, gap)
        if self._limits and not self.absolute:
            self._thinned(face)
        if self.held is not None:
            face -= self.held[:, None] * (face - src.face)
        if not self.absolute:
            self._parted(face, gap, performer if filmed else None)
        src.unfold(face, filmed=filmed)
        # Head pose: the turn from rest, softly limited, laid on the source's own.
        vector = to_vector(to_matrix(move.rotation) @ self._rest_rotation.T)
        angle = float(np.linalg.norm(vector))
        if not self.absolute and angle > 1e-9:
            to_us = float(vector[1] * np.sign(src.pose.angles[0]))
            if to_us > 0:
                vector = vector * [1.0, _limited(to_us, self._to_us), 1.0]
            vector = vector * [_limited(abs(float(vector[0])), PITCH_LIMIT), 1.0, 1.0]
            follow = _limited(float(np.hypot(vector[0], vector[1])), NOD_LIMIT * self._room)
            vector = vector * [follow, follow, _limited(abs(vector[2]), TILT_LIMIT)]
            angle = float(np.linalg.norm(vector))
        rotation = to_matrix(vector) @ src.pose.rotation
        if self.absolute and self._apart:
            rotation = to_matrix(move.rotation)
        log_scale = np.log(move.scale / rest.scale)
        if not self.absolute:
            log_scale = np.clip(log_scale, -0.2, 0.2)
        shift = (move.translation - rest.translation) / rest.scale
        shift = np.array([shift[0], shift[1], 0.0])
        if not self.absolute:
            shift *= _limited(float(np.linalg.norm(shift)), SHIFT_LIMIT)
            shift[1] *= _limited(abs(float(shift[1])), RISE_LIMIT if shift[1] < 0 else SINK_LIMIT)
        pose = Pose(
            src.pose.scale * float(np.exp(log_scale)),
            rotation,
            src.pose.translation + src.pose.scale * shift,
        )
        return Target(
            face,
            pose.to_image(face),
            pose,
            angle,
            ratio,
            gap,
            self.sees * np.clip(glances * (move.gaze - rest.gaze), -0.65, 0.65),
            False,
            move.outline,
            move.interior,
            float(self.beneath[4]),
        )
