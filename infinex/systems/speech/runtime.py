"""The trained network at work: a recording in, mouth shapes out, as a stream. ONNX Runtime, no PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.errors import WeightsError
from infinex.face import topology as top
from infinex.systems.speech.features import Level
from infinex.systems.speech.listener import Listener, bundled, open_network
from infinex.systems.speech.resting import Resting, opening_of

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Heard:
    """What the network makes of one stretch of sound, one row each 20 ms: coefficients (T, K) of the mouth,
    `shut` (T,) how surely the lips meet (p, b, m), `quiet` (T,) how surely nobody speaks."""

    coefficients: Array
    shut: Array
    quiet: Array


class SpeechModel:
    """The networks and the mouth shapes their coefficients stand for.

    Raises WeightsError where files are missing or do not fit, MissingDependencyError without ONNX Runtime."""

    def __init__(self, folder: str | Path | None = None) -> None:
        where = Path(folder) if folder is not None else bundled()
        self.listener = Listener(where)
        self._session = open_network(where / "speech.onnx")
        try:
            with np.load(where / "shapes.npz", allow_pickle=False) as data:
                self.shapes = data["shapes"].astype(np.float64)  # (K, 478, 3) IOD for one unit of a coefficient
                usual, back, even = (data[k].astype(np.float64) for k in ("usual", "back", "even"))
        except (OSError, KeyError, ValueError) as error:
            raise WeightsError(f"{where / 'shapes.npz'} cannot be read: {error}") from None
        if self.shapes.ndim != 3 or self.shapes.shape[1:] != (top.POINTS, 3):
            raise WeightsError(f"{where / 'shapes.npz'} does not hold mouth shapes")
        k = len(self.shapes)
        if usual.shape != (k,) or back.shape != (k, k) or even.shape != ():
            raise WeightsError(f"{where / 'shapes.npz'} does not say where mouths rest")
        self.parts = opening_of(self.shapes)  # (K,) IOD by which one unit of each parts the lips
        self.resting = Resting(self.shapes, usual, back, float(even))

    def run(self, rows: NDArray[np.float32]) -> tuple[Array, Array]:
        """Coefficients (T, K) and class probabilities (T, C) of hidden states (T, HIDDEN)."""
        coefficients, logits = self._session.run(None, {"rows": rows[None].astype(np.float32)})
        e = np.exp(logits[0] - logits[0].max(1, keepdims=True))
        return coefficients[0].astype(np.float64), (e / e.sum(1, keepdims=True)).astype(np.float64)

    def stream(self, chunks: Iterable[NDArray[np.float32]], level: Level) -> Iterator[Heard]:
        """A recording at 16 kHz, in chunks, to `Heard` stretches, constant memory."""
        for window in self.listener.windows(chunks, level):
            c, p = self.run(window.rows)
            inside = window.inside
            yield Heard(c[inside], p[inside, 1], p[inside, 0])

    def offsets(self, coefficients: Array) -> Array:
        """Displacements (T, 478, 3) of coefficients (T, K)."""
        return np.tensordot(coefficients, self.shapes, 1)


def default_shapes() -> Array:
    """The mouth shapes (K, 478, 3) that come with Infinex."""
    with np.load(bundled() / "shapes.npz", allow_pickle=False) as data:
        return data["shapes"].astype(np.float64)


@cache
def default_model() -> SpeechModel:
    """The networks that come with Infinex."""
    return SpeechModel()
