"""Results in pieces: whole after every interruption, the same frames as in one go, and sound that is not cut."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from infinex.drivers.motion import load_motion
from infinex.errors import InputError
from infinex.jobs.animate import animate
from infinex.media.sink import open_sink
from infinex.media.video import VideoReader
from infinex.motion import Motion
from infinex.options import Options


def _frames(path: Path) -> np.ndarray:
    with VideoReader(path) as reader:
        return np.stack([f.image for f in reader])


class _KilledError(Exception):
    pass


@pytest.fixture(scope="module")
def short() -> Motion:
    """Two and a half seconds at 12 frames a second."""
    return load_motion("talking").resample(12).trim(0, 2.5)


@pytest.mark.parametrize("name", ["out.mp4", pytest.param("out.webm", marks=pytest.mark.slow)])
def test_a_run_goes_on_and_pictures_are_the_same(name: str, portrait: Path, short: Motion, tmp_path: Path) -> None:
    o = Options(size=160, refine=False, pieces=1, background="none" if name.endswith("webm") else "keep")
    (tmp_path / "once").mkdir()
    short.save(tmp_path / "a.motion.npz")
    whole = animate(portrait, tmp_path / "a.motion.npz", tmp_path / "once" / name, o)
    drawn: list[int] = []

    def killed(done: int, total: int | None) -> None:
        drawn.append(done)
        if len(drawn) in (14, 30):
            raise _KilledError

    for _ in range(2):
        with pytest.raises(_KilledError):
            animate(portrait, tmp_path / "a.motion.npz", tmp_path / name, o, killed)
        assert not (tmp_path / name).exists()
    again = animate(portrait, tmp_path / "a.motion.npz", tmp_path / name, o, killed)
    n = len(short)
    assert drawn == [*range(1, 15), *range(13, 29), *range(25, n + 1)] and again.frames == whole.frames == n
    once, twice = _frames(tmp_path / "once" / name), _frames(tmp_path / name)
    assert np.array_equal(once, twice) and len(once) == n
    assert not list(tmp_path.glob(".out*")) and not list((tmp_path / "once").glob(".out*"))
    if name.endswith("webm"):
        with av.open(str(tmp_path / name)) as container:
            seeing: Any = av.CodecContext.create("libvpx-vp9", "r")
            packets = container.demux(video=0)
            alpha = np.stack([f.to_ndarray(format="rgba")[..., 3] for p in packets for f in seeing.decode(p)])
        assert alpha.shape == once.shape[:3]
        assert (alpha[:, 0, 0] == 0).all() and (alpha.max((1, 2)) == 255).all()
    # No seam, and the same result as without pieces but for what an encoder makes of it.
    plain = tmp_path / "plain" / name
    plain.parent.mkdir()
    animate(portrait, short, plain, Options(size=160, refine=False, background=o.background))
    assert len(_frames(plain)) == n and cv2.PSNR(_frames(plain), once) > 38


def test_pieces_of_another_result_are_done_anew(portrait: Path, short: Motion, tmp_path: Path) -> None:
    def killed(done: int, total: int | None) -> None:
        if done == 13:
            raise _KilledError

    first = Options(size=160, refine=False, pieces=1)
    with pytest.raises(_KilledError):
        animate(portrait, short, tmp_path / "a.mp4", first, killed)
    seen: list[int] = []
    o = Options(size=160, refine=False, pieces=1, strength=0.5)
    animate(portrait, short, tmp_path / "a.mp4", o, lambda done, _: seen.append(done))
    assert seen[0] == 1


@pytest.mark.parametrize(
    ("choices", "name", "word"),
    [({"pieces": 0.1}, "a.mp4", "1 to 3600"), ({"pieces": 2}, "a.gif", "must end in"),
     ({"pieces": 2, "engine": "fomm"}, "a.mp4", "engine mesh")],
)  # fmt: skip
def test_what_cannot_go_on_is_refused(choices: dict, name: str, word: str, portrait: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=word):
        animate(portrait, "smile", tmp_path / name, Options(**choices))


@pytest.mark.slow
@pytest.mark.data
def test_a_killed_film_goes_on_with_its_sound(portrait: Path, data_dir: Path, tmp_path: Path) -> None:
    """A performance with all that is measured of it, killed by the system at several moments."""
    with VideoReader(data_dir / "clips" / "train" / "liveportrait_d10_00.mp4") as reader:
        frames = [cv2.resize(f.image, (256, 256)) for f in itertools.islice(reader, 70)]
    tone = tmp_path / "tone.wav"
    with wave.open(str(tone), "wb") as file:
        file.setparams((1, 2, 44100, 0, "NONE", ""))
        file.writeframes((8000 * np.sin(np.arange(3 * 44100) * 2 * np.pi * 440 / 44100)).astype("<i2").tobytes())
    with open_sink(tmp_path / "clip.mp4", (256, 256), 25, tone) as sink:
        for f in frames:
            sink.write(f)
    (tmp_path / "once").mkdir()

    def call(out: Path) -> list[str]:
        return [sys.executable, "-m", "infinex.cli", "animate", str(portrait), str(tmp_path / "clip.mp4"), "-o",
                str(out), "--size", "192", "--pieces", "1", "--quiet"]  # fmt: skip

    subprocess.run(call(tmp_path / "once" / "out.mp4"), check=True)
    out = tmp_path / "out.mp4"
    for wanted in (1, 2):
        run = subprocess.Popen(call(out), start_new_session=True)
        while len(list(tmp_path.glob(".out.mp4.pieces/0*.mp4"))) < wanted:
            time.sleep(0.02)
            assert run.poll() is None
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    subprocess.run(call(out), check=True)
    once = tmp_path / "once" / "out.mp4"
    off = np.abs(_frames(once).astype(int) - _frames(out)).max((1, 2, 3))
    assert off.tolist() == [0] * 70

    def sound(path: Path) -> np.ndarray:
        with av.open(str(path)) as container:
            return np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], 1)

    heard = sound(out)
    assert np.array_equal(sound(once), heard) and np.abs(heard).max() > 0.05
