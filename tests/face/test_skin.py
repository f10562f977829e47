"""Skin that moves where no landmark follows it."""

import cv2
import numpy as np
import pytest

from infinex.editing import Editor
from infinex.face import topology as top
from infinex.face.pose import Pose
from infinex.face.shape_reader import MIDDLE, SIDE, SPAN, Flattened
from infinex.face.tracker import FaceFinder
from infinex.face.unit_reader import UnitReader
from infinex.face.units import FACE_UNITS
from infinex.pipeline import load_source
from infinex.studio.examples import EXAMPLES


def test_movement_is_measured_in_inter_ocular_distances_and_light_is_none() -> None:
    grain = np.random.default_rng(0).normal(0, 1, (SIDE, SIDE)).astype(np.float32)
    grey = np.clip(120 + 150 * cv2.GaussianBlur(grain, (0, 0), 2.5), 0, 255).astype(np.uint8)
    rest, unit = np.repeat(grey[:, :, None], 3, 2), SIDE / SPAN
    here = Pose(unit, np.eye(3), np.array([SIDE / 2, SIDE / 2, 0.0]) - unit * np.array([*MIDDLE, 0.0]))
    flat = Flattened(rest, here.to_image(top.mean_face()), top.mean_face())
    shift = np.array([2.0, -3.0])
    moved = cv2.warpAffine(rest, np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), (SIDE, SIDE))
    darker = np.clip(rest * 0.7 + np.linspace(0, 60, SIDE)[None, :, None], 0, 255).astype(np.uint8)
    inside = (np.abs(top.mean_face()[: top.SURFACE, :2] - MIDDLE) < 0.3 * SPAN).all(1)
    seen = []
    for picture in (rest, moved, darker):
        flat.pieces(picture, here)
        seen.append(flat.skin()[inside])
    assert np.abs(seen[0]).max() < 1e-3
    assert np.allclose(np.median(seen[1], 0), shift / unit, atol=0.3 / unit)
    assert np.median(np.abs(seen[2])) < 0.3 / unit


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
