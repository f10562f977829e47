"""A prepared folder of drawn faces whose landmarks are known, so that nothing has to be tracked."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from infinex.face import topology as top
from infinex.media.sink import open_sink
from infinex.training.data import Clip, beside

SIDE = 64


def landmarks(person: int, frame: int) -> np.ndarray:
    """(478, 3) in sides of the picture: a face of its own width that nods, sways and opens its mouth."""
    face = top.mean_face() * [1 + 0.12 * (person % 3), 1.0, 1.0]
    down = 0.1 * (1 + np.sin(1.3 * frame + person)) / 2
    face[top.LIPS_INNER_LOWER[1:-1], 1] += down
    face[top.LIPS_OUTER_LOWER[1:-1], 1] += down
    sway = 0.02 * np.array([np.sin(frame + person), np.cos(2 * frame), 0])
    return face * 0.3 + [0.5, 0.45, 0.0] + sway


def picture(person: int, points: np.ndarray) -> np.ndarray:
    """A face in a few flat colours."""
    rng = np.random.default_rng(person)
    image = np.full((SIDE, SIDE, 3), rng.integers(40, 120, 3), np.uint8)
    places = np.round(points[:, :2] * SIDE * 16).astype(np.int32)
    skin, lips = rng.integers(150, 230, 3).tolist(), rng.integers(60, 160, 3).tolist()
    for chain, colour in (
        (top.OVAL, skin),
        (top.LIPS_OUTER, lips),
        (top.RIGHT_EYE, (250,) * 3),
        (top.LEFT_EYE, (250,) * 3),
    ):
        cv2.fillPoly(image, [places[chain]], colour, cv2.LINE_AA, 4)
    return image


def make(folder: Path, looks: int, people: int = 4, held: int = 1, frames: int = 8) -> Path:
    """Clips `c0`, `c1` ... of people `p0`, `p1` ..., the last `held` for testing."""
    (folder / "clips").mkdir(parents=True)
    (folder / ".frames").mkdir()
    rows = ["file,clip,split,identity,status,reason,start,seconds,frames,fps,width,height"]
    for i in range(people):
        points = np.stack([landmarks(i, t) for t in range(frames)])
        path = folder / "clips" / f"c{i}.mp4"
        with open_sink(path, (SIDE, SIDE), 25) as sink:
            for p in points:
                sink.write(picture(i, p))
        split = "test" if i >= people - held else "train"
        clip = Clip(f"c{i}", path, f"p{i}", split, frames, 25.0, SIDE, SIDE)
        rows.append(f"c{i}.mp4,clips/c{i}.mp4,{split},p{i},ok,,0,{frames / 25},{frames},25,{SIDE},{SIDE}")
        known = beside(folder / ".frames", clip, f"mesh478-{looks}.npz")
        np.savez(known, frames=np.arange(frames), points=points.astype(np.float32))
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder
