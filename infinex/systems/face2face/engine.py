"""`--engine face2face`: the performer's expression, carried over triangle by triangle, moves the target's own pixels;
the inside of the mouth is one that the target's film shows, and all is lit as the target is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.engine import Drive, Engine, Setting, Shown, Source
from infinex.errors import InputError, option
from infinex.face import topology as top
from infinex.face.identity import same_person
from infinex.face.morphable import skin as mesh
from infinex.face.morphable.model import Appearance, Camera
from infinex.face.morphable.solve import FLIP, State
from infinex.face.morphable.surface import rasterise
from infinex.face.morphable.transfer import Transfer
from infinex.face.portrait import SourceFace
from infinex.mesh.album import View, check_same_person
from infinex.mesh.layers import polygon_mask
from infinex.mesh.raster import drawn
from infinex.motion import Rest
from infinex.systems.face2face.target import EYES, Target, gap, learned
from infinex.systems.puppet import Acted, Cut, Likeness, Performer

RGB = NDArray[np.uint8]
Array = NDArray[np.float64]

RIDGE = 1e-3  # of deformation transfer: expressions that hardly move a triangle stay small
REACH = 0.45  # inter-ocular distances over which what lies around the face moves along
RELIT = (0.7, 1.4)  # by how much skin may become darker and brighter as it turns
MATCHED = (0.6, 1.6)  # ... and a mouth that is taken from another frame
STRIP = np.array(top.strip(top.LIPS_INNER_UPPER, top.LIPS_INNER_LOWER), np.int64)
AROUND = [i for i in top.LIPS_OUTER if i not in (61, 291)]


@dataclass(frozen=True)
class Face2FaceOptions:
    """Choices of this engine."""

    album: str = ""  # a folder or a clip with more of the person; a film is its own


def carry(performer: Performer, target: Target) -> Array:
    """The matrix (E, E) from changes of a performer's expression to those of the target's: deformation transfer is
    linear in them, but for what tilted triangles add to every expression alike."""
    face = target.person.face
    neutral = face.shape(target.person.who.identity, np.zeros(0))
    assert performer.face is not None
    source = performer.face
    transfer = Transfer(source.mean, neutral, face.expression.astype(np.float64), face.triangles, RIDGE)
    none = transfer(source.mean)
    return np.stack([transfer(source.mean + e) - none for e in source.expression.astype(np.float64)], 1)


class Face2FaceFace:
    """The person in one picture of theirs; see `infinex.engine.Prepared`."""

    def __init__(self, source: Source, engine: Face2FaceEngine, film: bool) -> None:
        self.engine, self.source, self.target = engine, source, engine.target
        self.face = SourceFace(source.face.landmarks)
        image, points = source.image, source.face.landmarks
        h, w = image.shape[:2]
        low, high = points[: top.SURFACE, :2].min(0), points[: top.SURFACE, :2].max(0)
        room = 0.6 * self.face.pose.scale
        x0, y0 = np.clip(np.floor(low - room), 0, [w - 2, h - 2]).astype(int)
        x1, y1 = np.clip(np.ceil(high + room), [x0 + 2, y0 + 2], [w, h]).astype(int)
        self.box = int(x0), int(y0), int(x1), int(y1)
        self.state = self.target.state(image, points)
        # A film's own expression gives way; a photograph's is what its person rests in.
        self._onto = self.target.calm if film else self.state.expression
        self._look = self._shown(self.state)
        self._old = mesh.spread(points[: top.SURFACE, :2])

    def _shown(self, state: State) -> Appearance:
        return self.target.solver.look(self.target.person.who, state)

    def _flat(self, look: Appearance) -> Array:
        h, w = self.source.image.shape[:2]
        focal = self.target.who(self.source.image).focal
        return Camera(focal, (w / 2 - 0.5, h / 2 - 0.5)).project(look.camera * FLIP)

    def begin(self, rest: Rest, image: RGB | None, points: NDArray | None) -> None:
        """Start a performance, or go on with the one of the frame before."""
        self.engine.begin(rest, image, points, self.source)

    def draw(self, canvas: RGB, drive: Drive) -> Shown:
        """Draw the face over its box; while the performer is out of sight the last expression stays."""
        expression = self.engine.wanted(drive, self._onto)
        eyes = self.engine.eyes
        expression[eyes] = self.state.expression[eyes]  # lids and gaze are the target's own
        state = replace(self.state, expression=expression)
        look = self._shown(state)
        moved = self._flat(look) - self._flat(self._look)
        new = self._old + moved
        x0, y0, x1, y1 = self.box
        canvas[y0:y1, x0:x1] = self._drawn(look, new, state)
        points = self.source.face.landmarks.astype(np.float64).copy()
        points[: top.SURFACE, :2] = new[: top.SURFACE]
        return Shown(points=points)

    def _drawn(self, look: Appearance, new: Array, state: State) -> RGB:
        """The box's pixels with the vertices at `new` (V, 2)."""
        x0, y0, x1, y1 = self.box
        image, shape = self.source.image, (y1 - y0, x1 - x0)
        triangles = self.target.person.face.triangles
        ids, weights = rasterise(new - [x0, y0], -look.camera[:, 2], triangles, shape)
        at = ids >= 0
        flow, ratio = np.zeros((*shape, 2), np.float32), np.ones((*shape, 3), np.float32)
        corners, w = triangles[ids[at]], weights[at]
        flow[at] = np.einsum("nk,nkc->nc", w, (self._old - new)[corners])
        lit = np.maximum(look.harmonics @ look.light.T, 0.05) / np.maximum(self._look.harmonics @ look.light.T, 0.05)
        ratio[at] = np.einsum("nk,nkc->nc", w, np.clip(lit, *RELIT)[corners])
        flow = self._spread(flow, at)
        i, j = np.mgrid[y0:y1, x0:x1].astype(np.float32)
        out = cv2.remap(image, j + flow[..., 0], i + flow[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        soft = cv2.GaussianBlur(ratio, (0, 0), max(0.8, 0.02 * self.face.pose.scale))
        out = np.clip(out * soft + 0.5, 0, 255).astype(np.uint8)
        points = self.source.face.landmarks.astype(np.float64).copy()
        points[: top.SURFACE, :2] = new[: top.SURFACE]
        view = self.target.mouths(state, points, gap(points))
        if view is not None:
            _lay_mouth(out, view, points[:, :2] - [x0, y0], image, self.source.face.landmarks)
        return out

    def _spread(self, flow: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
        """What surrounds the face and lies between lips and lids moves as the nearest skin does, less far away."""
        if not inside.any():
            return flow
        away, nearest = cv2.distanceTransformWithLabels(
            (~inside).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        table = np.zeros((int(nearest.max()) + 1, 2), np.float32)
        table[nearest[inside]] = flow[inside]
        reach = REACH * self.face.pose.scale
        fall = np.exp(-((away / reach) ** 2))[..., None].astype(np.float32)
        far = cv2.GaussianBlur(table[nearest], (0, 0), max(1.0, 0.05 * self.face.pose.scale)) * fall
        # The picture's edge of the box stands still.
        h, w = inside.shape
        rim = np.minimum(np.minimum(*np.mgrid[:h, :w]), np.minimum(*np.mgrid[:h, :w][:, ::-1, ::-1]))
        far *= np.clip(rim / max(1.0, 0.15 * self.face.pose.scale), 0, 1)[..., None].astype(np.float32)
        return np.where(inside[..., None], flow, far)


def _lay_mouth(out: RGB, view: View, points: Array, image: RGB, landmarks: NDArray) -> None:
    """Draw the inside of a seen mouth between lips at `points` (478, 2) of `out`, in the colours of the light here."""
    p = np.ascontiguousarray(points)
    inner = p[top.LIPS_INNER]
    h, w = out.shape[:2]
    x0, y0 = np.clip(np.floor(inner.min(0)) - 2, 0, [w - 1, h - 1]).astype(int)
    x1, y1 = np.clip(np.ceil(inner.max(0)) + 3, [x0 + 1, y0 + 1], [w, h]).astype(int)
    shape = (int(y1 - y0), int(x1 - x0))
    mx, my, covered = drawn(p, view.points[:, :2], STRIP, x0, y0, shape)
    seen = cv2.remap(view.image, mx, my, cv2.INTER_LINEAR).astype(np.float32)
    gain = np.clip(_tone(image, landmarks) / np.maximum(_tone(view.image, view.points), 1.0), *MATCHED)
    share = (polygon_mask(*shape, inner - [x0, y0]) * covered)[..., None]
    part = out[y0:y1, x0:x1]
    part[:] = np.clip(part * (1 - share) + seen * gain * share + 0.5, 0, 255).astype(np.uint8)


def _tone(image: RGB, points: NDArray) -> NDArray[np.float32]:
    """Mean colour (3,) of the lips in a picture, which says how bright their light is."""
    x, y = np.asarray(points)[AROUND, :2].T.astype(np.float32)
    colours = cv2.remap(image, x[:, None], y[:, None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(colours.reshape(-1, 3).astype(np.float32).mean(0))


class Face2FaceEngine(Engine):
    """See `infinex.engine.Engine`."""

    name = "face2face"
    needs: Literal["frames"] = "frames"
    own_rest = False

    def __init__(self, target: Target, album: Path) -> None:
        self.target, self.album = target, album
        self.eyes = np.array([i for i, n in enumerate(target.names) if n.startswith(EYES)], int)
        blank = Cut(0, 0, max(target.person.size))
        self._likeness = Likeness.from_person(target.person, blank, np.zeros(0))
        self._performer: Performer | None = None
        self._matrix: Array | None = None
        self._begun: tuple[object, object, object] | None = None
        self._last: Array | None = None
        self._absolute = False
        self._checked = False

    def prepare(self, source: Source, setting: Setting = Setting()) -> Face2FaceFace:  # noqa: B008
        """Everything that depends on the picture alone. Raises InputError where the album shows another person."""
        if not self._checked:
            check_same_person(self.target.views, source, self.album)
            self._checked = True
        return Face2FaceFace(source, self, setting.film)

    def begin(self, rest: Rest, image: RGB | None, points: NDArray | None, source: Source) -> None:
        """Start a performance; asked again with the same rest, as for every frame of a film, it goes on.

        Of a performer who is the person of the `source` expressions count as they are, not from rest on."""
        if self._begun is not None and all(a is b for a, b in zip(self._begun, (rest, image, points))):
            return
        self._begun, self._last = (rest, image, points), None
        own = False
        if image is not None and points is not None:
            own = image is source.image or same_person(source.image, source.face.landmarks, image, points)
        self._performer = Performer(self._likeness, rest, image, points, own)
        self._matrix = None if self._performer.face is None or own else carry(self._performer, self.target)
        self.target.mouths.forget()

    def wanted(self, drive: Drive, onto: Array) -> Array:
        """The target's expression (E,) for a drive: `onto` with what the performer does from rest on."""
        assert self._performer is not None, "begin() comes first"
        if drive.move.valid or self._last is None:
            acted: Acted = self._performer(drive)
            filmed = self._matrix is not None and drive.image is not None and drive.points is not None
            self._last = self._matrix @ acted.expression if filmed and self._matrix is not None else acted.expression
            self._absolute = acted.own is not None
            if acted.own is not None:
                self._last = acted.own
        face = self.target.person.face
        return np.asarray(np.clip(self._last if self._absolute else onto + self._last, face.low, face.high))


OPTIONS = Face2FaceOptions


def open_engine(options: Face2FaceOptions, weights: str) -> Face2FaceEngine:
    """For `infinex.engine.load_engine`."""
    if not options.album:
        raise InputError(
            f"the engine face2face needs more than one picture of the person: a clip as source, or {option('album')}"
        )
    if weights:
        raise InputError(f"{option('weights')}: the engine face2face has none, it learns from {option('album')}")
    album = Path(options.album)
    return Face2FaceEngine(learned(album), album)
