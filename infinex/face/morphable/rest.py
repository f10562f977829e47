"""What of a face is shape and what expression: the shape that a few expressions over a clip explain best.

Frame by frame a shape that is guessed wrongly is taken for expressions that never end. Over a clip most expressions
are not shown at all, and those that are come and go: with that, with how surely each frame tells each of them (its
normal equations), what the reader of Apple's shapes sees, and lips that meet at rest, both are solved for together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from infinex.face.morphable import energy
from infinex.face.morphable.model import MorphableFace
from infinex.face.morphable.said import Reader
from infinex.face.morphable.solve import SAID, Frame, Solver, Who

Array = NDArray[np.floating]

LAX = -0.5  # how far below nothing an expression may go before rest is known
COST = 1.75  # of the prior, over how much of it a clip shows: what an expression costs in a frame
KNEE, KNEES = 0.01, 0.3  # root mean square of an expression from which a clip shows it; at first, where none is known
SHARED = 20.0  # of the prior: what it costs in later frames that they show an expression
LEAST = 0.01  # root mean square of an expression that the frames did not show but others may
SHUT = 1.5e4  # of the prior: pull of each part of the lips at rest to the other, squared IOD
UPPER, LOWER = (80, 81, 82, 13, 312, 311, 310), (88, 178, 87, 14, 317, 402, 318)  # lips' inner rims
CALM = 3  # frames beside which others are read
ROUNDS, PASSES = 13, 120


@dataclass(frozen=True)
class Rest:
    """`weights` (E,) of the expressions that are this person's shape, and how far each expression usually goes from
    there, `spread` (E,); `reader` reads them off frames of this person."""

    weights: NDArray[np.float64]
    spread: NDArray[np.float64]
    reader: Reader | None = None

    def face(self, face: MorphableFace) -> MorphableFace:
        """The model with that shape for its mean."""
        return replace(face, mean=face.mean + np.tensordot(self.weights, face.expression, 1))

    def read(self, frame: Frame) -> Frame:
        """The frame, of which the reader has said what it sees."""
        if self.reader is not None:
            frame.said = self.reader(frame.part, frame.marks)
        return frame

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
    """From frames with their tracked points (478, 3) each; `said` of them is then what a reader sees beside the
    calmest. Expressions that may be negative leave rest as it is."""
    none = Rest(np.zeros(len(face.expression)), np.asarray(face.spread, np.float64))
    if face.low != 0:
        return none
    solver = Solver(replace(face, low=LAX))
    systems = []
    for frame, p in zip(frames, points):
        state, _ = solver.again(frame, p, who)
        systems.append(solver.expressions(frame, who, state))
    H, b = (np.stack(a) for a in zip(*systems))
    up = face.expression[:, :, 1].astype(np.float64)
    parted = (up[:, UPPER] - up[:, LOWER]).T
    _, shown = told_apart(H, b, None, parted, face.high, face.mates)
    calm = [frames[k] for k in np.argsort(shown.sum(1), kind="stable")[:CALM]]
    reader = Reader([(frame.part, frame.marks) for frame in calm], face.names)
    for frame in frames:
        frame.said = reader(frame.part, frame.marks)
    said = np.stack([frame.said for frame in frames if frame.said is not None])
    rest, shown = told_apart(H, b, said, parted, face.high, face.mates)
    usual = np.sqrt((shown**2).mean(0))
    return Rest(rest, np.sqrt(np.maximum(usual, LEAST) / SHARED), reader)


def told_apart(
    H: Array, b: Array, said: Array | None = None, parted: Array | None = None, high: float = 1.0,
    mates: NDArray[np.intp] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """Rest (E,) and expressions (T, E) in 0..`high` that minimise the sum of y·H·y / 2 - b·y over frames, y being both
    together, of normal equations `H` (T, E, E), `b` (T, E); what `COST` says expressions cost; how far they are from
    what a reader `said` (T, E) of them, NaN of those that it does not know; and how far rest parts places that usually
    meet, by how each expression does, `parted` (N, E). `mates` (E,) are the same expressions on the other side.

    Many small expressions can look like one large one. Each therefore costs the less the more of it a clip shows on
    either side, by rounds that reweight (Candes, Wakin and Boyd 2008), at first hardly, then more and more."""
    n, E = b.shape
    pull = energy.PRIOR
    known = np.zeros((n, E)) if said is None else SAID * pull * np.isfinite(said)
    aim = np.zeros((n, E)) if said is None else known * np.nan_to_num(said)
    gap = np.zeros((0, E)) if parted is None else parted
    other = np.arange(E) if mates is None else mates
    step = 1 / float(np.linalg.eigvalsh(H)[:, -1].max() + known.max())
    total = H.sum(0) + n * pull * (np.eye(E) + SHUT * gap.T @ gap)
    x, rest = np.zeros((n, E)), np.zeros(E)
    for k in range(ROUNDS):
        usual = (x**2).mean(0)
        cost = COST * pull / (np.sqrt((usual + usual[other]) / 2) + max(KNEE, KNEES / 3**k))
        ahead, t = x, 1.0
        for i in range(PASSES):  # proximal gradient with momentum (Beck and Teboulle 2009)
            moved = (H @ ahead[..., None])[..., 0]
            if i % 5 == 0:
                rest = np.linalg.solve(total, (b - moved).sum(0))
            y = np.clip(ahead - step * (moved + H @ rest - b + known * ahead - aim + cost), 0, high)
            further = (1 + np.sqrt(1 + 4 * t * t)) / 2
            ahead = np.clip(y + (t - 1) / further * (y - x), 0, high)
            x, t = y, further
    return rest, x
