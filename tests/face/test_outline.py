"""What the outline of a head and the shoulders do beyond the face."""

import cv2
import numpy as np
import pytest

from infinex.drivers.video import VideoDriver
from infinex.engine import Drive, Source
from infinex.face.outline import Outline
from infinex.face.portrait import SourceFace
from infinex.face.pose import Pose
from infinex.mesh.engine import MeshOptions, PreparedFace
from infinex.motion import Move, Rest
from infinex.pipeline import load_source
from infinex.studio.examples import EXAMPLES

NOWHERE = np.zeros((2, 2, 3))
UNIT_SHIFT = np.array([[[0, 0, 1], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]], float)  # the head's outline by an IOD


@pytest.fixture(scope="module")
def person() -> Source:
    return load_source(EXAMPLES[1].path)[0]


@pytest.fixture(scope="module")
def outline(person: Source) -> Outline:
    face = SourceFace(person.face.landmarks)
    return Outline(person.image, face.face, face.pose)


def shifted(image: np.ndarray, x: float, y: float) -> np.ndarray:
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float64)
    return cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


def test_the_reference_itself_shows_nothing(person: Source, outline: Outline) -> None:
    pose = SourceFace(person.face.landmarks).pose
    assert not outline.settled(outline.measure(person.image, pose)).any()


def hair(outline: Outline, pose: Pose, fields: np.ndarray) -> np.ndarray:
    """How far the fields take the surroundings of the head, above the chin, from where they would be (2,)."""
    places = outline.predicted(pose, NOWHERE)
    way = outline.predicted(pose, fields) - places
    sure = np.linalg.norm(outline.predicted(pose, UNIT_SHIFT) - places, axis=1) > 0.6 * pose.scale
    return np.median(way[sure], 0)


def test_what_moves_without_the_face_is_measured(person: Source, outline: Outline) -> None:
    pose = SourceFace(person.face.landmarks).pose
    by = np.array([0.06, -0.04]) * pose.scale  # pixels
    fields = outline.measure(shifted(person.image, *by), pose)
    assert np.allclose(hair(outline, pose, fields), by, atol=0.01 * pose.scale)
    # With the face, it is the head's own motion.
    followed = Pose(pose.scale, pose.rotation, pose.translation + np.array([*by, 0]))
    fields = outline.measure(shifted(person.image, *by), followed)
    assert np.allclose(hair(outline, followed, fields), 0, atol=0.01 * pose.scale)
    assert fields[1, 0, 2] > 0.01 and fields[1, 1, 2] < -0.005  # the shoulders went along, which no head explains


def test_growth_is_told_from_shift(person: Source, outline: Outline) -> None:
    pose = SourceFace(person.face.landmarks).pose
    x, y = pose.translation[:2]
    grown = np.array([[1.05, 0, -0.05 * x], [0, 1.05, -0.05 * y]])
    image = cv2.warpAffine(person.image, grown, person.image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    head = outline.measure(image, pose)[0]
    assert 0.03 < head[0, 0] < 0.08 and 0.03 < head[1, 1] < 0.08
    assert abs(head[0, 1]) < 0.015 and abs(head[1, 0]) < 0.015


def test_nothing_implausible_is_believed(person: Source, outline: Outline) -> None:
    pose = SourceFace(person.face.landmarks).pose
    places = outline.predicted(pose, NOWHERE)
    for size in (0.1, 3.0):
        fields = outline.settled(size * UNIT_SHIFT)
        way = np.linalg.norm(outline.predicted(pose, fields) - places, axis=1).max() / pose.scale
        assert way < 0.45 and (size > 1 or np.array_equal(fields, size * UNIT_SHIFT))


def drawn(face: PreparedFace, fields: np.ndarray | None) -> np.ndarray:
    rest = Rest.neutral()
    canvas = face.source.image.copy()
    move = Move(0, rest.rotation, rest.translation, 1.0, np.zeros((478, 3)), rest.gaze, outline=fields)
    face.draw(canvas, Drive(move))
    return canvas


def test_the_engine_moves_hair_by_it_and_no_landmark(person: Source) -> None:
    face = PreparedFace(person, MeshOptions(mouth="own", wrinkles="none", refine=False))
    face.begin(Rest.neutral(), None, None)
    fields = NOWHERE.copy()
    fields[0, 0, 2] = 0.05
    source, moved, _ = face.warp.vertices(face.target(Move(0, np.zeros(3), np.zeros(3), 1, np.zeros((478, 3)),
                                                           np.zeros(2), outline=fields)))  # fmt: skip
    way = (moved - source)[478:, 0] / face.face.pose.scale
    assert np.abs((moved - source)[:478]).max() < 1e-9
    assert 0.03 < way.max() < 0.051 and way.min() > -1e-9
    assert (drawn(face, fields) != person.image).any()
    assert np.array_equal(drawn(face, NOWHERE), person.image)
    plain = PreparedFace(person, MeshOptions(mouth="own", wrinkles="none", outline=False, refine=False))
    plain.begin(Rest.neutral(), None, None)
    assert np.array_equal(drawn(plain, fields), person.image)


def test_a_driving_clip_carries_it(person: Source, write_clip) -> None:
    """The body sways while the face, pasted over it, stays."""
    k = 320 / person.image.shape[1]
    image = cv2.resize(person.image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
    image = np.ascontiguousarray(image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2])
    points = person.face.landmarks * k
    mask = np.zeros(image.shape[:2], np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(points[:468, :2].astype(np.int32)), 1.0)
    mask = cv2.GaussianBlur(mask, (0, 0), 2)[..., None]
    sway = 5 * np.sin(np.arange(24) / 24 * 2 * np.pi)
    frames = [(shifted(image, s, 0) * (1 - mask) + image * mask).astype(np.uint8) for s in sway]
    clip = write_clip(frames, "sway.mp4")
    driver = VideoDriver(clip).settle()
    moves = [d.move for d in driver]
    driver.close()
    unit = SourceFace(points).pose.scale
    shown = np.array([0.0 if m.outline is None else m.outline[0, 0, 2] for m in moves]) * unit
    turned = sway - sway[driver.reference]
    assert np.corrcoef(shown, turned)[0, 1] > 0.95
    assert 0.4 < np.ptp(shown) / np.ptp(turned) < 1.3
    plain = VideoDriver(clip, flow=False).settle()
    assert all(d.move.outline is None for d in plain)
    plain.close()
