"""The paper's measures of expression editing, for GANimation and for the mesh engine beside it (section 6).

ACD  distance of identity embeddings of the portrait and the edit; less is better
ED   mean |wanted - measured| per unit, intensities in 0..1; less is better
IS, FID  with an Inception network given as a file
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.drivers.units import EMOTIONS
from infinex.engine import Drive, Source
from infinex.errors import FaceNotFoundError, InputError
from infinex.evaluation.inception import Inception, frechet_distance, inception_score
from infinex.face.identity import identity
from infinex.face.tracker import FaceFinder
from infinex.face.unit_reader import UnitReader
from infinex.face.units import FACE_UNITS, basis
from infinex.media.files import CLIPS, atomic_path
from infinex.media.image import is_image, read_image
from infinex.media.video import VideoReader
from infinex.motion import Move, Rest
from infinex.systems.ganimation.crop import crop_matrix, cut
from infinex.systems.ganimation.engine import EDGE, GanimationEngine, PreparedGanimation, still_units
from infinex.systems.ganimation.labels import UNITS, from_named

RGB = NDArray[np.uint8]
Array = NDArray[np.float64]
Progress = Callable[[int, int | None], None]

# Eight expressions for every portrait, as in the paper: the basic ones and two compound ones.
EXPRESSIONS = ("happy", "sad", "angry", "surprised", "afraid", "disgusted", "happily surprised", "appalled")
LARGEST = 1024  # longest side of a portrait that is edited


def expression_units(name: str) -> Array:
    """Intensities (17,) of a named emotion."""
    wanted = EMOTIONS[name]
    names = [*dict.fromkeys([*wanted, *(f"AU{int(u[2:])}" for u in UNITS)])]
    return from_named(np.array([[wanted.get(n, 0.0) for n in names]]), names)[0]


class Editor(Protocol):
    """Gives one portrait expressions."""

    def __call__(self, units: Array) -> RGB:
        """The portrait (H, W, 3) with intensities (17,)."""


def _ganimation(engine: GanimationEngine, source: Source, own: Array) -> Editor:
    prepared = engine.prepare(source)

    def edit(units: Array) -> RGB:
        canvas = source.image.copy()
        prepared.edit(canvas, units)
        return canvas

    return edit


def _mesh(source: Source, own: Array) -> Editor:
    from infinex.mesh.engine import MeshOptions, PreparedFace

    prepared = PreparedFace(source, MeshOptions(wrinkles="none"))
    prepared.begin(Rest.neutral(), None, None)
    b = basis()
    places = [next(i for i, n in enumerate(b.names) if n.strip("AULR").lstrip("0") == u[2:].lstrip("0")) for u in UNITS]

    def offsets(units: Array) -> Array:
        amounts = np.zeros(len(b.names))
        amounts[places] = units
        return b.offsets(amounts)

    def edit(units: Array) -> RGB:
        canvas = source.image.copy()
        zero = np.zeros(3)
        prepared.draw(canvas, Drive(Move(0.0, zero, zero, 1.0, offsets(units) - offsets(own), np.zeros(2))))
        return canvas

    return edit


def portraits(folder: str | Path) -> list[tuple[str, Source]]:
    """Every picture of a folder, and the first frame of every clip, with its largest face.

    What shows no face is passed over. Raises InputError where nothing is left."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    found: list[tuple[str, Source]] = []
    finder = FaceFinder()
    try:
        for path in sorted(folder.rglob("*")):
            try:
                if path.suffix.lower() in CLIPS:
                    with VideoReader(path) as reader:
                        image = next(iter(reader)).image
                elif path.is_file() and is_image(path):
                    image = read_image(path)
                else:
                    continue
            except (InputError, StopIteration):
                continue
            k = LARGEST / max(image.shape[:2])
            if k < 1:
                image = cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
            if faces := finder.find(image):
                found.append((path.stem, Source(np.ascontiguousarray(image), faces[0])))
    finally:
        finder.close()
    if not found:
        raise InputError(f"{folder} holds no picture or clip that shows a face")
    return found


def _named(weights: Any) -> dict[str, str | None]:
    """Weights by the name of their row: None for the bundled ones, a file, `name=file`, or several of them."""
    if weights is None or weights == "":
        return {"ganimation": None}
    items = [str(w) for w in weights] if isinstance(weights, list | tuple) else str(weights).split(",")
    out: dict[str, str | None] = {}
    for item in items:
        name, equals, file = item.partition("=")
        name, file = (name, file) if equals else (Path(item).stem, item)
        if name in out or name in ("static", "mesh"):
            raise InputError(f"two rows of the table are called {name}")
        out[name] = file
    return out


def evaluate(
    folder: str | Path,
    out: str | Path,
    weights: Any = None,
    progress: Progress | None = None,
    inception: str | Path | None = None,
) -> dict[str, Any]:
    """Edit every portrait of a folder to eight expressions by every engine, and measure.

    `weights` is one file or several, comma-separated, each `name=file` where a row wants a name (the ablation).
    Writes `report.json` and pictures into `out`. Raises an InfinexError for what the user can mend."""
    engines = {name: GanimationEngine(file) for name, file in _named(weights).items()}
    network = None if inception is None else Inception(inception)
    people = portraits(folder)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    names = ["static", "mesh", *engines]
    errors: dict[str, list[Array]] = {n: [] for n in names}
    apart: dict[str, list[float]] = {n: [] for n in names}
    masks: dict[str, list[float]] = {n: [] for n in engines}
    seen: dict[str, list[RGB]] = {n: [] for n in names}
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    sheets: dict[str, list[RGB]] = {n: [] for n in names}
    finder = FaceFinder()
    try:
        for done, (name, source) in enumerate(people, 1):
            try:
                edits = list(_edits(name, source, engines, finder))
            except FaceNotFoundError as error:  # of every engine, or the table would compare different people
                left_out[name] = str(error)
                continue
            for edit in edits:
                n = edit.engine
                errors[n].append(edit.error)
                apart[n].append(edit.apart)
                rows.append(
                    {"portrait": name, "engine": n, "expression": edit.expression,
                     "ed": round(float(edit.error.mean()), 4), "acd": round(edit.apart, 4)}
                )  # fmt: skip
                if edit.attention is not None:
                    masks[n].append(edit.attention)
                if network is not None:
                    seen[n].append(_shown(source, edit.image, 299))
            for n in names:
                if len(sheets[n]) < 8:
                    shown = [source.image, *(e.image for e in edits if e.engine == n)]
                    sheets[n].append(np.hstack([_shown(source, image) for image in shown]))
            if progress:
                progress(done, len(people))
        people = [(name, source) for name, source in people if name not in left_out]
        if not people:
            raise FaceNotFoundError(
                f"in no portrait of {folder} is the face found again: {next(iter(left_out.values()))}"
            )
    finally:
        finder.close()
    mean: dict[str, dict[str, Any]] = {}
    base = network([_shown(source, source.image, 299) for _, source in people]) if network else None
    for n in names:
        mean[n] = {
            "ed": round(float(np.mean(errors[n])), 4),
            "acd": round(float(np.mean(apart[n])), 4),
            "ed_units": {u: round(float(v), 4) for u, v in zip(UNITS, np.mean(errors[n], axis=0))},
        }
        if n in masks:
            mean[n]["attention"] = round(float(np.mean(masks[n])), 4)
        if network is not None and base is not None:
            probabilities, features = network(seen[n])
            mean[n]["is"] = round(inception_score(probabilities), 3)
            mean[n]["fid"] = round(frechet_distance(base[1], features), 2)
    for n, strips in sheets.items():
        _write(out / f"expressions-{n}.png", np.vstack(strips))
    if engines:
        _write(out / "table2.png", _comparison(sheets, [*engines, "mesh"]))
        _write(out / "masks.png", _mask_sheet(next(iter(engines.values())), people[:8]))
    summary = {
        "task": "expression", "portraits": len(people), "expressions": list(EXPRESSIONS), "mean": mean, "edits": rows,
        "left_out": left_out,
    }  # fmt: skip
    with atomic_path(out / "report.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=1), encoding="utf-8")
    return summary


@dataclass(frozen=True)
class _Edited:
    """One portrait with one expression by one engine, and what was measured of it."""

    engine: str
    expression: str
    image: RGB
    error: Array  # (17,)
    apart: float  # identity distance
    attention: float | None


def _edits(name: str, source: Source, engines: dict[str, GanimationEngine], finder: FaceFinder) -> Iterator[_Edited]:
    """Every expression by every engine. Raises FaceNotFoundError where one of them hides the face from the tracker."""
    own = still_units(source.face.landmarks)
    own_id = identity(source.image, source.face.landmarks)
    makers: dict[str, Editor] = {"static": lambda units, s=source: s.image, "mesh": _mesh(source, own)}  # type: ignore[misc]
    makers |= {n: _ganimation(e, source, own) for n, e in engines.items()}
    views = {n: PreparedGanimation(e, source) for n, e in engines.items()}
    for n, edit in makers.items():
        for expression in EXPRESSIONS:
            wanted = np.clip(own + expression_units(expression), 0, 1)
            image = edit(wanted)
            found = _face_in(finder, image, source, name) if n != "static" else source.face.landmarks
            error = np.abs(_between(source, image, found) - (wanted - own))
            attention = None
            if n in engines:
                view = views[n]
                edge = max(2, round(EDGE * view.engine.size / 2))
                attention = float(view.engine.masks(view.crop, wanted).attention[edge:-edge, edge:-edge].mean())
            apart = float(np.linalg.norm(identity(image, found) - own_id))
            yield _Edited(n, expression, image, error, apart, attention)


def _shown(source: Source, image: RGB, side: int = 112) -> RGB:
    """The face of an edit of `source`, cropped as a network would see it, `side` pixels wide."""
    return cut(image, crop_matrix(source.face.landmarks, side), side)


def _face_in(finder: FaceFinder, image: RGB, source: Source, name: str) -> Array:
    """Landmarks (478, 3) of the edited face."""
    try:
        return finder.in_box(image, source.face.box).landmarks
    except FaceNotFoundError:
        raise FaceNotFoundError(f"the face of {name} was lost in an edit") from None


def _between(source: Source, image: RGB, found: Array) -> Array:
    """Intensities (17,) by which the face in an edit, with landmarks `found`, differs from the portrait's own."""
    reader = UnitReader(source.image, source.face.landmarks)
    reader.add(image, found)
    return from_named(reader.units(), FACE_UNITS)[0]


def _comparison(sheets: dict[str, list[RGB]], names: list[str]) -> RGB:
    """One row for each engine, of the first portraits' strips one after the other (Figure 10 of the paper)."""
    count = min(3, *(len(sheets[n]) for n in names))
    return np.vstack([np.vstack([sheets[n][i] for n in names]) for i in range(count)])


def _mask_sheet(engine: GanimationEngine, people: list[tuple[str, Source]]) -> RGB:
    """For each portrait and three expressions: crop, edit, attention, colours (Figure 8 of the paper)."""
    rows = []
    for _, source in people:
        prepared = engine.prepare(source)
        strip = [prepared.crop]
        for name in ("happy", "surprised", "angry"):
            m = engine.masks(prepared.crop, np.clip(prepared.units + expression_units(name), 0, 1))
            attention = np.repeat(np.round(255 * m.attention)[..., None], 3, axis=2).astype(np.uint8)
            strip += [m.image, attention, m.color]
        rows.append(np.hstack(strip))
    return np.vstack(rows)


def _write(path: Path, image: RGB) -> None:
    from infinex.media.image import write_image

    write_image(path, image)


def lines(summary: dict[str, Any]) -> list[str]:
    """The table of a summary, line by line."""
    mean = summary["mean"]
    columns = ["ed", "acd", "attention", "is", "fid"]
    columns = [c for c in columns if any(c in m for m in mean.values())]
    width = max(len(n) for n in mean)
    out = [f"{summary['portraits']} portraits, {len(summary['expressions'])} expressions each"]
    out.append(" " * width + "".join(f"{c.upper():>11}" for c in columns))
    for name, m in mean.items():
        cells = "".join(f"{m[c]:11.3f}" if c in m else f"{'':>11}" for c in columns)
        out.append(f"{name:<{width}}{cells}")
    out += [f"left out: {words}" for words in summary["left_out"].values()]
    return out
