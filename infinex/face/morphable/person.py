"""One person as a fit found them: who they are, and what every frame of a clip shows, in a plain file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex._version import __version__
from infinex.errors import InputError
from infinex.face import topology as top
from infinex.face.morphable import skin as mesh
from infinex.face.morphable.model import Appearance, MorphableFace
from infinex.face.morphable.solve import Solver, State, Who
from infinex.media.files import atomic_path, readable_file

FORMAT = 1
PER_FRAME = {"rotation": (3, 3), "shift": (3,), "light": (3, 9), "energy": (), "points": (top.POINTS, 3)}


@dataclass(frozen=True)
class Person:
    """A person in T frames of `size` (width, height) at `fps`: `who`, with the `face` model whose weights they are.

    `states` (T) and `points` (T, 478, 3), tracked pixels, hold the frames where `valid` (T,); others repeat the last
    one. `energy` (T,) is how far the drawn face's colours are from the picture's, 0..1."""

    face: MorphableFace
    who: Who
    states: Sequence[State]
    points: NDArray[np.float32]
    valid: NDArray[np.bool_]
    energy: NDArray[np.float64]
    size: tuple[int, int]
    fps: float

    def __len__(self) -> int:
        return len(self.states)

    def look(self, state: State) -> Appearance:
        """The person's face as a state has it."""
        return Solver(self.face).look(self.who, state)

    def save(self, path: str | Path) -> None:
        """Write `.npz`: plain arrays, no pickle. Of the face model's own bases it has what expressions need: the
        person's face without expression, their skin, and what expressions do."""
        face, who = self.face, self.who
        arrays = {
            "format": np.array(FORMAT),
            "made_with": np.array(f"Made with Infinex {__version__}: a fitted face, without its picture."),
            "model": np.array(face.title),
            "neutral": face.shape(who.identity, np.zeros(0)).astype(np.float32),
            "albedo": who.albedo(face).astype(np.float32),
            "expressions": face.expression.astype(np.float16),
            "names": np.array(face.names),
            "spread": face.spread,
            "range": np.array([face.low, face.high]),
            "identity": who.identity,
            "skin": who.skin,
            "focal": np.array(who.focal),
            "size": np.array(self.size),
            "fps": np.array(self.fps),
            "valid": self.valid,
            "energy": self.energy.astype(np.float32),
            "points": self.points.astype(np.float32),
            "expression": np.stack([s.expression for s in self.states]).astype(np.float32),
            "rotation": np.stack([s.rotation for s in self.states]),
            "shift": np.stack([s.shift for s in self.states]),
            "light": np.stack([s.light for s in self.states]),
        }
        with atomic_path(Path(path)) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    @staticmethod
    def load(path: str | Path) -> Person:
        """Read what `save` wrote: the person's own face is then the model's mean, and their weights are 0.

        Raises InputError for anything else."""
        path = readable_file(path)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
                a = {k: data[k] for k in data.files}
        except Exception as error:  # a damaged archive is reported in every way there is
            raise InputError(f"{path.name} is not a readable person file; infinex fit makes one") from error
        lacking = [k for k in ("format", "neutral", "albedo", "expressions", "names", "spread", "range", "focal",
                               "size", "fps", "valid", "expression", *PER_FRAME) if k not in a]  # fmt: skip
        if lacking:
            raise InputError(f"{path.name} is no person file: it lacks {', '.join(lacking)}; infinex fit makes one")
        if int(a["format"]) > FORMAT:
            raise InputError(f"{path.name} was written by a newer Infinex (format {int(a['format'])}); update Infinex")
        V, T, E = top.SURFACE + len(mesh.midpoints()), len(a["valid"]), len(a["expressions"])
        wanted = {"neutral": (V, 3), "albedo": (V, 3), "expressions": (E, V, 3), "expression": (T, E), "spread": (E,)}
        wanted |= {k: (T, *shape) for k, shape in PER_FRAME.items()}
        for name, shape in wanted.items():
            if a[name].shape != shape or not np.isfinite(a[name]).all():
                raise InputError(f"{path.name} has a face of another topology: {name} is {a[name].shape}, not {shape}")
        nothing = np.zeros((0, V, 3), np.float32)
        face = MorphableFace(
            a["neutral"].astype(np.float64), nothing, a["expressions"].astype(np.float32),
            a["albedo"].astype(np.float64),
            nothing, mesh.triangles(), a["spread"].astype(np.float64), float(a["range"][0]), float(a["range"][1]),
            tuple(str(n) for n in a["names"]), title=str(a.get("model", "")),
        )  # fmt: skip
        states = [
            State(a["rotation"][t], a["shift"][t], a["expression"][t].astype(np.float64), a["light"][t])
            for t in range(T)
        ]
        who = Who(np.zeros(0), np.zeros(0), float(a["focal"]))
        size = int(a["size"][0]), int(a["size"][1])
        return Person(face, who, states, a["points"], a["valid"], a["energy"].astype(np.float64), size, float(a["fps"]))
