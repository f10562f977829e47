"""Loops without a jump, streams read at other times, parts of drivers, and what is said of drivers that do nothing."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from infinex.drivers.blend import Seam, blended, looped, timed
from infinex.drivers.capture import around
from infinex.drivers.contract import Driver
from infinex.drivers.motion import MotionDriver, load_motion
from infinex.drivers.remarks import Doings
from infinex.drivers.span import Excerpt, check_span, excerpt
from infinex.engine import Drive
from infinex.errors import InputError
from infinex.motion import PARTS, Motion, Move, Rest
from infinex.pipeline import Options, open_driver

FPS = 25.0


def move(t: float, x: float) -> Move:
    """A head turned by `x` radians, and a face moved by as much IOD."""
    offsets = np.zeros((478, 3))
    offsets[:, 0] = x
    return Move(t, np.array([0.0, x, 0.0]), np.array([x, 0, 0]), math.exp(x), offsets, np.array([x, 0]))


def sweep(frames: int, per_frame: float = 0.01) -> list[Drive]:
    return [Drive(move(i / FPS, 0.1 + per_frame * i)) for i in range(frames)]


def apart(a: Move, b: Move) -> float:
    return max(
        float(np.abs(a.offsets - b.offsets).max()), float(np.abs(a.rotation - b.rotation).max()),
        float(np.abs(a.translation - b.translation).max()), abs(math.log(a.scale / b.scale)),
        float(np.abs(a.gaze - b.gaze).max()),
    )  # fmt: skip


@pytest.mark.parametrize("frames", [60, 27, 9])
def test_a_loop_closes(frames: int) -> None:
    drives = sweep(frames)
    out = list(looped(drives, FPS))
    assert [d.move.time for d in out] == [d.move.time for d in drives]
    steps = [apart(a.move, b.move) for a, b in pairwise(out)]
    seam = apart(out[-1].move, out[0].move)
    assert apart(drives[-1].move, drives[0].move) > 0.07 and seam <= 1.2 * float(np.median(steps))
    # At the seam the motion goes on as it will begin, and does not stop for a frame.
    assert out[0].move.rotation[1] - out[-1].move.rotation[1] > 0.002
    untouched = frames - min(13, frames // 2 + 1)
    assert all(a is b for a, b in zip(out[:untouched], drives))


def test_a_loop_of_real_motion_is_no_faster_than_the_motion() -> None:
    motion = load_motion("nod")
    out = [d.move for d in looped(MotionDriver(motion.trim(0, 1.5)), motion.fps)]
    steps = [apart(a, b) for a, b in pairwise(out)]
    assert apart(out[-1], out[0]) <= float(np.percentile(steps, 90))


def test_a_loop_streams() -> None:
    made: list[weakref.ref[Drive]] = []
    most = 0

    def stream() -> Iterator[Drive]:
        for i in range(400):
            drive = Drive(move(i / FPS, 0.0), np.zeros((2, 2, 3), np.uint8), np.zeros((478, 3)))
            made.append(weakref.ref(drive))
            yield drive
            del drive

    for _ in looped(stream(), FPS):
        most = max(most, sum(r() is not None for r in made))
    assert most < 20


def test_pictures_of_the_seam_are_shared_out() -> None:
    drives = [replace(d, image=np.full((2, 2, 3), i, np.uint8)) for i, d in enumerate(sweep(40))]
    out = list(looped(drives, FPS))
    seams = [d for d in out if isinstance(d, Seam)]
    assert len(seams) == 12 and all(d.first is drives[0] for d in seams)
    weights = [d.weight for d in seams]
    assert weights == sorted(weights) and weights[0] < 0.05 and weights[-1] > 0.95
    assert seams[-1].image is drives[-1].image


def test_a_blend_of_what_is_unknown() -> None:
    a, b = move(0, 0.0), replace(move(1, 1.0), outline=np.ones((2, 2, 3)), interior=np.full((3, 2), 0.5))
    mixed = blended(a, b, 0.25)
    assert mixed.time == 0 and mixed.outline is not None and mixed.outline.max() == 0.25
    assert mixed.interior is not None and mixed.interior.max() == 0.5
    np.testing.assert_allclose(mixed.rotation, [0, 0.25, 0], atol=1e-9)
    assert mixed.scale == pytest.approx(math.exp(0.25))


def test_a_stream_at_other_times_moves_evenly() -> None:
    drives = [replace(d, image=np.full((1, 1, 3), i, np.uint8)) for i, d in enumerate(sweep(50))]
    at = timed(iter(drives))
    found = [at(i / 30) for i in range(58)]
    turn = np.array([d.move.rotation[1] for d in found if d is not None])
    assert len(turn) == 58 and np.ptp(np.diff(turn)) < 1e-6  # a source of 30 frames/s, a driver of 25
    assert [int(d.image[0, 0, 0]) for d in found[:5] if d is not None and d.image is not None][::2] == [0, 2, 3]
    last = at(9.0)
    assert last is drives[-1] and timed(iter([]))(0.0) is None


def test_parts_of_drivers() -> None:
    whole = MotionDriver(load_motion("nod"), "nod")
    part = Excerpt(whole, 0.5, 1.5)
    moves = [d.move for d in part.settle()]
    assert part.frames == len(moves) == round(whole.fps) and moves[0].time == 0
    np.testing.assert_array_equal(moves[0].rotation, whole.motion.at(round(0.5 * whole.fps)).rotation)
    opened = open_driver("nod", Options(start=0.5, end=1.5, fps=10))
    assert opened.frames == 10 and opened.fps == 10 and len(list(opened)) == 10
    for start, end, text in ((7, None, "between 7 s and the end of nod"), (2.9, 3.1, "which lasts")):
        with pytest.raises(InputError, match=text):
            Excerpt(whole, start, end)
    for start, end in ((-1, None), (2, 2), (3, 1), (math.nan, None), (0, math.inf)):
        with pytest.raises(InputError, match=r"--start|--end"):
            check_span(start, end)
    sound = np.arange(100, dtype=np.float32)
    kept = np.concatenate(list(excerpt(iter(np.array_split(sound, 7)), 10, (2.0, 4.5), "a.wav")))
    np.testing.assert_array_equal(kept, sound[20:45])


def still(x: float = 0.0, frames: int = 5, valid: bool = True) -> Motion:
    return Motion.collect((replace(move(i / FPS, x), valid=valid) for i in range(frames)), Rest.neutral(), FPS)


def watched(motion: Motion | Driver, parts: tuple[str, ...] = tuple(PARTS)) -> list[str]:
    driver = motion if isinstance(motion, Driver) else MotionDriver(motion, "a.mp4")
    doings = Doings(driver, parts, set(parts) < set(PARTS))
    assert len(list(doings(iter(driver)))) == driver.frames
    return doings.remarks()


def test_what_does_nothing_is_said() -> None:
    assert watched(still()) == ["a.mp4 never moves: nothing is carried over"]
    nod = load_motion("nod")
    assert watched(nod) == []
    head = nod.only(["pose"])
    assert watched(head, ("lips", "eyes")) == ["nothing moves: a.mp4 does nothing with lips and eyes"]
    assert watched(head, ("pose", "gaze")) == ["a.mp4 does nothing with gaze"]
    gone = replace(nod, valid=np.arange(len(nod)) < 5)
    assert "no face for most of its time" in watched(gone)[0]


def test_what_is_said_of_a_part_names_it() -> None:
    turned = [replace(move(i / FPS, max(0, i - 25) / 50), valid=True) for i in range(50)]
    whole = MotionDriver(Motion.collect(iter(turned), Rest.neutral(), FPS).only(["pose"]), "a.mp4")
    assert watched(whole) == []
    assert watched(Excerpt(whole, 0.25, 1.0)) == ["a.mp4 from 0.25 to 1 s never moves: nothing is carried over"]
    assert watched(Excerpt(whole, 1.2, None), ("pose", "lips")) == ["a.mp4 from 1.2 s on does nothing with lips"]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 9, 20])
def test_a_stream_is_seen_with_what_is_around_it(count: int) -> None:
    seen = [(list(window), at) for window, at in around(range(count), 3)]
    assert [window[at] for window, at in seen] == list(range(count))
    for i, (window, at) in enumerate(seen):
        assert at >= min(i, 3) and window == list(range(window[0], window[-1] + 1))
        assert window[-1] == min(i + 3, count - 1) and len(window) <= 7
