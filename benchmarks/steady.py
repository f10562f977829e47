"""How steadily a face is followed whose motion is known: portraits turned, moved and enlarged under the tracker.

    python benchmarks/steady.py PORTRAITS_DIR [--frames 40] [--most N] [--faces PIXELS ...]

Every portrait sways by a few degrees, by fractions of its face's size and by an eighth of its scale on a canvas of
1280x720, with a camera's noise. Landmarks are taken back to the portrait; by how much they wander there is printed in
IOD: from one frame to the next (`jitter`), and around their mean (`spread`). A tracker without error has none of both.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

from infinex.face.topology import SURFACE
from infinex.face.tracker import FaceTracker, find_faces
from infinex.media.image import read_image

CANVAS = 1280, 720
FACES = 90, 180, 320  # pixels from brow to chin
NOISE = 3.0  # grey levels


def way(image: np.ndarray, points: np.ndarray, size: float, time: float) -> np.ndarray:
    """What takes the portrait to the canvas at a time in seconds, (2, 3)."""
    face = points[:SURFACE, :2]
    centre, side = (face.min(0) + face.max(0)) / 2, float(np.ptp(face, axis=0).max())
    k = size / side * (1 + 0.125 * np.sin(1.3 * time))
    a = np.radians(6) * np.sin(2.1 * time)
    m = k * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    place = np.array(CANVAS) / 2 + 0.25 * size * np.array([np.sin(1.7 * time), np.sin(2.9 * time + 1)])
    return np.hstack([m, (place - m @ centre)[:, None]])


def followed(image: np.ndarray, points: np.ndarray, size: float, frames: int) -> tuple[float, float, float] | None:
    """Jitter and spread in IOD, and CPU milliseconds a frame; None where the face is lost."""
    rng = np.random.default_rng(0)
    unit = float(np.linalg.norm(points[33, :2] - points[263, :2]))
    seen, spent = [], []
    with FaceTracker() as tracker:
        for i in range(frames):
            m = way(image, points, size, i / 25)
            k = float(np.sqrt(abs(np.linalg.det(m[:, :2]))))
            n = max(1, int(1 / k))
            small = cv2.resize(image, None, fx=1 / n, fy=1 / n, interpolation=cv2.INTER_AREA) if n > 1 else image
            scaled = m.copy()
            scaled[:, :2] *= n
            scaled[:, 2] += m[:, :2] @ np.full(2, (n - 1) / 2)
            canvas = cv2.warpAffine(small, scaled, CANVAS, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
            canvas = np.clip(canvas + rng.normal(0, NOISE, canvas.shape), 0, 255).astype(np.uint8)
            begun = time.process_time()
            face = tracker(canvas)
            spent.append(time.process_time() - begun)
            if face is None:
                return None
            seen.append((face.landmarks[:, :2] - m[:, 2]) @ np.linalg.inv(m[:, :2]).T / unit)
    p = np.stack(seen[3:])
    jitter = np.linalg.norm(np.diff(p, axis=0), axis=2).mean()
    return float(jitter), float(np.linalg.norm(p - p.mean(0), axis=2).mean()), float(np.median(spent[3:])) * 1e3


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--most", type=int, default=10**9, help="portraits")
    parser.add_argument("--faces", type=int, nargs="+", default=FACES, help="pixels from brow to chin on the canvas")
    a = parser.parse_args()
    paths = sorted(p for p in a.portraits.iterdir() if p.suffix in (".jpg", ".png"))[: a.most]
    pictures = [(image, faces[0].landmarks) for image in map(read_image, paths) if (faces := find_faces(image))]
    for size in a.faces:
        rows = [row for image, points in pictures if (row := followed(image, points, size, a.frames)) is not None]
        jitter, spread, spent = np.mean(rows, axis=0)
        print(f"face of {size} px: jitter {jitter:.5f}, spread {spread:.5f} IOD, {spent:.2f} ms of CPU a frame, "
              f"{len(rows)} of {len(pictures)} portraits", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
