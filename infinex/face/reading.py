"""Reading Action Units off tracked faces.

A tracker does not see a displacement as it is: it smooths, and prefers faces it knows. So units are not
fitted with the fields they are drawn with: a small network has learnt what the tracker sees of them on many
faces (`tools/calibrate_units.py`), once for people who were seen at rest, once for a single picture, where people's
proportions differ. Where the face itself is there to look at, at rest and now, a larger one does that as well
(`tools/train_unit_views.py`): it sees lids and nostrils that the tracker does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.pose import fit_pose
from infinex.face.units import COLUMNS, FACE_UNITS, tamed
from infinex.face.view import face_view, levelled

Array = NDArray[np.float64]
FAINT = 0.02  # below it, tracking noise
MOST = 1.0


@cache
def _reader(still: bool) -> tuple[list[int], list[Array]]:
    """Which of `FACE_UNITS` are read, and the layers that read them."""
    path = resources.files("infinex.face").joinpath("data/unit_reader.npz")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
        kind = "still" if still else "clip"
        names = [str(n) for n in data["names"]]
        if not set(names) <= set(FACE_UNITS):
            raise ValueError("unit_reader.npz was made for other units; run tools/calibrate_units.py")
        return [FACE_UNITS.index(n) for n in names], [data[f"{kind}_{k}"].astype(np.float64) for k in range(6)]


def network(layers: Sequence[Array], x: Array) -> Array:
    """(N, 936) to (N, A) through weights and biases `W0, b0, W1, b1, W2, b2`, SiLU between them."""
    for k in range(0, len(layers), 2):
        x = x @ layers[k] + layers[k + 1]
        if k + 2 < len(layers):
            x = x / (1 + np.exp(-np.clip(x, -60, 60)))
    return x


@cache
def _onlooker() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = resources.files("infinex.face").joinpath("data/unit_views.onnx")
    return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


def read_units(offsets: Array, still: bool = False, views: NDArray[np.float32] | None = None) -> Array:
    """Intensities (T, U) in 0..1 of `FACE_UNITS` in displacements (T, 478, 3) of a tracked face in IOD.

    Displacements are taken from the person's own rest, or with `still` from the mean face. `views` (T, 2, S, S) are
    levelled views of the face now and at rest (`infinex.face.view`). A blink, a wink and eyes that stay closed differ
    in duration only; all are read as AU45."""
    columns, layers = _reader(still)
    x = np.asarray(offsets, np.float64)[:, : top.SURFACE, :2].reshape(len(offsets), -1)
    if views is None:
        found = network(layers, x) - network(layers, np.zeros_like(x[:1]))
    else:
        x = np.concatenate([np.zeros_like(x[:1]), x]).astype(np.float32)
        views = np.concatenate([views[:1, [1, 1]], views])
        seen = _onlooker().run(None, {"offsets": x, "views": views})[0].astype(np.float64)
        found = seen[1:] - seen[:1]
    out = np.zeros((len(found), len(FACE_UNITS)))
    out[:, columns] = np.clip(found - FAINT, 0, MOST)
    return _as_asked(out)


class UnitReader:
    """Reads units off pictures of one person, of whom a picture at rest is known."""

    def __init__(self, image: NDArray[np.uint8], points: Array, rest: Array | None = None) -> None:
        """A picture (H, W, 3) of the person at rest with landmarks (478, 3) in pixels.

        `rest` (478, 3) is the canonical face that displacements are measured from; by default the one in the picture."""
        self.rest = fit_pose(top.mean_face(), points).to_head(points) if rest is None else rest
        self._view = self._seen(image, points)
        self._waiting: list[tuple[Array, NDArray[np.float32]]] = []
        self._read: list[Array] = []

    def _seen(self, image: NDArray[np.uint8], points: Array) -> NDArray[np.float32]:
        return levelled(face_view(image, fit_pose(self.rest, points)))

    def add(self, image: NDArray[np.uint8], points: Array, offsets: Array | None = None) -> None:
        """One more picture; `offsets` (478, 3) are its displacements from rest where they are known better."""
        if offsets is None:
            offsets = fit_pose(self.rest, points).to_head(points) - self.rest
        self._waiting.append((offsets, np.stack([self._seen(image, points), self._view])))
        if len(self._waiting) == 64:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            offsets, views = zip(*self._waiting)
            self._read.append(read_units(np.stack(offsets), views=np.stack(views)))
            self._waiting = []

    def units(self) -> Array:
        """Intensities (T, U) in 0..1 of `FACE_UNITS` in every picture so far."""
        self._flush()
        return np.concatenate([np.zeros((0, len(FACE_UNITS))), *self._read])


def _as_asked(seen: Array, passes: int = 4) -> Array:
    """What units were asked for that, after acting together, look like these, (T, U)."""
    x = seen
    for _ in range(passes):
        met = together(x)
        x = np.clip(np.where(met > 1e-6, seen * x / np.maximum(met, 1e-6), seen), 0, MOST)
    return x


def together(amounts: Array) -> Array:
    """Intensities (T, U) of `FACE_UNITS` after the units have met on both sides: see `tamed`."""
    return tamed(np.asarray(amounts, np.float64)[:, _COLUMN])[:, _BACK]


_COLUMN = np.array([FACE_UNITS.index(c.rstrip("LR")) for c in COLUMNS])
_BACK = np.array([_COLUMN.tolist().index(k) for k in range(len(FACE_UNITS))])
