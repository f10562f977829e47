"""Reads mutated files, or writes until it is killed; run as a program so that a crash of a library is seen.

`fuzz_worker.py read SEEDS START COUNT FOLDER`: mutants START to START + COUNT of the files in the folder SEEDS.
`fuzz_worker.py write NAME`: writes the output NAME over and over.
"""

from __future__ import annotations

import faulthandler
import itertools
import random
import resource
import signal
import sys
from pathlib import Path

import numpy as np

from infinex.errors import InputError
from infinex.interchange.formats import is_take
from infinex.interchange.formats import read as read_take
from infinex.interchange.take import TakeDriver
from infinex.jobs.batch import read_jobs
from infinex.media.audio import has_audio, read_audio
from infinex.media.image import header_size, is_image, read_rgba, write_image
from infinex.media.sink import open_sink
from infinex.media.video import VideoReader, probe
from infinex.motion import Motion

PICTURES = (".png", ".jpg", ".webp", ".gif", ".tif", ".bmp", ".jp2", ".avif", ".heic", ".jxl")
SOUNDS = (".wav", ".mp3", ".ogg", ".opus", ".flac", ".m4a")
FRAMES = 8  # read of each mutated clip
HANGS = 60  # seconds of the processor that one reading may take


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Flip, overwrite, cut, repeat or replace by another value some bytes; half of the time near the beginning."""
    out = bytearray(data)
    reach = len(out) if rng.random() < 0.5 else min(len(out), 600)
    for _ in range(rng.choice((1, 1, 2, 3, 6, 12))):
        kind, at = rng.randrange(6), rng.randrange(max(1, min(reach, len(out))))
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at : at + rng.randint(1, 64)] = rng.randbytes(rng.randint(1, 64))
        elif kind == 2:
            del out[at : at + rng.randint(1, max(1, len(out) // 10))]
        elif kind == 3:
            out[at:at] = out[at : at + rng.randint(1, 256)]
        elif kind == 4:  # sizes and counts at their limits
            out[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\x75\x30"))
        else:
            del out[at:]
        if not out:
            return b"\0"
    return bytes(out)


def read(path: Path, turn: int) -> bool:
    """Whether the file could be read; anything but pixels, samples, a motion or InputError is raised."""
    suffix = path.suffix
    try:
        if suffix == ".npz":
            Motion.load(path)
        elif suffix == ".jsonl":
            assert read_jobs(path)
        elif is_take(path):
            shown = list(itertools.islice(TakeDriver(read_take(path)), FRAMES))
            assert all(np.isfinite(x).all() for d in shown for x in (d.move.offsets, d.move.rotation, d.move.gaze))
        elif suffix in SOUNDS:
            has_audio(path)
            assert read_audio(path).ndim == 1
        elif suffix in PICTURES:
            is_image(path)
            header_size(path), header_size(path.read_bytes())
            rgb, alpha = read_rgba(path)
            assert rgb.dtype == np.uint8 and rgb.ndim == 3 and (alpha is None or alpha.shape == rgb.shape[:2])
            if suffix in (".gif", ".webp", ".avif") and turn % 2:
                _frames(path, False)
        else:
            is_image(path)
            _frames(path, bool(turn % 2))
            if turn % 3 == 0:
                has_audio(path)
            if turn % 5 == 0:
                probe(path)
    except InputError as error:
        assert "\n" not in str(error), str(error)
        return False
    return True


def _frames(path: Path, keep_readable: bool) -> None:
    with VideoReader(path, keep_readable=keep_readable, max_side=160) as reader:
        for frame in reader:
            assert frame.image.ndim == 3
            if frame.index >= FRAMES:
                break


def _read_many(seeds: Path, start: int, count: int, folder: Path) -> None:
    files = sorted(p for p in seeds.iterdir() if p.stat().st_size)
    good = 0
    for number in range(start, start + count):
        path = files[number % len(files)]
        mutant = folder / f"{number}{path.suffix}"
        mutant.write_bytes(mutate(path.read_bytes(), random.Random(number)))
        signal.setitimer(signal.ITIMER_PROF, HANGS)
        good += read(mutant, number // len(files))
        signal.setitimer(signal.ITIMER_PROF, 0)
        mutant.unlink()
    print(count, good, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def _write_forever(path: Path) -> None:
    rng = np.random.default_rng()
    frames = rng.integers(0, 256, (12, 240, 320, 3), dtype=np.uint8)
    moves = Motion.load(next((Path(sys.modules["infinex"].__path__[0]) / "motions").glob("*.npz")))
    print("ready", flush=True)
    while True:
        if path.name.endswith(".npz"):
            moves.save(path)
        elif path.suffix in PICTURES and path.suffix != ".gif":
            write_image(path, frames[0], {"comment": "x"})
        else:
            with open_sink(path, (320, 240), 25) as sink:
                for frame in frames:
                    sink.write(frame)
            if not path.suffix:  # a folder is written once: it may not be overwritten
                path = path.with_name(path.name + "x")


if __name__ == "__main__":
    faulthandler.enable()
    faulthandler.register(signal.SIGPROF, chain=True)  # says where, and ends
    if sys.argv[1] == "read":
        _read_many(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
    else:
        _write_forever(Path(sys.argv[2]))
