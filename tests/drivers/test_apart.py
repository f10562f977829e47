"""Clips read in a process of their own: the same drives, the same errors, and nothing that stays behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import infinex
from infinex.drivers.apart import ApartDriver
from infinex.drivers.video import VideoDriver
from infinex.errors import FaceNotFoundError, InputError
from infinex.media.overlap import alone


def arguments(path: Path, end: float | None = 1.0) -> tuple[object, ...]:
    return path, None, 0.5, False, None, None, True, "largest", 0.0, end


@pytest.fixture(scope="module")
def clip(data_dir: Path) -> Path:
    return data_dir / "clips" / "train" / "linly_man_00.mp4"


def test_drives_are_those_of_one_process(clip: Path) -> None:
    apart = ApartDriver(arguments(clip), closely=True)
    with alone():
        here = VideoDriver(*arguments(clip))  # type: ignore[arg-type]
        here.closely = True
        for driver in (apart, here):
            driver.settle()
        assert (apart.name, apart.fps, apart.frames, apart.filmed) == (here.name, here.fps, here.frames, here.filmed)
        assert np.array_equal(apart.rest.face, here.rest.face) and np.array_equal(apart.rest_points, here.rest_points)
        pairs = list(zip(apart, here, strict=True))
    assert len(pairs) > 20
    for one, other in pairs:
        assert one.move.time == other.move.time
        assert np.array_equal(one.move.offsets, other.move.offsets)
        assert np.array_equal(one.image, other.image) and np.array_equal(one.points, other.points)
    assert (apart.lost, apart.warnings) == (here.lost, here.warnings)
    apart.close()


def test_what_is_wrong_with_a_clip_is_said_as_ever(tmp_path: Path, write_clip: object) -> None:
    grey = write_clip([np.full((96, 128, 3), 90, np.uint8)] * 12)  # type: ignore[operator]
    with pytest.raises(FaceNotFoundError) as here:
        VideoDriver(*arguments(grey, None))  # type: ignore[arg-type]
    with pytest.raises(FaceNotFoundError) as there:
        ApartDriver(arguments(grey, None), closely=True)
    assert str(there.value) == str(here.value)
    (tmp_path / "bad.mp4").write_bytes(b"no film" * 40)
    with pytest.raises(InputError, match=r"bad\.mp4"):
        ApartDriver(arguments(tmp_path / "bad.mp4"), closely=True)


def test_a_process_that_dies_is_not_waited_for(clip: Path) -> None:
    driver = ApartDriver(arguments(clip), closely=True)
    driver.settle()
    driver._process.kill()
    with pytest.raises(RuntimeError, match="has ended by itself"):
        list(driver)
    driver.close()
    assert driver._process.returncode is not None


def test_a_clip_is_read_without_what_compiles_kernels() -> None:
    """To load Numba takes time and memory that reading needs none of."""
    words = "import sys, infinex.drivers.apart; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core does one thing at a time")
def test_animating_leaves_no_process_behind(clip: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip  # noqa: E501
    made: list[ApartDriver] = []
    begin = ApartDriver.__init__

    def noted(self: ApartDriver, *given: object, **named: object) -> None:
        made.append(self)
        begin(self, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(ApartDriver, "__init__", noted)
    monkeypatch.setattr("infinex.jobs.animate.compile_ahead", lambda: None)  # nothing is left to be compiled
    portrait = next((data_dir / "portraits").glob("*.jpg"))
    infinex.animate(portrait, clip, tmp_path / "o.mp4", infinex.Options(size=160, end=0.4))
    assert len(made) == 1 and made[0]._process.returncode is not None
    with pytest.raises(InputError):
        infinex.animate(tmp_path / "none.jpg", clip, tmp_path / "p.mp4", infinex.Options(end=0.4))
    assert len(made) == 2 and made[1]._process.returncode is not None
