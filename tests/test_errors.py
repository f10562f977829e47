"""Errors name options; the command line and the studio each write them in their own form."""

from __future__ import annotations

import pickle

import pytest

from infinex.errors import FaceNotFoundError, InputError, option
from infinex.face.tracker import choose
from infinex.studio.checks import friendly


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


def test_texts_without_marks_lose_their_dashes_in_the_studio() -> None:
    assert friendly("--box lies outside a--b.png") == "The box lies outside a--b.png."
    assert friendly("AU1=7: from 0 to 1 (to 2 with --allow-exaggeration)") == "AU1=7: from 0 to 1."
    assert friendly("--face 4: there are 2") == "Face 4: there are 2."


def test_no_other_name_is_an_option() -> None:
    with pytest.raises(ValueError, match="no option's name"):
        option("--box")
