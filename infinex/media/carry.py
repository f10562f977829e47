"""Sound carried into an output: placed on the clock of the pictures, encoded, exactly as long as they are."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from infinex.media.audio import decoded, open_sound

KEPT_RATES = (16000, 22050, 24000, 32000, 44100, 48000)  # of AAC and PCM; Opus has its own
BIT_RATES = {"aac": (128000, 224000), "libopus": (96000, 160000)}  # mono, stereo


class Sound:
    """The sound of a file from `start` to `end` seconds, encoded in step with the pictures of `out`.

    It is always decoded and encoded anew: what encoders put in front, edit lists and gaps are then one
    matter of samples, which copied packets would leave to each player. Where it ends early there is silence."""

    def __init__(self, out: Any, path: str | Path, codec: str, start: float = 0.0, end: float | None = None) -> None:
        """`codec`: aac, libopus or pcm_s16le. Raises InputError where the file has no sound."""
        self._out = out
        self._input, source = open_sound(path)
        try:
            self._channels = 1 if source.codec_context.channels == 1 else 2
            self._rate = source.rate if codec != "libopus" and source.rate in KEPT_RATES else 48000
            layout = "mono" if self._channels == 1 else "stereo"
            self._stream: Any = out.add_stream(codec, rate=self._rate, layout=layout)
            if codec in BIT_RATES:
                self._stream.bit_rate = BIT_RATES[codec][self._channels - 1]
            self._format = self._stream.codec_context.format.name
            self._parts = decoded(self._input, source, self._rate, self._channels, start, end)
        except BaseException:
            self._input.close()
            raise
        self._waiting = np.zeros((self._channels, 0), np.float32)
        self._samples = 0

    def until(self, end: Fraction) -> None:
        """Write sound up to `end` seconds."""
        left = round(end * self._rate) - self._samples
        while left > 0:
            if not self._waiting.shape[1]:
                silence = np.zeros((self._channels, min(left, self._rate)), np.float32)
                self._waiting = next(self._parts, silence)
            part, self._waiting = self._waiting[:, :left], self._waiting[:, left:]
            left -= part.shape[1]
            self._encode(part)

    def _encode(self, part: NDArray[np.float32]) -> None:
        layout = "mono" if self._channels == 1 else "stereo"
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._samples, Fraction(1, self._rate)
        self._samples += part.shape[1]
        for packet in self._stream.encode(frame):
            self._out.mux(packet)

    def finish(self) -> None:
        """Flush the encoder."""
        for packet in self._stream.encode():
            self._out.mux(packet)

    def close(self) -> None:
        """Close the input."""
        self._input.close()
