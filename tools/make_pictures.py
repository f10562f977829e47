"""Draw the pictures of the documentation from public-domain portraits: python tools/make_pictures.py"""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import skimage.data

from infinex.media.image import read_image, write_image
from infinex.pipeline import load_source, render

OUT = Path(__file__).parents[1] / "docs" / "images"
TAKES = [("smile", 0.55), ("surprise", 0.56), ("talking", 0.30), ("look-around", 0.45), ("wink", 0.42)]
SIDE = 260


def cut(image: np.ndarray, box: tuple[float, ...]) -> np.ndarray:
    """The head, square."""
    x0, y0, x1, y1 = box
    half = 0.95 * max(x1 - x0, y1 - y0)
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2 - 0.1 * half
    a, b = max(0, int(cx - half)), max(0, int(cy - half))
    return cv2.resize(image[b : int(cy + half), a : int(cx + half)], (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        astronaut = Path(folder) / "astronaut.png"
        write_image(astronaut, skimage.data.astronaut())
        hopper = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
        for path in (hopper, astronaut):
            sources = load_source(path)
            box = sources[0].face.box
            row = [cut(read_image(path), box)]
            for name, when in TAKES:
                frames = list(render(sources, name))
                row.append(cut(frames[round(when * (len(frames) - 1))], box))
            rows.append(np.hstack(row))
    write_image(OUT / "strip.jpg", np.vstack(rows))


if __name__ == "__main__":
    main()
