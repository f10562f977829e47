"""A live performance to a file: pictures by the clock, and what a microphone hears at the same time."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
import wave
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinex.media.files import atomic_path
from infinex.media.join import join_sound
from infinex.media.provenance import Seal
from infinex.media.sink import Sink, open_sink, supports_audio

RGB = NDArray[np.uint8]
Box = tuple[int, int, int, int]
RATE = 48000  # of sound, Hz
EARLY = 3.0  # seconds of sound kept until time zero is known
SLIP = 0.03  # seconds by which sound may stray from the clock before silence is put in or samples are left out
NOTHING: Box = (0, 0, 0, 0)


class Recorder:
    """Writes pictures that come at any rate at a constant one: each stands from its own instant to the next one's."""

    def __init__(self, sink: Sink, fps: float) -> None:
        self._sink, self._fps = sink, fps
        self._count = 0
        self._picture: RGB | None = None
        self._box: Box | None = None

    @property
    def frames(self) -> int:
        """How many were written."""
        return self._count

    def show(self, picture: RGB, at: float, changed: Box | None = None) -> None:
        """A picture (H, W, 3) that was taken `at` seconds; outside `changed` it equals the last one.

        The array may be changed afterwards."""
        self._fill(at)
        if self._picture is None or changed is None:
            self._picture, self._box = picture.copy(), None
            return
        x0, y0, x1, y1 = changed
        self._picture[y0:y1, x0:x1] = picture[y0:y1, x0:x1]
        if self._box is not None:  # else a whole picture still waits to be written
            a, b, c, d = changed if self._box == NOTHING else self._box
            self._box = min(a, x0), min(b, y0), max(c, x1), max(d, y1)

    def finish(self, at: float) -> None:
        """The performance ended `at` seconds."""
        self._fill(max(at, 1 / self._fps))  # one frame at least

    def _fill(self, until: float) -> None:
        while self._picture is not None and self._count < round(until * self._fps):
            self._sink.write(self._picture, self._box)
            self._count += 1
            self._box = NOTHING


class Microphone:
    """What a microphone hears, mono, laid out by the clock into a WAV file from the instant `start` was called.

    Use `open_microphone`; `feed` takes what an input stream hands over."""

    def __init__(self, path: Path, rate: int = RATE) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._file = wave.open(str(path), "wb")  # noqa: SIM115  (closed by `close`)
        self._file.setnchannels(1)
        self._file.setsampwidth(2)
        self._file.setframerate(rate)
        self._zero: float | None = None
        self._early: deque[tuple[float, NDArray[np.floating]]] = deque()  # heard before time zero was known
        self._done = 0  # samples written
        self._joined = False  # whether sound runs on from what was written last

    def start(self, zero: float) -> None:
        """Time zero of the file, by the clock."""
        with self._lock:
            self._zero = zero
            while self._early:
                self._take(*self._early.popleft())

    def feed(self, samples: NDArray[np.floating], delay: float) -> None:
        """Samples (N,) or (N, channels) in -1..1, the first of which was heard `delay` seconds ago."""
        heard = time.perf_counter() - delay
        mono = samples.mean(1) if samples.ndim == 2 else samples
        with self._lock:
            if self._zero is not None:
                self._take(heard, mono)
                return
            self._early.append((heard, mono.copy()))
            while heard - self._early[0][0] > EARLY:
                self._early.popleft()

    def _take(self, heard: float, mono: NDArray[np.floating]) -> None:
        """Lay out samples of which the first was heard at an instant of the clock."""
        assert self._zero is not None
        ahead = round((heard - self._zero) * self._rate) - self._done
        # Sound runs by its device's clock; only what was lost, or came before time zero, is made good for.
        if not self._joined or abs(ahead) > SLIP * self._rate:
            if ahead < 0:
                mono = mono[-ahead:]
            else:
                self._silence(ahead)
        if len(mono):
            self._joined = True
            self._write(mono)

    def close(self, until: float) -> None:
        """End the file `until` seconds after its time zero."""
        with self._lock:
            self._silence(round(until * self._rate) - self._done)
            self._zero = None
            self._file.close()

    def drop(self) -> None:
        """Close the file as it is."""
        with self._lock:
            self._file.close()

    def _silence(self, samples: int) -> None:
        while samples > 0:  # in pieces: a pause can be long
            n = min(samples, self._rate)
            self._write(np.zeros(n, np.float32))
            samples -= n

    def _write(self, mono: NDArray[np.floating]) -> None:
        self._file.writeframes((np.clip(np.nan_to_num(mono), -1, 1) * 32767).astype("<i2").tobytes())
        self._done += len(mono)


def _input_stream(callback: Callable[..., None]) -> Any:
    """The default input of the optional library sounddevice, started. Raises OSError where there is none."""
    try:
        import sounddevice
    except ImportError:
        raise OSError("for sound: pip install 'infinex[mic]'") from None
    except OSError as error:  # without its system library
        raise OSError(f"{error}; for sound install PortAudio, Debian: libportaudio2") from None
    try:
        channels = max(1, min(2, int(sounddevice.query_devices(kind="input")["max_input_channels"])))
        stream = sounddevice.InputStream(RATE, channels=channels, dtype="float32", callback=callback, latency="low")
        stream.start()
    except (sounddevice.PortAudioError, ValueError) as error:
        raise OSError(f"no microphone: {error}") from None
    return stream


@contextlib.contextmanager
def open_microphone(path: Path, opening: Callable[[Callable[..., None]], Any] | None = None) -> Iterator[Microphone]:
    """Record the default microphone into `path` (.wav). `opening` starts another input stream that calls back as those
    of sounddevice do. Raises OSError where there is nothing to record from."""
    ears: list[Microphone] = []

    def heard(samples: NDArray[np.float32], count: int, times: Any, status: Any) -> None:
        if ears:
            delay = float(times.currentTime - times.inputBufferAdcTime)
            ears[0].feed(samples, delay if 0 <= delay < 1 else count / RATE)  # some drivers tell no times

    stream = (opening or _input_stream)(heard)
    try:
        ears.append(Microphone(path))
        yield ears[0]
    finally:
        stream.stop()
        stream.close()
        for ear in ears:
            ear.drop()


class Recording:
    """The file of one live performance; made by `open_recording`."""

    def __init__(self, recorder: Recorder, microphone: Microphone | None) -> None:
        self._recorder, self._microphone = recorder, microphone
        self._zero: float | None = None

    def show(self, picture: RGB, at: float, changed: Box | None = None) -> None:
        """A picture taken `at` seconds of time.perf_counter; the first one begins the file."""
        if self._zero is None:
            self._zero = at
            if self._microphone is not None:
                self._microphone.start(at)
        self._recorder.show(picture, at - self._zero, changed)

    def finish(self, at: float) -> None:
        """The performance ended `at` seconds of the clock."""
        if self._zero is not None:
            self._recorder.finish(at - self._zero)

    @property
    def begun(self) -> bool:
        """Whether there was a picture."""
        return self._zero is not None

    @property
    def frames(self) -> int:
        """How many frames the file has."""
        return self._recorder.frames


@contextlib.contextmanager
def _spare(path: Path, suffix: str) -> Iterator[Path]:
    """A path beside the result for what is needed only until it is done."""
    spare = path.parent / f".{path.stem}.{secrets.token_hex(4)}.part{suffix}"
    try:
        yield spare
    finally:
        spare.unlink(missing_ok=True)


@contextlib.contextmanager
def open_recording(
    path: Path,
    size: tuple[int, int],
    fps: float,
    metadata: dict[str, str],
    seal: Seal | None = None,
    audio: Path | None = None,
    microphone: bool = True,
    notes: list[str] | None = None,
    opening: Callable[[Callable[..., None]], Any] | None = None,
) -> Iterator[Recording]:
    """Record into `path`: pictures of `size` (width, height) at `fps`, with the sound of a microphone, or of the file
    `audio`. What is missing is said in `notes`. The file appears whole at the end, or not at all."""
    with contextlib.ExitStack() as stack:
        ear: Microphone | None = None
        if microphone and audio is None and supports_audio(path):
            sound = stack.enter_context(_spare(path, ".wav"))
            try:
                ear = stack.enter_context(open_microphone(sound, opening))
            except OSError as error:
                if notes is not None:
                    notes.append(f"the recording has no sound ({error})")
        if ear is None:
            with open_sink(path, size, fps, audio, metadata, seal=seal) as sink:
                recording = Recording(Recorder(sink, fps), None)
                yield recording
            return
        mute = stack.enter_context(_spare(path, path.suffix))
        with open_sink(mute, size, fps, None, metadata) as sink:
            recording = Recording(Recorder(sink, fps), ear)
            yield recording
        ear.close(recording.frames / fps)
        with atomic_path(path) as whole:
            join_sound(mute, sound, whole)
            if seal is not None:
                seal.sign(whole, path.name, metadata)
