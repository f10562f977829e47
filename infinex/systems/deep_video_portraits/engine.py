"""`--engine deep-video-portraits`: the performer's pose, expression and gaze are drawn on the person that the network
was taught, in their light, and the network turns what is drawn into a picture of the clip's square."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from infinex.engine import Drive, Engine, Setting, Shown, Source
from infinex.errors import WeightsError, option
from infinex.face.identity import same_person
from infinex.face.morphable.solve import FLIP, Frame, Solver, State
from infinex.face.portrait import SourceFace
from infinex.motion import Rest
from infinex.systems.deep_video_portraits.weights import PortraitWeights, load
from infinex.systems.oneperson import check_person
from infinex.systems.puppet import Eyes, Performer, carried, conditions, gaze
from infinex.systems.registry import resolve
from infinex.systems.window import Leaning

RGB = NDArray[np.uint8]
SEAM = 0.08  # width of the seam over the square's side
TRAIN = "infinex train deep-video-portraits-128 --data CLIP --out RUN"


@dataclass(frozen=True)
class PortraitOptions:
    """Choices of this engine."""

    absolute: bool = False  # the performer's own pose, where the performer is the person; else from rest on


class PortraitFace:
    """The person in a picture of theirs; see `infinex.engine.Prepared`."""

    def __init__(self, source: Source, engine: PortraitEngine) -> None:
        self.engine, self.source, self.person = engine, source, engine.person
        landmarks = source.face.landmarks
        self.face = SourceFace(landmarks)
        self.size = engine.config.size
        check_person(self.person.who, source.image, landmarks, "deep-video-portraits")
        matrix, own = self._placed()
        self._window = Leaning(matrix, self.size, source.image.shape)
        self.box = self._window.box
        x0, y0, x1, y1 = self.box
        self._still = source.image[y0:y1, x0:x1].astype(np.float32)
        self._seam = np.clip(self._window.spread(self._inner(matrix)), 0, 1)[..., None]
        self._onto, self._eyes = self._state(own)
        self._performer: Performer | None = None
        self._seen: deque[NDArray[np.uint8]] = deque(maxlen=engine.config.window)

    def _placed(self) -> tuple[NDArray[np.float64], bool]:
        """Where the clip's square lies in the picture, and whether this is a picture of the clip."""
        p, image = self.person, self.source.image
        points = self.source.face.landmarks[:, :2]
        middle = (points.min(0) + points.max(0)) / 2 - [p.window.x, p.window.y]
        own = image.shape[1::-1] == p.size and bool((middle > 0).all() and (middle < p.window.side).all())
        k = self.size / p.window.side
        cut = np.array([[k, 0, 0.5 * k - 0.5 - k * p.window.x], [0, k, 0.5 * k - 0.5 - k * p.window.y]])
        if own:
            return cut, True
        # Another picture of theirs: the head that was learned is laid over its own, no further leaning.
        usual = p.points[:, :2].astype(np.float64)
        s = float(np.linalg.norm(np.ptp(usual, 0)) / max(1.0, float(np.linalg.norm(np.ptp(points, 0)))))
        shift = usual.mean(0) - s * points.mean(0)
        return np.column_stack([cut[:, :2] * s, cut[:, :2] @ shift + cut[:, 2]]), False

    def _inner(self, matrix: NDArray[np.float64]) -> NDArray[np.float32]:
        """(size, size) 1 inside, 0 towards those edges behind which the picture goes on."""
        h, w = self.source.image.shape[:2]
        corners = np.array([[0, 0], [w, h]]) @ matrix[:, :2].T + matrix[:, 2]
        ramp = np.clip((np.arange(self.size) + 0.5) / (SEAM * self.size), 0, 1).astype(np.float32)
        lines = []
        for axis in (0, 1):
            line = np.ones(self.size, np.float32)
            if corners[0, axis] < -1:
                line *= ramp
            if corners[1, axis] > self.size + 1:
                line *= ramp[::-1]
            lines.append(line * line * (3 - 2 * line))
        return np.outer(lines[1], lines[0]).astype(np.float32)

    def _state(self, own: bool) -> tuple[State, Eyes]:
        """What the performance begins from: the person as the picture shows them, where it is one of the clip."""
        p, landmarks = self.person, np.asarray(self.source.face.landmarks, np.float64)
        if not own:
            return p.state, p.eyes
        state, _ = Solver(p.face).again(Frame(self.source.image, landmarks), landmarks, p.person)
        # The light is the person's usual one: a single picture tells less of it than a clip.
        return State(state.rotation, state.shift, state.expression, p.state.light), gaze(landmarks)

    def begin(self, rest: Rest, image: RGB | None, points: NDArray | None) -> None:
        """Start a performance from its reference frame."""
        own = image is self.source.image
        if image is not None and points is not None and not own:
            own = same_person(self.source.image, self.source.face.landmarks, image, points)
        self._performer = Performer(self.person, rest, image, points, own)
        self._seen.clear()

    def draw(self, canvas: RGB, drive: Drive) -> Shown:
        """Draw the person over the box; while the performer is out of sight the last picture stays."""
        assert self._performer is not None, "begin() comes first"
        x0, y0, x1, y1 = self.box
        if drive.image is None and self._seen:
            return Shown()
        acted = self._performer(drive)
        state, eyes = carried(acted, self._onto, self._eyes, self.person, self.engine.options.absolute)
        self._seen.append(conditions(self.person, state, eyes, self.size))
        while len(self._seen) < self.engine.config.window:  # the first instant stands for those before it
            self._seen.appendleft(self._seen[0])
        made = self._window.spread(self.engine.render(np.concatenate(self._seen, 2)))
        laid = made * self._seam + self._still * (1 - self._seam)
        canvas[y0:y1, x0:x1] = np.clip(laid + 0.5, 0, 255).astype(np.uint8)
        return Shown(points=self._points(state))

    def _points(self, state: State) -> NDArray[np.float64] | None:
        """Where the person's surface points are drawn, (468, 2) in pixels of the picture."""
        p = self.person
        seen = p.look(state).camera[:468] * FLIP
        inside = p.window.camera(p.focal, p.size, self.size).project(seen)
        back = np.linalg.inv(np.vstack([self._window.matrix, [0, 0, 1]]))
        return np.asarray(inside @ back[:2, :2].T + back[:2, 2])


class PortraitEngine(Engine):
    """See `infinex.engine.Engine`."""

    name = "deep-video-portraits"
    needs: Literal["frames"] = "frames"
    own_rest = False

    def __init__(self, weights: PortraitWeights, options: PortraitOptions, device: str = "cpu") -> None:
        self.options, self.config, self.device = options, weights.config, device
        self.person = weights.likeness()
        self.renderer = weights.renderer().to(device)

    @torch.inference_mode()
    def render(self, window: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The frame (S, S, 3) in 0..255 for the conditions of a window (S, S, N·9)."""
        x = torch.from_numpy(np.ascontiguousarray(window.transpose(2, 0, 1))).to(self.device).float() / 127.5 - 1
        made = self.renderer(x[None])[0]
        return np.ascontiguousarray(((made + 1) * 127.5).permute(1, 2, 0).cpu().numpy())

    def prepare(self, source: Source, setting: Setting = Setting()) -> PortraitFace:  # noqa: B008
        """Everything that depends on the picture alone. Raises InputError where it shows another person."""
        return PortraitFace(source, self)


OPTIONS = PortraitOptions


def open_engine(options: PortraitOptions, weights: str) -> PortraitEngine:
    """For `infinex.engine.load_engine`."""
    if not weights:
        raise WeightsError(
            f"the engine deep-video-portraits is taught one person: {TRAIN}, then {option('weights')} RUN"
        )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return PortraitEngine(load(Path(resolve(weights, "deep-video-portraits"))), options, device)
