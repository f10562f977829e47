"""How alike a clip of a small face is tracked as it is and again: turned by 4 degrees, 0.8 times as large, coded anew.

    python benchmarks/again.py CLIPS_DIR [--names A,B,...] [--frames 40]
    python benchmarks/mediapiped.py benchmarks/again.py CLIPS_DIR ...    # the same by MediaPipe's graph

`apart`: how far landmarks of the two are from each other, and `trembling`: how much that changes from frame to frame,
both in IOD; `units`: correlation of Action Units read of the two, smoothed as a driver's, over those that move.
"""

from __future__ import annotations

import argparse
import io
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.drivers.capture import Capture, Sighting, choose_rest
from infinex.face import topology as top
from infinex.face.pose import fit_pose
from infinex.face.reading import read_units
from infinex.face.tracker import FaceTracker
from infinex.media.video import VideoReader

ANGLE, SCALE, QUALITY, MOVES = 4.0, 0.8, "26", 0.05


def coded(frames: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Frames (H, W, 3) after a coder made film of them."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": QUALITY, "preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode())
    file.seek(0)
    with av.open(file) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


def tracked(frames: list[NDArray[np.uint8]]) -> list[NDArray[np.float64] | None]:
    """Landmarks (478, 3) of every frame."""
    with FaceTracker() as tracker:
        return [None if (face := tracker(frame)) is None else face.landmarks for frame in frames]


def units(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intensities (T, U) in landmarks (T, 478, 3), measured from the first frame."""
    capture = Capture(choose_rest([points[0]])[0], fit_pose(top.mean_face(), points[0]).scale, 25)
    moves = capture.moves((Sighting(p), None) for p in points)
    return np.concatenate([read_units(move.offsets[None]) for move, _, _ in moves])


def compared(frames: list[NDArray[np.uint8]]) -> tuple[float, float, float]:
    """`apart`, `trembling` and `units` of a clip, the last NaN where none moves."""
    h, w = frames[0].shape[:2]
    m = cv2.getRotationMatrix2D((w / 2, h / 2), ANGLE, SCALE)
    side = max(h, w) // 2 * 2
    m[:, 2] += [(side - w) / 2 + 3.3, (side - h) / 2 - 1.6]
    changed = coded([cv2.warpAffine(f, m, (side, side), borderMode=cv2.BORDER_REPLICATE) for f in frames])
    pairs = [(a, b) for a, b in zip(tracked(frames), tracked(changed)) if a is not None and b is not None]
    one, two = (np.stack(p) for p in zip(*pairs))
    back = cv2.invertAffineTransform(m)
    off = two[..., :2] @ back[:, :2].T + back[:, 2] - one[..., :2]
    off /= np.linalg.norm(one[0, 33, :2] - one[0, 263, :2])
    first, second = units(one), units(two)
    r = [np.corrcoef(a, b)[0, 1] if b.any() else 0.0 for a, b in zip(first.T, second.T) if a.std() > MOVES]
    apart = np.linalg.norm(off - off.mean(0), axis=2).mean()
    return float(apart), float(np.linalg.norm(np.diff(off, axis=0), axis=2).mean()), float(np.mean(r or [np.nan]))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--names", help="clips without their ending; all by default")
    parser.add_argument("--frames", type=int, default=40)
    a = parser.parse_args()
    names = a.names.split(",") if a.names else sorted(p.stem for p in a.clips.glob("*.mp4"))
    rows = []
    for name in names:
        with VideoReader(a.clips / f"{name}.mp4") as reader:
            rows.append(compared([frame.image.copy() for frame in islice(reader, a.frames)]))
        print(f"{name:26} apart {rows[-1][0]:.5f}  trembling {rows[-1][1]:.5f}  units {rows[-1][2]:.4f}", flush=True)
    print("{:26} apart {:.5f}  trembling {:.5f}  units {:.4f}".format("mean", *np.nanmean(rows, axis=0)))


if __name__ == "__main__":
    main()
