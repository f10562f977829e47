"""Ten thousand mutated files over all readers, and a hundred kills while writing: no crash, nothing half-written."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import infinex
from infinex.interchange.formats import FORMATS
from infinex.interchange.take import Take
from infinex.media.image import read_image
from infinex.media.sink import open_sink
from infinex.media.video import VideoReader
from infinex.motion import Motion

WORKER = Path(__file__).with_name("fuzz_worker.py")
MUTANTS = int(os.environ.get("INFINEX_FUZZ", "10000"))
KILLS = 100
BATCH = 250
LARGEST = 320_000  # bytes of a seed: larger ones only take longer
MEMORY = 1500  # MiB that a reader of small files may take at most
OUTPUTS = ("a.mp4", "a.webm", "a.gif", "a.apng", "folder", "a.png", "a.jpg", "a.webp", "a.tif", "a.motion.npz")


def _environment() -> dict[str, str]:
    root = str(Path(infinex.__file__).parents[1])
    return os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}


def _made(folder: Path, portrait: Path) -> None:
    """One small file of each kind that the folder of real inputs may lack."""
    image = Image.open(portrait).convert("RGB").resize((160, 200))
    for name, options in {
        "m.png": {}, "m.jpg": {"progressive": True}, "m.webp": {"lossless": True}, "m.gif": {}, "m.tif": {},
        "z.tif": {"compression": "tiff_lzw"}, "j.tif": {"compression": "jpeg"}, "m.bmp": {}, "m.jp2": {},
    }.items():  # fmt: skip
        image.save(folder / name, **options)
    if ".avif" in Image.registered_extensions():
        image.save(folder / "m.avif")
        image.save(folder / "n.avif", save_all=True, append_images=[image.transpose(0)])
    image.save(folder / "n.webp", save_all=True, append_images=[image.transpose(0)], exif=Image.Exif().tobytes())
    pixels = np.asarray(image)
    try:
        import pylibjxl

        (folder / "m.jxl").write_bytes(pylibjxl.encode(pixels))
    except ImportError:
        pass
    from picture_files import heif, icc, iccp, matrix_profile, para_curve, png

    profile = matrix_profile("P3", para_curve(), "Display P3")
    (folder / "p.png").write_bytes(png(pixels.astype(np.uint16) * 257, iccp(profile)))
    (folder / "c.png").write_bytes(png(pixels, (b"cICP", bytes([9, 16, 0, 1])), (b"eXIf", Image.Exif().tobytes())))
    (folder / "i.png").write_bytes(png(pixels, iccp(icc({}, "x"))))
    tiles = [t / 255 for half in np.hsplit(pixels[:128, :128], 2) for t in np.vsplit(half, 2)]
    (folder / "g.heic").write_bytes(heif(tiles, grid=(2, 2), turns=1, bits=10, colour=b"prof" + profile))
    sound = (np.sin(np.arange(8000) / 9) * 9000).astype("<i2").tobytes()
    with wave.open(str(folder / "m.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(sound)
    for name in ("m.mp4", "m.webm", "m.gif"):
        with open_sink(folder / ("s" + name), (160, 200), 25, folder / "m.wav" if name != "m.gif" else None) as sink:
            for i in range(10):
                sink.write(np.roll(pixels, 3 * i, 0))
    import av

    for name, codec in (
        ("m.mp3", "libmp3lame"),
        ("m.ogg", "flac"),
        ("m.opus", "libopus"),
        ("m.flac", "flac"),
        ("m.m4a", "aac"),
    ):
        with av.open(str(folder / name), "w") as out, av.open(str(folder / "m.wav")) as source:
            stream = out.add_stream(codec, rate=48000)
            resampler = av.AudioResampler(stream.format, stream.layout, 48000, 960 if codec == "libopus" else 1024)
            for frame in [*source.decode(audio=0), None]:
                for part in resampler.resample(frame):
                    out.mux(stream.encode(part))
            out.mux(stream.encode())
    motions = sorted((Path(infinex.__file__).parent / "motions").glob("*.npz"))[:2]
    for motion in motions:
        shutil.copy(motion, folder)
    take = Take.of(Motion.load(motions[0].with_name("talking.motion.npz")).trim(0, 1))
    for name, kind in FORMATS.items():
        kind.write(take, folder / f"{name}{kind.suffix}")
    jobs = [{"source": "m.png", "driving": "smile", "output": f"{i}.mp4", "options": {"size": 64}} for i in range(3)]
    (folder / "m.jsonl").write_text("\n".join(map(json.dumps, jobs)))


@pytest.fixture(scope="module")
def seeds(data_dir: Path, portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds")
    for place in ("odd", "bad", "field"):
        for path in sorted((data_dir / place).iterdir()):
            if path.suffix not in (".md", ".py") and 0 < path.stat().st_size <= LARGEST:
                shutil.copy(path, folder / f"{place}-{path.name}")
    _made(folder, portrait)
    return folder


def _batch(seeds: Path, start: int, folder: Path) -> tuple[int, int, int]:
    count = min(BATCH, MUTANTS - start)
    own = folder / str(start)
    own.mkdir()
    done = subprocess.run(
        [sys.executable, str(WORKER), "read", str(seeds), str(start), str(count), str(own)],
        capture_output=True, text=True, env=_environment(),
    )  # fmt: skip
    left = [p.name for p in own.iterdir()]  # what was being read when it ended
    assert done.returncode == 0, f"mutant {left} ended with {done.returncode}:\n{done.stderr[-3000:]}"
    read, good, memory = map(int, done.stdout.split()[-3:])
    return read, good, memory


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.timeout(3600)
def test_mutated_files_are_read_or_refused(seeds: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1))) as pool:
        jobs = [pool.submit(_batch, seeds, start, tmp_path) for start in range(0, MUTANTS, BATCH)]
        failures = [str(e) for e in (job.exception() for job in jobs) if e is not None]
    assert not failures, "\n".join([f"{len(failures)} batches failed", *failures[:5]])
    done = [job.result() for job in jobs]
    assert sum(d[0] for d in done) == MUTANTS and sum(d[1] for d in done) > MUTANTS // 20
    assert max(d[2] for d in done) < MEMORY


def _whole(path: Path) -> None:
    """Raises where an output is not whole."""
    if path.is_dir():
        assert len(list(path.iterdir())) == 12 and all(read_image(p).shape == (240, 320, 3) for p in path.iterdir())
    elif path.name.endswith(".npz"):
        assert len(Motion.load(path)) > 1
    elif path.suffix in (".png", ".jpg", ".webp", ".tif"):
        assert read_image(path).shape == (240, 320, 3)
    else:
        with VideoReader(path) as reader:
            assert sum(1 for _ in reader) == 12


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_kill_while_writing_leaves_nothing_half_written(tmp_path: Path) -> None:
    rng = random.Random(11)

    def kill(number: int) -> int:
        folder = tmp_path / str(number)
        folder.mkdir()
        target = folder / OUTPUTS[number % len(OUTPUTS)]
        with subprocess.Popen(
            [sys.executable, str(WORKER), "write", str(target)], stdout=subprocess.PIPE, env=_environment()
        ) as worker:
            assert worker.stdout is not None and worker.stdout.readline() == b"ready\n"
            time.sleep(delays[number])
            assert worker.poll() is None, "it should write until it is killed"
            worker.kill()
        shown = [p for p in folder.iterdir() if not p.name.startswith(".")]
        for path in shown:
            _whole(path)
        return len(shown)

    delays = [rng.uniform(0.005, 0.6) for _ in range(KILLS)]
    with ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1))) as pool:
        written = list(pool.map(kill, range(KILLS)))
    assert sum(written) > KILLS // 10  # some came as far as an output, so that wholeness was looked at
