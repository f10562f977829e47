"""What of a face is shape and what expression: the shape that a few expressions over a clip explain best.

Frame by frame a shape that is guessed wrongly is taken for expressions that never end. Over a clip most expressions
are not shown at all, and those that are come and go: with that, and with how surely each frame tells each of them
(its normal equations), rest and expressions are solved for together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from infinex.face.morphable import energy
from infinex.face.morphable.model import MorphableFace
from infinex.face.morphable.solve import Frame, Solver, Who

Array = NDArray[np.floating]

LAX = -0.5  # how far below nothing an expression may go before rest is known
COST = 3.0  # of the prior: what an expression costs in a frame
SHARED = 20.0  # of the prior: what it costs that a clip shows an expression at all
LEAST = 0.01  # root mean square of an expression that the frames did not show but others may
PASSES = 600


@dataclass(frozen=True)
class Rest:
    """`weights` (E,) of the expressions that are this person's shape, and how far each expression usually goes from
    there, `spread` (E,)."""

    weights: NDArray[np.float64]
    spread: NDArray[np.float64]

    def face(self, face: MorphableFace) -> MorphableFace:
        """The model with that shape for its mean."""
        return replace(face, mean=face.mean + np.tensordot(self.weights, face.expression, 1))

    def expected(self, face: MorphableFace) -> MorphableFace:
        """The same, of which what is usual is what this person does."""
        return replace(self.face(face), spread=self.spread)


def found_person(
    face: MorphableFace, frames: Sequence[Frame], points: Sequence[Array], keys: Sequence[int]
) -> tuple[Who, Rest]:
    """Who it is, from the frames that `keys` name, as rest is known from all of them: tracked points (478, 3) each."""
    some, marks = [frames[k] for k in keys], [points[k] for k in keys]
    who, _ = Solver(face).bundle(some, marks)
    rest = found_rest(face, frames, points, who)
    who, _ = Solver(rest.expected(face)).bundle(some, marks)
    return who, rest


def found_rest(face: MorphableFace, frames: Sequence[Frame], points: Sequence[Array], who: Who) -> Rest:
    """From frames with their tracked points (478, 3) each. Expressions that may be negative leave rest as it is."""
    none = Rest(np.zeros(len(face.expression)), np.asarray(face.spread, np.float64))
    if face.low != 0:
        return none
    solver = Solver(replace(face, low=LAX))
    systems = []
    for frame, p in zip(frames, points):
        state, _ = solver.again(frame, p, who)
        systems.append(solver.expressions(frame, who, state))
    H, b = (np.stack(a) for a in zip(*systems))
    rest, shown = told_apart(H, b, face.high)
    usual = np.sqrt((shown**2).mean(0))
    return Rest(rest, np.sqrt(np.maximum(usual, LEAST) / SHARED))


def told_apart(H: Array, b: Array, high: float = 1.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rest (E,) and expressions (T, E) in 0..`high` that minimise the sum of y·H·y / 2 - b·y over frames, y being both
    together, of normal equations `H` (T, E, E), `b` (T, E); and what `COST` and `SHARED` say expressions cost."""
    n, E = b.shape
    pull = energy.PRIOR
    step = 1 / float(np.linalg.eigvalsh(H)[:, -1].max())
    total = H.sum(0) + n * pull * np.eye(E)
    x = ahead = np.zeros((n, E))
    rest, t = np.zeros(E), 1.0
    for k in range(PASSES):  # proximal gradient with momentum (Beck and Teboulle 2009)
        moved = (H @ ahead[..., None])[..., 0]
        if k % 5 == 0:
            rest = np.linalg.solve(total, (b - moved).sum(0))
        y = np.clip(ahead - step * (moved + H @ rest - b + COST * pull), 0, high)
        length = np.maximum(np.linalg.norm(y, axis=0), 1e-12)
        y *= np.maximum(0, 1 - step * SHARED * pull * np.sqrt(n) / length)
        further = (1 + np.sqrt(1 + 4 * t * t)) / 2
        ahead = np.clip(y + (t - 1) / further * (y - x), 0, high)
        x, t = y, further
    return rest, x
