"""A live camera, played by pictures."""

import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from infinex.drivers import camera
from infinex.drivers.camera import CameraDriver
from infinex.drivers.capture import Capture
from infinex.engine import Drive
from infinex.errors import FaceNotFoundError, InputError
from infinex.jobs import live, recorder
from infinex.jobs.file import FileSink
from infinex.jobs.perform import Adjusting
from infinex.media.audio import read_audio
from infinex.media.video import VideoReader
from infinex.mesh.engine import PreparedFace
from infinex.pipeline import Options, Stage, animate, load_source
from infinex.studio.examples import EXAMPLES
from infinex.studio.preview import SETTLE, Live, PageCamera


class Pictures:
    """What cv2.VideoCapture is to a driver."""

    def __init__(self, frames: list[np.ndarray], opened: bool = True) -> None:
        self._frames, self._opened, self._next = frames, opened, 0

    def isOpened(self) -> bool:  # noqa: N802  (OpenCV's name)
        return self._opened

    def set(self, *_: float) -> bool:
        return True

    def get(self, _: int) -> float:
        return 25.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        self._next += 1
        if self._next > len(self._frames):
            return False, None
        return True, np.ascontiguousarray(self._frames[self._next - 1][:, ::-1, ::-1])  # BGR, unmirrored

    def release(self) -> None:
        pass


@pytest.fixture(scope="module")
def performance() -> list[np.ndarray]:
    """A portrait that holds still, then is pushed aside."""
    image = load_source(EXAMPLES[1].path)[0].image
    k = 320 / image.shape[1]
    image = cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
    ways = [0.0] * 22 + list(np.linspace(0, 14, 10))
    return [cv2.warpAffine(image, np.array([[1, 0, w], [0, 1, 0.0]]), image.shape[1::-1],
                           borderMode=cv2.BORDER_REPLICATE) for w in ways]  # fmt: skip


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def plug(frames: list[np.ndarray], opened: bool = True) -> None:
        monkeypatch.setattr(camera.cv2, "VideoCapture", lambda _: Pictures(frames, opened))

    return plug


@pytest.mark.parametrize("flow", [True, False])
def test_a_camera_drives(plugged: Callable[..., None], performance: list[np.ndarray], flow: bool) -> None:
    plugged(performance)
    driver = CameraDriver("camera:0", flow=flow)
    drives = list(driver)
    driver.close()
    assert len(drives) == len(performance) - camera.SETTLE
    assert drives[-1].move.translation[0] - drives[0].move.translation[0] > 0.05
    assert all(d.move.valid and d.image is not None for d in drives)
    assert all((d.move.outline is not None) is flow and (d.move.interior is not None) is flow for d in drives)


class Clock:
    """Time that passes only when somebody waits; stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Filmed(Pictures):
    """Gives a picture every `step` seconds of a clock; calls `then` with the number of each."""

    def __init__(self, frames: list[np.ndarray], clock: Clock, step: float, then: Callable[[int], None]) -> None:
        super().__init__(frames)
        self._clock, self._step, self._then = clock, step, then

    def read(self) -> tuple[bool, np.ndarray | None]:
        if self._next < len(self._frames):
            self._clock.now += self._step
            self._then(self._next)
        return super().read()


@pytest.fixture
def filmed(monkeypatch: pytest.MonkeyPatch, performance: list[np.ndarray]) -> Callable[..., Clock]:
    """A live performance by a clock of its own; without a window."""

    def film(step: float, then: Callable[[int], None] = lambda n: None) -> Clock:
        clock = Clock()
        for module in (camera, live, recorder):
            monkeypatch.setattr(module, "time", clock)
        monkeypatch.setattr(camera.cv2, "VideoCapture", lambda _: Filmed(performance, clock, step, then))
        monkeypatch.setattr(live, "_window", lambda: False)
        return clock

    return film


def no_microphone(*_: object) -> None:
    raise OSError("nothing is plugged in")


@pytest.mark.parametrize("step", [0.21, 0.01])
def test_a_recording_lasts_as_long_as_the_performance(
    filmed: Callable[..., Clock], performance: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    step: float,
) -> None:  # fmt: skip
    monkeypatch.setattr(recorder, "_input_stream", no_microphone)
    filmed(step)
    out = tmp_path / "live.mp4"
    summary = live.run_live(EXAMPLES[0].path, "camera:0", out, Options(size=160, refine=False))
    lasted = (len(performance) - 1) * step + 1 / 25
    with VideoReader(out) as reader:
        assert reader.info.fps == 25 and sum(1 for _ in reader) == summary.frames
    assert abs(summary.duration - lasted) <= 0.041
    assert "nothing is plugged in" in summary.warnings[0]
    assert f"camera:0 stopped after {summary.duration:.1f} s" in summary.warnings[1]
    assert [p.name for p in tmp_path.iterdir()] == ["live.mp4"]


def test_a_recording_is_kept_on_an_interrupt(filmed: Callable[..., Clock], tmp_path: Path) -> None:
    filmed(0.1, lambda n: signal.raise_signal(signal.SIGINT) if n == 25 else None)
    before = signal.getsignal(signal.SIGINT)
    out = tmp_path / "live.webm"
    options = Options(size=256, audio="none", panel=True, refine=False)
    summary = live.run_live(EXAMPLES[0].path, "camera:0", out, options)
    assert summary.duration == pytest.approx(2.5, abs=0.041) and not summary.warnings
    with VideoReader(out) as reader:
        assert reader.info.width == 872 and sum(1 for _ in reader) == summary.frames
    assert signal.getsignal(signal.SIGINT) is before


class Ears:
    """What an input stream of sounddevice is: hears a click each second, and calls back every 0.1 s, late."""

    LATE, BLOCK = 0.06, 0.1

    def __init__(self, clock: Clock, start: float, hear: Callable[..., None]) -> None:
        self._clock, self._hear, self._at = clock, hear, start
        self.open = True

    def catch_up(self) -> None:
        """Deliver what was heard until now."""
        n = round(self.BLOCK * recorder.RATE)
        while self._at + self.BLOCK + self.LATE < self._clock.now:
            t = self._at + np.arange(n) / recorder.RATE
            samples = ((t - 100.0) % 1.0 < 0.005).astype(np.float32)[:, None] * np.ones(2, np.float32)
            delay = self._clock.now - self._at
            self._hear(samples, n, SimpleNamespace(currentTime=7.0 + delay, inputBufferAdcTime=7.0), None)
            self._at += self.BLOCK

    def stop(self) -> None:
        self.open = False

    def close(self) -> None:
        assert not self.open


@pytest.mark.parametrize("name", ["live.mp4", "live.webm"])
def test_a_recording_has_the_microphones_sound_in_step(
    filmed: Callable[..., Clock], performance: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:  # fmt: skip
    ears: list[Ears] = []
    clock = filmed(0.2, lambda n: ears[0].catch_up() if ears else None)

    def listen(hear: Callable[..., None]) -> Ears:
        ears.append(Ears(clock, 99.03, hear))
        return ears[0]

    monkeypatch.setattr(recorder, "_input_stream", listen)
    out = tmp_path / name
    summary = live.run_live(EXAMPLES[0].path, "camera:0", out, Options(size=160, refine=False))
    sound = read_audio(out, 48000)
    assert abs(len(sound) / 48000 - summary.duration) < 0.06 and not ears[0].open
    # The file begins with the first picture, 0.2 s after the clock stood at 100 s, and a click came each second.
    edges = np.flatnonzero((np.abs(sound[1:]) > 0.3) & (np.abs(sound[:-1]) <= 0.3)) / 48000
    for k in range(1, 6):
        assert np.abs(edges - (k - 0.2)).min() < 0.05
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_lost_sound_leaves_a_gap_and_nothing_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(recorder, "time", clock)
    ear = recorder.Microphone(tmp_path / "a.wav", 1000)
    for block in range(20):  # 0.1 s each, a ramp; the blocks from 0.8 to 1.1 s never come
        clock.now = 100.1 + 0.1 * block + 0.01 * (block % 2)  # as punctual as devices are
        if not 8 <= block < 11:
            ear.feed(np.full(100, (block + 1) / 100, np.float32), 0.1)
        if block == 4:
            ear.start(100.25)
    ear.close(1.9)
    sound = read_audio(tmp_path / "a.wav", 1000)
    assert len(sound) == 1900 and sound[10] == pytest.approx(0.03, abs=1e-3)
    assert not sound[590:840].any() and sound[880] == pytest.approx(0.12, abs=1e-3)


def test_a_key_takes_the_rest_anew(
    filmed: Callable[..., Clock], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes: list[live.Wishes] = []
    made = live.Wishes

    def make() -> live.Wishes:
        wishes.append(made())
        return wishes[0]

    monkeypatch.setattr(live, "Wishes", make)
    monkeypatch.setattr(camera, "SETTLE", 4)
    rests: list[float] = []
    settle = camera.LiveCapture.settle

    def settled(self: camera.LiveCapture, *args: object) -> object:
        shot = settle(self, *args)
        rests.append(float(self.rest.translation[0]))
        return shot

    monkeypatch.setattr(camera.LiveCapture, "settle", settled)
    filmed(0.1, lambda n: wishes[0].key("n") if n == 26 else None)
    live.run_live(EXAMPLES[0].path, "camera:0", tmp_path / "live.gif", Options(size=128, audio="none", refine=False))
    assert len(rests) == 3 and rests[1] == rests[0]  # seen, chosen for the portrait, and seen anew
    assert rests[2] - rests[0] > 0.03  # where the performer had gone by then


def test_a_camera_keeps_the_rules_of_files(
    filmed: Callable[..., Clock], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[object, ...]] = []
    render = Stage.render

    def rendered(self: Stage, drive: Drive) -> object:
        given.append((drive.image, drive.move.rotation, drive.move.offsets.any()))
        return render(self, drive)

    monkeypatch.setattr(Stage, "render", rendered)
    filmed(0.04)
    options = Options(size=128, parts=("pose",), audio="none", refine=False)
    live.run_live(EXAMPLES[0].path, "camera:0", tmp_path / "a.gif", options)
    assert given and all(image is None and not moved for image, _, moved in given)
    for wrong, options in (
        ("--start", Options(start=1)), ("--loop", Options(loop=True)), ("--reference", Options(reference=3)),
        ("carry the sound", Options(audio=str(EXAMPLES[0].path))),
    ):  # fmt: skip
        with pytest.raises(InputError, match=wrong if wrong != "carry the sound" else "--audio"):
            live.run_live(EXAMPLES[0].path, "camera:0", tmp_path / "b.gif", options)


def handed_in(frames: list[np.ndarray], then: Callable[[int, Live], None] = lambda n, page: None) -> list[Any]:
    """A page's camera sends frames; what each was answered, pictures as copies."""
    page = Live(load_source(EXAMPLES[0].path, size=128)[0])
    answers = []
    try:
        for n, frame in enumerate(frames):
            then(n, page)
            data = cv2.imencode(".png", frame[:, :, ::-1])[1].tobytes()
            state, picture = page.frame(data)
            answers.append((state, None if picture is None else picture.copy()))
    finally:
        page.close()
    return answers


def test_a_frame_goes_one_way_to_a_file_a_window_and_a_page(
    filmed: Callable[..., Clock], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, performance: list[np.ndarray]
) -> None:
    passed: list[str] = []

    def watch(owner: type, name: str, label: str) -> None:
        inner = getattr(owner, name)

        def watched(self: object, *args: object) -> object:
            passed.append(label)
            return inner(self, *args)

        monkeypatch.setattr(owner, name, watched)

    way = {"capture": (Capture, "move"), "adjusted": (Adjusting, "__call__"), "stage": (Stage, "render"),
           "engine": (PreparedFace, "draw")}  # fmt: skip
    for label, (owner, name) in way.items():
        watch(owner, name, label)
    for sink in (FileSink, live.Room, PageCamera):
        watch(sink, "show", "sink")
    filmed(0.04)
    o = Options(size=128, audio="none", refine=False)
    live.run_live(EXAMPLES[0].path, "camera:0", tmp_path / "live.gif", o)
    windows, passed[:] = list(passed), []
    handed_in(performance)
    pages, passed[:] = list(passed), []
    animate(EXAMPLES[0].path, "wink", tmp_path / "file.gif", o)
    steps = [*way, "sink"]
    assert windows == steps * (len(performance) - camera.SETTLE)
    assert pages == steps * (len(performance) - SETTLE)
    ahead = [p for p in passed if p in ("stage", "engine", "sink")]  # a file's drives are made while pictures are drawn
    assert ahead == steps[2:] * (len(ahead) // 3) and passed.count("adjusted") == len(ahead) // 3 > 5


def test_a_page_is_answered_once_for_every_frame(performance: list[np.ndarray]) -> None:
    nobody = np.full_like(performance[0], 90)
    told = {20: {"parts": ["brows"]}, 36: {"parts": ["pose"], "strength": 2}, 38: {"settle": True}, 51: {"strength": 1}}
    frames = [nobody, *performance, nobody, *performance[-1:] * 20]

    def then(n: int, page: Live) -> None:
        if n in told:
            page.options(told[n])

    states, pictures = zip(*handed_in(frames, then))
    assert states == (
        "lost", *["settling"] * 12, *["live"] * 20, "lost", *["live"] * 4, *["settling"] * 11, *["live"] * 5,
    )  # fmt: skip
    assert [p is not None for p in pictures] == [False] * 13 + [True] * (len(frames) - 13)
    away = [float(np.abs(p.astype(int) - pictures[13]).mean()) for p in pictures[13:]]
    assert away[18] < 3 and away[-1] < 3 < 9 < away[24]  # brows alone; pose, from a rest that is new; pose
    with pytest.raises(InputError, match="strength"):
        handed_in(frames[:1], lambda n, page: page.options({"strength": 4}))


def test_what_fails_in_a_performance_is_told_to_the_page(
    performance: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> object:
        raise InputError("the canvas is gone")

    monkeypatch.setattr(Stage, "render", fail)
    with pytest.raises(InputError, match="canvas is gone"):
        handed_in(performance)


def test_what_is_wrong_with_a_camera_is_said(plugged: Callable[..., None], performance: list[np.ndarray]) -> None:
    with pytest.raises(InputError, match="a camera is named"):
        CameraDriver("camera:front")
    plugged([], opened=False)
    with pytest.raises(InputError, match="cannot be opened"):
        CameraDriver("camera:0")
    plugged(performance[:3])
    with pytest.raises(InputError, match="gives no picture"):
        CameraDriver("camera:0")
    plugged([np.full((240, 320, 3), 90, np.uint8)] * 200)
    with pytest.raises(FaceNotFoundError, match="sees no face"):
        CameraDriver("camera:0")
