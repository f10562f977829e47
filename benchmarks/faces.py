"""How close the face networks are to MediaPipe's own graphs on the same pictures; needs mediapipe==0.10.21 beside them.

    python benchmarks/faces.py DATA_DIR                      # DATA_DIR/clips and DATA_DIR/portraits
    python benchmarks/faces.py --record tests/face/data      # what MediaPipe gives, kept for the tests

Landmarks are compared in windows around the face, found anew in stills and followed through clips, in pixels of a
window of 256, sampled as MediaPipe samples them except where each follows by itself; boxes in pixels of the picture;
masks in 0..1.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinex.face.networks import Detector, Mesh, MeshTracker, Segmenter, Window
from infinex.media.image import read_image
from infinex.media.video import VideoReader

os.environ.setdefault("GLOG_minloglevel", "3")
SIDE = 384  # of the windows
FRAMES = 60  # of each clip
ROOM = 2.0  # of a window over the box of a face


class Theirs:
    """MediaPipe's solutions, asked as this package once asked them."""

    def __init__(self) -> None:
        from mediapipe.python import solutions

        self._solutions = solutions
        self.near, self.far = (
            solutions.face_detection.FaceDetection(model_selection=k, min_detection_confidence=0.3) for k in (0, 1)
        )
        self.person = solutions.selfie_segmentation.SelfieSegmentation(model_selection=0)

    def mesh(self, still: bool) -> Any:
        """A face mesh that looks afresh, or follows."""
        return self._solutions.face_mesh.FaceMesh(
            static_image_mode=still, max_num_faces=1, refine_landmarks=True, min_detection_confidence=0.3,
            min_tracking_confidence=0.3,
        )  # fmt: skip

    @staticmethod
    def landmarks(mesh: Any, image: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """(478, 3) in pixels of a square picture."""
        found = mesh.process(image).multi_face_landmarks
        side = image.shape[1]
        return None if not found else np.array([(p.x * side, p.y * side, p.z * side) for p in found[0].landmark])

    @staticmethod
    def boxes(detector: Any, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(N, 5): x0, y0, x1, y1 in pixels, score; best first."""
        h, w = image.shape[:2]
        rows = []
        for d in detector.process(image).detections or []:
            b = d.location_data.relative_bounding_box
            rows.append((b.xmin * w, b.ymin * h, (b.xmin + b.width) * w, (b.ymin + b.height) * h, d.score[0]))
        return np.array(sorted(rows, key=lambda r: -r[4])).reshape(-1, 5)


def own_boxes(detector: Detector, image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The same of ours."""
    return np.array([(*d.box, d.score) for d in detector(image)]).reshape(-1, 5)


def window_of(image: NDArray[np.uint8], room: float = ROOM, shift: float = 0.0, angle: float = 0.0) -> Window | None:
    """A square around the surest face."""
    found = Detector(least=0.3)(image) or Detector(far=True, least=0.3)(image)
    if not found:
        return None
    x0, y0, x1, y1 = found[0].box
    side = max(x1 - x0, y1 - y0)
    return Window((x0 + x1) / 2 + shift * side, (y0 + y1) / 2, room * side, room * side, angle)


def clip_windows(path: Path) -> Iterator[NDArray[np.uint8]]:
    """One still window through the frames of a clip."""
    window: Window | None = None
    with VideoReader(path) as reader:
        for frame in reader:
            if frame.index >= FRAMES:
                return
            window = window or window_of(frame.image)
            if window is not None:
                yield window.cut(frame.image, SIDE)


class Gap:
    """Differences gathered: mean, largest, and how often only one of the two saw a face."""

    def __init__(self) -> None:
        self.all: list[NDArray[np.float64]] = []
        self.both = self.one = 0

    def add(self, a: NDArray | None, b: NDArray | None) -> None:
        """Landmarks (478, 3) or None of the two."""
        if a is None or b is None:
            self.one += (a is None) != (b is None)
            return
        self.both += 1
        self.all.append(np.linalg.norm((a - b)[:, :2], axis=1) * 256 / SIDE)

    def __str__(self) -> str:
        values = np.concatenate(self.all)
        return f"{values.mean():9.4f} {values.max():9.3f} {self.both:7d} {self.one:9d}"


def compare(folder: Path) -> bool:
    """Print the table; whether it holds."""
    theirs = Theirs()
    pictures = [read_image(p) for p in sorted((folder / "portraits").iterdir()) if p.suffix in (".jpg", ".png")]
    stills, shared, followed = Gap(), Gap(), Gap()
    mesh, own = theirs.mesh(True), MeshTracker(True, Mesh(Window.cut))
    for image in pictures:
        for room, shift, angle in ((2.0, 0.0, 0.0), (2.4, 0.2, 0.3), (1.7, -0.15, -0.5)):
            window = window_of(image, room, shift, angle)
            if window is not None:
                part = window.cut(image, SIDE)
                stills.add(theirs.landmarks(mesh, part), own.landmarks(part))
    mesh.close()
    spent = [0.0, 0.0]
    for path in sorted((folder / "clips").rglob("*.mp4")):
        mesh, own, led = theirs.mesh(False), MeshTracker(still=False), MeshTracker(False, Mesh(Window.cut))
        for part in clip_windows(path):
            a = time.process_time()
            left = theirs.landmarks(mesh, part)
            b = time.process_time()
            right = own.landmarks(part)
            spent = [spent[0] + b - a, spent[1] + time.process_time() - b]
            followed.add(left, right)
            shared.add(left, led.landmarks(part))
            led.seen(left)  # so that both look at the same window of the next frame
        mesh.close()
    print(f"{'landmarks, px at 256':34} {'mean':>9} {'largest':>9} {'frames':>7} {'one alone':>9}")
    print(f"{'stills, looked at afresh':34} {stills}")
    print(f"{'clips, in the same windows':34} {shared}\n{'clips, each following by itself':34} {followed}")
    print(f"CPU seconds on the clips: MediaPipe {spent[0]:.1f}, ours {spent[1]:.1f}, ratio {spent[1] / spent[0]:.2f}")
    good = max(float(np.concatenate(g.all).mean()) for g in (stills, shared)) < 0.05
    for name, detector, ours in (("near", theirs.near, Detector()), ("far", theirs.far, Detector(far=True))):
        same, worst = 0, 0.0
        for image in pictures:
            left, right = theirs.boxes(detector, image), own_boxes(ours, image)
            if len(left) == len(right):
                same += 1
                worst = max(worst, float(np.abs(left - right)[:, :4].max(initial=0)))
        print(f"detector {name}: the same faces in {same} of {len(pictures)} pictures, boxes within {worst:.3f} px")
        good &= same == len(pictures)
    masks = [np.abs(theirs.person.process(p).segmentation_mask - Segmenter()(p)).mean() for p in pictures]
    print(f"mask of the person: mean difference {np.mean(masks):.5f}, of the worst picture {np.max(masks):.5f}")
    return good and float(np.mean(masks)) < 0.01


def record(folder: Path) -> None:
    """Write what MediaPipe gives for two public-domain portraits, small."""
    theirs = Theirs()
    folder.mkdir(parents=True, exist_ok=True)
    out: dict[str, NDArray] = {}
    for name, path in portraits().items():
        image = read_image(path)
        out[f"{name}_near"] = theirs.boxes(theirs.near, image).astype(np.float32)
        out[f"{name}_far"] = theirs.boxes(theirs.far, image).astype(np.float32)
        mask = theirs.person.process(image).segmentation_mask
        out[f"{name}_mask"] = np.round(mask[::16, ::16] * 255).astype(np.uint8)
        mesh = theirs.mesh(True)
        for k, (room, shift, angle) in enumerate(WINDOWS):
            window = recorded_window(out[f"{name}_near"][0], room, shift, angle)
            points = theirs.landmarks(mesh, window.cut(image, SIDE))
            assert points is not None
            out[f"{name}_mesh_{k}"] = points.astype(np.float32)
        mesh.close()
    np.savez_compressed(folder / "mediapipe.npz", **out)
    print(f"{folder / 'mediapipe.npz'}: {(folder / 'mediapipe.npz').stat().st_size / 1e3:.0f} kB")


WINDOWS = ((2.0, 0.0, 0.0), (2.4, 0.2, 0.3), (1.7, -0.15, -0.5))  # side over the face's, shift, angle


def recorded_window(box: NDArray, room: float, shift: float, angle: float) -> Window:
    """The window that was recorded around a box (x0, y0, x1, y1, ...)."""
    x0, y0, x1, y1 = (float(v) for v in box[:4])
    side = max(x1 - x0, y1 - y0)
    return Window((x0 + x1) / 2 + shift * side, (y0 + y1) / 2, room * side, room * side, angle)


def portraits() -> dict[str, Path]:
    """Two public-domain portraits inside packages."""
    import matplotlib
    import skimage

    return {
        "hopper": Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg",
        "collins": Path(skimage.__file__).parent / "data" / "astronaut.png",
    }


def main() -> int:
    """0 where the networks are equal enough."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--record", type=Path)
    args = parser.parse_args()
    if args.record:
        record(args.record)
    if args.data:
        return 0 if compare(args.data) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
