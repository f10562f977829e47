"""CPU time of one tracked frame, beside MediaPipe in the same run where mediapipe==0.10.21 is installed.

    python benchmarks/track.py CLIP [--frames 100] [--portraits DIR]
    python benchmarks/track.py CLIP --long 9000 [--into .motion.npz] [--followed 3000]
    python benchmarks/track.py CLIPS_DIR [--frames 100]

Every frame is put on a canvas of 1280x720, then followed: by `FaceTracker`, and by the same tracker standing on
MediaPipe's graph. Of a folder the clips are put on such canvases and tracked into OpenFace's tables as `infinex track
CLIPS_DIR --format openface` does it, by as many processes as there are cores and by one. `--portraits` looks at thirty
pictures one after another and prints memory and threads. `--long` shows the clip again and again for so many frames and
prints how the memory of `infinex track` grows, and what that makes of two hours; 1024 frames at a time are not packed
yet, so take several times as many. With `--followed` only so many of them are decoded and tracked, and what the last
hundred of these gave is handed on again and again: two hours (`--long 180000`) in minutes, in all that keeps something
of a frame.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.drivers.contract import Drive
from infinex.drivers.video import VideoDriver
from infinex.face.networks import Box, square_of
from infinex.face.tracker import FaceTracker, find_faces
from infinex.media.encode import join
from infinex.media.image import read_image
from infinex.media.sink import open_sink
from infinex.media.video import VideoReader

TWO_HOURS = 180_000  # frames
FIRST = """
import time
begun = time.process_time()
from infinex.face.tracker import FaceTracker
from infinex.media.image import read_image
import sys
assert FaceTracker()(read_image(sys.argv[1])) is not None
print(time.process_time())
"""


def frames(path: Path, count: int) -> list[NDArray[np.uint8]]:
    """The first frames, each filling a canvas of 1280x720 as far as it can."""
    out = []
    with VideoReader(path) as reader:
        for frame in islice(reader, count):
            h, w = frame.image.shape[:2]
            k = min(1280 / w, 720 / h)
            part = cv2.resize(frame.image, (round(w * k), round(h * k)), interpolation=cv2.INTER_AREA)
            canvas = np.zeros((720, 1280, 3), np.uint8)
            y, x = (720 - part.shape[0]) // 2, (1280 - part.shape[1]) // 2
            canvas[y : y + part.shape[0], x : x + part.shape[1]] = part
            out.append(canvas)
    return out


class Graph:
    """MediaPipe's face mesh as the network of a `FaceTracker`."""

    def __init__(self) -> None:
        from faces import Theirs

        self._theirs = Theirs()
        self._mesh: Any = self._theirs.mesh(False)
        self._square: Box | None = None

    def landmarks(self, image: NDArray[np.uint8], near: Box) -> NDArray[np.float64] | None:
        """(478, 3) in pixels, found in a square of the picture, since the graph looks at all that it is given."""
        if self._square is None:
            self._square = near
            self._mesh.reset()
        part, k, corner = square_of(image, self._square)
        points = self._theirs.landmarks(self._mesh, part)
        if points is None:
            return None
        points = points / k
        points[:, :2] += corner
        low, high = points[:, :2].min(0), points[:, :2].max(0)
        x0, y0, x1, y1 = self._square
        if min(*(low - [x0, y0]), *([x1, y1] - high)) < 0.12 * (x1 - x0):
            self._square = None  # it nears the rim
        return points

    def reset(self) -> None:
        """Forget the face."""
        self._square = None


def timed(tracker: FaceTracker, images: list[NDArray[np.uint8]]) -> float:
    """Median CPU milliseconds of a frame, once the face is followed."""
    spent = []
    for image in images:
        begun = time.process_time()
        tracker(image)
        spent.append((time.process_time() - begun) * 1e3)
    return float(np.median(spent[5:]))


def held() -> tuple[float, int]:
    """Megabytes and threads of this process (Linux)."""
    status = Path("/proc/self/status").read_text()
    value = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if line.startswith(("VmRSS", "Thr"))}
    return int(value["VmRSS"]) / 1024, int(value["Threads"])


def replaying(followed: int, count: int) -> type[VideoDriver]:
    """A driver of `count` drives that follows the face in so many frames only."""

    class Replaying(VideoDriver):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            self.frames = count

        def __iter__(self) -> Iterator[Drive]:
            last: deque[Drive] = deque(maxlen=100)
            for drive in islice(super().__iter__(), followed):
                last.append(drive)
                yield drive
            yield from islice(cycle([replace(drive, begins=None) for drive in last]), count - followed)

    return Replaying


def grown(clip: Path, count: int, ending: str, followed: int) -> None:
    """Print how memory grows while `count` frames of a clip that is shown again and again are tracked into a file."""
    import infinex.jobs.track as tracking
    from infinex.jobs.export import export
    from infinex.jobs.track import track

    if followed:
        tracking.VideoDriver = replaying(followed, count)  # type: ignore[misc]

    seen: list[tuple[int, float]] = []

    def progress(done: int, total: int | None) -> None:
        if done % 100 == 0:
            seen.append((done, held()[0]))

    with TemporaryDirectory() as folder:
        long, out = Path(folder) / f"long{clip.suffix}", Path(folder) / f"out{ending}"
        with VideoReader(clip) as reader:
            rate, times = reader.info.fps, -(-count // max(1, sum(1 for _ in reader)))
        if followed:
            times = -(-(followed + 300) // (count // times))
        join([clip] * times, long, rate, {}, None, 0.0, None)
        if ending == ".motion.npz":
            track(long, progress=progress, output=out)
        else:
            export(long, out, "openface", progress=progress)
        size = out.stat().st_size / 1e6
    at, mb = np.array(seen).T
    later = at >= at[-1] / 3
    slope = float(np.polyfit(at[later], mb[later], 1)[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{ending}: {at[-1]:.0f} frames, {mb[0]:.0f} MB after 100, {mb[-1]:.0f} at the end, {peak:.0f} at most")
    print(f"{1024 * slope:.2f} kB a frame, a file of {size:.1f} MB; by that two hours at 25 frames/s want "
          f"{peak + slope * (TWO_HOURS - at[-1]):.0f} MB")  # fmt: skip


def folder_of(clips: Path, count: int) -> None:
    """Print how fast a folder of clips is tracked into tables, from the command to its end."""
    with TemporaryDirectory() as folder:
        wide, total = Path(folder) / "wide", 0
        wide.mkdir()
        for path in sorted(p for p in clips.iterdir() if p.suffix in (".mp4", ".mov", ".webm")):
            images = frames(path, count)
            total += len(images)
            with open_sink(wide / f"{path.stem}.mp4", (1280, 720), 25) as sink:
                for image in images:
                    sink.write(image)
        cores = len(os.sched_getaffinity(0))
        for used in (cores, 1):
            call = [sys.executable, "-m", "infinex.cli", "track", str(wide), "-o", f"{folder}/{used}", "--quiet",
                    "--format", "openface", "--jobs", str(used)]  # fmt: skip
            if used == 1:
                call = ["taskset", "-c", str(min(os.sched_getaffinity(0))), *call]
            begun, spent = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
            took, now = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = now.ru_utime + now.ru_stime - spent.ru_utime - spent.ru_stime
            rates = total / took, total / cpu
            print(f"{used} cores: {total} frames in {took:.1f} s, {rates[0]:.1f} a second, {rates[1]:.1f} of CPU")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--portraits", type=Path)
    parser.add_argument("--long", type=int, default=0, help="frames of a long clip made of this one")
    parser.add_argument("--followed", type=int, default=0, help="how many of these are decoded and tracked")
    parser.add_argument("--into", default=".motion.npz", choices=(".motion.npz", ".csv"))
    args = parser.parse_args()
    if args.clip.is_dir():
        folder_of(args.clip, args.frames)
        return
    if args.long:
        grown(args.clip, args.long, args.into, args.followed)
        return
    if args.portraits:
        pictures = [p for p in sorted(args.portraits.iterdir()) if p.suffix in (".jpg", ".png")]
        for count, path in enumerate(islice(cycle(pictures), 30), 1):
            find_faces(read_image(path))
            if count in (1, 10, 20, 30):
                megabytes, threads = held()
                print(f"after {count} portraits: {megabytes:.0f} MB, {threads} threads")
    images = frames(args.clip, args.frames)
    own = [timed(FaceTracker(), images)]
    try:
        theirs = []
        for _ in range(2):  # turn about, as the machine's speed drifts
            tracker = FaceTracker()
            tracker._mesh = Graph()  # type: ignore[assignment]
            theirs.append(timed(tracker, images))
            own.append(timed(FaceTracker(), images))
    except ImportError:
        print(f"CPU of a tracked frame: {min(own):.2f} ms; mediapipe is not installed to compare with")
    else:
        ratio = min(own) / min(theirs)
        print(f"CPU of a tracked frame: {min(own):.2f} ms, by MediaPipe {min(theirs):.2f} ms, ratio {ratio:.2f}")
    portrait = Path(__file__).parents[1] / "infinex" / "studio" / "static" / "examples" / "hopper.jpg"
    seconds = [
        float(subprocess.run([sys.executable, "-c", FIRST, portrait], check=True, capture_output=True, text=True,
                             env=os.environ).stdout.split()[-1])
        for _ in range(3)
    ]  # fmt: skip
    print(f"CPU from the start of Python to the first tracked face: {min(seconds):.2f} s")


if __name__ == "__main__":
    main()
