"""What cannot be done with a portrait is said; what can be, is not complained of."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from infinex.drivers.units import units_motion
from infinex.editing import Editor, edit
from infinex.face import topology as top
from infinex.face.remarks import already_there, changes, closed_eyes
from infinex.face.units import columns_of, combined
from infinex.pipeline import Options, animate, load_source


@pytest.fixture(scope="module")
def editor(portrait: Path) -> Editor:
    return Editor(load_source(portrait, size=400))


def test_an_open_portrait_gets_no_remark(editor: Editor) -> None:
    assert editor.remarks({"AU1": 0.8, "AU5": 0.8}) == []


def test_a_wish_too_faint_to_be_seen_is_said(editor: Editor) -> None:
    (line,) = editor.remarks({"AU1": 0.01})
    assert line.startswith("AU1 changes nothing")
    (line,) = editor.remarks({"AU1": 0.8, "AU4": 0.005})
    assert line.startswith("AU4 changes nothing")


def _portrait(right: float, left: float, turn: float = 1.0) -> SimpleNamespace:
    rotation = np.diag([1.0, 1.0, turn])
    return SimpleNamespace(openness=np.array([right, left]), pose=SimpleNamespace(rotation=rotation))


@pytest.mark.parametrize(
    ("right", "left", "turn", "said"),
    [(0.05, 0.06, 1, "the eyes are"), (0.05, 0.3, 1, "the right eye"), (0.3, 0.05, 1, "the left eye"),
     (0.13, 0.14, 1, None), (0.08, 0.25, 1, None), (0.05, 0.3, 0.5, None)],
)  # fmt: skip
def test_closed_eyes_by_their_measure(right: float, left: float, turn: float, said: str | None) -> None:
    line = closed_eyes(_portrait(right, left, turn))  # type: ignore[arg-type]
    assert line is None if said is None else line is not None and line.startswith(said)


def test_an_expression_that_is_there_is_read_off_the_face() -> None:
    mean = top.mean_face()
    face = mean + combined(columns_of({"AU12": 1.0})[None])[0]
    smiling, neutral = SimpleNamespace(face=face), SimpleNamespace(face=mean)
    assert [w.split()[0] for w in already_there(smiling, {"AU12": 0.5, "AU1": 0.5})] == ["AU12"]  # type: ignore[arg-type]
    assert already_there(neutral, {"AU12": 0.5}) == []  # type: ignore[arg-type]


def test_changes_are_those_a_viewer_sees() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(60, 190, (200, 200, 3), dtype=np.uint8)
    noise = (picture + rng.integers(-3, 4, picture.shape)).astype(np.uint8)
    assert not changes(picture, noise, (20, 20, 180, 180))
    moved = picture.copy()
    moved[80:90, 80:100] = 0
    assert changes(picture, moved, (20, 20, 180, 180)) and not changes(picture, moved, (120, 120, 180, 180))
    assert not changes(picture, moved, (300, 300, 400, 400))


@pytest.mark.data
def test_closed_eyes_are_said_by_edit_and_animate(data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / "field" / "closed_eyes.png"
    if not path.exists():
        pytest.skip("this folder of real inputs lacks field/closed_eyes.png")
    notes: list[str] = []
    edit(path, {"AU61": 1.0}, notes=notes)
    assert len(notes) == 2 and "closed" in notes[0] and "AU61 changes nothing" in notes[1]
    still = units_motion(np.zeros((3, 1)), ["AU12"])
    done = animate(path, still, tmp_path / "a.mp4", Options(size=256))
    assert any("eyes are closed" in w for w in done.warnings) and any(
        "nothing in the picture moves" in w for w in done.warnings
    )
