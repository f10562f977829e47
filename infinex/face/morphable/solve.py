"""Analysis by synthesis: the parameters under which a drawn face is most like a picture (Thies et al. 2016).

Energies and weights are those of `energy`; colour distances are not squared, by iterative reweighting, each step is
Gauss-Newton, from coarse pictures to fine ones. A surface point keeps its place on the face while it is moved, so its
colour is compared with where it then is in the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.compiled import compiled
from infinex.face import topology as top
from infinex.face.morphable import energy
from infinex.face.morphable.light import BANDS, ambient, harmonics
from infinex.face.morphable.model import Appearance, Camera, MorphableFace
from infinex.face.morphable.surface import changes, rasterise
from infinex.face.pose import Pose, fit_pose, to_matrix

Array = NDArray[np.floating]

FACE_SIZE = 128.0  # pixels from brow to chin of the finest picture that is compared
POINTED = 3  # steps by points alone before colours are compared, which costs little and tells pose first
STEPS = ((4, 2), (2, 2), (1, 4))  # how often a picture is halved, steps on it
FIRST_STEPS = ((4, 8), (2, 6), (1, 4))  # of the frames that share who it is
SAMPLES = 2500  # pixels at most that are compared
DISTANCE, STRAY = 9.0, 0.25  # inter-ocular distances from the camera, as is usual, and how widely that varies (log)
GREY, LIT = 10.0, 0.6  # pull of light to grey, as in Deep3DFaceRecon, and how far it usually is from even light
IDENTITY = 12.0  # pull to usual faces over the published one, whose model has other units
SPARSE = 0.4  # of the prior: how much each expression costs at all, where they cannot be negative
SAID = 40.0  # of the prior: pull of an expression to what a reader says of it
FLIP = np.array([1.0, -1.0, -1.0])  # between the axes of the models and those of pictures


@dataclass(frozen=True)
class Who:
    """What frames of a person share: `identity` (K,) and `skin` (B,) weights; `focal` is in pixels of the picture.

    `detail` (V, 3) is what their skin has beyond the model's."""

    identity: NDArray[np.float64]
    skin: NDArray[np.float64]
    focal: float
    detail: NDArray[np.float64] | float = 0.0

    def albedo(self, face: MorphableFace) -> NDArray[np.float64]:
        """Their skin's own colours (V, 3)."""
        return np.clip(face.albedo(self.skin) + self.detail, 0.01, 1.5)


@dataclass(frozen=True)
class State:
    """One frame: `rotation` (3, 3) and `shift` (3,) in the models' axes, `expression` (E,), `light` (3, 9)."""

    rotation: NDArray[np.float64]
    shift: NDArray[np.float64]
    expression: NDArray[np.float64]
    light: NDArray[np.float64]


class Frame:
    """A picture of a face made ready: cut out, at the sizes at which it is compared.

    `points` (478, 3) are its tracked landmarks in pixels of `image` (H, W, 3) uint8; `said` (E,), where it is known, is
    what a reader says of its expressions, NaN of those that it does not know."""

    said: NDArray[np.float64] | None = None

    def __init__(self, image: NDArray[np.uint8], points: Array, size: float = FACE_SIZE) -> None:
        self.points = np.asarray(points[: top.SURFACE, :2], np.float64)
        low, high = self.points.min(0), self.points.max(0)
        self.size = float((high - low).max())
        h, w = image.shape[:2]
        self.shape = h, w
        self.scale = min(1.0, size / self.size)
        margin = 0.12 * self.size
        x0, y0 = np.clip(np.floor(low - margin), 0, [w - 2, h - 2]).astype(int)
        x1, y1 = np.clip(np.ceil(high + margin), [x0 + 2, y0 + 2], [w, h]).astype(int)
        self.part = part = np.ascontiguousarray(image[y0:y1, x0:x1])
        self.marks = np.asarray(points, np.float64) - [x0, y0, 0]
        self.corner = np.array([x0, y0], np.float64)
        if self.scale < 1:
            part = cv2.resize(part, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_AREA)
        self._fine = np.ascontiguousarray(part, np.float32) / 255
        self._levels: dict[int, tuple[NDArray, NDArray, NDArray]] = {}

    def level(self, halves: int) -> tuple[NDArray, NDArray, NDArray]:
        """The cut `halves` times smaller, (h, w, 3) in 0..1, and its slopes to the right and down."""
        if halves not in self._levels:
            image = self._fine
            if halves > 1:
                size = (max(4, round(image.shape[1] / halves)), max(4, round(image.shape[0] / halves)))
                image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            soft = cv2.GaussianBlur(image, (0, 0), 0.7)
            across = cv2.Sobel(soft, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
            down = cv2.Sobel(soft, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
            self._levels[halves] = soft, across, down
        return self._levels[halves]

    def camera(self, focal: float, halves: int) -> Camera:
        """The camera of a level: the picture's own, in the pixels of the level; its axis is the picture's middle."""
        w = self.level(halves)[0].shape[1]
        k = self.scale / halves if halves > 1 else self.scale
        # Rounded sizes are not exact halves: the scale of each is its own.
        k = k * (w / max(1.0, self._fine.shape[1] / halves))
        centre = ((np.array([self.shape[1], self.shape[0]]) / 2 - self.corner) * k) - 0.5
        return Camera(focal * k, (float(centre[0]), float(centre[1])))

    def to_level(self, halves: int) -> float:
        """Pixels of a level for one of the picture."""
        return self.camera(1.0, halves).focal


class Solver:
    """Fits one face model. `face` must have the vertices of our skin mesh, the tracker's points first."""

    def __init__(self, face: MorphableFace) -> None:
        self.face = face
        self.E, self.K, self.B = len(face.expression), len(face.identity), len(face.reflectance)
        self._expression = np.ascontiguousarray(np.moveaxis(face.expression, 0, 2), np.float32)
        self._identity = np.ascontiguousarray(np.moveaxis(face.identity, 0, 2), np.float32)
        self._skin = np.ascontiguousarray(np.moveaxis(face.reflectance, 0, 2), np.float32)
        self.spread = np.maximum(face.spread, 1e-6)

    def look(self, who: Who, state: State) -> Appearance:
        """A person's face in a frame."""
        return self.face.look(
            who.identity, state.expression, who.albedo(self.face), state.rotation, state.shift, state.light, ends=True
        )

    # -- starting ---------------------------------------------------------------------------------

    def start(self, frame: Frame, points: Array) -> tuple[Who, State]:
        """A first guess by the head pose of the tracked `points` (478, 3)."""
        pose = fit_pose(top.mean_face(), np.asarray(points, np.float64))
        who = Who(np.zeros(self.K), np.zeros(self.B), DISTANCE * pose.scale)
        return who, State(FLIP[:, None] * pose.rotation * FLIP, self._shift(pose, who.focal, frame), np.zeros(self.E),
                          0.8 * ambient())  # fmt: skip

    @staticmethod
    def _shift(pose: Pose, focal: float, frame: Frame) -> NDArray[np.float64]:
        depth = focal / pose.scale
        middle = np.array([frame.shape[1], frame.shape[0]]) / 2 - 0.5
        x, y = (pose.translation[:2] - middle) / pose.scale
        return np.array([x, -y, -depth])

    # -- one step ---------------------------------------------------------------------------------

    def _system(
        self, frame: Frame, who: Who, state: State, halves: int, shared: bool, colour: bool = True
    ) -> tuple[NDArray, NDArray, float, float]:
        """Normal equations (P, P), (P,) of one frame and its colour and landmark energies.

        Columns: rotation 3, shift 3, expression E, light 27, then, where `shared`, identity K, skin B, log focal 1."""
        face = self.face
        look = self.look(who, state)
        seen = look.camera * FLIP
        camera = frame.camera(who.focal, halves)
        points = camera.project(seen)
        V, P = len(seen), 6 + self.E + 27 + (self.K + self.B + 1 if shared else 0)
        table = np.zeros((V, 5, P), np.float32)
        R = state.rotation.astype(np.float32)
        basis = np.concatenate([self._expression, self._identity], 2) if shared else self._expression
        columns = np.r_[6 : 6 + self.E, 33 + self.E : 33 + self.E + self.K] if shared else np.r_[6 : 6 + self.E]
        # Where vertices go: rotation about the head's own origin, shift, shape.
        arm = (look.camera - state.shift).astype(np.float32)
        z = seen[:, 2].astype(np.float32)
        ahead = (seen[:, :2] / seen[:, 2:]).astype(np.float32)
        f = np.float32(camera.focal)
        _places(table, columns, basis, R, arm, z, ahead, f)
        if shared:
            table[:, 3:, -1] = f * ahead
        H, g, e_colour = np.zeros((P, P)), np.zeros(P), 0.0
        if colour:
            slope = look.slope.astype(np.float32)
            turn = np.zeros((V, 3, 3), np.float32)
            n = look.normals
            turn[:, 0, 1], turn[:, 0, 2] = n[:, 2], -n[:, 1]
            turn[:, 1, 0], turn[:, 1, 2] = -n[:, 2], n[:, 0]
            turn[:, 2, 0], turn[:, 2, 1] = n[:, 1], -n[:, 0]
            table[:, :3, :3] = slope @ turn
            own = changes(look.shape, face.triangles, face.around, basis)
            _shades(table, columns, own, slope @ R)
            at = 6 + self.E
            for c in range(3):
                table[:, c, at + 9 * c : at + 9 * c + 9] = look.albedo[:, c, None] * look.harmonics
            if shared:
                at += 27 + self.K
                lit = (look.harmonics @ look.light.T).astype(np.float32)
                table[:, :3, at : at + self.B] = lit[..., None] * self._skin
            H, g, e_colour = self._colours(frame, halves, points, seen[:, 2], look.colour, table)
        # Landmarks, in sizes of the face; those that turn away are half a guess of the tracker's.
        k = frame.to_level(halves)
        unit = frame.size * k
        wanted = (frame.points - frame.corner + 0.5) * k - 0.5
        off = (points[: top.SURFACE] - wanted) / unit
        away = look.camera[: top.SURFACE]
        facing = -(look.normals[: top.SURFACE] * away).sum(1) / np.linalg.norm(away, axis=1)
        sure = np.clip(facing, 0.05, 1.0) * _TRUST
        J = (table[: top.SURFACE, 3:] / unit).astype(np.float64)
        share = energy.LANDMARKS / top.SURFACE
        Jw = (J * (share * sure)[:, None, None]).reshape(-1, P)
        H = H + Jw.T @ J.reshape(-1, P)
        g = g + Jw.T @ off.ravel()
        return H, g, e_colour, energy.landmarks(points[: top.SURFACE], wanted, sure / unit**2)

    def _colours(
        self, frame: Frame, halves: int, points: Array, depth: Array, colour: Array, table: NDArray[np.float32]
    ) -> tuple[NDArray, NDArray, float]:
        image, across, down = frame.level(halves)
        ids, weights = rasterise(points, depth, self.face.triangles, image.shape[:2])
        rows, cols = np.nonzero(ids >= 0)
        P = table.shape[2]
        if not len(rows):
            return np.zeros((P, P)), np.zeros(P), 0.0
        if len(rows) > SAMPLES:
            pick = np.linspace(0, len(rows) - 1, SAMPLES).astype(int)
            rows, cols = rows[pick], cols[pick]
        corners, w = self.face.triangles[ids[rows, cols]], weights[rows, cols]
        drawn = np.einsum("nk,nkc->nc", w, colour[corners])
        off = drawn - image[rows, cols]
        weight = energy.reweights(off, energy.FLOOR * 10) * energy.COLOUR / len(rows)
        root = np.sqrt(weight).astype(np.float32)
        J = _pixels(table, corners, w, across[rows, cols], down[rows, cols], root)
        J = J.reshape(-1, P)
        g = J.T @ (off * root[:, None]).astype(np.float32).ravel()
        return (J.T @ J).astype(np.float64), g.astype(np.float64), float(np.linalg.norm(off, axis=1).mean())

    def _priors(self, frame: Frame, state: State, H: NDArray, g: NDArray) -> None:
        """Add what is usual of one frame, and what was said of it, to its system, in place."""
        e = slice(6, 6 + self.E)
        pull = energy.PRIOR / self.spread**2
        H[e, e] += np.diag(pull)
        g[e] += pull * state.expression
        if self.face.low >= 0:  # faces do few things at once
            g[e] += SPARSE * energy.PRIOR / self.spread
        if frame.said is not None:
            known = 6 + np.flatnonzero(np.isfinite(frame.said))
            H[known, known] += SAID * energy.PRIOR
            g[known] += SAID * energy.PRIOR * (state.expression - frame.said)[known - 6]
        at = 6 + self.E
        # Light: near grey, and not far from even.
        grey = np.kron(np.eye(3) - 1 / 3, np.eye(BANDS)) * energy.PRIOR * GREY
        even = np.eye(27) * energy.PRIOR / LIT**2
        s = slice(at, at + 27)
        H[s, s] += grey + even
        g[s] += grey @ state.light.ravel() + even @ (state.light - 0.8 * ambient()).ravel()

    def _moved(self, state: State, step: NDArray) -> State:
        return State(
            to_matrix(step[:3]) @ state.rotation,
            state.shift + step[3:6],
            np.clip(state.expression + step[6 : 6 + self.E], self.face.low, self.face.high),
            state.light + step[6 + self.E : 33 + self.E].reshape(3, BANDS),
        )

    def _bounded(self, H: NDArray, g: NDArray, low: NDArray, high: NDArray) -> NDArray[np.float64]:
        """The step that minimises step·H·step / 2 + g·step within bounds, by fixing what would leave them."""
        step = np.zeros(len(g))
        free = np.ones(len(g), bool)
        for _ in range(6):
            fixed = ~free
            rhs = -g[free] - H[np.ix_(free, fixed)] @ step[fixed]
            step[free] = np.linalg.solve(H[np.ix_(free, free)], rhs)
            out = free & ((step < low - 1e-9) | (step > high + 1e-9))
            if not out.any():
                break
            step[out] = np.clip(step[out], low[out], high[out])
            free &= ~out
        return np.clip(step, low, high)

    def _bounds(self, state: State, P: int) -> tuple[NDArray, NDArray]:
        low, high = np.full(P, -np.inf), np.full(P, np.inf)
        low[:3], high[:3] = -0.35, 0.35  # a turn is a rotation vector only where it is small
        low[6 : 6 + self.E] = self.face.low - state.expression
        high[6 : 6 + self.E] = self.face.high - state.expression
        return low, high

    # -- whole fits -------------------------------------------------------------------------------

    def follow(
        self, frame: Frame, who: Who, state: State, steps: Sequence[tuple[int, int]] = STEPS, pointed: int = POINTED
    ) -> tuple[State, float]:
        """The next frame of a known person, from the last one's solution; and its colour energy."""
        value = 0.0
        for colour, (halves, count) in [(False, (4, pointed)), *((True, s) for s in steps)]:
            for _ in range(count):
                state, value = self._step(frame, who, state, halves, colour)
        return state, value

    def _step(self, frame: Frame, who: Who, state: State, halves: int, colour: bool) -> tuple[State, float]:
        H, g, value, _ = self._system(frame, who, state, halves, shared=False, colour=colour)
        self._priors(frame, state, H, g)
        H[np.diag_indices_from(H)] += 1e-9
        return self._moved(state, self._bounded(H, g, *self._bounds(state, len(g)))), value

    def expressions(self, frame: Frame, who: Who, state: State) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What a solved frame alone tells of its expressions, whatever pose and light are: H (E, E) and b (E,), by
        which weights w cost w·H·w / 2 - b·w; without what is usual of expressions."""
        H, g, _, _ = self._system(frame, who, state, 1, shared=False)
        e, at = slice(6, 6 + self.E), 6 + self.E
        H[at:, at:] += np.eye(27) * energy.PRIOR / LIT**2
        H[np.diag_indices_from(H)] += 1e-9
        other = np.r_[0:6, at : at + 27]
        cross = np.linalg.solve(H[np.ix_(other, other)], np.column_stack([H[other, e], g[other]]))
        own = H[e, e] - H[e, other] @ cross[:, :-1]
        return own, own @ state.expression - (g[e] - H[e, other] @ cross[:, -1])

    def again(self, frame: Frame, points: Array, who: Who) -> tuple[State, float]:
        """A frame of a known person without one before it: by its landmarks first."""
        pose = fit_pose(top.mean_face(), np.asarray(points, np.float64))
        _, state = self.start(frame, points)
        state = replace(state, shift=self._shift(pose, who.focal, frame))
        return self.follow(frame, who, state, FIRST_STEPS, pointed=6)

    def bundle(
        self, frames: Sequence[Frame], points: Sequence[Array], steps: Sequence[tuple[int, int]] = FIRST_STEPS
    ) -> tuple[Who, list[State]]:
        """Who it is, from frames that share that, and each frame's own state."""
        started = [self.start(f, p) for f, p in zip(frames, points)]
        who = replace(started[0][0], focal=float(np.median([w.focal for w, _ in started])))
        states = []
        for f, p in zip(frames, points):
            pose = fit_pose(top.mean_face(), np.asarray(p, np.float64))
            _, state = self.start(f, p)
            states.append(replace(state, shift=self._shift(pose, who.focal, f)))
        usual = np.log(who.focal)
        for colour, (halves, count) in [(False, (4, 6)), *((True, s) for s in steps)]:
            for _ in range(count):
                who, states = self._bundle_step(frames, who, states, halves, usual, colour)
            if colour and halves <= 2:
                who = replace(who, detail=self._detail(frames, who, states))
        return who, states

    def _detail(self, frames: Sequence[Frame], who: Who, states: Sequence[State]) -> NDArray[np.float64]:
        """What the skin in the frames has beyond the model's (V, 3), without what may be light."""
        V = len(self.face.mean)
        known = self.face.albedo(who.skin)
        total, weight = np.zeros((V, 3)), np.zeros((V, 1))
        for frame, state in zip(frames, states):
            look, camera = self.look(who, state), frame.camera(who.focal, 1)
            seen = look.camera * FLIP
            at = camera.project(seen)
            picture = frame.level(1)[0]
            x, y = at.T.astype(np.float32)
            colour = cv2.remap(picture, x[:, None], y[:, None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]
            own = colour / np.maximum(look.harmonics @ look.light.T, 0.1)
            toward = -(look.normals * look.camera).sum(1) / np.linalg.norm(look.camera, axis=1)
            off = np.linalg.norm(own - known, axis=1)
            sure = (np.clip((toward - 0.2) / 0.4, 0, 1) / (1 + (off / 0.25) ** 2))[:, None]
            total += sure * (own - known)
            weight += sure
        out = total / (weight + 0.3)
        # Broad shades belong to the light: they would turn with the head.
        rest = self.face.normals(self.face.shape(who.identity, np.zeros(0)))
        Y, w = harmonics(rest)[:, 1:], np.minimum(weight, 1)
        share = np.linalg.solve((Y * w).T @ Y + 1e-3 * np.eye(BANDS - 1), (Y * w).T @ (out / known))
        return np.asarray(out - known * (Y @ share) * w)

    def _bundle_step(
        self, frames: Sequence[Frame], who: Who, states: list[State], halves: int, usual: float, colour: bool
    ) -> tuple[Who, list[State]]:
        own, shared = 33 + self.E, self.K + self.B + 1
        n = len(frames)
        total = n * own + shared
        H, g = np.zeros((total, total)), np.zeros(total)
        low, high = np.full(total, -np.inf), np.full(total, np.inf)
        tail = np.arange(n * own, total)
        for i, (frame, state) in enumerate(zip(frames, states)):
            h, v, _, _ = self._system(frame, who, state, halves, shared=True, colour=colour)
            self._priors(frame, state, h, v)
            at = np.r_[i * own : (i + 1) * own, tail]
            H[np.ix_(at, at)] += h
            g[at] += v
            low[i * own : (i + 1) * own], high[i * own : (i + 1) * own] = self._bounds(state, own)
        pull = (
            np.concatenate(
                [np.full(self.K, IDENTITY * energy.PRIOR), np.full(self.B, energy.PRIOR), [energy.PRIOR * 4 / STRAY**2]]
            )
            * n
        )
        H[tail, tail] += pull
        g[tail] += pull * np.concatenate([who.identity, who.skin, [np.log(who.focal) - usual]])
        H[np.diag_indices_from(H)] += 1e-9
        low[-1], high[-1] = -0.3, 0.3
        step = self._bounded(H, g, low, high)
        states = [self._moved(s, step[i * own : (i + 1) * own]) for i, s in enumerate(states)]
        new = step[tail]
        who = Who(who.identity + new[: self.K], who.skin + new[self.K : -1], who.focal * float(np.exp(new[-1])))
        return who, states


def _trust() -> NDArray[np.float64]:
    """How much each surface point says of the shape: lips and lids most, the oval, which slides, little."""
    out = np.ones(top.SURFACE)
    out[[*top.LIPS_INNER, *top.LIPS_OUTER, *top.RIGHT_EYE, *top.LEFT_EYE]] = 3.0
    out[[*top.RIGHT_BROW, *top.LEFT_BROW]] = 4.0  # colours mistake sockets for brows
    out[top.OVAL] = 0.25
    return out


_TRUST = _trust()


@compiled(fast=True)
def _places(table, columns, basis, R, arm, z, ahead, f):  # type: ignore[no-untyped-def]
    """Where a vertex is drawn, by every parameter of the shape: rows 3 and 4 of `table` (V, 5, P)."""
    for v in range(len(arm)):
        k, x, y = f / z[v], ahead[v, 0], ahead[v, 1]
        a, b, c = arm[v, 0], arm[v, 1], arm[v, 2]
        table[v, 3, 0], table[v, 4, 0] = k * x * b, k * (c + y * b)
        table[v, 3, 1], table[v, 4, 1] = k * (c - x * a), -k * y * a
        table[v, 3, 2], table[v, 4, 2] = -k * b, -k * a
        table[v, 3, 3], table[v, 4, 4] = k, -k
        table[v, 3, 5], table[v, 4, 5] = k * x, k * y
        for n in range(len(columns)):
            p, q, r = basis[v, 0, n], basis[v, 1, n], basis[v, 2, n]
            across = R[0, 0] * p + R[0, 1] * q + R[0, 2] * r
            up = R[1, 0] * p + R[1, 1] * q + R[1, 2] * r
            near = R[2, 0] * p + R[2, 1] * q + R[2, 2] * r
            table[v, 3, columns[n]] = k * (across + x * near)
            table[v, 4, columns[n]] = k * (y * near - up)


@compiled(fast=True)
def _shades(table, columns, own, slope):  # type: ignore[no-untyped-def]
    """How colours of a vertex change as its normal does: rows 0 to 2 of `table` (V, 5, P)."""
    for v in range(len(own)):
        for c in range(3):
            p, q, r = slope[v, c, 0], slope[v, c, 1], slope[v, c, 2]
            for n in range(len(columns)):
                table[v, c, columns[n]] = p * own[v, 0, n] + q * own[v, 1, n] + r * own[v, 2, n]


@compiled(fast=True)
def _pixels(table, corners, w, across, down, root):  # type: ignore[no-untyped-def]
    """Weighted derivatives (n, 3, P) of drawn minus seen colours."""
    n, P = len(corners), table.shape[2]
    out = np.empty((n, 3, P), np.float32)
    x, y = np.empty(P, np.float32), np.empty(P, np.float32)
    for i in range(n):
        a, b, c = corners[i, 0], corners[i, 1], corners[i, 2]
        wa, wb, wc = w[i, 0], w[i, 1], w[i, 2]
        for k in range(P):
            x[k] = wa * table[a, 3, k] + wb * table[b, 3, k] + wc * table[c, 3, k]
            y[k] = wa * table[a, 4, k] + wb * table[b, 4, k] + wc * table[c, 4, k]
        for ch in range(3):
            gx, gy, r = across[i, ch], down[i, ch], root[i]
            for k in range(P):
                v = wa * table[a, ch, k] + wb * table[b, ch, k] + wc * table[c, ch, k]
                out[i, ch, k] = r * (v - gx * x[k] - gy * y[k])
    return out
