"""The trained network at work: a recording in, mouth shapes out, as a stream. ONNX Runtime, no PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinex.errors import MissingDependencyError, WeightsError
from infinex.face import topology as top
from infinex.systems.speech.features import BANDS, FLOOR, Level, loudness, normalise
from infinex.systems.speech.resting import Resting

Array = NDArray[np.float64]
STEPS = 50  # mouth shapes a second
REACH = 64  # rows of 10 ms that the network may see on either side of a step
BLOCK = 1000  # rows handled at once


@dataclass(frozen=True)
class Heard:
    """What the network makes of one stretch of sound, one row each 20 ms: coefficients (T, K) of the mouth,
    `shut` (T,) how surely the lips meet (p, b, m), `quiet` (T,) how surely nobody speaks, `loud` (T,) nats above
    the recording's speech threshold."""

    coefficients: Array
    shut: Array
    quiet: Array
    loud: Array


def _folder() -> Path:
    return Path(str(resources.files("infinex.weights").joinpath("speech")))


class SpeechModel:
    """The network and the mouth shapes its coefficients stand for.

    Raises WeightsError where files are missing or do not fit, MissingDependencyError without ONNX Runtime."""

    def __init__(self, folder: str | Path | None = None) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise MissingDependencyError("speech needs ONNX Runtime: pip install onnxruntime") from None
        where = Path(folder) if folder is not None else _folder()
        try:
            with np.load(where / "shapes.npz", allow_pickle=False) as data:
                self.shapes = data["shapes"].astype(np.float64)  # (K, 478, 3) IOD for one unit of a coefficient
                usual, back, even = (data[k].astype(np.float64) for k in ("usual", "back", "even"))
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            self._session: Any = onnxruntime.InferenceSession(
                str(where / "speech.onnx"), options, providers=["CPUExecutionProvider"]
            )
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise WeightsError(f"the speech network in {where} cannot be read: {error}") from None
        except Exception as error:  # ONNX Runtime's own kinds
            raise WeightsError(f"the speech network in {where} cannot be read: {error}") from None
        if self.shapes.ndim != 3 or self.shapes.shape[1:] != (top.POINTS, 3):
            raise WeightsError(f"{where / 'shapes.npz'} does not hold mouth shapes")
        k = len(self.shapes)
        if usual.shape != (k,) or back.shape != (k, k) or even.shape != ():
            raise WeightsError(f"{where / 'shapes.npz'} does not say where mouths rest")
        self.resting = Resting(self.shapes, usual, back, float(even))

    def run(self, rows: NDArray[np.float32]) -> tuple[Array, Array]:
        """Coefficients (T, K) and class probabilities (T, C) of normalised rows (2 T, BANDS)."""
        coefficients, logits = self._session.run(None, {"rows": rows[None].astype(np.float32)})
        e = np.exp(logits[0] - logits[0].max(1, keepdims=True))
        return coefficients[0].astype(np.float64), (e / e.sum(1, keepdims=True)).astype(np.float64)

    def stream(self, blocks: Iterable[NDArray[np.float32]], level: Level) -> Iterator[Heard]:
        """Log-mel blocks of a recording to `Heard` stretches of at most BLOCK rows, constant memory."""
        silence = normalise(np.full((REACH, BANDS), np.log(FLOOR), np.float32), level)
        left = silence  # context before the rows in `waiting`
        waiting = np.zeros((0, BANDS), np.float32)
        noise = np.zeros(0, np.float32)

        def hear(part: NDArray[np.float32], right: NDArray[np.float32], loud: NDArray[np.float32]) -> Heard:
            c, p = self.run(np.concatenate([left, part, right]))
            inside = slice(REACH // 2, REACH // 2 + (len(part) + 1) // 2)
            pairs = np.concatenate([loud, loud[-1:]]) if len(loud) % 2 else loud
            return Heard(c[inside], p[inside, 1], p[inside, 0], pairs.reshape(-1, 2).max(1).astype(np.float64))

        for rows in blocks:
            waiting = np.concatenate([waiting, normalise(rows, level)])
            noise = np.concatenate([noise, loudness(rows) - level.speaks])
            while len(waiting) >= BLOCK + REACH:
                part, after = waiting[:BLOCK], waiting[BLOCK : BLOCK + REACH]
                yield hear(part, after, noise[:BLOCK])
                left, waiting, noise = part[-REACH:], waiting[BLOCK:], noise[BLOCK:]
        if len(waiting):
            yield hear(waiting, silence, noise)

    def offsets(self, coefficients: Array) -> Array:
        """Displacements (T, 478, 3) of coefficients (T, K)."""
        return np.tensordot(coefficients, self.shapes, 1)


def default_shapes() -> Array:
    """The mouth shapes (K, 478, 3) that come with Infinex."""
    with np.load(_folder() / "shapes.npz", allow_pickle=False) as data:
        return data["shapes"].astype(np.float64)


@cache
def default_model() -> SpeechModel:
    """The network that comes with Infinex."""
    return SpeechModel()
