"""Raw videos to a training set."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from infinex.errors import InputError, OutputError
from infinex.media.image import read_image
from infinex.media.video import VideoReader
from infinex.training import prepare as p
from infinex.training.data import read_clips
from infinex.training.prepare import Job, Outcome, PrepareOptions, Stretch, prepare
from infinex.training.prepare.examining import unfit

WORKER = "import sys; from infinex.training.prepare import *; prepare(sys.argv[1], sys.argv[2], {})"


def moving(image: np.ndarray, frames: int = 12, size: int = 160) -> list[np.ndarray]:
    """A window that wanders over a picture."""
    import cv2

    k = (size + 24) / min(image.shape[:2])
    image = cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
    return [image[i : i + size, 2 * i % 24 : 2 * i % 24 + size].copy() for i in range(frames)]


@pytest.fixture
def people(portrait: Path) -> list[np.ndarray]:
    """Grace Hopper and Eileen Collins, squares around the head."""
    skimage = pytest.importorskip("skimage.data")
    return [read_image(portrait)[20:420, 60:460], skimage.astronaut()[0:300, 100:400]]


def manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_file_is_used_or_refused_with_a_reason(
    people: list[np.ndarray], write_clip: Callable[..., Path], tmp_path: Path
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    grace, eileen = (moving(i) for i in people)

    def put(name: str, frames: list[np.ndarray], fps: float = 10) -> None:
        write_clip(frames, f"x-{name}", fps).rename(videos / name)

    put("good.mp4", grace)
    put("cut.mp4", [*grace, *eileen])
    put("still.mp4", [grace[0]] * 12)
    put("short.mp4", grace[:4])
    put("two.mp4", [np.hstack([a, b]) for a, b in zip(grace, eileen)])
    rng = np.random.default_rng(0)
    put("noise.mp4", [rng.integers(0, 255, (96, 96, 3), dtype=np.uint8) for _ in range(12)])
    put("black.mp4", [np.full((96, 96, 3), i % 3, np.uint8) for i in range(12)])
    whole = (videos / "good.mp4").read_bytes()
    (videos / "cut-off.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    (videos / "empty.mp4").touch()
    (videos / "words.mp4").write_text("no video at all")
    (videos / "secret.mp4").write_bytes(b"\0\0\0\x18ftypisom" + b"\0" * 40 + b"encv....schm" + b"\0" * 200)
    out = tmp_path / "set"
    options = PrepareOptions(size=128, workers=1, held_out=0.5, identities="folder", smallest=0.3)
    summary = prepare(videos, out, options)
    rows = manifest(out)
    reasons = {r["file"]: r["reason"] for r in rows if r["status"] == "rejected"}
    assert reasons["still.mp4"] == "corrupt: 11 of 11 successive frames are identical"
    assert reasons["short.mp4"] == "too short"
    assert reasons["two.mp4"] == "several faces"
    assert reasons["noise.mp4"] == "no face"
    assert reasons["black.mp4"].startswith(("black", "corrupt: "))
    assert reasons["cut-off.mp4"].startswith("corrupt")
    assert reasons["empty.mp4"] == "empty"
    assert reasons["words.mp4"].startswith("corrupt")
    assert reasons["secret.mp4"] == "encrypted"
    assert sorted(r["clip"] for r in rows if r["status"] == "ok") == [
        "clips/cut_00.mp4", "clips/cut_01.mp4", "clips/good_00.mp4"
    ]  # fmt: skip
    assert (summary.files, summary.clips, summary.identities) == (11, 3, 2)
    assert sum(summary.rejected.values()) == 9
    assert {c.split for c in read_clips(out) if c.identity == "cut"} != {"train", "test"}
    first, second = (VideoReader(out / f"clips/cut_0{i}.mp4") for i in (0, 1))
    assert (first.info.width, first.info.frames, second.info.frames) == (128, 12, 12)
    assert float(np.abs(next(iter(first)).image.mean((0, 1)) - next(iter(second)).image.mean((0, 1))).max()) > 8


@pytest.mark.parametrize("ffprobe", ["hidden", "refuses", "installed"])
def test_an_encrypted_file_is_called_so_with_and_without_ffprobe(
    ffprobe: str, write_clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"\0\0\0\x18ftypisom" + b"\0" * 40 + b"encv....schm" + b"\0" * 200)
    plain = write_clip([np.full((64, 64, 3), i, np.uint8) for i in range(5)])
    if ffprobe == "installed" and shutil.which("ffprobe") is None:
        pytest.skip("ffprobe is not installed")
    if ffprobe != "installed":
        (tmp_path / "bin").mkdir()
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    if ffprobe == "refuses":
        program = tmp_path / "bin" / "ffprobe"
        program.write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o755)
    with pytest.raises(p.Refused, match=r"^encrypted$"):
        p.verdict(secret)
    if ffprobe == "refuses":
        with pytest.raises(p.Refused, match="ffprobe cannot read it"):
            p.verdict(plain)
    else:
        p.verdict(plain)


def test_a_killed_run_goes_on(people: list[np.ndarray], write_clip: Callable[..., Path], tmp_path: Path) -> None:
    videos, out = tmp_path / "videos", tmp_path / "set"
    videos.mkdir()
    for i in range(5):
        write_clip(moving(people[i % 2]), f"v{i}.mp4", 10).rename(videos / f"v{i}.mp4")
    options = "PrepareOptions(size=128, workers=1, identities='folder', smallest=0.3)"
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER.format(options), str(videos), str(out)],
        start_new_session=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    done: list[str] = []
    end = time.monotonic() + 900
    while not done and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
        if (out / ".prepare.sqlite").is_file():
            try:
                with sqlite3.connect(f"file:{out / '.prepare.sqlite'}?mode=ro", uri=True) as db:
                    done = [k for (k,) in db.execute("select key from done")]
            except sqlite3.OperationalError:
                continue
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert done and not (out / "manifest.csv").exists()
    (out / "clips" / ".half.part.mp4").write_bytes(b"left behind")
    kept = {c: (out / "clips" / f"{c[:-4]}_00.mp4").stat().st_mtime_ns for c in done}
    prepare(videos, out, eval(options))
    assert [r["file"] for r in manifest(out)] == [f"v{i}.mp4" for i in range(5)]
    assert sorted(f.name for f in (out / "clips").iterdir()) == [f"v{i}_00.mp4" for i in range(5)]
    assert kept == {c: (out / "clips" / f"{c[:-4]}_00.mp4").stat().st_mtime_ns for c in done}
    with pytest.raises(InputError, match="begun with size 128"):
        prepare(videos, out, PrepareOptions(size=64, identities="folder"))


def _work(job: Job) -> Outcome:
    if job.key == "2":
        os._exit(11)
    return Outcome(job.key, [{"status": "ok"}])


def test_a_file_that_kills_its_worker_is_refused() -> None:
    jobs = [Job(str(i), "", "", "", None) for i in range(5)]
    found = {job.key: outcome.rows[0]["status"] for job, outcome in p.local_pool(iter(jobs), _work, 2)}
    assert found == {str(i): "rejected" if i == 2 else "ok" for i in range(5)}


def test_crops_are_squares_inside_the_picture() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        w, h = rng.integers(60, 400, 2)
        x, y = rng.uniform(-20, [w, h])
        box = (x, y, x + rng.uniform(10, w), y + rng.uniform(10, h))
        a, b, side = p.square_crop([box, (x - 5, y, x, y + 9)], int(w), int(h), 1.55)
        assert 0 <= a <= w - side and 0 <= b <= h - side and side >= 2
    assert p.square_crop([(40, 40, 60, 60)], 100, 100, 1.5) == (35, 35, 30)


@pytest.mark.parametrize(
    ("look", "reason"),
    [
        (Stretch(0, 5, [(0, 0, 90, 90)] * 4, 4), "too short"),
        (Stretch(50, 55, [(0, 0, 90, 90)] * 4, 4), "too short between cuts"),
        (Stretch(0, 50, [(0, 0, 90, 90)] * 2, 4), "no face"),
        (Stretch(0, 50, [(0, 0, 90, 90)] * 4, 4, 2), "several faces"),
        (Stretch(0, 50, [(0, 0, 20, 20)] * 4, 4), "face too small"),
        (Stretch(0, 50, [(0, 0, 90, 90)] * 4, 4), ""),
    ],
)
def test_what_a_shot_must_have(look: Stretch, reason: str) -> None:
    assert unfit(look, 25, PrepareOptions()) == reason


def test_names_of_clips_differ() -> None:
    names = [p.clip_name(n) for n in ("a.mp4", "a.mov", "a/b.mp4", "a--b.mp4", "ä.mp4", "ö.mp4", ".a.mp4", "a b.mp4")]
    assert len(set(names)) == len(names)
    assert names[:3] == ["a", "a.mov", "a--b"]
    assert all(not n.startswith(".") and "/" not in n for n in names)


def test_identities_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "who.csv"
    path.write_text("path,identity\nx/a.mp4,ann\nx/b.mp4,bob\ny/b.mp4,eve\n")
    known = p.read_identities(path)
    assert [known(n) for n in ("a.mp4", "x/b.mp4", "y/b.mp4", "b.mp4", "c.mp4")] == ["ann", "bob", "eve", "", ""]
    path.write_text("name\nx\n")
    with pytest.raises(InputError, match="columns path and identity"):
        p.read_identities(path)


def test_people_are_told_apart() -> None:
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(4, 128))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    order = rng.integers(0, 4, 60)
    people = p.People()
    names = [people((centres[i] + rng.normal(size=128) * 0.01).tolist()) for i in order]
    assert len(set(names)) == 4
    assert all(len({n for n, k in zip(names, order) if k == i}) == 1 for i in range(4))


def test_people_held_back_do_not_depend_on_order() -> None:
    names = {f"p{i}" for i in range(20)}
    assert p.held_out(names, 0.2) == p.held_out({f"p{i}" for i in reversed(range(20))}, 0.2)
    assert len(p.held_out(names, 0.2)) == 4
    assert len(p.held_out({"a", "b"}, 0.01)) == 1
    assert p.held_out({"a"}, 0.5) == set() and p.held_out(names, 0) == set()


ANNOTATION = """Identity  : \tid10270
Reference : \t5r0dWxy17C8
Offset    : \t-1
FV Conf   : \t18.4\t(1)

FRAME \tX \tY \tW \tH
000050 \t0.25 \t0.10 \t0.50\t0.60
000051 \t0.27 \t0.10 \t0.50\t0.60
000099 \t0.25 \t0.12 \t0.50\t0.60
"""


def test_voxceleb_is_read_as_it_is(people: list[np.ndarray], write_clip: Callable[..., Path], tmp_path: Path) -> None:
    videos = tmp_path / "vox"
    for folder in ("txt/id10270/5r0dWxy17C8", "raw", "mp4/id00012/abc"):
        (videos / folder).mkdir(parents=True)
    for name, text in (("00001", ANNOTATION), ("00002", ANNOTATION.replace("5r0", "zzz")), ("00003", "nothing")):
        (videos / f"txt/id10270/5r0dWxy17C8/{name}.txt").write_text(text)
    write_clip(moving(people[0]) * 10, "5r0dWxy17C8.mp4", 25).rename(videos / "raw/5r0dWxy17C8.mp4")
    write_clip(moving(people[1], 15), "00001.mp4", 10).rename(videos / "mp4/id00012/abc/00001.mp4")
    jobs = {j.key: j for j in p.voxceleb_jobs(videos)}
    marked = jobs["txt/id10270/5r0dWxy17C8/00001.txt"]
    assert isinstance(marked, Job) and marked.identity == "id10270" and marked.stretch is not None
    assert marked.stretch[:2] == (2.0, 4.0)
    assert marked.stretch[2] == pytest.approx((0.25, 0.10, 0.77, 0.72))
    summary = prepare(videos, tmp_path / "set", PrepareOptions(layout="voxceleb", size=64, workers=1, smallest=0.2))
    rows = {r["file"]: r for r in manifest(tmp_path / "set")}
    assert (summary.clips, summary.identities) == (2, 2)
    row = rows["txt/id10270/5r0dWxy17C8/00001.txt"]
    assert (row["start"], row["frames"], row["identity"]) == ("2.0", "50", "id10270")
    assert rows["txt/id10270/5r0dWxy17C8/00002.txt"]["reason"] == "the video zzzdWxy17C8 is missing"
    assert "annotation" in rows["txt/id10270/5r0dWxy17C8/00003.txt"]["reason"]
    assert rows["mp4/id00012/abc/00001.mp4"]["identity"] == "id00012"


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder of videos is wanted"):
        prepare(tmp_path / "none", tmp_path / "set")
    videos = tmp_path / "videos"
    videos.mkdir()
    with pytest.raises(InputError, match="holds no file"):
        prepare(videos, tmp_path / "set", PrepareOptions(identities="folder"))
    with pytest.raises(OutputError, match="outside the folder"):
        prepare(videos, videos / "set")
    (videos / "a.mp4").touch()
    with pytest.raises(InputError, match="no usable clip in 1 files: empty 1"):
        prepare(videos, tmp_path / "set", PrepareOptions(identities="folder"))
    for options, words in (
        (PrepareOptions(layout="vox"), "--layout vox"), (PrepareOptions(identities="x"), "--identities x"),
        (PrepareOptions(size=33), "--size 33"), (PrepareOptions(held_out=1), "--held-out"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            prepare(videos, tmp_path / "set", options)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").touch()
    with pytest.raises(OutputError, match="is no data set"):
        prepare(videos, tmp_path / "other", PrepareOptions(identities="folder"))
