"""Driving by a voice: lips from the sound, and with them the blinks, brows and sway of somebody who speaks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from infinex.drivers.contract import Drive, Driver
from infinex.drivers.span import excerpt
from infinex.errors import InputError
from infinex.face import topology as top
from infinex.face.portrait import SourceFace
from infinex.face.shape import lip_gaps
from infinex.face.units import units_offsets
from infinex.media.audio import iter_audio, open_sound
from infinex.motion import Move, Rest, part_weights
from infinex.systems.speech.features import RATE, Level, loudness, measure, stream_log_mel
from infinex.systems.speech.listener import STEPS
from infinex.systems.speech.runtime import SpeechModel, default_model

Array = NDArray[np.float64]
FPS = 25.0
SILENT = -14.0  # nats of speech-band power below which a recording counts as silent
CLIPPED = 0.01  # share of samples at full scale that is worth a word
SHORT = 0.1  # seconds
TRUST = 2.0 * STEPS  # steps of speech after which what a recording is like on the average counts half
PAUSE = 21  # steps of 20 ms around speech in which the mouth is not yet at rest
LEAD = 0.05  # seconds by which lips are ahead of what they are heard to say
CALM = 2.0  # steps: standard deviation of the Gaussian that takes off what a voice cannot tell of a mouth
WIDE = 1.5  # times the likeliest motion, which is smaller than anybody's: what is not known of it is not in it
# A talker whose voice carries, loud most of the time, opens the mouth wider than one who speaks in swells: the share of
# the steps around speech that are loud, of the talkers of the training in the mean, and the slope of the logarithm.
LOUD_SHARE, SLOPE, NARROWEST, WIDEST = 0.57, 1.6, 0.6, 1.5
# Of a person in a clip: faces from which on, and IOD of their opening's deviation, their speech is seen; the share of
# that deviation a voice moves (wider is no nearer to them, since it does not tell all), and how far that may go.
FACES, SPEAKING, SEEN, BEYOND = 25, 0.012, 0.7, (0.3, 3.0)
SURE, DOUBT = 0.5, 0.3  # probability of p, b, m above which lips shut: against what they do, and with it
OVERLAP = 0.015  # IOD by which lips press together when shut
CERTAIN, SOFT = 0.15, 0.7  # how far above them lips are wholly shut; steps over which they shut
BLINK = np.array([0.0, 0.35, 0.85, 1.0, 1.0, 0.85, 0.65, 0.45, 0.28, 0.15, 0.07, 0.02])  # lid closing, 20 ms apart


class _Meter:
    """Looks at a recording as it passes: how many samples there are, how many at full scale, how loud each 20 ms is."""

    def __init__(self) -> None:
        self.samples = self.full = 0
        self._loud: list[NDArray[np.float32]] = []

    def watch(self, chunks: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        for chunk in chunks:
            self.samples += len(chunk)
            self.full += int((np.abs(chunk) > 0.985).sum())
            yield chunk

    def note(self, blocks: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        for rows in blocks:
            self._loud.append(loudness(rows))
            yield rows

    @property
    def loud(self) -> Array:
        """Loudness of each step, nats."""
        rows = np.concatenate(self._loud)
        return np.concatenate([rows, rows[-1:][: len(rows) % 2]]).reshape(-1, 2).max(1).astype(np.float64)


class SpeechDriver(Driver):
    """A voice as a driver: `path` is a sound file, or a video whose sound track is taken.

    The recording is listened to twice as it streams by, once for its level, once by the network; what is kept of
    it are tracks of 2 kB a second. `still` leaves out what is not speech: blinks, brows, sway. `start` and `end` are
    seconds, the part that is spoken. `audio` names the file, so that the result carries the voice. A silent recording
    is the wish to say nothing. `warnings` says what about the sound will show.
    Raises InputError for a file without sound, or too short to be speech."""

    frames: int
    speaks: Array  # (T,) 0..1, one each 20 ms: how much the mouth is that of somebody who speaks
    _coefficients: NDArray[np.float32]  # (T, K) of the mouth
    new_voice = True  # a filmed mouth's own speech gives way

    def __init__(
        self,
        path: str | Path,
        fps: float | None = None,
        still: bool = False,
        seed: int = 0,
        model: SpeechModel | None = None,
        start: float = 0.0,
        end: float | None = None,
    ) -> None:
        self.span = start, end
        self.path = self.audio = Path(path)
        self.name = self.path.name
        self.fps = float(fps or FPS)
        # As with a filmed performer, lips that meet do so on every portrait, however open it smiles.
        self.rest = replace(Rest.neutral(), lips_closed=lip_gaps(top.mean_face()))
        self.warnings: list[str] = []
        self._model = model or default_model()
        self._face = top.mean_face()
        self._place = self._model.resting()
        self._still, self._seed = still, seed
        self.level, self.seconds, loud = self._survey()
        self.frames = max(1, round(self.seconds * self.fps))
        if self.level.loud < SILENT:
            self.warnings.append(f"{self.name} is silent: the mouth closes and says nothing")
        self._listen(loud - self.level.speaks)

    def _sound(self) -> Iterator[NDArray[np.float32]]:
        """The part of the recording that is spoken."""
        return excerpt(iter_audio(self.path, RATE), RATE, self.span, self.name)

    def suit(self, face: Array) -> None:
        """Speak with a portrait whose canonical face at rest (478, 3) is this: crooked, pressed or parted lips return
        towards the place speaking lips have. Without it the average face's is taken."""
        self._face = face
        self._place = self.reach * self._model.resting(face)

    def acquaint(self, faces: Array) -> None:
        """Speak as the portrait's person does, whose canonical faces (N, 478, 3) in a clip these are: about the place
        their lips had there, and as widely. Faces that hardly move their lips tell neither."""
        apart = lip_gaps(faces)
        spread = float(apart[:, 3:6].mean(1).std())
        own = float((self._coefficients @ self._model.parts)[self.speaks > 0.5].std()) if self.speaks.max() > 0.5 else 0
        if len(faces) < FACES or spread < SPEAKING or own == 0:
            return
        place = top.mean_face() + (faces.mean(0) - self._face) * part_weights(["lips"])[:, None]
        closed = lip_gaps(top.mean_face())  # how far lips part is set from where they meet, however the portrait's do
        SourceFace(top.mean_face()).set_lips(place, closed + np.maximum(apart.mean(0), 0))
        self._place = place - top.mean_face()
        self.reach = float(np.clip(SEEN * spread / own, *BEYOND))

    # -- listening --------------------------------------------------------------------------------

    def _survey(self) -> tuple[Level, float, Array]:
        """The recording's level and length, and how loud each step is."""
        container, stream = open_sound(self.path)
        with container:
            rate = int(stream.rate or RATE)
        name = self.path.name
        meter = _Meter()
        level = measure(meter.note(stream_log_mel(meter.watch(self._sound()))))
        seconds = meter.samples / RATE
        if seconds < SHORT:
            raise InputError(f"{name} holds {seconds:.2f} s of sound; at least {SHORT:g} s of speech are wanted")
        if rate < 12000:
            self.warnings.append(f"{name} is sampled at {rate} Hz: hissing sounds are missing, lips less exact")
        share = meter.full / max(meter.samples, 1)
        if share > CLIPPED:
            self.warnings.append(f"{name} is clipped ({share:.0%} of it at full scale); record it less loudly")
        return level, seconds, meter.loud

    def _listen(self, loud: Array) -> None:
        """Run the network over the recording and lay out all tracks, one row each 20 ms; `loud` (T,) in nats above the
        level of speech."""
        if self.level.loud < SILENT:
            n = max(1, len(loud))
            coefficients = np.zeros((n, len(self._model.shapes)))
            shut, quiet, loud = np.zeros(n), np.ones(n), np.full(n, -9.0)
        else:
            heard = list(self._model.stream(self._sound(), self.level))
            coefficients = np.concatenate([h.coefficients for h in heard])
            shut = np.concatenate([h.shut for h in heard])
            quiet = np.concatenate([h.quiet for h in heard])
        # What all of a recording has in common is its voice's or its room's, and says little about the mouth.
        spoken = quiet < 0.5
        coefficients -= coefficients[spoken].sum(0) / (spoken.sum() + TRUST)
        # The network knows short pauses itself; in longer ones the mouth comes to rest.
        audible = np.clip(loud / 1.5 + 1.5, 0, 1)
        self.reach = reach(loud, audible)
        voiced = audible * (quiet < 0.9)
        speaks = gaussian_filter1d(maximum_filter1d(voiced, PAUSE), 4.0)
        self.speaks = speaks
        calm = WIDE * gaussian_filter1d(coefficients, CALM, axis=0)
        self._coefficients = (calm * speaks[:, None]).astype(np.float32)
        self._place = self.reach * self._place
        # p, b, m: surely heard, or heard while the lips come together anyway.
        apart = calm @ self._model.parts
        least = np.where(apart < gaussian_filter1d(apart, 6.0), DOUBT, SURE)
        closing = np.clip((shut - least) / CERTAIN, 0, 1) * (speaks > 0.2)
        self._shut = gaussian_filter1d(closing, SOFT).astype(np.float32)
        n = len(coefficients)
        self._lids, self._brows = np.zeros(n, np.float32), np.zeros(n, np.float32)
        self._turn = np.zeros((n, 3), np.float32)
        if not self._still:
            self._live(loud)

    def _live(self, loud: Array) -> None:
        """Blinks at pauses and now and then, brows and nods with stress, a slow sway that grows with speech."""
        rng = np.random.default_rng(self._seed)
        n = len(loud)
        speaks = gaussian_filter1d(self.speaks, 12)
        edge = np.minimum(np.arange(n), 25) / 25  # all begins at rest
        edge = edge * edge * (3 - 2 * edge)
        # Stress: louder than the second and a half around.
        level = gaussian_filter1d(np.maximum(loud, -2.0), 4)
        stress = np.clip(level - gaussian_filter1d(level, 40), 0, 2.5) * speaks
        self._brows = (gaussian_filter1d(np.clip(stress - 0.6, 0, 1.2), 6) * 0.8 * edge).astype(np.float32)
        drift = [gaussian_filter1d(rng.standard_normal(n + 400), s)[200 : n + 200] * np.sqrt(s) for s in (55, 70, 80)]
        sway = np.stack(drift, 1) * np.radians([1.0, 1.6, 0.8]) * (0.5 + 1.0 * speaks[:, None])
        nod = gaussian_filter1d(stress, 5) * np.radians(2.2)
        sway[:, 0] -= nod - nod.mean()
        self._turn = (sway * edge[:, None]).astype(np.float32)
        falls = np.flatnonzero((speaks[1:] < 0.5) & (speaks[:-1] >= 0.5))  # ends of phrases
        at = round(rng.uniform(0.8, 2.5) * STEPS)
        while at < n - len(BLINK):
            self._lids[at : at + len(BLINK)] = np.maximum(self._lids[at : at + len(BLINK)], BLINK)
            at += round(float(np.clip(rng.gamma(4.0, 0.95), 1.2, 9.0)) * STEPS)
            near = falls[np.abs(falls - at) < 0.6 * STEPS]
            if len(near):
                at = int(near[0])

    # -- driving ----------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Drive]:
        mouth = _Mouth(self._model, self._place)
        last = len(self._shut) - 1
        for i in range(self.frames):
            now = i / self.fps * STEPS

            def at(track: NDArray[np.floating], t: float) -> Array:
                j = min(int(t), last)
                f = min(t - j, 1.0)
                return np.asarray(track[j] * (1 - f) + track[min(j + 1, last)] * f, np.float64)

            soon = now + LEAD * STEPS
            speaks, shut = float(at(self.speaks, soon)), float(at(self._shut, soon))
            lids, brows = float(at(self._lids, now)), float(at(self._brows, now))
            offsets = mouth(self.reach * at(self._coefficients, soon), speaks, shut, lids, brows)
            turn = at(self._turn, now)
            yield Drive(Move(i / self.fps, turn, _carried(turn), 1.0, offsets, np.zeros(2)))


def reach(loud: Array, audible: Array) -> float:
    """How widely a talker is likely to move the mouth, beside a usual one; `loud` (T,) in nats above the level of
    speech, `audible` (T,) 0..1 where anything is heard."""
    near = maximum_filter1d(audible, PAUSE) > 0.5
    share = float((loud[near] > 0).mean()) if near.any() else LOUD_SHARE
    return float(np.clip(np.exp(SLOPE * (share - LOUD_SHARE)), NARROWEST, WIDEST))


def _carried(turn: Array) -> Array:
    """Where a turn about the neck carries the head's origin, IOD: a nod moves it, a shake hardly does."""
    return np.array([0.5 * turn[2], 0.0, 0.0])


class _Mouth:
    """Coefficients, lip closure, lids and brows to one displacement of the mesh."""

    def __init__(self, model: SpeechModel, place: Array) -> None:
        self._model, self._place = model, place
        self._face = SourceFace(top.mean_face())
        shut = self._face.face.copy()
        self._face.set_lids(shut, np.zeros(2))
        self._lids = shut - self._face.face
        self._brows = units_offsets({"AU1": 0.5, "AU2": 0.35})
        self._mean = top.mean_face()

    def __call__(self, coefficients: Array, speaks: float, shut: float, lids: float, brows: float) -> Array:
        offsets = self._model.offsets(coefficients[None])[0] + speaks * self._place
        face = self._mean + offsets
        gaps = lip_gaps(face)
        wanted = np.maximum(gaps, -OVERLAP) * (1 - shut) - OVERLAP * shut
        if np.abs(wanted - gaps).max() > 1e-4:
            self._face.set_lips(face, wanted)
        return face - self._mean + lids * self._lids + brows * self._brows
