"""Errors name options; the command line and the studio each write them in their own form."""

from __future__ import annotations

import ast
import pickle
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

import infinex
from infinex.drivers.units import parse_units
from infinex.errors import FaceNotFoundError, InputError, Note, option
from infinex.face.tracker import choose
from infinex.studio.checks import friendly


@dataclass
class Said:
    words: list[str]


def test_an_option_is_written_in_everybody_s_own_form() -> None:
    error = InputError(f"{option('driver_face')} 9: it does not go with {option('box')}")
    assert str(error) == "--driver-face 9: it does not go with --box"
    assert friendly(error) == "Driver-face 9: it does not go with box."
    assert error.options == ("driver_face", "box")


def test_advice_is_for_the_command_line() -> None:
    with pytest.raises(FaceNotFoundError) as caught:
        choose([], "largest", "{box}--me.png")
    assert str(caught.value).endswith(
        "{box}--me.png; use a clearer or larger face, or mark it with --box x,y,width,height"
    )
    assert friendly(caught.value) == "No face found in {box}--me.png; use a clearer or larger face."


def test_an_error_keeps_its_options_on_its_way() -> None:
    error = InputError(f"a.mp4: {option('start')}", advice=f"; {option('keep_readable')} helps")
    other = pickle.loads(pickle.dumps(error)).replaced("a.mp4", "b.mp4")
    assert str(other) == "b.mp4: --start; --keep-readable helps" and other.options == ("start",)
    assert type(other) is InputError


def test_a_note_is_spelt_like_an_error_and_travels_whole() -> None:
    said = asdict(Said([Note(f"2 faces in a--b.mp4; {option('driver_face')} N chooses")]))
    note = pickle.loads(pickle.dumps(said))["words"][0]
    assert note == "2 faces in a--b.mp4; --driver-face N chooses"
    assert friendly(note) == "2 faces in a--b.mp4; driver-face N chooses."


def test_advice_in_brackets_stays_with_the_command_line() -> None:
    with pytest.raises(InputError) as caught:
        parse_units("AU1=7")
    assert str(caught.value).endswith(" (to 2 with --allow-exaggeration)")
    assert "exaggeration" not in friendly(caught.value) and "0 to 1" in friendly(caught.value)


def test_below_the_commands_no_text_spells_options_by_itself() -> None:
    """Options are marked, so that whoever shows a text can write them in his own form."""
    bad = []
    for path in Path(infinex.__file__).parent.rglob("*.py"):
        if {"commands", "cli.py"} & set(path.parts):
            continue
        for call in (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Raise)):
            for text in (n.value for n in ast.walk(call) if isinstance(n, ast.Constant) and isinstance(n.value, str)):
                if re.search(r"(?<![\w-])--[a-z]", text) and not re.search("pip install|infinex ", text):
                    bad.append(f"{path.name}: {text}")
    assert not bad


def test_no_other_name_is_an_option() -> None:
    with pytest.raises(ValueError, match="no option's name"):
        option("--box")
