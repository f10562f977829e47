"""Skin that moves where no landmark follows it."""

import cv2
import numpy as np
import pytest

from infinex.editing import Editor
from infinex.face import topology as top
from infinex.face.pose import Pose, to_matrix
from infinex.face.reading import UnitReader
from infinex.face.skin import CENTRE, SIZE, SPAN, Skin, face_view
from infinex.face.tracker import FaceFinder
from infinex.face.units import FACE_UNITS
from infinex.pipeline import load_source
from infinex.studio.examples import EXAMPLES

UNIT = SIZE / SPAN  # pixels of a view in one IOD


def freckled(seed: int = 0) -> np.ndarray:
    """A view (SIZE, SIZE) with texture everywhere."""
    grain = np.random.default_rng(seed).normal(0, 1, (SIZE, SIZE)).astype(np.float32)
    return np.clip(120 + 150 * cv2.GaussianBlur(grain, (0, 0), 2.5), 0, 255).astype(np.uint8)


def test_a_view_undoes_where_the_head_is() -> None:
    rng = np.random.default_rng(3)
    grain = cv2.GaussianBlur(rng.normal(0, 1, (700, 700)).astype(np.float32), (0, 0), 8)
    image = np.repeat(np.clip(120 + 900 * grain, 0, 255).astype(np.uint8)[:, :, None], 3, 2)
    here = Pose(UNIT * 1.3, np.eye(3), np.array([350.0, 340.0, 0.0]))
    tilted = Pose(UNIT * 1.3, to_matrix(np.array([0, 0, 0.4])), np.array([350.0, 340.0, 0.0]))
    back = cv2.getRotationMatrix2D((350, 340), -np.degrees(0.4), 1)
    turned = cv2.warpAffine(image, back, (700, 700))
    apart = face_view(image, here).astype(float) - face_view(turned, tilted)
    assert np.abs(apart)[20:-20, 20:-20].mean() < 3 < np.abs(face_view(image, here).astype(float) - 128).mean()


def test_movement_is_measured_in_inter_ocular_distances_and_light_is_none() -> None:
    rest = freckled()
    skin = Skin(rest, top.mean_face())
    assert np.abs(skin.moved(rest)).max() < 1e-3
    shift = np.array([2.0, -3.0])
    moved = cv2.warpAffine(
        rest, np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), (SIZE, SIZE), borderMode=cv2.BORDER_REFLECT
    )
    inside = (np.abs(top.mean_face()[: top.SURFACE, :2] - CENTRE) < 0.4 * SPAN).all(1)
    assert np.allclose(np.median(skin.moved(moved)[inside], 0), shift / UNIT, atol=0.3 / UNIT)
    darker = np.clip(rest * 0.7 + np.linspace(0, 60, SIZE)[None], 0, 255).astype(np.uint8)
    assert np.median(np.abs(skin.moved(darker))) < 0.3 / UNIT


def test_what_landmarks_hardly_show_is_read_off_the_skin() -> None:
    editor, finder = Editor(load_source(EXAMPLES[1].path)), FaceFinder()
    box = editor.sources[0].face.box
    plain = editor({})
    rest = finder.mesh(plain, box)
    assert rest is not None
    reader = UnitReader(plain, rest)
    asked = [{}, {"AU9": 0.8}, {"AU6": 0.8}, {"AU4": 0.8}, {"AU20": 0.8}]
    for units in asked:
        picture = editor(units)
        seen = finder.mesh(picture, box)
        assert seen is not None
        reader.add(picture, seen)
    finder.close()
    found = reader.units()
    assert found[0].max() < 0.05
    for units, row in zip(asked[1:], found[1:]):
        ((name, amount),) = units.items()
        assert FACE_UNITS[int(row.argmax())] == name and abs(row.max() - amount) < 0.3
    assert len(reader.units()) == 0  # those since the last call


def test_a_lost_face_keeps_its_skin_and_needs_its_displacements() -> None:
    source = load_source(EXAMPLES[1].path)[0]
    reader = UnitReader(source.image, source.face.landmarks)
    reader.add(None, None, np.zeros((top.POINTS, 3)))
    assert not reader.units().any()
    with pytest.raises(ValueError, match="lost"):
        reader.add(None, None)
