"""Editing a portrait by Action Units, from the command line and from Python."""

from pathlib import Path

import numpy as np
import pytest

import infinex
from infinex.editing import CELL, Editor, expression
from infinex.errors import InputError
from infinex.media.image import read_image, write_image
from infinex.media.provenance import inspect
from infinex.media.video import probe
from tests.test_cli import refused, run


@pytest.fixture(scope="module")
def photo(portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("edit") / "hopper.png"
    write_image(path, read_image(portrait))
    return path


@pytest.fixture(scope="module")
def editor(photo: Path) -> Editor:
    return Editor(infinex.load_source(photo))


def test_a_smile_changes_the_face_and_nothing_else(editor: Editor) -> None:
    image = editor({"AU12": 0.8, "AU6": 0.5})
    source = editor.sources[0].image
    x0, y0, x1, y1 = (int(v) for v in editor.sources[0].face.box)
    changed = np.abs(image.astype(int) - source).max(-1) > 12
    h = y1 - y0
    assert changed[y0:y1, x0:x1].mean() > 0.05
    changed[max(0, y0 - h // 4) : y1 + h // 4, max(0, x0 - h // 4) : x1 + h // 4] = False
    assert not changed.any()


def test_nothing_asked_nothing_changed(editor: Editor, photo: Path, tmp_path: Path) -> None:
    source = editor.sources[0].image
    editor({"AU26": 1.0})
    assert np.array_equal(editor({}), source) and np.array_equal(editor({"AU12": 0.0, "AU51": 0.0}), source)
    out = tmp_path / "same.png"
    infinex.edit(photo, "AU12=0,AU6=0", out)
    assert out.read_bytes() == photo.read_bytes()
    infinex.edit(photo, "AU12=0", tmp_path / "same.tif")
    assert np.array_equal(read_image(tmp_path / "same.tif"), source)


def test_sides_are_the_subjects_own(editor: Editor) -> None:
    source = editor.sources[0].image
    middle = int(editor.sources[0].face.landmarks[1, 0])
    left = np.abs(editor({"AU2L": 1.0}).astype(int) - source).sum((0, 2))
    assert left[middle + 20 :].sum() > 20 * left[: middle - 20].sum()


def test_intensity_is_continuous(editor: Editor) -> None:
    frames = [editor({"AU12": a}).astype(float) for a in (0.0, 0.01, 0.5, 0.51, 1.0)]
    small = [np.abs(b - a).mean() for a, b in ((frames[0], frames[1]), (frames[2], frames[3]))]
    assert max(small) < 0.1 * np.abs(frames[4] - frames[0]).mean()


def test_grids(editor: Editor) -> None:
    row = editor.grid({"AU12": 1.0})
    square = editor.grid({"AU12": 1.0, "AU4": 1.0})
    assert row.shape[1] == square.shape[1] and square.shape[0] == 4 * row.shape[0]
    w = row.shape[1] // 4
    assert w <= CELL and not np.array_equal(row[30:, :w], row[30:, -w:])
    with pytest.raises(InputError, match="above 0"):
        editor.grid({"AU12": 0.0})


def test_expressions_combine() -> None:
    assert expression("AU12=0.2,AU1=1", "happy")["AU12"] == 0.85
    for bad in ({"AU12": 1.5}, {"AU12": float("nan")}, {"AU3": 1.0}):
        with pytest.raises(InputError):
            expression(bad)
    with pytest.raises(InputError, match="timeline"):
        expression("0s: ; 1s: AU12=1")


def test_the_command(photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "smile.png"
    done = run("edit", photo, "--units", "AU12=0.8,AU6L=0.5", "-o", out, "--json")
    assert done.returncode == 0, done.stderr
    assert '"AU6L": 0.5' in done.stdout and inspect(out).made_with_infinex
    assert not np.array_equal(read_image(out), read_image(photo))
    sheet = tmp_path / "grid.jpg"
    assert run("edit", photo, "--emotion", "sad", "--grid", "--no-shading", "-o", sheet).returncode == 0
    assert read_image(sheet).shape[1] > 3 * read_image(sheet).shape[0]


def test_a_timeline_moves(photo: Path, tmp_path: Path) -> None:
    timeline = "0s: ; 0.3s: AU12=1,AU6=.6; 0.6s: AU12=.2"
    for command in ("edit", "animate"):
        out = tmp_path / f"{command}.mp4"
        done = run(command, photo, "--units", timeline, "-o", out, "--quiet")
        assert done.returncode == 0, done.stderr
        assert probe(out).frames == 16


@pytest.mark.parametrize(("words", "says"), [
    (["--units", "AU3=1"], "did you mean AU2"), (["--units", "AU12=1.2"], "--allow-exaggeration"),
    (["--units", "AU12:1"], "character"), (["--emotion", "hapy"], "did you mean happy"), ([], "--units"),
    (["--emotion", ""], "emotion"), (["--units", "AU12", "--box", "nan,0,90,90"], "--box"),
    (["--units", "0s: ; 1s: AU12=1"], "timeline"), (["--emotion", "happy", "--strength", "2"], "strength"),
])  # fmt: skip
def test_what_cannot_be_edited_is_said_in_a_line(photo: Path, tmp_path: Path, words: list[str], says: str) -> None:
    out = tmp_path / "out.png"
    assert says in refused(run("edit", photo, *words, "-o", out))
    assert not out.exists()


def test_outputs_are_kept_apart_from_inputs(photo: Path) -> None:
    with pytest.raises(InputError, match="overwrite"):
        infinex.edit(photo, "AU12=1", photo)
    with pytest.raises(InputError, match="must end"):
        infinex.edit(photo, "AU12=1", photo.with_suffix(".xyz"))
