"""Speed and memory of `infinex animate`, from file to file, each run in a process of its own.

    python benchmarks/animate.py [--driver CLIP] [--beside COMMIT [--python PYTHON]] [--pairs N] [--long MINUTES]
                                 [--pictures PORTRAIT ...]

For portraits of several sizes: processor time a frame of all processes, start and end included; frames a second
once it runs; peak memory of all processes together, what they share counted once, in a run of its own; seconds from the
start of the process to its first frame, with all compiled code in its cache: a run with a part of the driver comes
before. Nothing is known of the portrait but in the line `again`, where it was animated before. Then the first run ever,
with nothing compiled. With `--beside` the same is done in turn with another commit, by PYTHON where that needs other
libraries, and the ratio is printed, median of the pairs; then the frames of both are compared, before encoding: of the
portraits that `--pictures` names, or of the ones that are timed. Without --driver a clip of 30 seconds, 1280x720, is
made from the public-domain portrait inside Matplotlib.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np

from infinex.drivers.motion import load_motion
from infinex.media.image import read_image, write_image
from infinex.media.sink import open_sink
from infinex.media.video import VideoReader
from infinex.pipeline import load_source, render

HERE = Path(__file__).resolve().parents[1]
HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
CASES = {
    "512x512": (512, 512, 1.0), "1920x1080": (1920, 1080, 0.55), "3840x2160": (3840, 2160, 0.55),
    "4096x4096": (4096, 4096, 0.25),
}  # fmt: skip
BARS = {"512x512": 0.35, "1920x1080": 0.4, "4096x4096": 0.5}  # of the processor time of commit 87df446
SHORT = 4.0  # seconds of a driver, of which the first 72 frames are looked at before anything is drawn
LIKE = 42.0  # dB from which two frames count as the same
RUN = """
import importlib.util, json, sys, time
start = float(sys.argv[4])
from infinex import cli
getattr(cli, "frugal", getattr(cli, "_frugal", int))()  # as the command line begins
if "." in sys.argv[2] and importlib.util.find_spec("infinex.beside"):
    from infinex.beside import make_ready
    make_ready("infinex.drivers.apart")
from infinex.pipeline import animate
seen = []
animate(*sys.argv[1:4], progress=lambda n, t: seen.append(time.time()))
print(json.dumps([s - start for s in seen]))
"""
OFTEN = 0.1  # seconds between two looks at the memory


@dataclass
class Took:
    """What one run took: seconds of processor, seconds to each frame."""

    cpu: float
    seen: list[float]

    @property
    def each(self) -> float:
        """Milliseconds of processor a frame."""
        return 1e3 * self.cpu / len(self.seen)

    @property
    def steady(self) -> float:
        """Frames a second over the last two thirds."""
        n = len(self.seen) // 3
        return (len(self.seen) - 1 - n) / (self.seen[-1] - self.seen[n])


@dataclass(frozen=True)
class Tree:
    """A working tree of the project, and the Python that runs it; what is compiled is kept in `cache`."""

    root: Path
    python: str
    cache: Path

    def _environment(self, cache: Path, portraits: Path | None) -> dict[str, str]:
        # An installation comes with its bytecode; here it is written at the first run that does not count.
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        bytecode = {"PYTHONPYCACHEPREFIX": str(self.cache / "bytecode"), "INFINEX_CACHE": str(portraits or "none")}
        return {**kept, **bytecode, "PYTHONPATH": str(self.root), "NUMBA_CACHE_DIR": str(cache)}

    def animate(
        self, image: Path, driver: Path, out: Path, cache: Path | None = None, portraits: Path | None = None,
        watch: Callable[[int], None] | None = None,
    ) -> Took:  # fmt: skip
        """Animate in a fresh process; with an empty `cache` it is the first run ever. What was made of portraits is
        kept in `portraits`. `watch` is called with the number of the process now and then."""
        command = [self.python, "-c", RUN, str(image), str(driver), str(out), str(time.time())]
        with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as wrong:
            process = subprocess.Popen(
                command, stdout=said, stderr=wrong, cwd=out.parent,
                env=self._environment(cache or self.cache, portraits),
            )  # fmt: skip
            if watch is not None:
                while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    watch(process.pid)
                    time.sleep(OFTEN)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            wrong.seek(0)
            if status:
                raise RuntimeError(f"{self.root}: {wrong.read()}")
            said.seek(0)
            seen = json.loads(said.read().splitlines()[-1])
        return Took(used.ru_utime + used.ru_stime, seen)

    def peak(self, image: Path, driver: Path, out: Path) -> float:
        """Memory in MB that a run takes at most, with the processes that it starts; not a number without Linux."""
        most = [float("nan")]

        def look(number: int) -> None:
            with contextlib.suppress(OSError, KeyError):
                children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
                each = [_memory(n) for n in (str(number), *children)]
                most.append(sum(own for own, _ in each) + max(files for _, files in each))

        self.animate(image, driver, out, watch=look)
        return float(np.nanmax(most))

    def pictures(self, image: Path, driver: Path, folder: Path) -> list[Path]:
        """Frames as they are before encoding."""
        command = [self.python, "-m", "infinex.cli", "animate", str(image), str(driver), "-o", str(folder)]
        subprocess.run(
            command, check=True, capture_output=True, cwd=folder.parent, env=self._environment(self.cache, None)
        )
        return sorted(folder.glob("*.png"))


def _memory(number: str) -> tuple[float, float]:
    """Megabytes of a process that are its own, and those of files, which others of its kind share with it."""
    lines = Path(f"/proc/{number}/status").read_text().splitlines()
    known = {name: int(value.split()[0]) / 1024 for name, _, value in (line.partition(":") for line in lines)
             if name.startswith("Rss")}  # fmt: skip
    return known["RssAnon"] + known["RssShmem"], known["RssFile"]


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
    """A clip of a talking face, 1280x720, as long as asked."""
    sources = load_source(HOPPER, size=640)
    motion = load_motion("talking").loop(min(seconds, 10.0))
    frames = list(render(sources, motion))
    picture = np.full((720, 1280, 3), 90, np.uint8)
    h, w = min(720, frames[0].shape[0]), min(1280, frames[0].shape[1])
    with open_sink(path, (1280, 720), motion.fps, metadata={}) as sink:
        for i in range(round(seconds * motion.fps)):
            j = i % (2 * len(frames) - 2)  # there and back, so that no jump shows
            picture[720 - h :, 640 - w // 2 : 640 - w // 2 + w] = frames[
                j if j < len(frames) else 2 * len(frames) - 2 - j
            ][:h, :w]
            sink.write(picture)
    return path


@contextlib.contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[Path]:
    """A working tree of another commit, for as long as it is needed."""
    subprocess.run(["git", "-C", HERE, "worktree", "add", "--detach", folder, commit], check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["git", "-C", HERE, "worktree", "remove", "--force", folder], check=True, capture_output=True)


def cut(path: Path, driver: Path, seconds: float) -> Path:
    """The first `seconds` of a clip."""
    with VideoReader(driver, end=seconds) as reader:
        info = reader.info
        with open_sink(path, (info.width, info.height), info.fps, metadata={}) as sink:
            for frame in reader:
                sink.write(frame.image)
    return path


def timed(new: Tree, old: Tree | None, driver: Path, short: Path, tmp: Path, pairs: int, names: list[str]) -> None:
    """The table: one line for each size of portrait."""
    print(f"{os.cpu_count()} cores; file to file, driver {driver.name}")
    print(f"{'portrait':12}{'CPU ms/frame':>14}{'frames/s':>10}{'peak MB':>9}{'first frame s':>15}"
          + ("" if old is None else f"{'CPU beside':>12}{'ratio':>7}{'wanted':>8}"))  # fmt: skip
    for name in names:
        image = tmp / f"{name}.png"
        for tree in (new, old):  # compiled code is kept on disk
            if tree is not None:
                tree.animate(image, short, tmp / "warm.mp4")
        took, other = [], []
        for _ in range(pairs):
            if old is not None:
                other.append(old.animate(image, driver, tmp / "old.mp4"))
            took.append(new.animate(image, driver, tmp / "new.mp4"))
        line = f"{name:12}{np.median([t.each for t in took]):14.1f}{np.median([t.steady for t in took]):10.1f}"
        line += f"{new.peak(image, short, tmp / 'peak.mp4'):9.0f}{np.median([t.seen[0] for t in took]):15.1f}"
        if other:
            ratio = float(np.median([t.each / o.each for t, o in zip(took, other)]))
            line += f"{np.median([o.each for o in other]):12.1f}{ratio:7.2f}"
            if name in BARS:
                line += f"{BARS[name]:8.2f}{'' if ratio <= BARS[name] else '  missed'}"
        print(line, flush=True)
        again = [new.animate(image, driver, tmp / "new.mp4", portraits=tmp / "portraits") for _ in range(1 + pairs)][1:]
        print(f"{'  again':12}{np.median([t.each for t in again]):14.1f}{np.median([t.steady for t in again]):10.1f}"
              f"{'':9}{np.median([t.seen[0] for t in again]):15.1f}", flush=True)  # fmt: skip


def compared(new: Tree, old: Tree, images: list[Path], driver: Path, tmp: Path) -> None:
    """How like the frames of both trees are."""
    for n, image in enumerate(images):
        folders = [tmp / f"{kind}-{n}" for kind in ("new", "old")]
        made = [tree.pictures(image, driver, folder) for tree, folder in zip((new, old), folders)]
        apart = []
        for a, b in zip(*made):
            one, other = (cv2.imread(str(p)).astype(np.float64) for p in (a, b))
            apart.append(10 * np.log10(255**2 / max(float(((one - other) ** 2).mean()), 1e-9)))
        verdict = "" if min(apart) >= LIKE else f"  below {LIKE:g}"
        print(f"{image.name:28} PSNR of {len(apart)} frames: least {min(apart):.1f} dB, "
              f"median {np.median(apart):.1f} dB{verdict}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--driver", type=Path)
    parser.add_argument("--beside", metavar="COMMIT", help="another commit, measured in turn with this one")
    parser.add_argument("--python", default=sys.executable, help="the Python of that commit")
    parser.add_argument("--pairs", type=int, default=1, help="runs of each")
    parser.add_argument("--sizes", default=",".join(CASES), help="which portraits, of " + ", ".join(CASES))
    parser.add_argument("--long", type=float, default=0, help="also measure memory with a driver of so many minutes")
    parser.add_argument("--pictures", type=Path, nargs="*", help="portraits whose frames are compared")
    a = parser.parse_args()
    names = [n for n in a.sizes.split(",") if n]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        tmp = Path(folder)
        new = Tree(HERE, sys.executable, tmp / "cache-new")
        old = None
        if a.beside:
            root = stack.enter_context(checked_out(a.beside, tmp / "beside"))
            old = Tree(root, a.python, tmp / "cache-old")
        driver = (a.driver or make_driver(tmp / "driver.mp4", 30)).resolve()
        for name in names:
            write_image(tmp / f"{name}.png", portrait(*CASES[name]))
        images = [tmp / f"{name}.png" for name in names]
        if names:
            short = cut(tmp / "short.mp4", driver, SHORT)  # what a film needs is more than what a motion needs
            timed(new, old, driver, short, tmp, a.pairs, names)
            for what, by in (("a motion", Path("wink")), ("a clip", short)):
                first = new.animate(images[0], by, tmp / "first.mp4", tmp / f"nothing-{by.stem}")
                print(f"first run ever, by {what}: first frame after {first.seen[0]:.1f} s")
        if a.long:
            long = make_driver(tmp / "long.mp4", 60 * a.long)
            peak = new.peak(images[0] if images else HOPPER, long, tmp / "long-out.mp4")
            print(f"peak memory with a driver of {a.long:g} minutes: {peak:.0f} MB")
        if old is not None:
            compared(new, old, a.pictures or images, driver, tmp)


if __name__ == "__main__":
    main()
