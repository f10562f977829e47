"""Motion: how a face moves, free of whose face it is. The file format, and the filters on it.

Lengths are in inter-ocular distances (IOD, the outer eye corners), angles in radians, time in seconds.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from infinex._version import __version__
from infinex.errors import InputError
from infinex.face import topology as top
from infinex.face.interior import USUAL
from infinex.face.shape import eye_openness, gaze_of, lip_gaps

Array = NDArray[np.float64]
FORMAT = 1
BLOCK = 1024  # frames written and read at once
STILL: Array = np.zeros((2, 2, 3))  # an outline that does nothing beyond the head
PARTS = ("pose", "lips", "eyes", "brows", "gaze", "scale")
DEFAULT_PARTS = PARTS[:-1]  # without `scale` a head keeps its size but for small quick changes, see `capture.Adjust`


@dataclass(frozen=True)
class Rest:
    """The performer at rest: what relative motion is measured from."""

    face: Array  # (478, 3) canonical shape of the reference frame
    rotation: Array = field(default_factory=lambda: np.zeros(3))
    translation: Array = field(default_factory=lambda: np.zeros(3))
    scale: float = 1.0
    gaze: Array = field(default_factory=lambda: np.zeros(2))
    lids_open: Array | None = None  # (2,) habitual eye openness, right and left
    lids_closed: Array | None = None  # (2,) openness that counts as closed
    lips_closed: Array | None = None  # (9,) inner-lip gaps that count as closed; None: measure from rest

    @staticmethod
    def neutral() -> Rest:
        """The mean face looking ahead: the performer of text, speech and unit drivers."""
        return Rest(top.mean_face())

    @property
    def lids(self) -> tuple[Array, Array]:
        """Openness of lids (closed, open), each (2,); guessed from the face where not measured."""
        wide = eye_openness(self.face) if self.lids_open is None else self.lids_open
        shut = 0.28 * wide if self.lids_closed is None else self.lids_closed
        return np.minimum(shut, 0.8 * wide), wide


@dataclass(frozen=True)
class Move:
    """Motion at one instant: a row of a `Motion`."""

    time: float
    rotation: Array  # (3,) rotation vector
    translation: Array  # (3,)
    scale: float
    offsets: Array  # (478, 3) displacement of the mesh from the rest face, head coordinates
    gaze: Array  # (2,) right and down
    valid: bool = True
    outline: Array | None = None  # (2, 2, 3) what head and shoulders do beyond that, see `infinex.face.outline`
    interior: Array | None = None  # (3, 2) what shows between the lips, see `infinex.face.interior`; None: unknown


@dataclass(frozen=True)
class Motion:
    """A performance: time-major arrays at a constant frame rate.

    `units` (T, U) are Action Unit intensities in 0..1 named by `unit_names`; `offsets` (T, 478, 3);
    `rotation` (T, 3), `translation` (T, 3), `scale` (T,), `gaze` (T, 2), `valid` (T,) bool; `outline` (T, 2, 2, 3)
    and `interior` (T, 3, 2) where a camera saw what the head's outline and the shoulders do, and what mouths show.
    """

    fps: float
    offsets: Array
    rotation: Array
    translation: Array
    scale: Array
    gaze: Array
    valid: NDArray[np.bool_]
    rest: Rest
    units: Array | None = None
    unit_names: tuple[str, ...] = ()
    outline: Array | None = None
    interior: Array | None = None

    def __len__(self) -> int:
        return len(self.scale)

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self) / self.fps

    def __iter__(self) -> Iterator[Move]:
        for i in range(len(self)):
            yield self.at(i)

    def peaks(self) -> dict[str, float]:
        """The largest intensity of each named unit; empty for a performance that is not made of units."""
        if self.units is None or not len(self):
            return {}
        return dict(zip(self.unit_names, np.asarray(self.units).max(0).tolist()))

    def at(self, i: int) -> Move:
        """The instant of frame `i`."""
        return Move(
            i / self.fps,
            self.rotation[i],
            self.translation[i],
            float(self.scale[i]),
            self.offsets[i].astype(np.float64),
            self.gaze[i],
            bool(self.valid[i]),
            None if self.outline is None else self.outline[i],
            None if self.interior is None else self.interior[i],
        )

    @staticmethod
    def collect(moves: Iterable[Move], rest: Rest, fps: float) -> Motion:
        """Gather instants into one performance. Raises InputError where there is none."""
        rows = list(moves)
        if not rows:
            raise InputError("a motion needs at least one frame")
        return Motion(
            fps,
            np.stack([m.offsets for m in rows]).astype(np.float32),
            np.stack([m.rotation for m in rows]),
            np.stack([m.translation for m in rows]),
            np.array([m.scale for m in rows]),
            np.stack([m.gaze for m in rows]),
            np.array([m.valid for m in rows]),
            rest,
            outline=_stacked([m.outline for m in rows], STILL),
            interior=_stacked([m.interior for m in rows], USUAL),
        )

    # -- files ------------------------------------------------------------------------------------

    def save(self, path: str | Path, offsets: Iterable[NDArray] | None = None) -> None:
        """Write `.motion.npz`: plain arrays, no pickle. The file appears whole or not at all.

        `offsets` come in place of its own where these are kept elsewhere, (t, 478, 3) after (t, 478, 3)."""
        from infinex.media.files import atomic_path

        arrays: dict[str, NDArray] = {
            "format": np.array(FORMAT),
            "made_with": np.array(f"Made with Infinex {__version__}: the movement of a face, without its picture."),
            "fps": np.array(self.fps),
            "rotation": self.rotation.astype(np.float32),
            "translation": self.translation.astype(np.float32),
            "scale": self.scale.astype(np.float32),
            "gaze": self.gaze.astype(np.float32),
            "valid": self.valid,
        }
        if self.units is not None:
            arrays["units"] = self.units.astype(np.float16)
            arrays["unit_names"] = np.array(self.unit_names)
        if self.outline is not None:
            arrays["outline"] = self.outline.astype(np.float32)
        if self.interior is not None:
            arrays["interior"] = self.interior.astype(np.float32)
        for name in (
            "face",
            "rotation",
            "translation",
            "scale",
            "gaze",
            "lids_open",
            "lids_closed",
            "lips_closed",
        ):
            value = getattr(self.rest, name)
            if value is not None:
                arrays[f"rest_{name}"] = np.asarray(value, np.float32)
        if offsets is None:
            offsets = (self.offsets[i : i + BLOCK] for i in range(0, len(self), BLOCK))
        with atomic_path(Path(path)) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
            header = {"descr": "<f2", "fortran_order": False, "shape": (len(self), top.POINTS, 3)}
            with archive.open("offsets.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array_header_1_0(file, header)
                for block in offsets:
                    file.write(block.astype("<f2").tobytes())

    @staticmethod
    def load(path: str | Path, lean: bool = False) -> Motion:
        """Read `.motion.npz`. Raises InputError for anything that is not a whole motion file.

        `lean` leaves out the displacements, most of what a long one takes in memory; `displacements` streams them."""
        path = Path(path)
        a: dict[str, NDArray] = {}
        with _opened(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as file:
                    if name == "offsets.npy":
                        moved = _header(file)[0]
                    elif name.endswith(".npy"):
                        a[name.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
            if "offsets.npy" in archive.namelist():
                a["offsets"] = np.broadcast_to(np.float32(0), moved)  # its shape; they are read below
        shapes = {"offsets": (-1, top.POINTS, 3), "rotation": (-1, 3), "translation": (-1, 3), "scale": (-1,),
                  "gaze": (-1, 2), "valid": (-1,), "rest_face": (top.POINTS, 3)}  # fmt: skip
        missing = [k for k in ("format", "fps", *shapes) if k not in a]
        shapes |= {k: (-1, *rest.shape) for k, rest in (("outline", STILL), ("interior", USUAL)) if k in a}
        if missing:
            raise InputError(f"{path} is not a motion file: it lacks {', '.join(missing)}")
        if int(a["format"]) > FORMAT:
            raise InputError(f"{path} was written by a newer Infinex (format {int(a['format'])}); update Infinex")
        frames, fps = len(a["scale"]), float(a["fps"])
        for name, shape in shapes.items():
            want = tuple(frames if s == -1 else s for s in shape)
            if a[name].shape != want or (name != "offsets" and not np.isfinite(a[name].astype(np.float64)).all()):
                raise InputError(f"{path}: {name} is damaged (shape {a[name].shape}, expected {want})")
        if frames == 0 or not 1 <= fps <= 1000:
            raise InputError(f"{path}: {frames} frames at {fps} frames/s cannot be played")
        if (a["scale"] <= 0).any():
            raise InputError(f"{path}: scale is damaged (not positive)")
        f8 = {k: v.astype(np.float64) for k, v in a.items() if v.dtype.kind == "f" and k != "offsets"}
        offsets: NDArray[Any] = np.empty((frames, 0 if lean else top.POINTS, 3), np.float32)
        done = 0
        for block in displacements(path):
            if not lean:
                offsets[done : done + len(block)] = block
            done += len(block)
        rest = Rest(
            f8["rest_face"],
            f8.get("rest_rotation", np.zeros(3)),
            f8.get("rest_translation", np.zeros(3)),
            float(f8.get("rest_scale", 1.0)),
            f8.get("rest_gaze", np.zeros(2)),
            f8.get("rest_lids_open"),
            f8.get("rest_lids_closed"),
            f8.get("rest_lips_closed"),
        )
        return Motion(
            fps,
            offsets,
            f8["rotation"],
            f8["translation"],
            f8["scale"],
            f8["gaze"],
            a["valid"].astype(bool),
            rest,
            f8.get("units"),
            tuple(str(n) for n in a["unit_names"]) if "unit_names" in a else (),
            f8.get("outline"),
            f8.get("interior"),
        )

    # -- filters ----------------------------------------------------------------------------------

    def _map(self, change: Callable[[Array], Array]) -> Motion:
        """Apply one function of time-major arrays to every track."""
        return replace(
            self,
            offsets=change(self.offsets),
            rotation=change(self.rotation),
            translation=change(self.translation),
            scale=change(self.scale),
            gaze=change(self.gaze),
            valid=change(self.valid.astype(np.float64)) > 0.5,
            units=None if self.units is None else change(self.units),
            outline=None if self.outline is None else change(self.outline),
            interior=None if self.interior is None else change(self.interior),
        )

    def trim(self, start: float = 0.0, end: float | None = None) -> Motion:
        """The part between two times in seconds. Raises InputError where nothing is left."""
        i = max(0, round(start * self.fps))
        j = len(self) if end is None else min(len(self), round(end * self.fps))
        if i >= j:
            raise InputError(f"nothing lies between {start} s and {end} s of a motion of {self.duration:.2f} s")
        return self._map(lambda x: x[i:j])

    def smooth(self, seconds: float) -> Motion:
        """Gaussian smoothing in time, without lag; `seconds` is the standard deviation."""
        sigma = seconds * self.fps
        from scipy.ndimage import gaussian_filter1d  # slow to load, and seldom asked for

        return self._map(lambda x: gaussian_filter1d(x, sigma, axis=0, mode="nearest")) if sigma > 0 else self

    def resample(self, fps: float) -> Motion:
        """The same performance at another frame rate, linearly interpolated."""
        frames = max(1, round(self.duration * fps))
        t = np.minimum(np.arange(frames) * self.fps / fps, len(self) - 1)
        i = np.minimum(t.astype(int), len(self) - 1)
        j = np.minimum(i + 1, len(self) - 1)
        f = t - i

        def change(x: Array) -> Array:
            w = f.reshape(-1, *[1] * (x.ndim - 1))
            return x[i] * (1 - w) + x[j] * w

        return replace(self._map(change), fps=fps)

    def scaled(self, strength: float) -> Motion:
        """Everything `strength` times as far from rest."""
        r = self.rest
        return replace(
            self,
            offsets=self.offsets * np.float32(strength),
            rotation=r.rotation + (self.rotation - r.rotation) * strength,
            translation=r.translation + (self.translation - r.translation) * strength,
            scale=r.scale * (self.scale / r.scale) ** strength,
            gaze=r.gaze + (self.gaze - r.gaze) * strength,
            units=None if self.units is None else np.clip(self.units * strength, 0, 1),
            outline=None if self.outline is None else self.outline * strength,
        )

    def relative(self) -> Motion:
        """The same motion measured from a neutral rest, so that two performances can be mixed."""
        from infinex.face.pose import to_matrix, to_vector

        back = to_matrix(self.rest.rotation).T
        return replace(
            self,
            rotation=np.stack([to_vector(to_matrix(v) @ back) for v in self.rotation]),
            translation=(self.translation - self.rest.translation) / self.rest.scale,
            scale=self.scale / self.rest.scale,
            gaze=self.gaze - self.rest.gaze,
            rest=replace(self.rest, rotation=np.zeros(3), translation=np.zeros(3), scale=1.0, gaze=np.zeros(2)),
        )

    def only(self, parts: Sequence[str]) -> Motion:
        """Keep some of pose, lips, eyes, brows, gaze and scale; the rest stands still.

        A pose has its size, too: whether a head follows it is settled when it is shown."""
        weight = part_weights(parts)
        r = self.rest
        n = len(self)
        pose = "pose" in parts
        return replace(
            self,
            offsets=(self.offsets * weight[None, :, None]).astype(np.float32),
            rotation=self.rotation if pose else np.tile(r.rotation, (n, 1)),
            translation=self.translation if pose else np.tile(r.translation, (n, 1)),
            scale=self.scale if pose or "scale" in parts else np.full(n, r.scale),
            gaze=self.gaze if "gaze" in parts else np.tile(r.gaze, (n, 1)),
            units=None,
            unit_names=(),
            outline=self.outline if pose else None,
            interior=self.interior if "lips" in parts else None,
        )

    def loop(self, seconds: float, cross_fade: float = 0.3) -> Motion:
        """Repeat until `seconds` are filled, each seam cross-faded."""
        out = self
        while out.duration < seconds:
            out = out.concatenate(self, cross_fade)
        return out.trim(0, seconds)

    def concatenate(self, other: Motion, cross_fade: float = 0.0) -> Motion:
        """This performance, then another, cross-faded over some seconds. Rests are made neutral."""
        a, b = self.relative(), other.resample(self.fps).relative()
        k = min(round(cross_fade * self.fps), len(a), len(b))
        w = (np.arange(k) + 1) / (k + 1)

        def join(x: Array, y: Array) -> Array:
            v = w.reshape(-1, *[1] * (x.ndim - 1))
            return np.concatenate([x[: len(x) - k], x[len(x) - k :] * (1 - v) + y[:k] * v, y[k:]])

        def join_known(x: Array | None, y: Array | None, without: Array) -> Array | None:
            if x is None and y is None:
                return None
            x, y = (np.repeat(without[None], len(m), 0) if v is None else v for v, m in ((x, a), (y, b)))
            return join(x, y)

        same = a.unit_names == b.unit_names and a.units is not None and b.units is not None
        return replace(
            a,
            offsets=join(a.offsets, b.offsets).astype(np.float32),
            rotation=join(a.rotation, b.rotation),
            translation=join(a.translation, b.translation),
            scale=join(a.scale, b.scale),
            gaze=join(a.gaze, b.gaze),
            valid=join(a.valid.astype(np.float64), b.valid.astype(np.float64)) > 0.5,
            units=join(a.units, b.units) if same and a.units is not None and b.units is not None else None,
            unit_names=a.unit_names if same else (),
            outline=join_known(a.outline, b.outline, STILL),
            interior=join_known(a.interior, b.interior, USUAL),
        )

    def mix(self, other: Motion, parts: Sequence[str]) -> Motion:
        """This performance with the named parts taken from another; as long as the shorter of the two."""
        a, b = self.relative(), other.resample(self.fps).relative()
        n = min(len(a), len(b))
        a, b = a.trim(0, n / self.fps), b.trim(0, n / self.fps)
        mine = a.only([p for p in PARTS if p not in parts])
        theirs = b.only(parts)
        pose, gaze, lips = (theirs if part in parts else mine for part in ("pose", "gaze", "lips"))
        size = theirs if "scale" in parts else pose
        return replace(
            mine,
            offsets=mine.offsets + theirs.offsets,
            rotation=pose.rotation,
            translation=pose.translation,
            scale=size.scale,
            gaze=gaze.gaze,
            valid=a.valid & b.valid,
            outline=pose.outline,
            interior=lips.interior,
        )


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    if not path.is_file():
        raise InputError(f"{path}: no such motion file")
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except InputError:
        raise
    except Exception as error:  # a damaged archive is reported in every way there is
        raise InputError(f"{path} is not a readable .motion.npz file") from error


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of an array that follows."""
    old = np.lib.format.read_magic(file) == (1, 0)
    return (np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0)(file)


def displacements(path: str | Path) -> Iterator[NDArray[np.float32]]:
    """Those of a motion file, (t, 478, 3) after (t, 478, 3) in IOD, in memory that does not grow with its length.

    Raises InputError for a file that is damaged."""
    path = Path(path)
    with _opened(path) as archive, archive.open("offsets.npy") as file:
        shape, columns_first, dtype = _header(file)
        if columns_first or dtype.kind not in "fiu":
            raise InputError(f"{path}: offsets are laid out in a way that Infinex does not write")
        row = math.prod(shape[1:]) * dtype.itemsize
        for first in range(0, shape[0], BLOCK):
            frames = min(BLOCK, shape[0] - first)
            data = file.read(frames * row)
            block = np.frombuffer(data, dtype).reshape(frames, *shape[1:]).astype(np.float32)
            if not np.isfinite(block).all():
                raise InputError(f"{path}: offsets are damaged (not finite)")
            yield block


def _stacked(known: list[Array | None], without: Array) -> Array | None:
    """What is known of several instants, `without` for those of which it is not. None where of none."""
    if all(k is None for k in known):
        return None
    return np.stack([without if k is None else k for k in known])


def is_whole(parts: Sequence[str]) -> bool:
    """Whether all that is carried over by default is among the named parts."""
    return set(parts) >= set(DEFAULT_PARTS)


def part_weights(parts: Sequence[str]) -> Array:
    """How much each mesh point belongs to the named parts, (478,) in 0..1; smooth borders.

    Raises InputError for an unknown part."""
    unknown = [p for p in parts if p not in PARTS]
    if unknown:
        raise InputError(f"unknown part {unknown[0]!r}; the parts are {', '.join(PARTS)}")
    if all(p in parts for p in ("lips", "eyes", "brows")):
        return np.ones(top.POINTS)
    face = top.mean_face()
    y = face[:, 1]
    lips = np.clip((y - face[5, 1]) / (face[2, 1] - face[5, 1]), 0, 1)  # from the nose tip downwards
    brow_line = (face[[105, 334], 1].mean() + face[[159, 386], 1].mean()) / 2
    brows = np.clip((brow_line - y) / 0.08 + 0.5, 0, 1) * (1 - lips)
    weight = {"lips": lips, "brows": brows, "eyes": 1 - lips - brows}
    return np.clip(sum((weight[p] for p in parts if p in weight), np.zeros(top.POINTS)), 0, 1)


__all__ = [
    "DEFAULT_PARTS",
    "PARTS",
    "Motion",
    "Move",
    "Rest",
    "displacements",
    "eye_openness",
    "gaze_of",
    "is_whole",
    "lip_gaps",
    "part_weights",
]
