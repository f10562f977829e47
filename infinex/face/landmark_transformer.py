"""A face told apart into everybody's mean, who it is, and what it does (Ha et al., MarioNETte, AAAI 2020, section 4).

A performer's expression can so be put on somebody else's face without the performer's proportions. Faces are in head
coordinates: rotation, place and size are gone. The paper's regression sees a picture as well; ours sees landmarks
alone, and is the linear one that is least wrong for faces whose parts vary as those of the training people do (a Wiener
filter). `tools/teach_landmarks.py` makes the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top

Array = NDArray[np.float64]
FILE = "data/landmark_transformer.npz"
REACH = 0.16  # IOD around lids and brows over which the eyes' group fades


@dataclass(frozen=True)
class LandmarkTransformer:
    """`mean` (P, 3) in IOD, `basis` (K, P·3) of expressions, `reader` (P·3, K) that finds their amounts in a face."""

    mean: Array
    basis: Array
    reader: Array

    def expression(self, face: Array, strength: float = 1.0) -> Array:
        """What faces (..., P, 3) do, as displacements (..., P, 3) in IOD, `strength` times as far.

        The paper makes it 1.5 times as far, against the shrinking that a regression brings with it."""
        x = (np.asarray(face, np.float64) - self.mean).reshape(*face.shape[:-2], -1)
        return strength * (x @ self.reader @ self.basis).reshape(face.shape)

    @cached_property
    def _amounts(self) -> Array:
        """(P·3, K) from displacements to amounts, by least squares."""
        return np.asarray(np.linalg.pinv(self.basis))

    def changed(self, offsets: Array) -> Array:
        """How the expression of one face changes as its points move by (..., P, 3); what is no expression is left out.

        Whose face it is has no part in that, so nothing need be held back."""
        x = np.asarray(offsets, np.float64).reshape(*offsets.shape[:-2], -1)
        return np.asarray((x @ self._amounts @ self.basis).reshape(offsets.shape))

    def performed(self, rest: Array, offsets: Array, target: Array) -> Array:
        """The face of `target` (P, 3) with the expressions of a performer who was at `rest` (P, 3) and moved from there
        by (..., P, 3).

        Who the performer is is judged once, by the rest, and not anew in every frame."""
        return target - self.expression(target) + self.expression(rest) + self.changed(offsets)

    def split(self, face: Array, strength: float = 1.0) -> tuple[Array, Array]:
        """Identity and expression of faces (..., P, 3); with `mean` they add up to the faces."""
        does = self.expression(face, strength)
        return face - self.mean - does, does

    def identity(self, faces: Array) -> Array:
        """Who is seen in pictures (K, P, 3) of one person, (P, 3): the mean over them."""
        return self.split(faces)[0].mean(0)

    def transfer(self, driver: Array, target: Array, strength: float = 1.0) -> Array:
        """The face of `target` (P, 3) with the expression of faces `driver` (..., P, 3).

        A face driven by itself is that face."""
        return self.mean + self.split(target, strength)[0] + self.expression(driver, strength)


@cache
def landmark_transformer() -> LandmarkTransformer:
    """The one that comes along, of the tracker's 478 points."""
    path = resources.files("infinex.face").joinpath(FILE)
    with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
        return LandmarkTransformer(*(data[k].astype(np.float64) for k in ("mean", "basis", "reader")))


# -- how it is made -------------------------------------------------------------------------------


def decompose(tracks: Sequence[Array]) -> tuple[Array, Array, list[Array]]:
    """Mean (P, 3), identities (C, P, 3) and expressions (T, P, 3) of people with frames (T, P, 3) each.

    Everybody counts alike, however many frames there are: l = mean + identity + expression."""
    means = np.stack([t.mean(0) for t in tracks])
    mean = means.mean(0)
    return mean, means - mean, [t - m for t, m in zip(tracks, means)]


def principal(expressions: Sequence[Array], count: int) -> tuple[Array, Array]:
    """The first `count` directions (count, P·3) of length 1 in expressions, and their singular values, everybody
    weighted alike (as if they had as many frames as there are on average)."""
    usual = np.mean([len(e) for e in expressions])
    rows = np.concatenate([e.reshape(len(e), -1) * np.sqrt(usual / len(e)) for e in expressions])
    _, sizes, directions = np.linalg.svd(rows, full_matrices=False)
    return directions[:count], sizes[:count]


def groups() -> Array:
    """How much each of the 478 points belongs to mouth, eyes and the rest, (3, 478); they sum to 1, softly."""
    face = top.mean_face()
    mouth = np.clip((face[:, 1] - face[5, 1]) / (face[2, 1] - face[5, 1]), 0, 1)
    near = [*top.RIGHT_EYE, *top.LEFT_EYE, *top.RIGHT_BROW, *top.LEFT_BROW]
    away = np.linalg.norm(face[:, None, :2] - face[None, near, :2], axis=2).min(1)
    eyes = np.exp(-((away / REACH) ** 2)) * (1 - mouth)
    eyes[top.SURFACE :] = 1 - mouth[top.SURFACE :]
    return np.stack([mouth, eyes, 1 - mouth - eyes])


def mirrored(faces: Array) -> Array:
    """Faces (..., 478, 3) as a mirror shows them."""
    return faces[..., top.mirror(), :] * np.array([-1.0, 1.0, 1.0])


class Moments(NamedTuple):
    """How faces of several people vary: everybody's mean (P, 3), identities (C, P·3), Cov(expression) (P·3, P·3)."""

    mean: Array
    identities: Array
    does: Array


def moments(tracks: Sequence[Array]) -> Moments:
    """Those of people with frames (T, 478, 3) each, and of the same people in a mirror."""
    mean, identities, expressions = decompose([*tracks, *(mirrored(t) for t in tracks)])
    flat = [e.reshape(len(e), -1) for e in expressions]
    does = sum((f.T @ f / len(f) for f in flat), np.zeros((flat[0].shape[1],) * 2)) / len(flat)
    return Moments(mean, identities.reshape(len(identities), -1), does)


def learn(
    of: Moments, counts: tuple[int, int, int], others: Array, share: float = 0.5, noise: float = 0.004
) -> LandmarkTransformer:
    """A transformer that knows so many principal directions of the expressions in each of the three `groups`.

    `others` (N, 478, 3) are identities of more people, whose faces are known at rest only; they have the `share` of
    how faces are taken to differ. `noise` in IOD is what a tracked point errs by. The reader is the linear one of
    least squared error: (Cov(expression) + Cov(identity) + noise²)⁻¹ Cov(expression), seen in the basis."""
    does, last = of.does, len(of.does) - 1
    from scipy.linalg import eigh, solve  # slow to load, and not asked for by users

    bases = []
    for group, count in zip(groups(), counts):
        weight = np.repeat(group, 3)
        some = weight[:, None] * does * weight
        bases.append(eigh(some, subset_by_index=(last - count + 1, last))[1].T[::-1])
    basis = np.concatenate(bases)
    own = of.identities
    is_one = own.T @ own / len(own)
    if len(others):
        more = np.concatenate([others, mirrored(others)]).reshape(2 * len(others), -1)
        is_one = (1 - share) * is_one + share * (more.T @ more / len(more))
    whole = does + is_one + noise**2 * np.eye(len(does))
    # Directions of neighbouring groups overlap where these fade into each other: amounts are found together.
    reader = solve(whole, does @ np.linalg.pinv(basis), assume_a="pos")
    return LandmarkTransformer(of.mean, basis, reader)


__all__ = ["LandmarkTransformer", "Moments", "decompose", "groups", "landmark_transformer", "learn", "mirrored",
           "moments", "principal"]  # fmt: skip
