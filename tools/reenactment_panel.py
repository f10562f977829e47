"""The panel of docs/reenactment.md: one public-domain portrait performs, another one follows, an engine each row.

    python tools/reenactment_panel.py docs/images/reenactment.jpg --engines fomm,monkey-net,x2face

The mesh engine draws the performer (scikit-image's astronaut under motions that come along), so that no picture of
anybody else is needed; matplotlib's portrait of Grace Hopper follows. Needs scikit-image and matplotlib.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from infinex.drivers.contract import Drive
from infinex.drivers.motion import bundled_motions
from infinex.engine import Source, load_engine
from infinex.face.tracker import FaceFinder
from infinex.jobs.animate import render
from infinex.motion import Motion, Move, Rest
from infinex.options import Options
from infinex.systems.window import Square

RGB = NDArray[np.uint8]
MOMENTS = (("look-around", 0.0), ("look-around", 0.25), ("look-around", 0.62), ("nod", 0.3), ("surprise", 0.5),
           ("smile", 0.5))  # fmt: skip
SIDE = 170


def portraits() -> tuple[RGB, RGB]:
    """Performer and follower (H, W, 3)."""
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    return skimage.data.astronaut()[:380, 60:400].copy(), np.asarray(Image.open(path).convert("RGB"))


def cut(image: RGB, box: tuple[int, int, int, int]) -> RGB:
    """A part of a picture, `SIDE` wide and high."""
    x0, y0, x1, y1 = box
    return np.asarray(cv2.resize(image[y0:y1, x0:x1], (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--engines", default="fomm,monkey-net,x2face")
    a = parser.parse_args()
    finder = FaceFinder()
    performer, follower = (Source(i, finder.find(i)[0]) for i in portraits())
    frames: list[RGB] = []
    moves: list[Move] = []
    for name, share in MOMENTS:
        motion = Motion.load(bundled_motions()[name])
        at = round(share * (len(motion) - 1))
        part = motion.trim(at / motion.fps, (at + 1) / motion.fps)
        frames.append(next(iter(render(performer, part, Options()))).copy())
        moves.append(part.at(0))
    points = [finder.find(f)[0].landmarks for f in frames]
    rows = [np.hstack([cut(f, Square(performer.image, performer.face.landmarks).box) for f in frames])]
    box = Square(follower.image, follower.face.landmarks).box
    for name in a.engines.split(","):
        face = load_engine(name, Options(engine=name)).prepare(follower)
        face.begin(Rest.neutral(), frames[0], points[0])
        drawn = []
        for move, image, seen in zip(moves, frames, points):
            canvas = follower.image.copy()
            face.draw(canvas, Drive(move, image, seen))
            drawn.append(cut(canvas, box))
        rows.append(np.hstack(drawn))
    Image.fromarray(np.vstack(rows)).save(a.out, quality=82)


if __name__ == "__main__":
    main()
