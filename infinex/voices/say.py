"""A script said by a voice: the sound, when each line is spoken, and what the face is to do when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from infinex.errors import InputError, option
from infinex.media.audio import write_wav
from infinex.media.files import atomic_path
from infinex.voices.choice import find_voice
from infinex.voices.espeak import Espeak
from infinex.voices.piper import Piper
from infinex.voices.script import Direction, Line, Pause, read_script

LEAD, BREATH, TAIL = 0.35, 0.28, 0.6  # seconds before the first line, between lines, after the last
SLOWEST, FASTEST, OCTAVE = 0.5, 2.0, 12.0
LOUD = 0.1  # root mean square of speech
EDGE = 0.012  # of the loudest: what is quieter at both ends of a line is silence


@dataclass(frozen=True)
class Span:
    """Words between two times, seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Spoken:
    """Sound in -1..1, (N,) at `rate` Hz; the lines as they are said, and the directions, each while it holds."""

    sound: NDArray[np.float32]
    rate: int
    lines: tuple[Span, ...]
    directions: tuple[Span, ...]
    voice: str

    @property
    def seconds(self) -> float:
        """Length of the sound."""
        return len(self.sound) / self.rate

    def write(self, path: Path) -> Path:
        """As 16-bit WAV."""
        return write_wav(path, [self.sound], self.rate)

    @property
    def remarks(self) -> list[str]:
        """Words to the user about how it was said."""
        return [f"said by {self.voice}"]

    def write_captions(self, path: Path) -> None:
        """`captions` as a file. Raises OutputError where it cannot be written."""
        with atomic_path(path) as out:
            out.write_text(self.captions(), "utf-8")

    def captions(self) -> str:
        """The lines as WebVTT."""
        cues = [f"{_clock(s.start)} --> {_clock(s.end)}\n{_escaped(s.text)}\n" for s in self.lines]
        return "\n".join(["WEBVTT\n", *cues])


def say(
    script: str,
    voice: str = "",
    speed: float = 1.0,
    pitch: float = 0.0,
    progress: Callable[[int, int | None], None] | None = None,
) -> Spoken:
    """Say a script.

    `voice`: a language, a name of `infinex voices`, or a file in Piper's format; "" is the best there is for the
    script's own language. `speed` 0.5 to 2, `pitch` -12 to 12 semitones. Raises InputError, and MissingDependencyError
    without eSpeak NG."""
    if not SLOWEST <= speed <= FASTEST:
        raise InputError(f"{option('voice_speed')} {speed:g}: it goes from {SLOWEST:g} to {FASTEST:g}")
    if not -OCTAVE <= pitch <= OCTAVE:
        raise InputError(f"{option('voice_pitch')} {pitch:g}: it goes from -{OCTAVE:g} to {OCTAVE:g} semitones")
    parts = read_script(script)
    chosen = find_voice(voice, " ".join(p.text for p in parts if isinstance(p, Line)))
    # Spoken slower and played faster is higher by as much.
    up = 2 ** (pitch / 12)
    with Espeak() as espeak:
        piper = Piper(chosen) if isinstance(chosen, Path) else None
        rate = piper.rate if piper else espeak.rate
        pieces, at = [_silence(LEAD, rate)], LEAD
        lines: list[Span] = []
        asked: list[tuple[float, str]] = []
        for i, part in enumerate(parts):
            if isinstance(part, Direction):
                asked.append((at, part.text))
                continue
            if isinstance(part, Pause):
                sound, rest = _silence(part.seconds, rate), 0.0
            else:
                if piper:
                    sound = piper.speak(part.text, espeak, speed / up)
                else:
                    sound = espeak.speak(part.text, str(chosen), speed / up)
                sound = _trimmed(_shifted(sound, up), rate)
                lines.append(Span(at, at + len(sound) / rate, part.text))
                rest = BREATH / speed
            pieces += [sound, _silence(rest, rate)]
            at += (len(sound) + len(pieces[-1])) / rate
            if progress:
                progress(i + 1, len(parts))
        pieces.append(_silence(TAIL, rate))
    sound = np.concatenate(pieces)
    ends = [*(start for start, _ in asked[1:]), len(sound) / rate]
    spoken = np.concatenate([sound[round(s.start * rate) : round(s.end * rate)] for s in lines])
    level = float(np.sqrt(np.mean(spoken**2))) or 1.0
    sound = sound * min(LOUD / level, 0.95 / max(float(np.abs(sound).max()), 1e-6))
    name = chosen.stem if isinstance(chosen, Path) else f"eSpeak NG, {chosen}"
    held = tuple(Span(start, end, text) for (start, text), end in zip(asked, ends))
    return Spoken(sound.astype(np.float32), rate, tuple(lines), held, name)


def _silence(seconds: float, rate: int) -> NDArray[np.float32]:
    return np.zeros(round(seconds * rate), np.float32)


def _shifted(sound: NDArray[np.float32], up: float) -> NDArray[np.float32]:
    """Played faster by a factor."""
    if up == 1:
        return sound
    return np.asarray(resample_poly(sound, 1000, max(1, round(1000 * up))), np.float32)


def _trimmed(sound: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Without the silence around it. Raises InputError where there is nothing else."""
    loud = np.flatnonzero(np.abs(sound) > EDGE * max(float(np.abs(sound).max(initial=0.0)), 1e-3))
    if not len(loud):
        raise InputError(f"{option('say')}: this voice makes no sound of the text; is it in another language?")
    margin = round(0.03 * rate)
    return sound[max(0, loud[0] - margin) : loud[-1] + margin]


def _clock(seconds: float) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}.{milliseconds:03d}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
