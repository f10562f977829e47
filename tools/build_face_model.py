"""Build infinex/face/data/face_model.npz: triangles, mirror map and the mean neutral face.

Run on a folder of tracks, one (T, 478, 3) .npy in pixels for each clip of one person:

    python tools/build_face_model.py TRACKS_DIR

The mean is a Procrustes mean over each person's most frontal, closed-mouth frames, made symmetric.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from mediapipe.python.solutions import face_mesh_connections
from scipy.optimize import linear_sum_assignment

from infinex.face.pose import similarity
from infinex.face.topology import LIPS_INNER_LOWER, LIPS_INNER_UPPER, POINTS, RIGID

OUT = Path(__file__).parents[1] / "infinex" / "face" / "data" / "face_model.npz"


def surface_triangles() -> np.ndarray:
    """Every 3-clique of the tesselation's edges, (854, 3)."""
    near: dict[int, set[int]] = {}
    for a, b in face_mesh_connections.FACEMESH_TESSELATION:
        near.setdefault(a, set()).add(b)
        near.setdefault(b, set()).add(a)
    cliques = {(a, b, c) for a in near for b in near[a] if b > a for c in near[a] & near[b] if c > b}
    return np.array(sorted(cliques), np.int32)


def wound(triangles: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The triangles in one winding order: positive area on a screen with y down."""
    p = mean[triangles][:, :, :2]
    u, v = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
    flip = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0] < 0
    return np.where(flip[:, None], triangles[:, ::-1], triangles)


def neutral_frames(track: np.ndarray, count: int = 12) -> list[np.ndarray]:
    """The frames of one clip with the least yaw and the least open mouth."""
    track = track[np.isfinite(track).all((1, 2))].astype(np.float64)
    iod = np.linalg.norm(track[:, 33] - track[:, 263], axis=1)
    right = np.linalg.norm(track[:, 1, :2] - track[:, 234, :2], axis=1)
    left = np.linalg.norm(track[:, 1, :2] - track[:, 454, :2], axis=1)
    gap = (track[:, LIPS_INNER_LOWER[5], 1] - track[:, LIPS_INNER_UPPER[5], 1]) / iod
    cost = np.abs(np.log(right / left)) + 3 * np.maximum(gap, 0)
    return list(track[np.argsort(cost)[:count]])


def upright(mean: np.ndarray) -> np.ndarray:
    """Rotate so that the eyes are level and the face plane upright; IOD 1, origin between the eyes."""
    x = mean[263] - mean[33]
    x /= np.linalg.norm(x)
    y = mean[152] - mean[10]
    y -= (y @ x) * x
    y /= np.linalg.norm(y)
    out = mean @ np.stack([x, y, np.cross(x, y)]).T
    out /= np.linalg.norm(out[33] - out[263])
    return out - (out[33] + out[263]) / 2


def mirror_map(mean: np.ndarray) -> np.ndarray:
    """One-to-one partner of each point under x -> -x."""
    out = np.arange(POINTS)
    for part in (slice(0, 468), slice(468, 478)):
        p = mean[part]
        cost = np.linalg.norm(p[:, None] - (p * [-1, 1, 1])[None], axis=2) ** 2
        out[part] = linear_sum_assignment(cost)[1] + part.start
    return out.astype(np.int32)


def main() -> None:
    faces = [f for path in sorted(Path(sys.argv[1]).glob("*.npy")) for f in neutral_frames(np.load(path))]
    mean = faces[0] - faces[0].mean(0)
    mean /= np.linalg.norm(mean[33] - mean[263])
    for _ in range(6):
        aligned = []
        for face in faces:
            pose = similarity(mean[RIGID], face[RIGID])
            aligned.append(pose.to_head(face))
        mean = upright(np.mean(aligned, 0))
    partner = mirror_map(mean)
    assert (partner[partner] == np.arange(POINTS)).all(), "the mirror map must be its own inverse"
    mean = (mean + (mean * [-1, 1, 1])[partner]) / 2
    pivot = np.array([0.0, 0.45 * mean[152, 1], mean[[234, 454], 2].mean() + 0.1])
    OUT.parent.mkdir(exist_ok=True)
    np.savez_compressed(OUT, triangles=wound(surface_triangles(), mean), mirror=partner, mean_face=mean - pivot)
    print(f"{len(faces)} faces, {len(surface_triangles())} triangles -> {OUT}")


if __name__ == "__main__":
    main()
