"""Expressions by name with StarGAN: the face is cut out, drawn anew under labels, and what changed is laid back.

The head stays where it is. The network knows whole expressions and no muscles: of what a driver performs, the nearest
expression is asked for, as strongly as it is performed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from infinex.drivers.units import EMOTIONS
from infinex.engine import Drive, Engine, Setting, Shown, Source
from infinex.errors import InputError, option
from infinex.face.portrait import SourceFace
from infinex.face.reading import read_units
from infinex.face.units import FACE_UNITS, basis
from infinex.motion import Rest
from infinex.systems.registry import resolve
from infinex.systems.stargan.faces import BETWEEN, LIFT, SIDE
from infinex.systems.stargan.model import told
from infinex.systems.stargan.weights import LAYOUT, StarganWeights
from infinex.systems.window import Leaning, by_head

RGB = NDArray[np.uint8]
Array = NDArray[np.float64]
NEUTRAL = "neutral"
EDGE = 0.10  # of the crop's side, over which the picture itself takes over again
FADE = 0.10  # strength of an expression by which the network has its full say
DISCRETE = 0.3  # strength from which an expression is shown where there is nothing in between
BUNDLED = "stargan-face"  # in the registry of weights


@dataclass(frozen=True)
class StarganOptions:
    """Choices of this engine."""

    labels: str = ""  # what to show whatever is performed: a name, or names with commas, all others off
    discrete: bool = False  # expressions are there or not, as published, with nothing in between
    whole: bool = False  # what the network makes is shown as it is, as published, its blur and tones as well


def prototypes(names: tuple[str, ...]) -> Array:
    """Units (E, U) in the order of `FACE_UNITS` of the emotions of these names. Raises KeyError for another name."""
    out = np.zeros((len(names), len(FACE_UNITS)))
    for row, name in zip(out, names):
        for unit, value in EMOTIONS[name].items():
            sided = unit[-1] in "LR"  # of one side: half of what both sides together show
            row[FACE_UNITS.index(unit.rstrip("LR"))] += value / 2 if sided else value
    return out


def shares(units: Array, names: tuple[str, ...]) -> Array:
    """How much of each emotion (E,) units (U,) show: the nearest one by angle has its strength, neutral the rest."""
    out = np.zeros(len(names))
    known = [k for k, n in enumerate(names) if n != NEUTRAL]
    rows = prototypes(tuple(names[k] for k in known))
    length = np.maximum(1e-6, np.linalg.norm(rows, axis=1))
    along = rows @ units / length
    best = int(np.argmax(along))
    strength = float(np.clip(along[best] / length[best], 0, 1))
    out[known[best]] = strength
    out[names.index(NEUTRAL)] = 1 - strength
    return out


class PreparedStargan:
    """One face of one portrait; see `infinex.engine.Prepared`."""

    def __init__(self, engine: StarganEngine, source: Source) -> None:
        self.engine, self.source = engine, source
        points = source.face.landmarks
        matrix = by_head(points, engine.size, SIDE, BETWEEN, LIFT)
        self.window = Leaning(matrix, engine.size, source.image.shape)
        self.box = self.window.box
        self.crop = self.window.cut(source.image)
        self.face = SourceFace(points)
        self._seam = self.window.seam(EDGE)
        self._plain = self.crop if engine.resting is None else engine.made(self.crop, engine.resting)
        self._last: tuple[bytes, RGB] | None = None  # labels and what was made of them

    def begin(self, rest: Rest, image: RGB | None, points: NDArray | None) -> None:
        """Start a performance: it is measured from rest, which is the portrait as it is."""

    def draw(self, canvas: RGB, drive: Drive) -> Shown:
        """Draw the face under `drive` over its box of `canvas`, in place; a face at rest is the source itself."""
        x0, y0, x1, y1 = self.box
        labels, say = self.engine.wanted(drive)
        if say == 0:
            canvas[y0:y1, x0:x1] = self.source.image[y0:y1, x0:x1]
            return Shown()
        if self._last is None or self._last[0] != labels.tobytes():
            self._last = labels.tobytes(), self.engine.made(self.crop, labels)
        change = (self._last[1].astype(np.float32) - self._plain) / 255
        canvas[y0:y1, x0:x1] = self.window.changed(self.source.image, self.crop, change * (self._seam * say)[..., None])
        return Shown()


class StarganEngine(Engine):
    """See `infinex.engine.Engine`. Raises WeightsError, and InputError for labels that the weights do not know."""

    name = "stargan"

    def __init__(
        self, weights: StarganWeights | str | Path, options: StarganOptions = StarganOptions(), device: str = "cpu"
    ) -> None:
        if isinstance(weights, (str, Path)):
            weights = LAYOUT.read(resolve(str(weights), "stargan"))
        self.config, self.size, self.options = weights.config, weights.config.size, options
        self.device = torch.device(device)
        self._generator = LAYOUT.network(weights, "generator").to(self.device)
        names = self.config.labels
        self._fixed: Array | None = None
        # What a small network makes of a face differs from the face in more than the expression: that is the same in
        # what it makes of it at rest.
        self.resting: Array | None = None
        if NEUTRAL in names and not options.whole:
            self.resting = np.array([float(n == NEUTRAL) for n in names])
        if options.labels:
            chosen = [n.strip() for n in options.labels.split(",") if n.strip()]
            if wrong := [n for n in chosen if n not in names]:
                raise InputError(f"{option('labels')}: these weights know no {wrong[0]}; they know {', '.join(names)}")
            self._fixed = np.array([float(n in chosen) for n in names])
        elif set(names) == {NEUTRAL}:
            raise InputError(f"these weights know {NEUTRAL} alone, and no expression to show")
        elif NEUTRAL not in names or any(n not in EMOTIONS for n in names):
            raise InputError(
                f"these weights know {', '.join(names)}, which nobody performs: say which hold by {option('labels')}"
            )

    def prepare(self, source: Source, setting: Setting = Setting()) -> PreparedStargan:  # noqa: B008
        """Cut out the face of a portrait."""
        return PreparedStargan(self, source)

    def wanted(self, drive: Drive) -> tuple[Array, float]:
        """Labels (C,) that a drive asks for, and how much of a say the network has, 0..1."""
        if self._fixed is not None:
            return self._fixed, 1.0
        offsets = np.asarray(drive.move.offsets, np.float64)[None]
        units = (basis().estimate(offsets) if drive.image is None else read_units(offsets))[0]
        labels = shares(units, self.config.labels)
        strength = 1 - float(labels[self.config.labels.index(NEUTRAL)])
        if self.options.discrete:
            if strength < DISCRETE:
                return labels, 0.0
            return _only(labels, self.config.labels), 1.0
        # In steps of 1/64, so that a face that holds still costs nothing.
        return np.round(labels * 64) / 64, float(np.clip((strength - 0.02) / FADE, 0, 1))

    @torch.inference_mode()
    def made(self, crop: RGB, labels: Array) -> RGB:
        """What the generator makes of a crop (S, S, 3) under labels (C,)."""
        image = torch.from_numpy(crop).to(self.device).permute(2, 0, 1)[None].float() / 127.5 - 1
        wanted = torch.from_numpy(np.asarray(labels, np.float32))[None].to(self.device)
        out = self._generator(image, told(wanted, self.config))[0]
        return np.asarray(((out + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy(), np.uint8)


def _only(labels: Array, names: tuple[str, ...]) -> Array:
    """One label alone: the strongest that is not neutral."""
    kept = labels.copy()
    kept[names.index(NEUTRAL)] = -1
    return np.eye(len(labels))[int(np.argmax(kept))]


OPTIONS = StarganOptions


def open_engine(options: StarganOptions, weights: str) -> StarganEngine:
    """For `infinex.engine.load_engine`. Raises WeightsError for weights that are none."""
    return StarganEngine(weights or BUNDLED, options, "cuda" if torch.cuda.is_available() else "cpu")
