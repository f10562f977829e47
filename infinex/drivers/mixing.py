"""Layers as one driver: each driver's moves brought onto one rest, timed, faded and combined in motion space."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.blend import blended, looped, timed
from infinex.drivers.capture import from_rest, one_rest, with_strength
from infinex.drivers.contract import Drive, Driver
from infinex.drivers.layers import FADE, Layer
from infinex.drivers.units import rest_face
from infinex.face.portrait import SourceFace
from infinex.face.pose import Pose, to_matrix, to_vector
from infinex.face.shape import eye_openness, lip_gaps
from infinex.motion import DEFAULT_PARTS, STILL, Motion, Move, Rest, is_whole, part_weights

Array = NDArray[np.float64]
Reader = Callable[[float], "Drive | None"]  # the drive at a time in seconds of a layer's own
EMOTION = 0.6  # share of a mouth's shape that stays under speech, as in `infinex.drivers.overlay`
EVER = 1e9  # seconds: the length of what stands for as long as its layer is there


@dataclass(frozen=True)
class Times:
    """When a layer is there on the scene's clock, seconds, and for how long it has something of its own to show."""

    begin: float
    end: float
    own: float  # its own length at its speed; EVER where it stands
    fade_in: float
    fade_out: float


def own_length(layer: Layer, seconds: float) -> float:
    """How long a layer of `seconds` of its own lasts on the scene's clock, once."""
    return EVER if layer.stands else seconds / layer.speed


def laid_out(layers: Sequence[Layer], seconds: Sequence[float], duration: float | None) -> tuple[list[Times], float]:
    """When each layer is there, `seconds` being its own length, and how long the scene is.

    A scene ends with the last layer that ends by itself; one that loops or stands goes along."""
    own = [own_length(layer, s) for layer, s in zip(layers, seconds)]
    if duration is None:
        ends = []
        for layer, once in zip(layers, own):
            if layer.length is not None:
                ends.append(layer.at + layer.length)
            elif not layer.loop and once < EVER:
                ends.append(layer.at + once)
        if not ends:  # only what goes along: once through
            ends = [layer.at + (once if once < EVER else 2.0) for layer, once in zip(layers, own)]
        duration = max(ends)
    out = []
    for layer, once in zip(layers, own):
        lasts = duration - layer.at if layer.loop or layer.hold or once >= EVER else once
        if layer.length is not None:
            lasts = min(layer.length, layer.length if layer.loop or layer.hold or once >= EVER else once)
        end = min(duration, layer.at + max(lasts, 0.0))
        usual = 0.0 if layer.kind == "voice" else FADE
        fade_in, fade_out = layer.fade_in, layer.fade_out
        if fade_in is None:
            fade_in = usual if layer.at > 1e-6 else 0.0
        if fade_out is None:
            fade_out = usual if end < duration - 1e-6 else 0.0
        room = max(end - layer.at, 1e-6)
        out.append(Times(layer.at, end, once, min(fade_in, room), min(fade_out, room)))
    return out, duration


def _eased(x: float) -> float:
    x = min(max(x, 0.0), 1.0)
    return x * x * x * (10 - 15 * x + 6 * x * x)


class Track:
    """A layer ready to play: what it shows at a time of the scene, and how much of it."""

    def __init__(self, layer: Layer, times: Times, rest: Rest, fresh: Callable[[], Reader]) -> None:
        """`fresh` opens the layer's own stream at its beginning; `rest` is what its moves are measured from."""
        self.layer, self.times, self.rest = layer, times, rest
        self._fresh, self._cycle = fresh, -1
        self._reader: Reader | None = None
        self.still: Array | None = None  # how it lies on another rest when it does nothing
        self.whole = is_whole(layer.parts)
        self.weight = part_weights(layer.parts)

    def level(self, time: float) -> float:
        """How much of it shows at a time of the scene, 0..1."""
        t = self.times
        if not t.begin - 1e-9 <= time < t.end - 1e-9:
            return 0.0
        up = 1.0 if t.fade_in <= 0 else _eased((time - t.begin) / t.fade_in)
        down = 1.0 if t.fade_out <= 0 else _eased((t.end - time) / t.fade_out)
        return min(up, down)

    def at(self, time: float) -> Drive | None:
        """What it shows then, measured from its own rest; its strength is in it."""
        local = max(0.0, time - self.times.begin)
        cycle = 0
        if self.layer.loop and self.times.own < EVER:
            cycle = math.floor(local / self.times.own + 1e-9)
            local = max(0.0, local - cycle * self.times.own)
        if self._reader is None or cycle != self._cycle:
            self._reader, self._cycle = self._fresh(), cycle
        drive = self._reader(local * self.layer.speed)
        if drive is None or self.layer.strength == 1:
            return drive
        return replace(drive, move=with_strength(drive.move, self.rest, self.layer.strength, None, DEFAULT_PARTS))

    def reset(self) -> None:
        """Begin again."""
        self._reader, self._cycle = None, -1


class Mixer:
    """Moves of several layers made into one, measured from `rest`."""

    def __init__(self, rest: Rest) -> None:
        self.rest = rest
        self.still = Move(0.0, rest.rotation, rest.translation, rest.scale, np.zeros_like(rest.face), rest.gaze)
        self._model = SourceFace(rest.face)
        self._shut, self._wide = rest.lids
        self._lips = part_weights(["lips"])

    def carried(self, move: Move, track: Track) -> Move:
        """A track's move measured from this rest.

        Who performs closes the lips where these lips close; what is added is only how it differs from its own rest."""
        rest = track.rest
        if rest is self.rest:
            return move
        carried = from_rest(move, rest, self.rest, self._model)
        if track.layer.kind == "voice" or track.layer.combine == "replace":
            return carried
        if track.still is None:
            still = Move(0.0, rest.rotation, rest.translation, rest.scale, np.zeros_like(rest.face), rest.gaze)
            track.still = from_rest(still, rest, self.rest, self._model).offsets
        return replace(carried, offsets=carried.offsets - track.still)

    def laid(self, under: Move | None, move: Move, track: Track, level: float) -> Move:
        """`move`, at a level 0..1, on what lies below it."""
        if track.layer.kind == "voice":
            return self._spoken(self.still if under is None else under, move, track, level)
        if track.layer.combine == "replace":
            return self._replaced(self.still if under is None else under, move, track, level)
        return self._added(self.still if under is None else under, move, track, level)

    def _replaced(self, under: Move, move: Move, track: Track, level: float) -> Move:
        if level >= 1 and track.whole:
            return move
        parts = track.layer.parts
        mixed = blended(under, move, level)
        w = (track.weight * level)[:, None]
        pose, size = "pose" in parts, "pose" in parts or "scale" in parts
        return replace(
            under,
            offsets=under.offsets * (1 - w) + move.offsets * w,
            rotation=mixed.rotation if pose else under.rotation,
            translation=mixed.translation if pose else under.translation,
            outline=mixed.outline if pose else under.outline,
            scale=mixed.scale if size else under.scale,
            gaze=mixed.gaze if "gaze" in parts else under.gaze,
            interior=mixed.interior if "lips" in parts else under.interior,
        )

    def _added(self, under: Move, move: Move, track: Track, level: float) -> Move:
        r, parts = self.rest, track.layer.parts
        more = move.offsets * (track.weight * level)[:, None]
        pose, size = "pose" in parts, "pose" in parts or "scale" in parts
        turn = to_vector(to_matrix(move.rotation) @ to_matrix(r.rotation).T) * level if pose else np.zeros(3)
        outline = under.outline
        if pose and move.outline is not None:
            outline = (STILL if outline is None else outline) + move.outline * level
        interior = under.interior
        if "lips" in parts and move.interior is not None:
            interior = (
                move.interior if interior is None else np.clip(interior + (move.interior - interior) * level, 0, 1)
            )
        return replace(
            under,
            offsets=self._summed(under.offsets, more) if more.any() else under.offsets,
            rotation=to_vector(to_matrix(turn) @ to_matrix(under.rotation)) if turn.any() else under.rotation,
            translation=under.translation + (move.translation - r.translation) * level if pose else under.translation,
            scale=float(under.scale * (move.scale / r.scale) ** level) if size else under.scale,
            gaze=under.gaze + (move.gaze - r.gaze) * level if "gaze" in parts else under.gaze,
            outline=outline,
            interior=interior,
        )

    def _summed(self, under: Array, more: Array) -> Array:
        """Two displacements of the mesh at once: lids that both close are shut, not turned inside out; lips meet."""
        rest = self.rest.face
        face = rest + under + more
        wide = np.maximum(self._wide - self._shut, 1e-3)
        a, b = ((eye_openness(rest + x) - self._shut) / wide for x in (under, more))
        own = (eye_openness(rest) - self._shut) / wide
        if (np.abs(a - own) > 1e-3).any() and (np.abs(b - own) > 1e-3).any():
            share = np.maximum(a, 0) * np.maximum(b, 0) / np.maximum(own, 1e-3)
            openness = self._shut + share * wide
            self._model.set_lids(face, openness / np.maximum(self._model.openness, 1e-3))
        least = np.minimum(np.minimum(lip_gaps(rest + under), lip_gaps(rest + more)), 0.0)
        gaps = lip_gaps(face)
        if (gaps < least).any():
            self._model.set_lips(face, np.maximum(gaps, least))
        return face - rest

    def _spoken(self, under: Move, move: Move, track: Track, level: float) -> Move:
        """A voice's lips over a face, as `infinex.drivers.overlay.LipsOver` lays them."""
        r = self.rest
        w = (track.weight * level)[:, None]
        kept = 1 - (self._lips * level * (1 - EMOTION))[:, None]
        face = r.face + under.offsets * kept + move.offsets * w
        before, spoken = lip_gaps(r.face + under.offsets), lip_gaps(r.face + move.offsets)
        if "lips" in track.layer.parts:
            self._model.set_lips(face, before * (1 - level) + spoken * level)
        turn = to_vector(to_matrix(move.rotation) @ to_matrix(r.rotation).T) * level
        pose = "pose" in track.layer.parts
        return replace(
            under,
            offsets=face - r.face,
            rotation=to_vector(to_matrix(turn) @ to_matrix(under.rotation)) if pose and turn.any() else under.rotation,
            translation=under.translation + (move.translation - r.translation) * level if pose else under.translation,
            gaze=under.gaze + (move.gaze - r.gaze) * level if "gaze" in track.layer.parts else under.gaze,
            interior=move.interior if level > 0.5 else under.interior,
        )

    def mixed(self, tracks: Sequence[Track], time: float, base: int | None = None) -> tuple[Move, Drive | None]:
        """All tracks at a time of the scene, and what the one that is numbered `base` shows then."""
        state: Move | None = None
        seen: Drive | None = None
        for i, track in enumerate(tracks):
            level = track.level(time)
            if level <= 0:
                continue
            drive = track.at(time)
            if drive is None:
                continue
            if i == base:
                seen = drive
            state = self.laid(state, self.carried(drive.move, track), track, level)
        return replace(self.still if state is None else state, time=time), seen


def reader_of(driver: Driver, loop: bool) -> Callable[[], Reader]:
    """A driver as a function of rising times, opened anew each time; `loop`: its end runs into its beginning."""

    def fresh() -> Reader:
        drives = _one_shot(driver)
        return timed(iter(looped(drives, float(driver.fps))) if loop else drives)

    return fresh


def _one_shot(driver: Driver) -> Iterator[Drive]:
    """A film measured from its first rest; after a cut its pictures show another, and are left out."""
    cut = False

    def watched() -> Iterator[Drive]:
        nonlocal cut
        for drive in driver:
            cut = cut or drive.begins is not None
            yield drive

    for drive in one_rest(watched(), driver.rest):
        yield replace(drive, image=None, points=None) if cut else drive


def eased_round(motion: Motion) -> Motion:
    """A performance whose end runs into its beginning."""
    return Motion.collect((d.move for d in looped((Drive(m) for m in motion), motion.fps)), motion.rest, motion.fps)


class Instants(Protocol):
    """A performance whose instants are asked for in any order, as those of a `Motion` are."""

    @property
    def fps(self) -> float:
        """Instants a second."""

    def __len__(self) -> int: ...

    def at(self, i: int) -> Move: ...


def reader_at(motion: Instants) -> Callable[[], Reader]:
    """A performance in memory as `reader_of` a driver: times may come in any order."""

    def at(time: float) -> Drive:
        x = min(max(time * motion.fps, 0.0), len(motion) - 1.0)
        i = int(x + 1e-6)
        j = min(i + 1, len(motion) - 1)
        f = min(max(x - i, 0.0), 1.0)
        return Drive(motion.at(i) if f < 1e-6 else blended(motion.at(i), motion.at(j), f))

    return lambda: at


class LayeredDriver(Driver):
    """Several drivers on one timeline, in constant memory; see `infinex.drivers.layers`."""

    mixed = True  # no frame of a performer shows the whole of it
    frames: int

    def __init__(
        self, layers: Sequence[Layer], drivers: Sequence[Driver], times: Sequence[Times], duration: float, fps: float,
        audio: Path | None = None, closing: Callable[[], Any] | None = None,
    ) -> None:  # fmt: skip
        """`drivers` are those of the layers, `audio` the sound of them all; `closing` is called at the end."""
        self.layers, self.drivers, self.times = list(layers), list(drivers), list(times)
        self.fps, self.audio = fps, audio
        self.frames = max(1, round(duration * fps))
        self.duration = duration
        self.new_voice = any(layer.kind == "voice" for layer in layers)
        self._closing = closing
        # A performer's pictures are shown where all is measured from that one, and nothing else moves the mouth.
        base = next((i for i, layer in enumerate(layers) if layer.kind == "performance"), None)
        others = [layer for i, layer in enumerate(layers) if i != base]
        alone = base is not None and drivers[base].filmed and not any("lips" in o.parts for o in others)
        self._base = base if alone else None

    @property
    def name(self) -> str:  # type: ignore[override]
        """All of them, as the metadata of a result calls them."""
        return ", ".join(dict.fromkeys(d.name for d in self.drivers))

    def _seen(self) -> Driver | None:
        return None if self._base is None else self.drivers[self._base]

    @property
    def rest(self) -> Rest:  # type: ignore[override]
        """That of the lowest performance, else of the mean face."""
        lowest = next((d for d, layer in zip(self.drivers, self.layers) if layer.kind == "performance"), None)
        return self._neutral if lowest is None else lowest.rest

    _neutral = rest_face()

    @property
    def rest_image(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """The filmed performer at rest, where its frames are shown."""
        seen = self._seen()
        return None if seen is None else seen.rest_image

    @property
    def rest_points(self) -> Array | None:  # type: ignore[override]
        """The landmarks in it."""
        seen = self._seen()
        return None if seen is None else seen.rest_points

    @property
    def filmed(self) -> bool:  # type: ignore[override]
        """Whether one of them is."""
        return any(d.filmed for d in self.drivers)

    @property
    def lost(self) -> Sequence[tuple[float, float]]:  # type: ignore[override]
        """Stretches of any of them without a face, on its own clock."""
        return [s for d in self.drivers for s in d.lost]

    @property
    def notes(self) -> Sequence[str]:  # type: ignore[override]
        """Words of any of them."""
        return [n for d in self.drivers for n in d.notes]

    @property
    def warnings(self) -> Sequence[str]:  # type: ignore[override]
        """Further words of any of them."""
        return [n for d in self.drivers for n in d.warnings]

    def settle(self, near: Pose | None = None, match: Array | None = None) -> LayeredDriver:  # type: ignore[override]
        """Settle each."""
        for driver in self.drivers:
            driver.settle(near, match)
        return self

    def suit(self, face: Array) -> None:
        """Tell each whose face it moves."""
        for driver in self.drivers:
            driver.suit(face)

    def acquaint(self, faces: Array) -> None:
        """Acquaint each with whom it moves."""
        for driver in self.drivers:
            driver.acquaint(faces)

    def close(self) -> None:
        """Close each."""
        for driver in self.drivers:
            driver.close()
        if self._closing is not None:
            self._closing()

    def __iter__(self) -> Iterator[Drive]:
        rest = self.rest
        mixer = Mixer(rest)
        tracks = [
            Track(layer, t, d.rest, reader_of(d, layer.loop))
            for layer, t, d in zip(self.layers, self.times, self.drivers)
        ]
        for i in range(self.frames):
            move, seen = mixer.mixed(tracks, i / self.fps, self._base)
            yield Drive(move) if seen is None else Drive(move, seen.image, seen.points)


__all__ = [
    "EVER",
    "LayeredDriver",
    "Mixer",
    "Times",
    "Track",
    "eased_round",
    "laid_out",
    "own_length",
    "reader_at",
    "reader_of",
]
