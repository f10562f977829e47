"""The product as its users meet it: commands in, files and exit codes out."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from command_line import run

import infinex
from infinex import doctor
from infinex.drivers.motion import load_motion
from infinex.errors import InputError, missing_library
from infinex.media.image import read_image, write_image
from infinex.media.video import VideoReader, probe
from infinex.motion import Motion

COMMAND = [sys.executable, "-m", "infinex.cli"]
BAD_DRIVERS = ["audio-only.mp4", "bit-rot.mp4", "black.mp4", "empty.mp4", "no-face.mp4", "one-black-frame.mp4",
               "text-not-video.mp4", "truncated.mp4", "corrupt.jpg", "noise-no-face.png"]  # fmt: skip
BAD_SOURCES = ["corrupt.jpg", "empty.png", "noise-no-face.png", "one-pixel.png", "text-not-image.jpg", "no-face.mp4"]


def run_anew(*words: object) -> subprocess.CompletedProcess[str]:
    """In a process of its own."""
    return subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=900, check=False)


def refused(result: subprocess.CompletedProcess[str]) -> str:
    """One line that starts with our name, exit code 2; returns it."""
    lines = result.stderr.strip().splitlines()
    assert result.returncode == 2 and len(lines) == 1 and lines[0].startswith("infinex: "), result.stderr
    return lines[0]


@pytest.fixture(scope="module")
def small(portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portrait, cropped and small."""
    path = tmp_path_factory.mktemp("small") / "small.png"
    write_image(path, np.ascontiguousarray(read_image(portrait)[:420, 60:480][::2, ::2]))
    return path


def test_animate_by_a_bundled_motion(portrait: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    result = run_anew("animate", portrait, "--motion", "wink", "--start", 1, "--end", 1.6, "-o", out, "--json")
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout.strip().splitlines()[-1])
    info = probe(out)
    image = read_image(portrait)
    assert (info.width, info.height) == (image.shape[1], image.shape[0])
    assert summary["frames"] == info.frames and summary["faces"] == 1 and summary["engine"] == "mesh"
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        assert "Made with Infinex" in container.metadata["comment"]
    data = out.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # plays while it loads


@pytest.mark.data
def test_animate_by_a_clip_keeps_rate_duration_and_sound(small: Path, data_dir: Path, tmp_path: Path) -> None:
    driver = data_dir / "field" / "base.mp4"
    out = tmp_path / "out.mp4"
    result = run("animate", small, driver, "-o", out, "--no-refine")
    assert result.returncode == 0, result.stderr
    mine, theirs = probe(out), probe(driver)
    assert mine.fps == theirs.fps and abs(mine.frames - theirs.frames) <= 1 and mine.has_audio
    silent = tmp_path / "silent.webm"
    assert (
        run("animate", small, driver, "-o", silent, "--audio=none", "--panel", "--no-refine", "--end=0.5").returncode
        == 0
    )
    info = probe(silent)
    assert not info.has_audio and info.width == 4 * read_image(small).shape[1]


@pytest.mark.data
@pytest.mark.parametrize("name", BAD_DRIVERS)
def test_bad_drivers(small: Path, data_dir: Path, tmp_path: Path, name: str) -> None:
    command = run_anew if name == BAD_DRIVERS[0] else run  # the exit code of one is that of a process
    refused(command("animate", small, data_dir / "bad" / name, "-o", tmp_path / "out.mp4"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.data
@pytest.mark.parametrize("name", BAD_SOURCES)
def test_bad_sources(data_dir: Path, tmp_path: Path, name: str) -> None:
    refused(run("animate", data_dir / "bad" / name, "--motion", "wink", "-o", tmp_path / "out.mp4"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.data
def test_a_still_driver_gives_a_still_result(small: Path, data_dir: Path, tmp_path: Path) -> None:
    summary = infinex.animate(
        small, data_dir / "bad" / "identical-frames.mp4", tmp_path / "frames", infinex.Options(size=128)
    )
    frames = [read_image(p) for p in sorted((tmp_path / "frames").iterdir())]
    assert summary.frames == len(frames) > 50
    assert all(np.array_equal(f, frames[0]) for f in frames[1:])


@pytest.mark.data
@pytest.mark.parametrize("name", ["rotation-metadata.mp4", "variable-frame-rate.mp4", "ten-bit.mkv", "odd-size.webm"])
def test_odd_drivers(small: Path, data_dir: Path, tmp_path: Path, name: str) -> None:
    summary = infinex.animate(
        small, data_dir / "odd" / name, tmp_path / "out.mp4", infinex.Options(size=128, refine=False, start=2)
    )
    assert abs(summary.duration - float(probe(data_dir / "odd" / name).duration or 0) + 2) < 0.1


@pytest.mark.data
@pytest.mark.parametrize("name", ["alpha.png", "face-sideways.jpg", "sixteen-bit.png", "grey.png"])
def test_odd_sources(data_dir: Path, tmp_path: Path, name: str) -> None:
    options = infinex.Options(size=200, start=1, end=1.4)
    assert infinex.animate(data_dir / "odd" / name, "wink", tmp_path / "out.gif", options).frames > 8


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--motion", "frown"], "no motion called"),
        (["--motion", "wink", "--parts", "nose"], "unknown part"),
        (["--motion", "wink", "--strength", "9"], "--strength"),
        (["--motion", "wink", "--face", "7"], "--face 7"),
        (["--motion", "wink", "--box", "1,2"], "--box"),
        (["--motion", "wink", "--box", "9000,9000,10,10"], "outside"),
        (["--motion", "wink", "--engine", "magic"], "unknown engine"),
        (["--motion", "wink", "--size", "9"], "--size"),
        (["--motion", "wink", "--audio", "none.wav"], "--audio"),
        (["camera:x"], "camera"),
        ([], "one driver"),
        (["none.mp4"], "no such"),
        (["--wrong"], "No such option"),
    ],
)
def test_choices_that_do_not_exist(small: Path, tmp_path: Path, words: list[str], says: str) -> None:
    assert says in refused(run("animate", small, *words, "-o", tmp_path / "out.mp4"))
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_cannot_be(small: Path, tmp_path: Path) -> None:
    assert "must end in" in refused(run("animate", small, "--motion", "wink", "-o", tmp_path / "a.xyz"))
    assert "does not exist" in refused(run("animate", small, "--motion", "wink", "-o", tmp_path / "no" / "a.mp4"))
    assert "name the output" in refused(run("animate", small, "--motion", "wink"))
    (tmp_path / "dir.mp4").mkdir()
    assert "is a folder" in refused(run("animate", small, "--motion", "wink", "-o", tmp_path / "dir.mp4"))
    assert "folder" in refused(run("animate", tmp_path, "--motion", "wink", "-o", tmp_path / "a.mp4"))


def test_an_input_is_never_overwritten(write_clip: Callable[..., Path], small: Path) -> None:
    clip = write_clip([read_image(small)] * 3)
    before = clip.read_bytes()
    with pytest.raises(InputError, match="overwrite"):
        infinex.animate(small, clip, clip)
    assert clip.read_bytes() == before


def test_ctrl_c_leaves_nothing(portrait: Path, tmp_path: Path) -> None:
    words = ["animate", str(portrait), "--motion", "talking", "--size", "1500", "-o", str(tmp_path / "out.mp4")]
    # A shell that starts us in the background has us ignore the signal; a person's terminal does not.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from infinex.cli import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 600
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(tmp_path.iterdir()), "it never started to write"
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 130 and err.strip() == "infinex: stopped"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.data
def test_track_and_replay(small: Path, data_dir: Path, tmp_path: Path) -> None:
    clip = data_dir / "clips" / "train" / "latentsync_1_01.mp4"
    out = tmp_path / "a.motion.npz"
    result = run("track", clip, "-o", out, "--csv")
    assert result.returncode == 0, result.stderr
    motion = Motion.load(out)
    table = (tmp_path / "a.csv").read_text().splitlines()
    assert len(table) == len(motion) + 1 and "AU12" in table[0] and "yaw" in table[0]
    assert motion.units is not None and motion.units.min() >= 0 and motion.units.max() <= 1
    replay = infinex.animate(small, out, tmp_path / "a.gif", infinex.Options(size=96, refine=False))
    assert replay.frames == len(motion)
    assert "must end in .motion.npz" in refused(run("track", clip, "-o", tmp_path / "a.npz"))


def test_track_a_still_picture(portrait: Path, tmp_path: Path) -> None:
    smiling = tmp_path / "smiling.png"
    infinex.edit(portrait, "AU12=1,AU25=0.5", smiling)
    amounts = []
    for picture in (portrait, smiling):
        out = tmp_path / f"{picture.stem}.motion.npz"
        assert run("track", picture, "-o", out, "--csv").returncode == 0
        motion = Motion.load(out)
        assert len(motion) == 1 and motion.units is not None
        assert len(out.with_name(f"{picture.stem}.csv").read_text().splitlines()) == 2
        amounts.append(motion.units[0, motion.unit_names.index("AU12")])
    assert amounts[1] > amounts[0] + 0.3


@pytest.mark.data
def test_several_faces(data_dir: Path, tmp_path: Path) -> None:
    couple = data_dir / "portraits" / "deepface_couple.jpg"
    for which, faces in (("all", 2), ("1", 1)):
        folder = tmp_path / which
        summary = infinex.animate(
            couple, infinex.load_motion("wink").trim(0.5, 1.0), folder, infinex.Options(face=which)
        )
        assert summary.faces == faces
        frame = read_image(sorted(folder.iterdir())[10])
        change = np.abs(frame.astype(int) - read_image(couple)).max(-1) > 12
        half, beyond = change.shape[1] // 2, 10  # pixels: hair before the other's shoulder moves
        assert change[:, :half].any() and change[:, half + beyond :].any() == (faces == 2)


@pytest.mark.data
def test_a_still_picture_drives(small: Path, data_dir: Path, tmp_path: Path) -> None:
    summary = infinex.animate(small, data_dir / "portraits" / "joyvasa_joyvasa_005.jpg", tmp_path / "o.mp4",
                              infinex.Options(refine=False))  # fmt: skip
    assert summary.duration == 2.6
    with VideoReader(tmp_path / "o.mp4") as reader:
        frames = [f.image.astype(int) for f in reader]
    assert np.abs(frames[-1] - frames[0]).mean() > 0.5 > np.abs(frames[-1] - frames[-5]).mean()


@pytest.mark.data
def test_a_clip_as_source_keeps_its_own_head(data_dir: Path, tmp_path: Path) -> None:
    clips = data_dir / "clips" / "train"
    source, driver = clips / "retalking_2_00.mp4", clips / "latentsync_1_01.mp4"
    summary = infinex.animate(source, driver, tmp_path / "o.mp4", infinex.Options(refine=False))
    assert abs(summary.duration - 1.76) < 0.1
    with VideoReader(tmp_path / "o.mp4") as mine, VideoReader(source) as theirs:
        for a, b in zip(mine, theirs):
            assert np.abs(a.image[:40].astype(int) - b.image[:40]).mean() < 6


def test_python_api_in_five_lines(portrait: Path, tmp_path: Path) -> None:
    sources = infinex.load_source(portrait, size=200)
    frames = list(infinex.render(sources, infinex.load_motion("smile").trim(0.5, 1.0)))
    assert len(frames) == 15 and frames[0].shape == sources[0].image.shape
    assert not np.array_equal(frames[0], frames[-1])


def test_doctor_motions_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infinex.doctor.WINDOW", 2)  # pictures by which this machine is measured
    result = run("doctor")
    assert result.returncode == 0 and "all is well" in result.stdout
    assert "smile" in run("motions").stdout
    assert infinex.__version__ in run("--version").stdout


def test_doctor_measures_pictures_not_what_comes_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Code is compiled whenever it is first met, and now and then a machine does something else."""

    clock, starts = [0.0], iter((2.0, 9.0, 0.5, 0.5))

    def animate(_: Path, clip: Path, *__: object, progress: Callable[[int, int], None] | None = None) -> None:
        clock[0] += next(starts)
        count = probe(clip).frames or 0
        for done in range(1, count + 1):
            clock[0] += 0.04 + (1.0 if done == 100 else 0.0)
            if progress is not None:
                progress(done, count)

    monkeypatch.setattr("infinex.jobs.animate.animate", animate)
    monkeypatch.setattr(doctor, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(doctor, "_delay", lambda _: 90.0)
    trial = doctor._Trial(tmp_path)
    trial.clip()
    trial._motion = load_motion("nod")
    assert trial.speed() == "25.0 pictures/s at 512 px; a live one 90 ms after its frame"


def test_doctor_tells_a_library_that_cannot_read_clips(tmp_path: Path) -> None:
    """As where PyAV's next release takes a word of `av.open` away."""
    (tmp_path / "sitecustomize.py").write_text(
        "import av\nreal = av.open\n"
        "def other(file, mode='r', format=None, container_options=None):\n"
        "    return real(file, mode, format=format, container_options=container_options or {})\n"
        "av.open = other\n"
    )
    result = subprocess.run(
        [*COMMAND, "doctor"], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
    )  # fmt: skip
    assert "a clip written and read" in refused(result)
    lines = {line[2:26].strip(): line[27:] for line in result.stdout.splitlines()}
    assert lines["mesh engine"].startswith("ok")
    assert "unexpected keyword" in lines["a clip written and read"] and "not tried" in lines["a frame rendered"]


def test_import_is_light() -> None:
    code = "import sys, infinex; print([m for m in ('torch', 'onnxruntime', 'cv2', 'numba') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
    code = "import sys, infinex.pipeline; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )


def test_a_missing_system_library_is_one_line(tmp_path: Path) -> None:
    """As on a fresh server, where OpenCV finds no libGL."""
    (tmp_path / "cv2.py").write_text(
        'raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")\n'
    )
    result = subprocess.run(
        [*COMMAND, "animate", "face.jpg", "--motion", "smile", "-o", str(tmp_path / "o.mp4")],
        capture_output=True, text=True, timeout=900, check=False, env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert "apt-get install libgl1" in refused(result)
    assert missing_library(ImportError("No module named 'nothing'")) is None
