"""`--engine deep-video-portraits`: the performer's pose, expression and gaze are drawn on the person that the network
was taught, in their light, and the network turns what is drawn into a picture of the clip's square."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from infinex.engine import Drive, Engine, Setting, Shown, Source
from infinex.errors import WeightsError, option
from infinex.face import topology as top
from infinex.face.identity import same_person
from infinex.face.portrait import SourceFace
from infinex.motion import STILL, Rest
from infinex.systems.deep_video_portraits.weights import PortraitWeights, load
from infinex.systems.oneperson import Placed, cut_picture
from infinex.systems.puppet import Performer, beyond_fit, carried, conditions, gaze
from infinex.systems.recall import Recaller
from infinex.systems.registry import resolve

RGB = NDArray[np.uint8]
TRAIN = "infinex train deep-video-portraits-album --data CLIP --out RUN"


@dataclass(frozen=True)
class PortraitOptions:
    """Choices of this engine."""

    absolute: bool = False  # the performer's own pose, where the performer is the person; else from rest on


class PortraitFace:
    """The person in a picture of theirs; see `infinex.engine.Prepared`."""

    def __init__(self, source: Source, engine: PortraitEngine) -> None:
        self.engine, self.source, self.person = engine, source, engine.person
        self.face = SourceFace(source.face.landmarks)
        self.size = engine.config.size
        self._placed = Placed(self.person, source, self.size, "deep-video-portraits")
        self.box = self._placed.box
        # The light is the person's usual one: a single picture tells less of it than a clip.
        self._onto = replace(self._placed.fitted(), light=self.person.state.light)
        self._eyes = gaze(self._placed.points)
        p = self.person
        self._beside = beyond_fit(p.face, p.person, self._onto, self._placed.points, p.size)
        self._outline = self._measured(self._placed.picture, self._placed.points)
        self._performer: Performer | None = None
        self._seen: deque[NDArray[np.uint8]] = deque(maxlen=engine.config.window)

    def _measured(self, picture: RGB, points: NDArray) -> NDArray[np.float64]:
        """What surrounds the face in a picture of the clip's size with those points: the fields (2, 2, 3)."""
        if self.engine.recaller is None:
            return STILL
        square = cut_picture(picture, self.person.window.matrix(self.size), (self.size, self.size))
        return self.engine.recaller.ground.measured(square, self._in_square(points))

    def _in_square(self, points: NDArray) -> NDArray[np.float64]:
        """Surface points (468, 3) of the clip's pixels in those of the square."""
        m = self.person.window.matrix(self.size)
        points = np.asarray(points, np.float64)[: top.SURFACE]
        return np.column_stack([points[:, :2] * m[0, 0] + m[:, 2], points[:, 2] * m[0, 0]])

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
        if drive.image is None and self._seen:
            return Shown()
        acted, config = self._performer(drive), self.engine.config
        state, eyes = carried(acted, self._onto, self._eyes, self.person, self.engine.options.absolute)
        beside = self._beside + acted.beside if acted.off is None else acted.off
        self._seen.append(conditions(self.person, state, eyes, self.size, beside if config.tracked else None))
        while len(self._seen) < config.window:  # the first instant stands for those before it
            self._seen.appendleft(self._seen[0])
        shown = list(self._seen)
        if self.engine.recaller is not None:
            points = self.person.tracked(state, beside)
            if self.engine.options.absolute and acted.state is not None and drive.image is not None:
                outline = self._measured(drive.image, points)
            else:
                outline = self._outline + (STILL if drive.move.outline is None else drive.move.outline)
            shown.insert(0, self.engine.recaller(self._in_square(points), outline, eyes))
        self._placed.lay(canvas, self.engine.render(np.concatenate(shown, 2)))
        return Shown(points=self._placed.drawn_at(state))


class PortraitEngine(Engine):
    """See `infinex.engine.Engine`."""

    name = "deep-video-portraits"
    needs: Literal["frames"] = "frames"
    own_rest = False

    def __init__(self, weights: PortraitWeights, options: PortraitOptions, device: str = "cpu") -> None:
        self.options, self.config, self.device = options, weights.config, device
        self.person = weights.likeness()
        self.renderer = weights.renderer().to(device)
        album = weights.album()
        self.recaller = None if album is None else Recaller(album)

    @torch.inference_mode()
    def render(self, window: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The frame (S, S, 3) in 0..255 for what is recalled and the conditions of a window (S, S, inputs)."""
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
