"""Pictures for studies of faces: every Action Unit at five levels, and 54 combinations of them, on every portrait, with
what a reader reads back."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np

from infinex.drivers.units import EMOTIONS, LEVELS
from infinex.editing import Editor
from infinex.errors import InfinexError, InputError
from infinex.face.tracker import shared_finder
from infinex.face.unit_reader import UnitReader
from infinex.face.units import ALIKE, FACE_UNITS
from infinex.jobs.source import load_source
from infinex.media.files import atomic_path
from infinex.media.image import write_image

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".heic", ".avif", ".bmp")
SHOWN = tuple(n for n in FACE_UNITS if n not in ALIKE)
# Units that coders meet together; with the emotions there are 54 combinations.
TOGETHER = (
    "1+2", "1+4", "1+2+4", "1+2+5", "4+5", "4+7", "5+7", "6+12", "6+12+15", "6+12+25", "6+12+26", "6+15", "7+12",
    "9+17", "9+16+25", "10+12", "10+15", "10+17", "10+16+25", "12+15", "12+17", "12+23", "12+26", "14+23", "15+17",
    "15+23", "17+23", "17+24", "18+23", "20+25", "20+26", "22+25",
)  # fmt: skip
WITH = LEVELS["D"]  # how strong each of them is
Done = Callable[[int, "int | None"], None]


def expressions() -> dict[str, dict[str, float]]:
    """What is put on every portrait, by the name of its picture: neutral, units at FACS levels A to E, several of
    them together, and emotions."""
    out: dict[str, dict[str, float]] = {"neutral": {}}
    for unit in SHOWN:
        out |= {f"{unit}_{letter}": {unit: value} for letter, value in LEVELS.items()}
    for several in TOGETHER:
        units = [f"AU{n}" for n in several.split("+")]
        out["+".join(units)] = dict.fromkeys(units, WITH)
    return out | {name.replace(" ", "-"): dict(units) for name, units in EMOTIONS.items() if units}


def stimuli(
    portraits: list[Path], out: Path, size: int = 768, only: tuple[str, ...] = (), progress: Done | None = None
) -> dict[str, int]:
    """Write `out`/PORTRAIT/EXPRESSION.png, and `out`/stimuli.csv: what was asked and what is read back of every unit,
    0..1.

    `only` names some expressions of `expressions`. A portrait that cannot be used has a row that says why.
    Raises InputError."""
    wanted = {n: u for n, u in expressions().items() if not only or n in only}
    wrong = set(only) - set(wanted)
    if wrong:
        raise InputError(f"there is no expression {min(wrong)}; there are {', '.join(list(expressions())[:8])} ...")
    if not portraits:
        raise InputError("name at least one portrait")
    names = [p.stem for p in portraits]
    if len(set(names)) < len(names):
        raise InputError(f"two portraits are called {next(n for n in names if names.count(n) > 1)}")
    out.mkdir(parents=True, exist_ok=True)
    counts = {"pictures": 0, "failed": 0}
    with atomic_path(out / "stimuli.csv") as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        columns = [f"{n}_{what}" for what in ("asked", "read") for n in SHOWN]
        table.writerow(["portrait", "expression", "file", "error", *columns])
        for k, path in enumerate(portraits):
            try:
                for row in _of_one(path, out / path.stem, wanted, size):
                    table.writerow([path.name, *row])
                    counts["pictures"] += 1
                    if progress:
                        progress(k * len(wanted) + counts["pictures"] % len(wanted), len(portraits) * len(wanted))
            except InfinexError as error:
                table.writerow([path.name, "", "", str(error)])
                counts["failed"] += 1
    return counts


def _of_one(path: Path, folder: Path, wanted: dict[str, dict[str, float]], size: int) -> list[list[object]]:
    """Rows of one portrait's pictures."""
    editor = Editor(load_source(path, size=size))
    folder.mkdir(parents=True, exist_ok=True)
    box = editor.sources[0].face.box
    rows: list[list[object]] = []
    with shared_finder() as finder:
        plain = editor({})[..., :3]
        points = finder.mesh(plain, box)
        if points is None:
            raise InputError(f"{path.name}: the face is not found again")
        reader = UnitReader(np.ascontiguousarray(plain), points)
        for name, units in wanted.items():
            image = editor(units)
            target = folder / f"{name}.png"
            write_image(target, image)
            seen = finder.mesh(np.ascontiguousarray(image[..., :3]), box)
            found = np.full(len(FACE_UNITS), np.nan)
            if seen is not None:
                reader.add(np.ascontiguousarray(image[..., :3]), seen)
                found = reader.units()[0]
            asked = [f"{units.get(n, 0.0):.2f}" for n in SHOWN]
            back = [f"{found[FACE_UNITS.index(n)]:.3f}" for n in SHOWN]
            rows.append([name, f"{path.stem}/{target.name}", "", *asked, *back])
    return rows


def portraits_in(paths: list[Path]) -> list[Path]:
    """Pictures that are named, and those in folders that are named. Raises InputError for what is not there."""
    out: list[Path] = []
    for p in paths:
        if p.is_dir():
            out += sorted(q for q in p.iterdir() if q.suffix.lower() in PICTURES)
        elif p.is_file():
            out.append(p)
        else:
            raise InputError(f"{p}: no such portrait")
    return out
