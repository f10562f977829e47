"""Editing a still portrait by Action Units: one picture, or a grid of intensities."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from infinex.drivers.contract import Drive
from infinex.drivers.units import EMOTIONS, emotion_name, is_timeline, parse_timeline, parse_units, units_motion
from infinex.drivers.units import emotion as units_of_emotion
from infinex.engine import Source
from infinex.errors import InputError
from infinex.face import remarks
from infinex.face.tracker import Box
from infinex.face.units import canonical
from infinex.jobs.source import load_source
from infinex.media.background import parse_background
from infinex.media.files import atomic_path, same_file
from infinex.media.image import SUFFIXES, write_image
from infinex.media.provenance import Mark, Seal, statement
from infinex.mesh.album import unchecked
from infinex.mesh.engine import MeshEngine, MeshOptions
from infinex.stage import Stage

RGB = NDArray[np.uint8]
STEPS = (0.0, 1 / 3, 2 / 3, 1.0)
CELL = 320  # largest side of a grid's cell in pixels
LABEL = 22
TRANSPARENT = (".png", ".webp", ".tif", ".tiff")  # pictures that can be


class Editor:
    """A portrait ready to take on expressions; the first call prepares, the next ones only draw."""

    def __init__(
        self,
        sources: Source | Sequence[Source],
        shading: bool = True,
        background: str = "keep",
        neutral: bool = False,
        album: str = "",
    ) -> None:
        """`sources` as `infinex.load_source` gives them; `shading` deepens furrows by relighting; `background` is
        keep (of a cut-out white), none (transparent), a colour by name or #rrggbb, or a picture's path; `neutral` takes
        the portrait's own expression off first; `album` has more of the same person."""
        self.sources = [sources] if isinstance(sources, Source) else list(sources)
        engine = MeshEngine(MeshOptions("own", "driver" if shading else "none", neutral=neutral, album=album))
        self._stage = Stage(self.sources, engine, background=background)

    def __call__(self, units: Mapping[str, float]) -> RGB:
        """The picture (H, W, 3) under named intensities 0..1 (to 2 exaggerated); a new array. Transparent ones are
        (H, W, 4), their colours not premultiplied.

        All zero gives exactly the source, or it at rest where it is to be `neutral`. Raises InputError for an
        unknown unit."""
        named = {n: float(v) for n, v in units.items() if v}
        motion = units_motion(np.array([list(named.values())]), list(named))
        self._stage.begin(motion.rest, None, None)
        return self._stage.render(Drive(motion.at(0)))[0].copy()

    def remarks(self, units: Mapping[str, float]) -> list[str]:
        """One line each about what of an expression cannot be done or cannot be seen in this portrait."""
        out: list[str] = []
        for i, (source, own) in enumerate(zip(self.sources, self._stage.faces)):
            who = f"face {i + 1}: " if len(self.sources) > 1 else ""
            out += [who + line for line in remarks.of_edit(own.face, source.face.box, units, self)]
        return out

    def grid(self, units: Mapping[str, float], labels: bool = True) -> RGB:
        """Intensities side by side, cut to the head: of one unit or of a whole expression a row of 0, 1/3,
        2/3 and 1 times the given values; of two units a square, the first across, the second down."""
        named = {n: v for n, v in units.items() if v}
        if not named:
            raise InputError("a grid needs at least one unit above 0")
        names = list(named)
        if len(named) == 2:
            a, b = names
            rows = [[{a: named[a] * s, b: named[b] * t} for s in STEPS] for t in STEPS]
        else:
            rows = [[{n: v * s for n, v in named.items()} for s in STEPS]]
        return np.vstack([np.hstack([self._cell(u, labels, len(names) > 2) for u in row]) for row in rows])

    def _cell(self, units: Mapping[str, float], labels: bool, many: bool) -> RGB:
        image = self(units)
        head = cut_head(image, self.sources[0].face.box, CELL)
        if not labels:
            return head
        text = f"{max(units.values()):.2f}" if many else "  ".join(f"{n} {v:.2f}" for n, v in units.items())
        strip = Image.new("RGBA" if head.shape[2] == 4 else "RGB", (head.shape[1], LABEL), "white")
        font = ImageFont.load_default(13)
        ImageDraw.Draw(strip).text((6, 3), text, fill="black", font=font)
        return np.vstack([np.asarray(strip), head])


def cut_head(image: RGB, box: Box, largest: int) -> RGB:
    """The head around a face box (x0, y0, x1, y1), square where the picture allows, at most `largest` pixels."""
    x0, y0, x1, y1 = box
    half = 0.85 * max(x1 - x0, y1 - y0)
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2 - 0.12 * half
    h, w = image.shape[:2]
    a, b = max(0, int(cx - half)), max(0, int(cy - half))
    part = image[b : min(h, int(cy + half)), a : min(w, int(cx + half))]
    k = largest / max(part.shape[:2])
    if k >= 1:
        return np.ascontiguousarray(part)
    return cv2.resize(part, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)


def edit(
    source: str | Path,
    units: Mapping[str, float] | str | None = None,
    output: str | Path | None = None,
    *,
    emotion: str | None = None,
    strength: float = 1.0,
    grid: bool = False,
    shading: bool = True,
    exaggerate: bool = False,
    face: str = "largest",
    box: Box | None = None,
    mark: bool = False,
    sign: tuple[Path, Path] | None = None,
    notes: list[str] | None = None,
    background: str = "keep",
    neutral: bool = False,
    album: str = "",
    open_eyes: bool = False,
) -> RGB:
    """Give the portrait in `source` an expression; returns (H, W, 3) uint8 and writes `output` where named.

    `album` is a folder or a clip with more of the same person, whose mouths are shown instead of guessed.
    `background` is keep, none (transparent), a colour by name or #rrggbb, or a picture's path. A cut-out stays one in
    an output that can hold it. What is transparent is returned as (H, W, 4), its colours not premultiplied.

    `units` is text such as "AU12=0.8,AU6=0.5" or a mapping; `emotion` a name such as "happy" or "happily
    surprised" whose units, times `strength` (0..1), come on top. Intensities of 0 return the picture as it is:
    an output of the same kind is then a copy of the file. `box` is x, y, width, height of the face. `mark` draws a
    small visible mark, `neutral` takes the portrait's own expression off first, `open_eyes` draws closed ones open,
    `sign` (certificate chain and key, PEM) adds a C2PA manifest. To `notes` is added what cannot be done or seen, a
    line each. Raises an InfinexError for whatever the user can mend."""
    wanted = expression(units, emotion, strength, exaggerate)
    if output is not None:
        output = Path(output)
        if output.suffix.lower() not in SUFFIXES:
            raise InputError(f"{output.name}: an edited picture must end in {', '.join(SUFFIXES)}")
        if same_file(source, output):
            raise InputError(f"the output {output} would overwrite the input")
        if background == "none" and output.suffix.lower() not in TRANSPARENT:
            raise InputError(f"{output.name} cannot be transparent; use {', '.join(TRANSPARENT)}, or name a colour")
    unchanged = parse_background(background) == "keep"
    seal = Seal(*sign) if sign is not None and output is not None else None
    if seal is not None and output is not None:
        seal.check(output)
    sources = load_source(source, face, box, open_eyes=open_eyes)
    if unchanged and output is not None and sources[0].cutout is not None and output.suffix.lower() in TRANSPARENT:
        background = "none"
    editor = Editor(sources, shading, background, neutral, album)
    image = editor.grid(wanted) if grid else editor(wanted)
    if notes is not None:
        notes += [*unchecked(album), *editor.remarks(wanted)]
    if output is None:
        return image
    plain = unchanged and not grid and not mark and not neutral and not open_eyes and seal is None
    if plain and not any(wanted.values()) and _same_kind(Path(source), output):
        with atomic_path(output) as temporary:
            shutil.copyfile(source, temporary)
        return image
    if mark:
        Mark(image.shape[1], image.shape[0]).draw(image)
    words = ", ".join(f"{n}={v:g}" for n, v in wanted.items() if v) or "no units"
    said = statement("an edited portrait", Path(source).name, words, "mesh")
    with atomic_path(output) as temporary:
        write_image(temporary, image, said)
        if seal is not None:
            seal.sign(temporary, output.name, said)
    return image


def _same_kind(a: Path, b: Path) -> bool:
    kinds = {".jpeg": ".jpg", ".tiff": ".tif"}
    return kinds.get(a.suffix.lower(), a.suffix.lower()) == kinds.get(b.suffix.lower(), b.suffix.lower())


def expression(
    units: Mapping[str, float] | str | None, emotion: str | None = None, strength: float = 1.0, exaggerate: bool = False
) -> dict[str, float]:
    """Units and an emotion as one set of intensities; where both name a unit the stronger counts.

    Raises InputError, for a timeline too: a picture has no time."""
    limit = 2.0 if exaggerate else 1.0
    if not 0 <= strength <= limit:
        raise InputError(f"a strength of {strength:g}: it goes from 0 to {limit:g}")
    if isinstance(units, str):
        if is_timeline(units):
            parse_timeline(units, exaggerate)
            raise InputError("a timeline moves: name a video such as out.mp4, or leave out the times")
        out = parse_units(units, exaggerate)
    else:
        out = {}
        for name, value in (units or {}).items():
            if not 0 <= value <= limit:
                raise InputError(f"{name}={value}: an intensity goes from 0 to {limit:g}")
            out[canonical(name)] = float(value)
    for name, value in units_of_emotion(emotion, strength).items() if emotion is not None else ():
        out[name] = max(out.get(name, 0.0), value)
    return out


__all__ = ["EMOTIONS", "Editor", "cut_head", "edit", "emotion_name", "expression"]
