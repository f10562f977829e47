"""One table of all engines: who takes part, what is measured, what a killed run leaves, and its forms."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import run

from infinex.errors import InputError, OutputError, WeightsError
from infinex.evaluation import compare as module
from infinex.evaluation.compare import agreement, as_csv, as_latex, best_of, compare, entrants, lines, page
from infinex.evaluation.watched import Doings, Watched
from infinex.jobs import batch
from infinex.media.image import read_image, write_image
from infinex.media.video import VideoReader
from infinex.motion import Move, Rest


@pytest.fixture(autouse=True, scope="module")
def here() -> Iterator[None]:
    """Jobs are done in this process; pools and clusters have tests of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "_in_pool", lambda jobs, out, workers, do: (do(j, str(out)) for j in jobs))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, portrait: Path) -> Path:
    """A folder with one clip of a face that slides, and one without a face."""
    from infinex.media.sink import open_sink

    image = cv2.resize(read_image(portrait)[0:440, 40:480], (184, 184), interpolation=cv2.INTER_AREA)
    out = tmp_path_factory.mktemp("clips")
    for name, frames in (
        ("grace", [image[i : i + 160, 2 * i : 2 * i + 160].copy() for i in range(8)]),
        ("nobody", [np.full((96, 96, 3), 90 + i, np.uint8) for i in range(6)]),
    ):
        with open_sink(out / f"{name}.mp4", frames[0].shape[1::-1], 10) as sink:
            for frame in frames:
                sink.write(frame)
    return out


@pytest.fixture(scope="module")
def report(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("compared") / "report"
    return out, compare(folder, out, ["mesh"], workers=1)


def test_a_comparison_has_a_table_in_every_form(report: tuple[Path, dict]) -> None:
    out, found = report
    assert set(found["intervals"]) == {"static", "mesh"}
    mesh, static = found["intervals"]["mesh"], found["intervals"]["static"]
    assert mesh["l1"][0] < static["l1"][0] and mesh["l1_mouth"][0] < static["l1_mouth"][0]
    assert mesh["cpu"][0] > 0 and "cpu" not in static
    assert [n for n in found["notes"] if n.startswith("nobody left out")]
    assert json.loads((out / "report.json").read_text())["intervals"].keys() == found["intervals"].keys()
    rows = list(csv.DictReader((out / "table.csv").open()))
    assert [r["engine"] for r in rows] == ["static", "mesh"]
    assert float(rows[1]["l1"]) == pytest.approx(mesh["l1"][0], rel=1e-4)
    assert len(list(csv.DictReader((out / "clips.csv").open()))) == 2
    assert "grace.png" in (out / "index.html").read_text()
    panel = read_image(out / "pictures" / "grace.png")
    assert panel.shape == (4 * 256, 3 * 256, 3)  # truth, static, mesh at four moments
    with VideoReader(out / "videos" / "grace.mp4") as video:
        assert sum(1 for _ in video) == 8
    assert any("mesh" in line for line in lines(found))


def test_what_is_there_is_not_done_again(
    report: tuple[Path, dict], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, found = report
    before = (out / "rows" / "grace.json").stat().st_mtime_ns
    again = compare(folder, out, ["mesh"], workers=1)
    assert (out / "rows" / "grace.json").stat().st_mtime_ns == before
    assert again["intervals"]["mesh"]["l1"] == found["intervals"]["mesh"]["l1"]
    with pytest.raises(OutputError, match="no earlier comparison"):
        compare(folder, folder, ["mesh"])


def test_what_was_asked_otherwise_is_done_again(
    report: tuple[Path, dict], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "again"
    shutil.copytree(report[0], out)
    short = compare(folder, out, ["mesh"], frames=4, workers=1)
    assert {r["frames"] for r in short["rows"]["mesh"]} == {4}

    def broken(*_: object) -> object:
        raise RuntimeError("out of order")

    monkeypatch.setattr(module, "self_reenactment", broken)
    with pytest.raises(InputError, match="nothing could be compared"):  # no figures of another call
        compare(folder, out, ["mesh"], workers=1)
    assert "RuntimeError: out of order" in (out / batch.MANIFEST).read_text()
    shutil.copy(folder / "grace.mp4", tmp_path / "grace.mp4")
    shutil.copy(folder / "grace.mp4", tmp_path / "grace.mov")
    with pytest.raises(InputError, match="two clips are named grace"):
        compare(tmp_path, tmp_path / "no", ["mesh"])


def test_strangers(folder: Path, portrait: Path, tmp_path: Path) -> None:
    (tmp_path / "portraits").mkdir()
    write_image(tmp_path / "portraits" / "grace.png", read_image(portrait)[::2, ::2])
    found = compare(folder, tmp_path / "out", ["mesh"], cross=tmp_path / "portraits", drivers=1, frames=4, workers=1)
    row = found["intervals"]["mesh"]
    assert row["pose"][0] < 5 and row["gaze"][0] < 15 and row["fps"][0] > 0
    assert "static" not in found["intervals"]
    assert (tmp_path / "out" / "videos" / "grace by grace.mp4").is_file()
    with pytest.raises(InputError, match="folder of portraits"):
        compare(folder, tmp_path / "no", ["mesh"], cross=portrait)


def test_a_result_without_a_face_has_a_row(
    folder: Path, portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "portraits").mkdir()
    write_image(tmp_path / "portraits" / "grace.png", read_image(portrait)[::2, ::2])
    plain = Watched.add
    monkeypatch.setattr(Watched, "add", lambda self, image: plain(self, np.zeros_like(image)))
    found = compare(folder, tmp_path / "out", ["mesh"], cross=tmp_path / "portraits", drivers=1, frames=4, workers=1)
    assert found["intervals"]["mesh"]["fps"][0] > 0 and "pose" not in found["intervals"]["mesh"]
    assert "mesh: no face is seen in what it draws of grace by grace" in found["notes"]


def test_who_takes_part(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, options: object, weights: str = "") -> object:
        if name == "fomm" and not weights:
            raise WeightsError("train them first")
        return object()

    monkeypatch.setattr(module, "load_engine", load)
    found, missing = entrants(["fomm", "ganimation"], {})
    assert [e.name for e in found] == ["mesh", "ganimation"] and missing == {"fomm": "train them first"}
    assert found[1].megabytes > 0 and "trained here" in found[1].learned
    found, missing = entrants(["fomm"], {"fomm": "fomm-face"})
    assert [e.name for e in found] == ["mesh", "fomm"] and not missing
    assert len(entrants(["all"], {})[0]) >= 2
    with pytest.raises(InputError, match="unknown engine"):
        entrants(["nobody"], {})
    with pytest.raises(InputError, match="not compared"):
        entrants(["ganimation"], {"fomm": "fomm-face"})


def test_agreement_of_two_performances() -> None:
    rest = Rest.neutral()
    rng = np.random.default_rng(0)
    turns = np.cumsum(rng.normal(0, 0.02, (30, 3)), 0)
    jaw = np.zeros((30, 478, 3))
    jaw[:, [14, 87, 317, 178, 402], 1] = 0.1 * np.abs(np.sin(np.arange(30) / 3))[:, None]
    gaze = rng.normal(0, 0.1, (30, 2))

    def performance(k: float = 1.0, more: float = 0.0) -> Doings:
        moves = (Move(i / 25, turns[i] * k, np.zeros(3), 1.0, jaw[i], gaze[i] + (more if i else 0)) for i in range(30))
        return Doings(rest, moves)

    same = agreement(performance(), performance())
    assert same["pose"] == pytest.approx(0, abs=1e-4) and same["gaze"] == pytest.approx(0, abs=1e-6)
    assert same["lips"] == pytest.approx(1) and "lids" not in same  # nothing moves there
    assert agreement(performance(), performance(0.5))["pose"] > 0.5
    off = agreement(performance(), performance(more=0.1))["gaze"]
    assert off == pytest.approx(np.degrees(np.hypot(0.1, 0.1)) * 29 / 30, rel=1e-3)


def test_forms_of_a_table() -> None:
    table = {
        "static": {"l1": (0.01, 0.01, 0.01), "csim": (1.0, 1.0, 1.0)},
        "mesh": {"l1": (0.02, 0.01, 0.03), "csim": (0.9, 0.8, 1.0)},
        "x_y": {"l1": (0.03, 0.02, 0.04)},
    }
    report = {
        "intervals": table, "keys": ["l1", "csim"], "people": 2, "notes": ["<b>"], "cross": False, "data": "d",
        "rows": {n: [{"name": "a", "identity": "p", "frames": 3, "l1": r["l1"][0]}] for n, r in table.items()},
        "engines": {"mesh": {"megabytes": 1.5, "learned": "a & b", "weights": ""}},
    }  # fmt: skip
    assert best_of(table, "l1") == "mesh" and best_of(table, "csim") == "mesh"
    latex = as_latex(report)
    assert r"l1 $\downarrow$" in latex and r"csim $\uparrow$" in latex
    assert r"\textbf{0.02 $\pm$ 0.01}" in latex and r"x\_y" in latex and "--" in latex
    means, rows = as_csv(report)
    read = list(csv.DictReader(means.splitlines()))
    assert read[2]["csim"] == "" and read[1]["learned"] == "a & b" and float(read[1]["l1_low"]) == 0.01
    assert len(rows.splitlines()) == 4
    shown = page(report, ["a"])
    assert "&lt;b&gt;" in shown and "a &amp; b" in shown and "<b>" not in shown


def test_the_command_says_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    for words, message in (
        (["--weights", "fomm"], "ENGINE=FILE is wanted"),
        (["--engines", ","], "name at least one"),
        (["--frames", "1"], "at least 2"),
    ):
        done = run("compare", folder, "--out", tmp_path / "o", *words)
        assert done.returncode == 2 and message in done.stderr
