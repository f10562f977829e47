"""A prepared folder of drawn clips, and one PyTorch thread."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)


def drawn_clip(seed: int, frames: int = 6, size: int = 64) -> list[np.ndarray]:
    """A coloured blob that wanders over a ground."""
    rng = np.random.default_rng(seed)
    ground, colour = rng.integers(0, 255, (2, 3))
    out = []
    for t in range(frames):
        image = np.full((size, size, 3), ground, np.uint8)
        centre = (int(size / 2 + 10 * np.sin(t + seed)), int(size / 2 + 6 * np.cos(t)))
        cv2.ellipse(image, centre, (14, 20), 10.0 * t, 0, 360, colour.tolist(), -1)
        cv2.circle(image, (centre[0] - 5, centre[1] - 5), 2, (255, 255, 255), -1)
        out.append(image)
    return out


@pytest.fixture
def dataset(tmp_path: Path) -> Callable[..., Path]:
    """Makes a prepared folder of `people` drawn clips, the last `held` for testing."""

    def make(people: int = 4, held: int = 1, name: str = "data") -> Path:
        from infinex.media.sink import open_sink

        folder = tmp_path / name
        (folder / "clips").mkdir(parents=True)
        with (folder / "manifest.csv").open("w", newline="") as file:
            table = csv.writer(file)
            file.write("file,clip,split,identity,status,reason,start,seconds,frames,fps,width,height\n")
            for i in range(people):
                with open_sink(folder / "clips" / f"c{i}.mp4", (64, 64), 25) as sink:
                    for frame in drawn_clip(i):
                        sink.write(frame)
                split = "test" if i >= people - held else "train"
                table.writerow([f"c{i}.mp4", f"clips/c{i}.mp4", split, f"p{i}", "ok", "", 0, 0.24, 6, 25, 64, 64])
        return folder

    return make
