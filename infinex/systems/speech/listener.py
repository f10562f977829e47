"""What the network hears: hidden states of a published recogniser of speech, streamed in constant memory.

Neural Voice Puppetry (Thies et al., ECCV 2020) builds on the features of a recogniser that was trained on very much
real speech, DeepSpeech; here it is the front of Moonshine (Jeffries et al. 2024), taken out of its wheel by
`tools/convert_listener.py`. NumPy and ONNX Runtime only. One row a step of 20 ms; row k is centred on k * 20 ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinex.errors import MissingDependencyError, WeightsError
from infinex.systems.speech.features import RATE, Level, measure, stream_log_mel

Array = NDArray[np.float32]
STEPS = 50  # rows a second
STEP = RATE // STEPS  # samples
FRAME = 384  # samples from one hidden state to the next
CENTRE = 447  # sample that the first hidden state is centred on
HIDDEN = 288  # numbers in a hidden state
LOUD = -4.0  # nats of speech-band power to which a recording's speech is brought
_UNIT = 1920  # samples: 5 hidden states, 6 rows
EDGE = 3 * _UNIT  # silence put before and after a recording
BLOCK = 100 * _UNIT  # samples whose rows are given at once
AROUND = 25 * _UNIT  # and that are heard on either side of them


def bundled() -> Path:
    """The folder of the networks that come with Infinex."""
    return Path(str(resources.files("infinex.systems.speech").joinpath("data")))


def open_network(path: Path) -> Any:
    """An ONNX Runtime session on one core. Raises WeightsError for an unreadable file, MissingDependencyError."""
    try:
        import onnxruntime
    except ImportError:
        raise MissingDependencyError("speech needs ONNX Runtime: pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own kinds
        raise WeightsError(f"the speech network {path} cannot be read: {error}") from None


@dataclass(frozen=True)
class Stretch:
    """Rows (T, HIDDEN) of a stretch of sound; those of `inside` are asked for, the others are what lies around."""

    rows: Array
    inside: slice


class Listener:
    """The recogniser's front. Raises WeightsError and MissingDependencyError as `open_network`."""

    def __init__(self, folder: str | Path | None = None) -> None:
        self._session = open_network((Path(folder) if folder is not None else bundled()) / "listener.onnx")

    def _rows(self, samples: Array) -> Array:
        """Rows (N // STEP, HIDDEN) of samples (N,) at the listener's level; row k is centred on sample k * STEP."""
        around = np.zeros(CENTRE + FRAME, np.float32)
        hidden = self._session.run(None, {"samples": np.concatenate([around[:CENTRE], samples, around])[None]})[0][0]
        at = np.arange(len(samples) // STEP) * (STEP / FRAME)
        first = at.astype(int)
        part = (at - first)[:, None].astype(np.float32)
        return np.asarray(hidden[first] * (1 - part) + hidden[first + 1] * part, np.float32)

    def windows(self, chunks: Iterable[Array], level: Level) -> Iterator[Stretch]:
        """A stream of samples at 16 kHz in windows; in all N // STEP + 1 rows are inside."""
        gain = np.float32(np.exp((LOUD - level.loud) / 2))
        silence = np.zeros(EDGE, np.float32)
        waiting, begin, heard, given = silence, EDGE, 0, 0
        for chunk in chain((c * gain for c in chunks), [silence]):
            heard += len(chunk)
            waiting = np.concatenate([waiting, chunk])
            while len(waiting) >= begin + BLOCK + AROUND:
                rows = self._rows(waiting[: begin + BLOCK + AROUND])
                yield Stretch(rows, slice(begin // STEP, (begin + BLOCK) // STEP))
                given += BLOCK // STEP
                waiting = waiting[begin + BLOCK - AROUND :]
                begin = AROUND
        left = (heard - EDGE) // STEP + 1 - given
        if left > 0:
            yield Stretch(self._rows(waiting), slice(begin // STEP, begin // STEP + left))

    def __call__(self, sound: Array) -> Array:
        """Rows (N // STEP + 1, HIDDEN) of a whole recording (N,)."""
        level = measure(stream_log_mel([sound]))
        return np.concatenate([w.rows[w.inside] for w in self.windows([sound], level)])


@cache
def default_listener() -> Listener:
    """The listener that comes with Infinex."""
    return Listener()
