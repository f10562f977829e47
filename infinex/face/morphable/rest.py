"""What of a face is shape and what expression: the shape that a few expressions over a clip explain best.

Frame by frame a shape that is guessed wrongly is taken for expressions that never end. Over a clip most expressions
are not shown at all, and those that are come and go: with that, with how surely each frame tells each of them (its
normal equations), what the reader of Apple's shapes sees, and lips that meet at rest, both are solved for together.
Once it is known who it is, both are solved for again, and with them how widely this person moves each expression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from infinex.face.morphable import energy
from infinex.face.morphable.model import MorphableFace
from infinex.face.morphable.said import Reader
from infinex.face.morphable.solve import SAID, Frame, Solver, State, Who

Array = NDArray[np.floating]

LAX = -0.5  # how far below nothing an expression may go before rest is known
COST = 1.75  # of the prior, over how much of it a clip shows: what an expression costs in a frame
KNEE, KNEES = 0.01, 0.3  # root mean square of an expression from which a clip shows it; at first, where none is known
SHARED = 20.0  # of the prior: what it costs that frames show an expression, until that is learned
LEAST = 0.01  # root mean square of an expression that the frames did not show but others may
SHUT = 1.5e4  # of the prior: pull of each part of the lips at rest to the other, squared IOD
UPPER, LOWER = (80, 81, 82, 13, 312, 311, 310), (88, 178, 87, 14, 317, 402, 318)  # lips' inner rims
CALM = 3  # frames beside which others are read
ROUNDS, PASSES = 13, 120
AGAIN = 2  # how often frames are fitted with what was learned of them
TURNS, SWEEPS = 60, 8  # of learning how widely expressions go
NARROW, WIDE = 0.002, 0.15  # the least that is learned of that, and what one more frame is thought to show


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
    rest, states = found_rest(face, frames, points, who)
    who, _ = Solver(rest.expected(face)).bundle(some, marks)
    return who, known_better(face, frames, who, rest, states)


def found_rest(
    face: MorphableFace, frames: Sequence[Frame], points: Sequence[Array], who: Who
) -> tuple[Rest, list[State]]:
    """From frames with their tracked points (478, 3) each, and what each shows; `said` of them is then what a reader
    sees beside the calmest. Expressions that may be negative leave rest as it is."""
    none = Rest(np.zeros(len(face.expression)), np.asarray(face.spread, np.float64))
    if face.low != 0:
        return none, []
    solver = Solver(replace(face, low=LAX))
    states = [solver.again(frame, p, who)[0] for frame, p in zip(frames, points)]
    H, b = _systems(solver, frames, who, states)
    parted = _parted(face)
    _, shown = told_apart(H, b, None, parted, face.high, face.mates)
    calm = [frames[k] for k in np.argsort(shown.sum(1), kind="stable")[:CALM]]
    reader = Reader([(frame.part, frame.marks) for frame in calm], face.names)
    for frame in frames:
        frame.said = reader(frame.part, frame.marks)
    said = np.stack([frame.said for frame in frames if frame.said is not None])
    rest, shown = told_apart(H, b, said, parted, face.high, face.mates)
    usual = np.sqrt((shown**2).mean(0))
    return Rest(rest, np.sqrt(np.maximum(usual, LEAST) / SHARED)), states


def known_better(face: MorphableFace, frames: Sequence[Frame], who: Who, rest: Rest, states: Sequence[State]) -> Rest:
    """Rest once more and how widely each expression goes from there, now that it is known `who` it is; `states` are
    where frames are sought from."""
    if not states:
        return rest
    n, none = len(frames), np.zeros(len(face.expression))
    for _ in range(AGAIN):
        solver = Solver(rest.expected(face))
        states = [solver.follow(f, who, replace(s, expression=none))[0] for f, s in zip(frames, states)]
        H, b = _systems(solver, frames, who, states)
        more, usual, _ = learned(H, b, rest.spread, rest.weights, _parted(face), face.high, face.mates)
        rest = Rest(rest.weights + more, np.sqrt((n * usual + WIDE**2) / (n + 1)))
    return rest


def _systems(
    solver: Solver, frames: Sequence[Frame], who: Who, states: Sequence[State]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each solved frame tells of its expressions, H (T, E, E) and b (T, E)."""
    H, b = zip(*(solver.expressions(frame, who, state) for frame, state in zip(frames, states)))
    return np.stack(H), np.stack(b)


def _parted(face: MorphableFace) -> NDArray[np.float64]:
    """How far each expression parts the lips' inner rims, (N, E)."""
    up = face.expression[:, :, 1].astype(np.float64)
    return np.asarray((up[:, UPPER] - up[:, LOWER]).T)


def learned(
    H: Array, b: Array, spread: Array, rest: Array, parted: Array, high: float = 1.0,
    mates: NDArray[np.intp] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """What comes on to `rest` (E,), mean squares (E,) of expressions, and these (T, E) in 0..`high`, of normal
    equations `H` (T, E, E), `b` (T, E); `spread` (E,) is a first guess of how widely they go; `parted` and `mates` as
    in `told_apart`.

    An expression costs the square of what a frame shows of it over its mean square in the clip, on either side, which
    is learned along with how sure frames are (automatic relevance, Tipping 2001): what a clip never shows vanishes, the
    rest costs little."""
    H, b = H / energy.PRIOR, b / energy.PRIOR
    n, E = b.shape
    own = n * (np.eye(E) + SHUT * parted.T @ parted)
    total = np.linalg.inv(H.sum(0) + own)
    x, more, usual = np.zeros((n, E)), np.zeros(E), np.asarray(spread, np.float64) ** 2
    each, other = np.moveaxis(H, 1, 0).copy(), np.arange(E) if mates is None else mates
    for _ in range(TURNS):
        aim = b - H @ more
        for _ in range(SWEEPS):  # coordinate by coordinate
            for e in range(E):
                slope = aim[:, e] - (each[e] * x).sum(1) + H[:, e, e] * x[:, e]
                x[:, e] = np.clip(slope / (H[:, e, e] + 1 / usual[e]), 0, high)
        more = total @ ((b - (H @ x[..., None])[..., 0]).sum(0) - own @ rest)
        unsure = np.diagonal(np.linalg.inv(H + np.diag(1 / usual)), axis1=1, axis2=2)
        usual = (x**2 + unsure).mean(0)
        usual = (usual + usual[other]) / 2 + NARROW**2
    return more, usual, x


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
