"""A portrait's own face: its pose and proportions, and how its lids and lips open."""

from __future__ import annotations

from copy import copy

import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.pose import fit_pose
from infinex.face.relax import Relax
from infinex.face.shape import eye_openness, gaze_of, lip_gaps

Array = NDArray[np.float64]
EYES = (
    (top.RIGHT_LID_UPPER, top.RIGHT_LID_LOWER),
    (top.LEFT_LID_UPPER, top.LEFT_LID_LOWER),
)
LID_REACH = (0.13, 0.08)  # IOD over which a lid's change spreads into the skin: upper, lower ...
CREASE_REACH = 0.06  # ... and of the upper one that closes, out of its crease
UPPER_LIP = (0.35, 0.12)  # share of a change between the lips that is the upper one's: opening, closing
LOWER_LID_RISE = 0.12  # share of the gap that the lower lid closes


class SourceFace:
    """What of the source face alone is needed to move it."""

    def __init__(self, landmarks: Array) -> None:
        self.points = landmarks.astype(np.float64)
        self.pose = fit_pose(top.mean_face(), self.points)
        self.face = self.pose.to_head(self.points)
        self.gaps = lip_gaps(self.face)
        self.openness = eye_openness(self.face)
        self.gaze = gaze_of(self.face)
        self._lids = [
            (self._near(u, LID_REACH[0]), self._near(lo, LID_REACH[1]), self._near(u, CREASE_REACH)) for u, lo in EYES
        ]
        self._moved = self._with_lids()
        self._upper_lip = self._near(top.LIPS_INNER_UPPER, 0.16)
        self._lower_lip = self._jaw()
        self.unfold = Relax(self.face)

    def displaced(self, by: Array) -> SourceFace:
        """The same face with another shape at rest, `by` (478, 3) in head coordinates."""
        other = copy(self)
        other.face = self.face + by
        other.points = self.pose.to_image(other.face)
        other.gaps = lip_gaps(other.face)
        other._moved = other._with_lids()
        return other

    def _with_lids(self) -> list[dict[str, tuple[NDArray[np.intp], Array, NDArray[np.intp]]]]:
        """What goes along with the lids of each eye, the upper one opened or closed and the lower one: vertices (N,),
        how far (N, 1), and which of the lid's (N,)."""
        y, out = self.face[: top.SURFACE, 1], []
        for (upper, lower), (widened, below, closed) in zip(EYES, self._lids):
            middle = (self.face[upper[0], 1] + self.face[upper[-1], 1]) / 2
            found = {}
            for name, mine, others, (weight, nearest), side in (
                ("widened", upper, lower, widened, y < middle + 0.02),
                ("closed", upper, lower, closed, y < middle + 0.02),
                ("lower", lower, upper, below, y > middle - 0.02),
            ):
                mask = weight * side
                mask[others[1:-1]] = 0
                mask[mine] = weight[mine]
                ids = np.flatnonzero(mask)
                found[name] = ids, mask[ids, None], nearest[ids]
            out.append(found)
        return out

    def _near(self, ids: list[int], reach: float) -> tuple[Array, NDArray[np.intp]]:
        """Gaussian weight of each surface point by its distance to a chain, and the chain's nearest point."""
        p = self.face[: top.SURFACE, :2]
        d = np.linalg.norm(p[:, None] - p[None, ids], axis=2)
        return np.exp(-((d.min(1) / reach) ** 2)), d.argmin(1)

    def _jaw(self) -> tuple[Array, NDArray[np.intp], Array]:
        """Everything below the lower lip follows it, with lateral falloff only: weight, column, chin part."""
        f = self.face[: top.SURFACE]
        lower = np.array(top.LIPS_INNER_LOWER)
        column = np.abs(f[:, None, 0] - f[None, lower, 0]).argmin(1)
        half, centre = abs(f[308, 0] - f[78, 0]) / 2, (f[308, 0] + f[78, 0]) / 2
        aside = np.abs(f[:, 0] - centre)
        follow = np.exp(-((np.maximum(0, aside - 0.35 * half) / 0.32) ** 2))
        weight, nearest = self._near(top.LIPS_INNER_LOWER, 0.30)
        column = np.where(weight > 0.6, nearest, column)
        weight = np.maximum(follow * np.clip((f[:, 1] - f[14, 1]) / 0.05 + 0.5, 0, 1), weight)
        return weight, column, np.clip((f[:, 1] - f[17, 1]) / 0.10, 0, 1)

    def set_lids(self, face: Array, openness: Array, rise: Array | None = None) -> None:
        """Open each eye to a ratio of the source's own gap (0 shut), in place.

        `rise` (2,) is the share of the gap by which lower lids rise beyond what closing alone does."""
        f = self.face
        rises = np.zeros(2) if rise is None else rise
        for o, more, (upper, lower), moved in zip(openness.tolist(), rises.tolist(), EYES, self._moved):
            gap = f[upper] - f[lower]
            base = ((face[upper[0]] - f[upper[0]]) + (face[upper[-1]] - f[upper[-1]])) / 2
            close = 1 - min(o, 1.0)
            low = f[lower] + base + (LOWER_LID_RISE * close + more) * gap
            high = low + o * gap * (1 - LOWER_LID_RISE * close)
            for mine, new, name in ((upper, high, "closed" if o < 1 else "widened"), (lower, low, "lower")):
                ids, share, nearest = moved[name]
                change = new - face[mine]
                change[[0, -1]] = 0
                change[:, 2] = 0
                face[ids] += share * change[nearest]
            face[upper[1:-1]], face[lower[1:-1]] = high[1:-1], low[1:-1]

    def set_lips(self, face: Array, gaps: Array) -> None:
        """Open the inner lips to nine gaps: a third up, two thirds down with the jaw, in place.

        Where they close further than in the picture the jaw does nearly all: an upper lip drawn down would swell."""
        f = self.face[: top.SURFACE]
        change = np.concatenate([[0], gaps - lip_gaps(face), [0]])
        shut = float(np.clip((self.gaps[4] - gaps[4]) / 0.03, 0, 1))
        up = UPPER_LIP[0] + (UPPER_LIP[1] - UPPER_LIP[0]) * shut
        middle = (f[78, 1] + f[308, 1]) / 2
        weight, nearest = self._upper_lip
        mask = (f[:, 1] < middle).astype(float)
        mask[top.LIPS_INNER_UPPER[1:-1]], mask[top.LIPS_INNER_LOWER[1:-1]] = 1, 0
        face[: top.SURFACE, 1] -= up * mask * weight * change[nearest]
        weight, column, chin = self._lower_lip
        mask = (f[:, 1] > middle).astype(float)
        mask[top.LIPS_INNER_LOWER[1:-1]], mask[top.LIPS_INNER_UPPER[1:-1]] = 1, 0
        face[: top.SURFACE, 1] += (1 - up) * mask * weight * (change[column] * (1 - chin) + change[5] * chin)
