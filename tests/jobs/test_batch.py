"""Many jobs: lists that are read or refused, a manifest that goes on, and processes that are killed."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from infinex.errors import InputError
from infinex.interchange import formats
from infinex.jobs import batch as batches
from infinex.jobs.batch import Job, batch, done_before, read_jobs


def _jobs(portrait: Path, folder: Path, count: int = 2) -> Path:
    """A list of short jobs, of which the last one cannot be done."""
    shutil.copy(portrait, folder / "face.jpg")
    rows = [{"source": "face.jpg", "driving": "smile", "output": f"{k}.mp4", "options": {"size": 128, "end": 0.2}}
            for k in range(count)]  # fmt: skip
    rows.append({"source": "nobody.jpg", "driving": "smile", "output": "no.mp4"})
    path = folder / "jobs.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


@pytest.mark.parametrize(
    ("line", "word"),
    [("{", "not JSON"), ("3", "an object"), ('{"source": "a"}', "wanted"),
     ('{"source": "a", "driving": "b", "x": 1}', "unknown x"),
     ('{"source": "a", "driving": "b", "options": {"sise": 3}}', "unknown sise"),
     ('{"source": "a", "driving": "b", "output": "../a.mp4"}', "within"), ("", "no jobs")],
)  # fmt: skip
def test_lists_of_something_else_are_refused(line: str, word: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(line + "\n")
    with pytest.raises(InputError, match=word):
        read_jobs(tmp_path / "a.jsonl")


def test_a_folder_of_portraits(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="driver"):
        read_jobs(tmp_path)
    for name in ("a.jpg", "a.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [j.output for j in read_jobs(tmp_path, "smile")] == ["a.mp4", "a-2.mp4"]


def test_a_run_goes_on_and_says_what_failed(portrait: Path, tmp_path: Path) -> None:
    jobs, out = read_jobs(_jobs(portrait, tmp_path)), tmp_path / "out"
    first = batch(jobs, out, 1)
    assert (first["done"], first["failed"]) == (2, 1) and (out / "1.mp4").stat().st_size > 500
    rows = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert sorted(r["status"] for r in rows) == ["done", "done", "failed"]
    assert "nobody.jpg" in next(r["error"] for r in rows if r["status"] == "failed")
    # One result is gone, and the last line was cut short: that one is done again, the other is not.
    (out / "0.mp4").unlink()
    before = (out / "1.mp4").stat().st_mtime_ns
    with (out / "manifest.jsonl").open("a") as file:
        file.write('{"key": "torn')
    again = batch(jobs[:2], out, 1)
    assert (again["done"], again["skipped"]) == (2, 1)
    assert (out / "0.mp4").exists() and (out / "1.mp4").stat().st_mtime_ns == before
    assert len(done_before(out / "manifest.jsonl", out)) == 2


def test_a_file_is_the_result_of_who_wrote_it_last(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    first, second = (Job("p.png", "wink", "a.mp4", {"strength": s}) for s in (1, 2))
    lines = [{"key": j.key, "output": j.output, "status": "done"} for j in (first, second)]
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("\n".join(map(json.dumps, lines)))
    assert list(done_before(manifest, tmp_path)) == [second.key]


def test_a_clip_that_drives_several_is_tracked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from infinex.drivers.motion import load_motion
    from infinex.jobs import track as tracking

    asked: list[str] = []

    def track(video: str, output: Path) -> None:
        asked.append(video)
        load_motion("smile").trim(0, 0.2).save(output)

    monkeypatch.setattr(tracking, "track", track)
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"x")
    jobs = [Job(f"{k}.jpg", str(clip), f"{k}.mp4") for k in range(3)]
    own = Job("3.jpg", str(clip), "3.mp4", {"start": 1.0})
    ready = batches.shared([*jobs, own], tmp_path / "out")
    assert (
        asked == [str(clip)] and len({j.driving for j in ready[:3]}) == 1 and ready[0].driving.endswith(".motion.npz")
    )
    assert ready[3] == own
    batches.shared(jobs, tmp_path / "out")
    assert len(asked) == 1


def test_a_folder_is_tracked(portrait: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    shutil.copy(portrait, folder / "face.jpg")
    (folder / "broken.jpg").write_bytes(b"no picture")
    done = batches.capture(folder, out, "openface", {}, 1)
    assert (done["done"], done["failed"]) == (1, 1) and (out / "face.csv").read_text().startswith("frame, face_id")
    with pytest.raises(InputError, match="--format poem"):
        batches.capture(folder, out, "poem", {})


@pytest.mark.slow
@pytest.mark.data
def test_every_face_is_in_the_table_and_keeps_its_number_over_a_cut(data_dir: Path, tmp_path: Path) -> None:
    from infinex.interchange.table import read_table
    from infinex.media.sink import open_sink
    from infinex.media.video import VideoReader

    def frames(name: str) -> list[np.ndarray]:
        with VideoReader(data_dir / "clips" / "train" / name) as reader:
            return [cv2.resize(f.image, (192, 192)) for f in itertools.islice(reader, 16)]

    a, b = frames("liveportrait_d12_00.mp4"), frames("liveportrait_d10_00.mp4")
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    with open_sink(folder / "two.mp4", (384, 192), 25) as sink:
        for k, (x, y) in enumerate(zip(a, b)):  # they change places in the middle
            sink.write(np.hstack([x, y] if k < 8 else [y, x]))
    done = batches.capture(folder, out, "openface", {"driver_face": "all"}, 1)
    assert done["done"] == 1
    table = read_table(out / "two.csv").columns
    assert table["frame"].tolist() == [k for k in range(1, 17) for _ in range(2)]
    assert (table["success"] == 1).all() and set(table["faceid"]) == {0, 1}
    for who in (0, 1):
        left = table["x30"][table["faceid"] == who] < 192
        assert left[:7].all() != left[9:].any() and left[:7].all() == (who == 0)
    assert len(formats.read(out / "two.csv")) == 16
    failed = batches.capture(folder, tmp_path / "other", "livelink", {"driver_face": "all"}, 1)
    assert failed["failed"] == 1


@pytest.mark.slow
def test_a_killed_run_goes_on(portrait: Path, tmp_path: Path) -> None:
    path, out = _jobs(portrait, tmp_path, 4), tmp_path / "out"
    call = [sys.executable, "-m", "infinex.cli", "batch", str(path), "--out", str(out), "--jobs", "1", "--quiet"]
    run = subprocess.Popen(call, start_new_session=True)
    manifest = out / "manifest.jsonl"
    while not (manifest.exists() and manifest.read_text().count("\n")):
        time.sleep(0.1)
        assert run.poll() is None
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert subprocess.run(call, check=False).returncode == 0
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert sorted(r["output"] for r in rows if r["status"] == "done") == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]


def _deadly(job: Job, out: str) -> dict:
    """A job whose process is killed on the first try, or on every."""
    tried = Path(out) / f"{job.output}.tried"
    before = len(tried.read_text()) if tried.exists() else 0
    with tried.open("a") as file:
        file.write("x")
    if job.driving == "always":  # else it could take with it the one that dies once, before that began
        until = time.monotonic() + 30
        while not list(Path(out).glob("1.mp4.tried")) and time.monotonic() < until:
            time.sleep(0.05)
    if job.driving == "always" or (job.driving == "once" and not before):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.3)
    return {"key": job.key, "source": str(os.getpid()), "driving": job.driving, "output": job.output, "status": "done"}


@pytest.mark.slow
@pytest.mark.parametrize("ray", [None, "local"])
def test_a_killed_workers_jobs_are_done_again_once(ray: str | None, tmp_path: Path) -> None:
    if ray is not None:
        cluster = pytest.importorskip("ray", reason="Ray is not installed: pip install 'infinex[ray]'")
        cluster.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers have no tests
    what = ["never", "once", "never", "always", "never", "never"]
    jobs = [Job("p.jpg", w, f"{k}.mp4") for k, w in enumerate(what)]
    done = batch(jobs, tmp_path, 2, ray, False, None, _deadly)
    assert (done["done"], done["failed"]) == (5, 1)
    rows = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    assert sorted(r["output"] for r in rows) == [f"{k}.mp4" for k in range(6)]
    assert [r["output"] for r in rows if r["status"] == "failed"] == ["3.mp4"]
    assert len({r["source"] for r in rows if r["status"] == "done"}) >= 2  # two workers at least
    # Nothing that was done is done again on Ray; a pool that breaks loses what ran beside, too.
    tries = {k: len((tmp_path / f"{k}.mp4.tried").read_text()) for k in range(6)}
    assert tries[1] == tries[3] == 2 if ray else all(t <= 2 for t in tries.values())
    assert ray is None or all(tries[k] == 1 for k in (0, 2, 4, 5))


@pytest.mark.slow
def test_on_a_ray_cluster(portrait: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'infinex[ray]'")
    done = batch(read_jobs(_jobs(portrait, tmp_path)), tmp_path / "out", ray="local")
    assert (done["done"], done["failed"]) == (2, 1)
