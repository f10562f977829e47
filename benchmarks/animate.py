"""Speed and memory of `infinex animate`, from file to file.

    python benchmarks/animate.py [--driver CLIP] [--long MINUTES]

Prints frames per second for three sizes, the share of each stage, the time to the first frame of a fresh
process, and the peak memory of a long driver. Where PyTorch is installed, a plain evaluation of a network
with the layer sizes of the First Order Motion Model (random weights) is timed in the same run.
Without --driver a clip is made from the public-domain portrait inside Matplotlib.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np

from infinex.drivers.capture import Sighting
from infinex.drivers.motion import load_motion
from infinex.drivers.video import VideoDriver
from infinex.face.tracker import FaceTracker
from infinex.media.image import read_image, write_image
from infinex.media.sink import open_sink
from infinex.media.video import VideoReader
from infinex.mesh.engine import MeshEngine, MeshOptions
from infinex.pipeline import Options, Stage, animate, load_source, render

STAGES = ("decode", "track", "motion", "render", "encode")
HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
CASES = {"512x512": (512, 512, 1.0), "1920x1080": (1920, 1080, 0.55), "4096x4096": (4096, 4096, 0.25)}


def portrait(width: int, height: int, share: float) -> np.ndarray:
    """The portrait on a canvas, its face about `share` of the shorter side."""
    image = read_image(HOPPER)
    k = min(width, height) * share / 230 if share < 1 else max(width / image.shape[1], height / image.shape[0])
    image = cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_CUBIC)
    top, left = max(0, height - image.shape[0]), max(0, (width - image.shape[1]) // 2)
    canvas = np.full((height, width, 3), 90, np.uint8)
    part = image[: height - top, : width - left]
    canvas[top : top + part.shape[0], left : left + part.shape[1]] = part
    return canvas


def make_driver(path: Path, seconds: float) -> Path:
    """A 512-pixel clip of a talking face, as long as asked."""
    sources = load_source(HOPPER, size=512)
    motion = load_motion("talking").loop(min(seconds, 10.0))
    frames = list(render(sources, motion))
    with open_sink(path, frames[0].shape[1::-1], motion.fps, metadata={}) as sink:
        for i in range(round(seconds * motion.fps)):
            j = i % (2 * len(frames) - 2)  # there and back, so that no jump shows
            sink.write(frames[j if j < len(frames) else 2 * len(frames) - 2 - j])
    return path


def stages(image: Path, driver: Path, out: Path) -> dict[str, float]:
    """Milliseconds a frame of each stage, one after the other."""
    spent: dict[str, float] = defaultdict(float)

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = work()
        spent[name] += time.perf_counter() - start
        return result

    stage = Stage(load_source(image), MeshEngine(MeshOptions()))
    clip = VideoDriver(driver).settle(stage.faces[0].face.pose)
    stage.begin(clip.rest, clip.rest_image, clip.rest_points)
    reader = iter(VideoReader(driver))
    tracker = FaceTracker()
    frames, seen = [], []
    for _ in range(60):
        frame = timed("decode", lambda: next(reader))
        face = timed("track", lambda f=frame: tracker(f.image))
        frames.append(frame)
        seen.append((Sighting(None if face is None else face.landmarks), frame))
    tracker.close()
    capture = clip._capture
    moves = timed("motion", lambda: list(capture.moves(seen)))
    from infinex.engine import Drive

    with open_sink(out, stage.image.shape[1::-1], clip.fps) as sink:
        for i, (move, points, frame) in enumerate(moves):
            drive = Drive(move, frame.image, points)
            if i == 0:
                stage.render(drive)  # compile outside the clock
            canvas, _ = timed("render", lambda d=drive: stage.render(d))
            timed("encode", lambda c=canvas: sink.write(c, stage.box))
    return {name: seconds * 1e3 / len(moves) for name, seconds in spent.items()}


def reference() -> float | None:
    """Frames per second of a network as large as the First Order Motion Model, or None without PyTorch."""
    try:
        import torch

        from infinex.systems.fomm.model import CONFIGS, FommModel
    except ImportError:
        return None
    torch.manual_seed(0)
    network = FommModel(CONFIGS["vox-256"]).eval()
    image = torch.rand(1, 3, 256, 256)
    with torch.inference_mode():
        best = 1e9
        for _ in range(3):
            start = time.perf_counter()
            network(image, image)
            best = min(best, time.perf_counter() - start)
    return 1 / best


def first_frame(image: Path, driver: Path, out: Path) -> float:
    """Seconds from starting a fresh process to its first rendered frame."""
    code = (
        "import sys, time; start = float(sys.argv[4]);\n"
        "from infinex.pipeline import animate\n"
        "seen = []\n"
        "animate(*sys.argv[1:4], progress=lambda n, t: seen.append(time.time()))\n"
        "print(seen[0] - start)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(image), str(driver), str(out), str(time.time())],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(result.stdout)


def peak_memory(image: Path, driver: Path, out: Path) -> float:
    """Peak memory in MB of a whole animation in a fresh process."""
    code = (
        "import resource, sys; from infinex.pipeline import animate; animate(*sys.argv[1:4])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(image), str(driver), str(out)], capture_output=True, text=True, check=True
    )
    return float(result.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--driver", type=Path)
    parser.add_argument("--long", type=float, default=0, help="also measure memory with a driver of so many minutes")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tmp = Path(folder)
        driver = a.driver or make_driver(tmp / "driver.mp4", 10)
        print(f"{os.cpu_count()} cores; file to file, driver {driver.name}")
        print(f"{'portrait':12}{'frames/s':>9}  " + "".join(f"{n:>9}" for n in STAGES) + "   ms a frame, alone")
        for name, (w, h, share) in CASES.items():
            image = tmp / f"{name}.png"
            write_image(image, portrait(w, h, share))
            animate(image, "wink", tmp / "warm.mp4")  # compiled code is cached on disk
            summary = animate(image, driver, tmp / "out.mp4", Options())
            each = stages(image, driver, tmp / "stages.mp4")
            print(f"{name:12}{summary.fps:9.1f}  " + "".join(f"{each[n]:9.1f}" for n in STAGES), flush=True)
        yardstick = reference()
        if yardstick is None:
            print("reference network: PyTorch is not installed")
        else:
            print(f"reference network (First Order Motion Model, 256x256): {yardstick:.2f} frames/s")
        image = tmp / "512x512.png"
        print(f"first frame after {first_frame(image, driver, tmp / 'a.mp4'):.1f} s, imports included")
        if a.long:
            short = peak_memory(image, driver, tmp / "b.mp4")
            long = make_driver(tmp / "long.mp4", 60 * a.long)
            print(
                f"peak memory {short:.0f} MB; with a driver of {a.long:g} minutes "
                f"{peak_memory(image, long, tmp / 'c.mp4'):.0f} MB"
            )
        print(f"this process peaked at {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
