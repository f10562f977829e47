"""Draw the pictures of docs/action-units.md from public-domain portraits: python tools/make_unit_pictures.py"""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import skimage.data
from PIL import Image

from infinex.drivers.units import EMOTIONS, emotion
from infinex.editing import STEPS, Editor, cut_head
from infinex.face.units import FACE_UNITS, GAZES, UNITS
from infinex.media.image import write_image
from infinex.pipeline import load_source

OUT = Path(__file__).parents[1] / "docs" / "images" / "units"
SIDE = 176
EXTRA = ("AU12L", "AU2R", *(u for u in UNITS if u not in FACE_UNITS))  # two of the sided, and all of head and eyes


def row(editor: Editor, expressions: list[dict[str, float]], close: bool = True) -> np.ndarray:
    """Heads side by side."""
    x0, y0, x1, y1 = editor.sources[0].face.box
    pad = 0.14 * (x1 - x0)
    box = (x0 + pad, y0 + 1.3 * pad, x1 - pad, y1 - 0.7 * pad) if close else (x0, y0, x1, y1)
    cells = [cut_head(editor(u), box, 4096) for u in expressions]
    return np.hstack([cv2.resize(c, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for c in cells])


def save(name: str, image: np.ndarray) -> None:
    """A small JPEG."""
    Image.fromarray(image).save(OUT / f"{name}.jpg", quality=74, optimize=True)


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    hopper = Editor(load_source(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "astronaut.png"
        write_image(path, skimage.data.astronaut())
        astronaut = Editor(load_source(path))
    for name in (*FACE_UNITS, *EXTRA):
        editor = astronaut if name in GAZES else hopper  # eyes are seen better without glasses
        save(name, row(editor, [{name: s} for s in STEPS], not name.startswith("AU5") or name == "AU5"))
    names = list(EMOTIONS)
    for sheet, part in (("emotions", names[:8]), ("compound", names[8:])):
        rows = []
        for i in range(0, len(part), 4):
            four = [emotion(n) for n in part[i : i + 4]]
            four += [{}] * (4 - len(four))
            rows += [row(e, four) for e in (hopper, astronaut)]
        save(sheet, np.vstack(rows))
    total = sum(f.stat().st_size for f in OUT.iterdir())
    print(f"{len(list(OUT.iterdir()))} pictures, {total / 1e6:.2f} MB; {len(UNITS)} units are known")


if __name__ == "__main__":
    main()
