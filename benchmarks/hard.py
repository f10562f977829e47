"""Where following a face is hard: mirrors, stills, noise, the picture's edge, several faces, faces lost and found.

    python benchmarks/hard.py PORTRAITS_DIR [--most N]
    python benchmarks/mediapiped.py benchmarks/hard.py PORTRAITS_DIR    # the same by MediaPipe's graph

Distances are means over the landmarks of the face's surface in IOD. `mirror`: landmarks of the flipped picture against
those of the picture, flipped. `still`: from one frame to the next of the same picture, after twelve; `noise`: the same
with a camera's noise. `edge`: of a face of which the picture's border takes a fifth or two fifths, against those of the
whole one, and how many are found. `several`: faces found of four in one picture. `lost`: frames until a face that went
away and comes back elsewhere is followed again, and how far it is from where it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face.pose import fit_pose
from infinex.face.topology import SURFACE, mean_face, mirror
from infinex.face.tracker import FaceTracker, find_faces
from infinex.media.image import read_image

FACE = 200  # pixels from brow to chin
CANVAS = 640, 480
NOISE = 4.0  # grey levels
FRAMES = 12
Array = NDArray[np.float64]
Image = NDArray[np.uint8]


def apart(a: Array, b: Array) -> float:
    """Mean distance of landmarks (478, 3) in IOD of `b`."""
    unit = float(np.linalg.norm(b[33, :2] - b[263, :2]))
    return float(np.linalg.norm((a - b)[:SURFACE, :2], axis=1).mean()) / unit


def placed(image: Image, points: Array, x: float, y: float, size: float = FACE) -> tuple[Image, Array]:
    """The portrait on a canvas with its face's centre at (x, y), and its landmarks there."""
    flat = points[:SURFACE, :2]
    k = size / float(np.ptp(flat, axis=0).max())
    m = np.hstack([np.eye(2) * k, (np.array([x, y]) - k * (flat.min(0) + flat.max(0)) / 2)[:, None]])
    n = max(1, int(1 / k))
    small = cv2.resize(image, None, fx=1 / n, fy=1 / n, interpolation=cv2.INTER_AREA) if n > 1 else image
    scaled = np.hstack([m[:, :2] * n, (m[:, 2] + m[:, :2] @ np.full(2, (n - 1) / 2))[:, None]])
    canvas = cv2.warpAffine(small, scaled, CANVAS, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT,
                            borderValue=(110, 110, 110))  # fmt: skip
    out = points * k
    out[:, :2] += m[:, 2]
    return np.asarray(canvas, np.uint8), out


def mirrored(image: Image, points: Array) -> float | None:
    """How far the flipped picture's landmarks are from the flipped landmarks."""
    found = find_faces(np.ascontiguousarray(image[:, ::-1]))
    if not found:
        return None
    back = found[0].landmarks[mirror()].copy()
    back[:, 0] = image.shape[1] - 1 - back[:, 0]
    return apart(back, points)


def held(image: Image, noise: float) -> float:
    """How far landmarks go between frames that show the same."""
    rng, seen = np.random.default_rng(0), []
    with FaceTracker() as tracker:
        for _ in range(2 * FRAMES):
            frame = np.clip(image + rng.normal(0, noise, image.shape), 0, 255).astype(np.uint8) if noise else image
            face = tracker(frame)
            if face is not None:
                seen.append(face.landmarks)
    return float(np.mean([apart(a, b) for a, b in zip(seen[FRAMES:], seen[FRAMES + 1 :])]))


def cut_off(image: Image, whole: Array, share: float) -> float | None:
    """A picture that ends where `share` of the face's width is beyond it."""
    flat = whole[:SURFACE, 0]
    at = round(float(flat.max() - share * np.ptp(flat)))
    found = find_faces(np.ascontiguousarray(image[:, :at]))
    return apart(found[0].landmarks, whole) if found else None


def found_again(image: Image, points: Array) -> tuple[int, float] | None:
    """Frames until a face that went and came back elsewhere is followed, and how far off it is five frames later."""
    here, _ = placed(image, points, 200, 240)
    there, true = placed(image, points, 430, 240)
    nothing = np.full_like(here, 110)
    with FaceTracker() as tracker:
        for frame in [here] * 4 + [nothing] * 6:
            tracker(frame)
        for n in range(20):
            face = tracker(there)
            if face is not None and apart(face.landmarks, true) < 0.3:
                for _ in range(5):
                    face = tracker(there) or face
                return n + 1, apart(face.landmarks, true)
    return None


def told(name: str, values: list[float | None]) -> None:
    """One line."""
    good = [v for v in values if v is not None]
    print(f"{name:34} {np.mean(good):.5f}, worst {np.max(good):.5f}, of {len(good)} of {len(values)}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("--most", type=int, default=10**9, help="portraits")
    a = parser.parse_args()
    paths = sorted(p for p in a.portraits.iterdir() if p.suffix in (".jpg", ".png"))[: a.most]
    pictures = [(image, faces[0].landmarks) for image in map(read_image, paths) if (faces := find_faces(image))]
    small = [placed(image, points, 320, 240) for image, points in pictures]
    straight = [abs(fit_pose(mean_face(), p).angles[1]) for _, p in pictures]
    own = [(image, faces[0].landmarks) for image, _ in small if (faces := find_faces(image))]
    print(f"{len(pictures)} portraits, turned by {np.mean(straight):.0f} degrees")
    told("mirror", [mirrored(image, points) for image, points in own])
    told("still", [held(image, 0.0) for image, _ in small])
    told("noise", [held(image, NOISE) for image, _ in small])
    for share in (0.2, 0.4):
        told(f"edge, {share:.0%} beyond", [cut_off(image, points, share) for image, points in own])
    there = [(x, y) for y in (130, 350) for x in (170, 470)]
    counts = []
    for n in range(len(pictures)):
        canvas = np.full((*CANVAS[::-1], 3), 110, np.uint8)
        for k, (x, y) in enumerate(there):
            part, _ = placed(*pictures[(n + k) % len(pictures)], x, y, 120)
            box = np.s_[y - 110 : y + 110, x - 150 : x + 150]
            canvas[box] = part[box]
        counts.append(len(find_faces(canvas)))
    print(f"{'several: found of four':34} {np.mean(counts):.2f}, least {min(counts)}")
    back = [found_again(image, points) for image, points in pictures]
    told("lost and found: frames", [None if b is None else b[0] for b in back])
    told("lost and found: distance", [None if b is None else b[1] for b in back])


if __name__ == "__main__":
    main()
