"""`--engine neural-voice-puppetry`: the head keeps its own motion; a voice, or else a performer, moves the face, and
the neural texture that was learned of it is drawn into the frames."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from infinex.engine import Drive, Engine, Setting, Shown, Source
from infinex.errors import InputError, WeightsError, option
from infinex.face.identity import same_person
from infinex.face.morphable.bases import own_model
from infinex.face.morphable.solve import State
from infinex.face.portrait import SourceFace
from infinex.motion import Rest
from infinex.systems.neural_voice_puppetry.model import NOW, SpokenMouth
from infinex.systems.neural_voice_puppetry.sound import Rows, mouths_in, read_rows, rows_in, samples_of, windows
from infinex.systems.neural_voice_puppetry.weights import PuppetWeights, load
from infinex.systems.oneperson import Placed
from infinex.systems.puppet import Likeness, Performer, uv_map
from infinex.systems.registry import resolve

RGB = NDArray[np.uint8]
FPS = 25.0  # rows of sound a second while it speaks
TRAIN = "infinex train neural-voice-puppetry-128 --data CLIP --out RUN"
SPOKEN = ("jaw", "mouth", "tongue", "cheek")  # how expressions begin that a voice moves


@dataclass(frozen=True)
class PuppetOptions:
    """Choices of this engine."""

    sound: str = ""  # rows of sound (.npy, 25 a second) for a voice that hears other ones than ours


class PuppetFace:
    """The person in one picture of theirs; see `infinex.engine.Prepared`."""

    def __init__(self, source: Source, engine: PuppetEngine, film: bool) -> None:
        self.engine, self.source = engine, source
        self.face = SourceFace(source.face.landmarks)
        self._placed = Placed(engine.person, source, engine.config.size, "neural-voice-puppetry")
        self.box = self._placed.box
        self.state = self._placed.fitted(engine.last if film else None)
        if film:
            engine.last = self.state
        self._picture = self._placed.window.cut(source.image).transpose(2, 0, 1).astype(np.float32) / 127.5 - 1

    def begin(self, rest: Rest, image: RGB | None, points: NDArray | None) -> None:
        """Start a performance, or go on with the one of the frame before."""
        own = image is self.source.image
        if image is not None and points is not None and not own:
            own = same_person(self.source.image, self.source.face.landmarks, image, points)
        self.engine.begin(rest, image, points, own)

    def draw(self, canvas: RGB, drive: Drive) -> Shown:
        """Draw the face over its box: the voice has the say of the mouth, else the performer does of all."""
        expression, row = self.engine.wanted(drive, self.state)
        state = replace(self.state, expression=expression)
        uv = uv_map(self.engine.person, state, self.engine.config.size, self.engine.config.lower)
        self._placed.lay(canvas, *self.engine.render(uv, expression, row, self._picture))
        return Shown(points=self._placed.drawn_at(state))


class PuppetEngine(Engine):
    """See `infinex.engine.Engine`."""

    name = "neural-voice-puppetry"
    needs: Literal["frames"] = "frames"
    own_rest = False

    def __init__(self, weights: PuppetWeights, options: PuppetOptions, device: str = "cpu") -> None:
        self.options, self.config, self.device = options, weights.config, device
        self.person: Likeness = weights.likeness()
        self.puppet, self.voice = weights.puppet().to(device), weights.voice().to(device)
        names = own_model().names
        self._mouth = np.array([i for i, n in enumerate(names) if n.startswith(SPOKEN)], int)
        self.last: State | None = None
        self._performer: Performer | None = None
        self._begun: tuple[object, object, object] | None = None
        self._change = np.zeros(len(self.person.state.expression))
        self._absolute = False
        self._rows: Rows | None = None
        self._said: NDArray[np.float32] | None = None

    @torch.inference_mode()
    def hear(self, sound: Path, span: tuple[float, float | None]) -> None:
        """Make expressions (T, E), 25 a second, of a whole recording."""
        features = self.voice.config.features
        if self.options.sound:
            rows = read_rows(self.options.sound, features)
        else:
            rows = (mouths_in if isinstance(self.voice, SpokenMouth) else rows_in)(samples_of(sound, span), FPS)
        if rows.shape[1] != features:
            raise WeightsError(
                f"these weights hear rows of {features} numbers, such as DeepSpeech's logits; give them by "
                f"{option('option')} sound=FILE.npy"
            )
        parts = np.array_split(np.arange(len(rows)), max(1, len(rows) // 256))
        who = torch.zeros(1, dtype=torch.long, device=self.device)
        said = [
            self.voice(torch.from_numpy(windows(rows, p)).to(self.device), who.expand(len(p)))[0].cpu() for p in parts
        ]
        face = self.person.face
        self._rows, self._said = rows, np.clip(torch.cat(said).numpy(), face.low, face.high)

    def prepare(self, source: Source, setting: Setting = Setting()) -> PuppetFace:  # noqa: B008
        """Everything that depends on the picture alone. Raises InputError where it shows another person."""
        return PuppetFace(source, self, setting.film)

    def begin(self, rest: Rest, image: RGB | None, points: NDArray | None, own: bool) -> None:
        """Start a performance; asked again with the same rest, as for every frame of a film, it goes on."""
        if self._begun is not None and all(a is b for a, b in zip(self._begun, (rest, image, points))):
            return
        self._begun = rest, image, points
        if self.options.sound and self._said is None:
            raise InputError(f"{option('option')} sound: these rows stand for a recording: {option('speech')} FILE")
        silent = self._said is not None  # then nobody asks what a performer does
        self._performer = Performer(self.person, rest, *((None, None) if silent else (image, points)), own)

    def wanted(self, drive: Drive, state: State) -> tuple[NDArray[np.float64], Rows | None]:
        """The expression (E,) for a drive on a picture in a state, and the windows' rows of sound there (16, F)."""
        face = self.person.face
        if self._said is not None and self._rows is not None:
            t = int(np.clip(round(drive.move.time * FPS), 0, len(self._said) - 1))
            expression = state.expression.copy()
            expression[self._mouth] = self._said[t][self._mouth]
            return expression, windows(self._rows, np.array([t]))[0, NOW]
        assert self._performer is not None, "begin() comes first"
        if drive.image is not None or drive.move.valid:
            acted = self._performer(drive)
            self._absolute = acted.own is not None
            self._change = acted.expression if acted.own is None else acted.own
        onto = 0.0 if self._absolute else state.expression
        return np.asarray(np.clip(onto + self._change, face.low, face.high)), None

    @torch.inference_mode()
    def render(
        self, uv: NDArray[np.float32], expression: NDArray, row: Rows | None, picture: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The square (S, S, 3) in 0..255 with the face at `uv` (2, S, S) drawn into a `picture` (3, S, S) in -1..1, and
        how much of it counts (S, S): what was not drawn anew is the picture's own."""
        kind = self.config.kind
        if kind == "audio" and row is None:
            row = np.zeros((16, self.config.features), np.float32)  # nobody speaks
        said = {"nothing": None, "expression": expression, "audio": row}[kind]
        heard = None if said is None else torch.from_numpy(np.asarray(said, np.float32))[None].to(self.device)
        shown, behind = (torch.from_numpy(np.ascontiguousarray(x, np.float32))[None].to(self.device)
                         for x in (uv, picture))  # fmt: skip
        drawn = self.puppet(shown, heard, behind)
        made = ((drawn.picture[0] + 1) * 127.5).permute(1, 2, 0).cpu().numpy()
        share = 1 - drawn.mask[0, 0].cpu().numpy()
        return np.ascontiguousarray(made), np.asarray(cv2.GaussianBlur(share, (0, 0), 1.5), np.float32)


OPTIONS = PuppetOptions


def open_engine(options: PuppetOptions, weights: str) -> PuppetEngine:
    """For `infinex.engine.load_engine`."""
    if not weights:
        raise WeightsError(
            f"the engine neural-voice-puppetry is taught one person: {TRAIN}, then {option('weights')} RUN"
        )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return PuppetEngine(load(Path(resolve(weights, "neural-voice-puppetry"))), options, device)
