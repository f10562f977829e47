"""One person as a fit found them, drawn under any pose, expression and gaze: what networks are shown of the person.

A driver's frames are fitted in the same way, and what they do is carried over; where there are none, its points are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.drivers.contract import Drive
from infinex.face import topology as top
from infinex.face.morphable import skin as mesh
from infinex.face.morphable.bases import own_model
from infinex.face.morphable.model import Appearance, Camera, MorphableFace
from infinex.face.morphable.person import Person
from infinex.face.morphable.solve import FLIP, Frame, Solver, State, Who
from infinex.face.morphable.surface import rasterise
from infinex.face.pose import to_matrix
from infinex.motion import Move, Rest

RGB = NDArray[np.uint8]
Array = NDArray[np.floating]
Eyes = NDArray[np.float64]  # (2, 2): of the right and the left eye where its iris is, see `gaze`

EYES = ((top.RIGHT_EYE, 33, 133, top.RIGHT_IRIS[0]), (top.LEFT_EYE, 362, 263, top.LEFT_IRIS[0]))
DISC = 0.21  # radius of the iris over the width of the eye
WHITE, BLUE = (255, 255, 255), (0, 0, 255)
CHANNELS = 9  # of the pictures of one instant: skin under its light, places on the face, eyes
RIDGE = 0.02  # pull of expressions that are read off points alone to none, over what points say
JUMP = 0.1  # sizes of the face by which points move from frame to frame before a face is found anew
LOWER = 0.07  # inter-ocular distances above the tip of the nose up to which a face is its lower part
BETWEEN = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308), (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
INSIDE = np.array([[-0.5, 0.3], [0.5, 0.9]])  # where what shows between them lies, above the lower face rolled out
NEAR = 2.0  # heads come no nearer than half, and go no further than twice, the distance


def gaze(points: Array) -> Eyes:
    """Where the irises of a tracked face (478, 3) are: along the eye from its middle to the viewer's right, and down,
    over the eye's width."""
    out = np.zeros((2, 2))
    for i, (_, a, b, iris) in enumerate(EYES):
        along = points[b, :2] - points[a, :2]
        width = max(float(np.linalg.norm(along)), 1e-6)
        along = along / width
        off = points[iris, :2] - (points[a, :2] + points[b, :2]) / 2
        out[i] = (off @ along) / width, (off @ [-along[1], along[0]]) / width
    return out


@dataclass(frozen=True)
class Cut:
    """The square that networks see of a clip: its corner and `side` in the clip's pixels."""

    x: int
    y: int
    side: int

    def camera(self, focal: float, size: tuple[int, int], pixels: int) -> Camera:
        """The camera of the clip, whose pictures have `size` (width, height), in a square of `pixels`."""
        k = pixels / self.side
        cx, cy = (size[0] / 2 - self.x) * k - 0.5, (size[1] / 2 - self.y) * k - 0.5
        return Camera(focal * k, (cx, cy))

    def matrix(self, pixels: int) -> NDArray[np.float64]:
        """From pixels of the clip to those of the square at `pixels`, (2, 3)."""
        k = pixels / self.side
        return np.array([[k, 0, 0.5 * k - 0.5 - k * self.x], [0, k, 0.5 * k - 0.5 - k * self.y]])


@dataclass(frozen=True)
class Likeness:
    """Who a network was taught: a `face` whose mean is theirs and whose only weights are expressions.

    `focal` and `window` are in pixels of pictures of `size` (width, height); `state` and `eyes` are usual of them, and
    `points` (478, 3) where the tracker then saw the face. `who` (128,) tells them from others, empty where unknown."""

    face: MorphableFace
    focal: float
    size: tuple[int, int]
    window: Cut
    state: State
    eyes: Eyes
    points: NDArray[np.float32]
    who: NDArray[np.float32]

    @property
    def person(self) -> Who:
        """The same for a `Solver` of the face."""
        return Who(np.zeros(0), np.zeros(0), self.focal)

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Everything by name, to be kept with weights."""
        s, f = self.state, self.face
        found = {
            "neutral": f.mean, "albedo": f.skin, "expressions": f.expression, "spread": f.spread,
            "range": np.array([f.low, f.high]), "focal": np.array([self.focal]), "size": np.array(self.size),
            "window": np.array([self.window.x, self.window.y, self.window.side]), "rotation": s.rotation,
            "shift": s.shift, "expression": s.expression, "light": s.light, "eyes": self.eyes, "points": self.points,
            "who": self.who,
        }  # fmt: skip
        return {k: np.asarray(v, np.float32) for k, v in found.items()}

    @staticmethod
    def of(a: Mapping[str, NDArray]) -> Likeness:
        """The inverse of `arrays`. Raises KeyError or ValueError for what is none."""
        V = top.SURFACE + len(mesh.midpoints())
        a = {k: np.asarray(v, np.float64) for k, v in a.items()}
        E = len(a["spread"])
        if a["neutral"].shape != (V, 3) or a["expressions"].shape != (E, V, 3) or a["expression"].shape != (E,):
            raise ValueError("a face of another topology")
        nothing = np.zeros((0, V, 3), np.float32)
        face = MorphableFace(
            a["neutral"], nothing, a["expressions"].astype(np.float32), a["albedo"], nothing, mesh.triangles(),
            a["spread"], float(a["range"][0]), float(a["range"][1]),
        )  # fmt: skip
        x, y, side = (round(float(v)) for v in a["window"])
        width, height = (round(float(v)) for v in a["size"])
        return Likeness(
            face, float(a["focal"][0]), (width, height), Cut(x, y, side),
            State(a["rotation"], a["shift"], a["expression"], a["light"]), a["eyes"].reshape(2, 2),
            a["points"].astype(np.float32), a["who"].astype(np.float32),
        )  # fmt: skip

    @staticmethod
    def from_person(person: Person, window: Cut, who: NDArray[np.floating]) -> Likeness:
        """Of a fitted clip: the frame that is nearest to what is usual of it stands for the person."""
        shown = np.flatnonzero(person.valid).tolist()
        traits = np.stack([np.concatenate([person.states[t].rotation.ravel(), person.states[t].expression])
                           for t in shown])  # fmt: skip
        usual = int(shown[np.abs(traits - np.median(traits, 0)).sum(1).argmin()])
        light = np.median(np.stack([person.states[t].light for t in shown]), 0)
        return Likeness(
            own_face(person.face, person.who), person.who.focal, person.size, window,
            replace(person.states[usual], light=light),
            gaze(person.points[usual].astype(np.float64)), person.points[usual], np.asarray(who, np.float32),
        )  # fmt: skip

    def look(self, state: State) -> Appearance:
        """The person's face in a state."""
        return Solver(self.face).look(self.person, state)

    def surface(
        self, state: State, pixels: int, beside: Array | None = None
    ) -> tuple[Appearance, NDArray[np.float64], NDArray, NDArray]:
        """The face in the window at `pixels`: how it looks, its vertices (V, 2), which triangle each pixel shows,
        (S, S), -1 for none, and where in it (S, S, 3). `beside` moves them, see `Likeness.beside`."""
        look = self.look(state)
        seen = look.camera * FLIP
        camera = self.window.camera(self.focal, self.size, pixels)
        points = camera.project(seen)
        if beside is not None:
            points = points + mesh.spread(beside[:, :2]) * (camera.focal / seen[:, 2].mean())
        ids, weights = rasterise(points, seen[:, 2], self.face.triangles, (pixels, pixels))
        return look, points, ids, weights

    def tracked(self, state: State, beside: Array) -> NDArray[np.float64]:
        """Where the tracker sees the surface points (468, 3) of the person in a state, in the clip's pixels, if it saw
        them `beside` the fit's."""
        points, unit = _flat(self.look(state).camera[: top.SURFACE], self.focal, self.size)
        return points + unit * beside


def _flat(camera: Array, focal: float, size: tuple[int, int]) -> tuple[NDArray[np.float64], float]:
    """Points before a camera (N, 3) in the pixels of its pictures, depth in the same unit, and pixels for one of
    theirs."""
    seen = camera * FLIP
    depth = float(seen[:, 2].mean())
    unit = focal / depth
    flat = Camera(focal, (size[0] / 2 - 0.5, size[1] / 2 - 0.5)).project(seen)
    return np.column_stack([flat, unit * (seen[:, 2] - depth)]), unit


def beyond_fit(
    face: MorphableFace, who: Who, state: State, points: Array, size: tuple[int, int]
) -> NDArray[np.float64]:
    """By how much the tracked `points` (N, 3) of a picture of `size` (width, height) lie beside those of a fit, in the
    picture's plane and depth: (468, 3) in the unit of the face, its inter-ocular distance."""
    flat, unit = _flat(Solver(face).look(who, state).camera[: top.SURFACE], who.focal, size)
    return np.asarray((np.asarray(points, np.float64)[: top.SURFACE] - flat) / unit)


def own_face(face: MorphableFace, who: Who) -> MorphableFace:
    """A person's own: without expression it is the mean, and of the weights only those of expressions are left."""
    nothing = np.zeros((0, *face.mean.shape), np.float32)
    neutral = face.shape(who.identity, np.zeros(0))
    return replace(face, mean=neutral, skin=who.albedo(face), identity=nothing, reflectance=nothing)


@cache
def places() -> NDArray[np.float64]:
    """A colour (V, 3) in 0..1 for each vertex, by where it is on the usual face: the same on every face."""
    mean = np.asarray(own_model().mean, np.float64)
    low, high = mean.min(0), mean.max(0)
    return np.asarray((mean - low) / (high - low))


@cache
def unwrapped() -> NDArray[np.float32]:
    """Where each vertex lies on the face rolled out, (V, 2) in -0.95..0.95: the same on every face."""
    mean = np.asarray(own_model().mean, np.float64)
    around = np.arctan2(mean[:, 0], mean[:, 2] - mean[:, 2].min() + 0.3)
    flat = np.stack([around, mean[:, 1]], 1)
    low, high = flat.min(0), flat.max(0)
    return np.asarray(1.9 * (flat - low) / (high - low) - 0.95, np.float32)


@cache
def lower_face() -> NDArray[np.bool_]:
    """(V,) where a vertex is below the tip of the nose or not far above: what a voice moves."""
    mean = own_model().mean
    return np.asarray(mean[:, 1] < mean[4, 1] + LOWER)


@cache
def _between() -> tuple[list[int], NDArray[np.float64], NDArray[np.int32]]:
    """The vertices along the lips' inner rims, first the upper one, where each of them (N, 2) lies on the face rolled
    out as an end of what shows between them, and the triangles (M, 3) of that."""
    number = {(int(a), int(b)): top.SURFACE + i for i, (a, b) in enumerate(mesh.midpoints())}
    rows = [[*(v for a, b in pairwise(row) for v in (a, number[min(a, b), max(a, b)])), row[-1]] for row in BETWEEN]
    n = len(rows[0])
    share = np.stack([np.tile(np.linspace(0, 1, n), 2), np.repeat([1.0, 0.0], n)], 1)
    strip = [t for k in range(n - 1) for t in ((k, n + k, k + 1), (k + 1, n + k, n + k + 1))]
    return rows[0] + rows[1], INSIDE[0] + (INSIDE[1] - INSIDE[0]) * share, np.array(strip, np.int32)


def uv_map(person: Likeness, state: State, pixels: int, lower: bool = False) -> NDArray[np.float32]:
    """Which place of the face each pixel shows, (2, pixels, pixels) in -1..1; both are -1 beside the face, or beside
    what is `lower` of it, between whose lips a place of its own shows."""
    _, points, ids, weights = person.surface(state, pixels)
    out = np.full((2, pixels, pixels), -1, np.float32)
    at = ids >= 0
    if lower:
        at[at] = lower_face()[person.face.triangles[ids[at]]].all(1)
        ring, place, strip = _between()
        between, share = rasterise(points[ring], np.ones(len(ring)), strip, (pixels, pixels), both=True)
        inside = (between >= 0) & (ids < 0)
        out[:, inside] = np.einsum("nk,nkc->cn", share[inside], place[strip[between[inside]]])
    out[:, at] = np.einsum("nk,nkc->cn", weights[at], unwrapped()[person.face.triangles[ids[at]]])
    return out


def conditions(person: Likeness, state: State, eyes: Eyes, pixels: int, beside: Array | None = None) -> RGB:
    """What a network is shown of one instant, (pixels, pixels, 9): skin under its light, places, eyes; else black.

    Where the tracker saw the points is said by `beside` (468, 3); without it the fit alone says it."""
    look, points, ids, weights = person.surface(state, pixels, beside)
    out = np.zeros((pixels, pixels, CHANNELS), np.uint8)
    at = ids >= 0
    corners, w = person.face.triangles[ids[at]], weights[at]
    both = np.concatenate([np.clip(look.colour, 0, 1), places()], 1)
    out[at, :6] = np.clip(np.einsum("nk,nkc->nc", w, both[corners]) * 255 + 0.5, 0, 255).astype(np.uint8)
    drawn = np.zeros((pixels, pixels, 3), np.uint8)
    for i, (ring, a, b, _) in enumerate(EYES):
        middle = look.camera[ring].mean(0)
        if look.normals[ring].mean(0) @ middle > 0:  # it looks away
            continue
        white = np.zeros((pixels, pixels), np.uint8)
        cv2.fillPoly(white, [np.round(points[ring] * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        along = points[b] - points[a]
        centre = (points[a] + points[b]) / 2 + eyes[i, 0] * along + eyes[i, 1] * np.array([-along[1], along[0]])
        disc = np.zeros_like(white)
        radius = max(0.5, DISC * float(np.linalg.norm(along)))
        cv2.circle(disc, tuple(np.round(centre * 16).astype(int).tolist()), round(radius * 16), 255, -1, cv2.LINE_AA, 4)
        for c in range(3):
            shade = (WHITE[c] * (255 - disc.astype(np.float32)) + BLUE[c] * disc.astype(np.float32)) / 255
            drawn[..., c] = np.maximum(drawn[..., c], (white * (shade / 255)).astype(np.uint8))
    out[..., 6:] = drawn
    return out


# -- what a driver does ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Acted:
    """What a performer does, from their rest on: `turn` (3, 3) of the head, its `step` (3,) in inter-ocular distances
    and `growth`, `expression` (E,), `beside` (468, 3) what of it tracked points say beyond the fit, and `eyes` (2, 2).
    Where the performer is the person, `own` has the expression, `off` what is beside it and `irises` the eyes as they
    are, and `state` all of it where the camera is the same, too."""

    turn: NDArray[np.float64]
    step: NDArray[np.float64]
    growth: float
    expression: NDArray[np.float64]
    eyes: Eyes
    beside: NDArray[np.float64]
    own: NDArray[np.float64] | None = None
    off: NDArray[np.float64] | None = None
    irises: Eyes | None = None
    state: State | None = None


class Performer:
    """Reads drives: frames by a fit, from one solution to the next, moves by their points."""

    def __init__(self, person: Likeness, rest: Rest, image: RGB | None, points: NDArray | None, own: bool) -> None:
        """`image` (H, W, 3) and `points` (478, 3) are the performer at rest, where there are frames; `own` where the
        performer is the person."""
        self.person, self.rest = person, rest
        self._points = _PointReader(person)
        self.face: MorphableFace | None = None  # the performer's own, where frames tell it
        self._state: State | None = None
        if image is None or points is None:
            return
        points = np.asarray(points, np.float64)
        frame = Frame(image, points)
        if own:
            self.solver = Solver(person.face)
            self.who = replace(person.person, focal=person.focal * image.shape[1] / person.size[0])
            start, _ = self.solver.again(frame, points, self.who)
        else:
            self.solver = Solver(own_model())
            self.who, (start,) = self.solver.bundle([frame], [points])
            start, _ = self.solver.follow(frame, self.who, start)
        self.own, self._same = own, own and image.shape[1::-1] == person.size
        self._start, self._state, self._eyes, self._before = start, start, gaze(points), points
        self._off = beyond_fit(self.solver.face, self.who, start, points, frame.shape[::-1])
        self.face = person.face if own else own_face(self.solver.face, self.who)
        self._lost = False

    def __call__(self, drive: Drive) -> Acted:
        """What the next frame shows. Of a performer out of sight nothing is told by frames: its move is read."""
        if self._state is None or drive.image is None or drive.points is None:
            self._lost = True
            return self._moved(drive.move)
        points = np.asarray(drive.points, np.float64)
        frame = Frame(drive.image, points)
        if self._lost or float(np.abs(points - self._before)[:, :2].mean()) > JUMP * frame.size:
            state, _ = self.solver.again(frame, points, self.who)
        else:
            state, _ = self.solver.follow(frame, self.who, self._state)
        self._lost, self._state, self._before = False, state, points
        rest, eyes = self._start, gaze(points)
        depth = state.shift[2] / rest.shift[2]
        step = np.array([*(state.shift[:2] / depth - rest.shift[:2]), 0.0])
        off = beyond_fit(self.solver.face, self.who, state, points, frame.shape[::-1])
        return Acted(
            state.rotation @ rest.rotation.T, step, float(1 / depth), state.expression - rest.expression,
            eyes - self._eyes, off - self._off, state.expression if self.own else None, off if self.own else None,
            eyes if self.own else None, state if self._same else None,
        )  # fmt: skip

    def _moved(self, move: Move) -> Acted:
        r = self.rest
        turn = to_matrix(move.rotation) @ to_matrix(r.rotation).T
        step = (move.translation - r.translation) / r.scale * [1, -1, 0]
        # Half an eye's width of iris travel is 1.3 radians, see `infinex.face.shape.GAZE_ANGLE`.
        eyes = np.tile((move.gaze - r.gaze) / 2.6, (2, 1))
        expression = self._points(move.offsets)
        left = move.offsets[: top.SURFACE] - self._points.shown(expression)
        return Acted(
            FLIP[:, None] * turn * FLIP, step, float(move.scale / r.scale), expression, eyes,
            left @ to_matrix(move.rotation).T,
        )  # fmt: skip


class _PointReader:
    """Expressions of moves: those under which the person's points move as a driver's do, by least squares."""

    def __init__(self, person: Likeness) -> None:
        basis = person.face.expression[:, : top.SURFACE].astype(np.float64)
        weight = np.ones(top.SURFACE)
        weight[[*top.LIPS_INNER, *top.LIPS_OUTER, *top.RIGHT_EYE, *top.LEFT_EYE]] = 3.0
        self._A = (basis * weight[None, :, None]).reshape(len(basis), -1)
        self._basis = basis
        self._weight, self._limits = weight, (person.face.low, person.face.high)
        normal = self._A @ self._A.T
        pull = np.maximum(person.face.spread, 1e-6) ** -2.0
        self._normal = normal + RIDGE * normal.trace() / pull.sum() * np.diag(pull)

    def __call__(self, offsets: Array) -> NDArray[np.float64]:
        wanted = (np.asarray(offsets, np.float64)[: top.SURFACE] * FLIP * self._weight[:, None]).ravel()
        right = self._A @ wanted
        x = np.linalg.solve(self._normal, right)
        if np.isfinite(self._limits[1]):  # a change may go either way: rest is no neutral face
            x = np.clip(x, -self._limits[1], self._limits[1])
        return np.asarray(x)

    def shown(self, expression: Array) -> NDArray[np.float64]:
        """How far the surface points (468, 3) move under a change of expression, in the axes of moves."""
        return np.asarray(np.einsum("e,enc->nc", expression, self._basis) * FLIP)


def carried(acted: Acted, onto: State, eyes: Eyes, person: Likeness, absolute: bool = False) -> tuple[State, Eyes]:
    """The person in the `onto` state, with irises at `eyes`, doing what a performer does; identity and light stay.

    `absolute`: the performer's own pose where the camera is the same, else the change from rest."""
    face = person.face
    if absolute and acted.state is not None and acted.irises is not None:
        return replace(acted.state, light=onto.light), acted.irises
    growth = float(np.clip(acted.growth, 1 / NEAR, NEAR))
    shift = onto.shift + acted.step
    shift[2] = onto.shift[2]
    shift = shift / growth
    expression = np.clip(onto.expression + acted.expression, face.low, face.high) if acted.own is None else acted.own
    irises = eyes + acted.eyes if acted.irises is None else acted.irises
    limit = np.array([0.36, 0.25])
    return State(acted.turn @ onto.rotation, shift, expression, onto.light), np.clip(irises, -limit, limit)
