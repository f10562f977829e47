"""Mesh topology, pose, tracking and Action Units."""

from pathlib import Path

import numpy as np
import pytest

from infinex.errors import FaceNotFoundError, InputError
from infinex.face import topology as top
from infinex.face.pose import SLACK, Pose, fit_pose, similarity, to_matrix, to_vector
from infinex.face.shape import eye_openness, gaze_of, lip_gaps
from infinex.face.tracker import Face, FaceFinder, FaceTracker, choose
from infinex.face.units import units_offsets
from infinex.media.image import read_image
from infinex.media.video import VideoReader


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder()


def test_the_mesh_is_whole_and_symmetric() -> None:
    tris, mean, mirror = top.triangles(), top.mean_face(), top.mirror()
    assert tris.shape == (854, 3) and set(tris.ravel()) == set(range(468))
    assert np.array_equal(mirror[mirror], np.arange(478))
    assert np.allclose(mean[mirror] * [-1, 1, 1], mean, atol=1e-6)
    assert np.isclose(np.linalg.norm(mean[33] - mean[263]), 1)
    p = mean[tris][:, :, :2]
    u, v = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
    assert (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0] > 0).all()  # one winding


def test_pose_is_recovered_and_ignores_expression() -> None:
    mean = top.mean_face()
    true = Pose(83.0, to_matrix(np.array([0.2, -0.3, 0.1])), np.array([120.0, 90.0, 5.0]))
    pose = fit_pose(mean, true.to_image(mean))
    assert np.allclose(pose.rotation, true.rotation) and np.isclose(pose.scale, 83)
    assert np.allclose(pose.to_head(true.to_image(mean)), mean)
    smile = mean + units_offsets({"AU12": 1, "AU26": 1, "AU1": 1, "AU4": 1})
    turn = np.degrees(np.linalg.norm(to_vector(fit_pose(mean, true.to_image(smile)).rotation @ true.rotation.T)))
    assert turn < 1.0


def test_pose_is_that_of_weighted_least_squares() -> None:
    mean, rng = top.mean_face(), np.random.default_rng(0)
    first = np.array([top.RIGID_WEIGHTS.get(i, 1.0) for i in top.RIGID])
    for _ in range(20):
        shape = mean + rng.normal(0, 0.02, mean.shape)
        points = Pose(rng.uniform(20, 900), to_matrix(rng.normal(0, 0.5, 3)), rng.uniform(0, 4000, 3)).to_image(shape)
        source, target, weights = mean[top.RIGID], points[top.RIGID], first
        for _ in range(3):
            pose = similarity(source, target, weights)
            off = np.linalg.norm(pose.to_image(source) - target, axis=1) / pose.scale
            weights = first / (1 + (off / SLACK) ** 2)
        pose, quick = similarity(source, target, weights), fit_pose(mean, points)
        assert quick.scale == pytest.approx(pose.scale, rel=1e-9)
        assert np.abs(quick.to_image(mean) - pose.to_image(mean)).max() < 1e-6  # pixels


@pytest.mark.parametrize(("axis", "which"), [(1, 0), (0, 1), (2, 2)])
def test_angles_have_the_right_axis(axis: int, which: int) -> None:
    vector = np.zeros(3)
    vector[axis] = np.radians(12)
    angles = Pose(1.0, to_matrix(vector), np.zeros(3)).angles
    assert np.isclose(abs(angles[which]), 12)
    nose, top_of_head = (to_matrix(vector) @ top.mean_face()[i] - top.mean_face()[i] for i in (1, 10))
    moved = (nose[0], nose[1], top_of_head[0])[which]  # to the viewer's right, down, clockwise
    assert np.sign(moved) == np.sign(angles[which])
    assert np.allclose(np.delete(angles, which), 0, atol=1e-9)


def test_measures_of_the_face() -> None:
    mean = top.mean_face()
    assert 0.2 < eye_openness(mean).mean() < 0.5 and (lip_gaps(mean) > -0.01).all()
    shut = mean.copy()
    shut[top.RIGHT_LID_UPPER[1:-1]] = shut[top.RIGHT_LID_LOWER[1:-1]]
    right, left = eye_openness(shut)
    assert right < 0.02 and left > 0.2
    looking = mean.copy()
    looking[top.RIGHT_IRIS + top.LEFT_IRIS, 0] += 0.03
    assert gaze_of(looking)[0] > gaze_of(mean)[0] + 0.1


def test_finder_places_the_mesh_on_a_photo(finder: FaceFinder, portrait: Path) -> None:
    image = read_image(portrait)
    faces = finder.find(image)
    assert len(faces) == 1 and faces[0].score > 0.85
    p = faces[0].landmarks
    assert p.shape == (478, 3) and 60 < np.linalg.norm(p[33] - p[263]) < 160
    small = finder.find(np.ascontiguousarray(image[::3, ::3]))
    assert np.abs(small[0].landmarks[:, :2] * 3 - p[:, :2]).mean() < 4


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_lying_faces_are_found(finder: FaceFinder, portrait: Path, turns: int) -> None:
    image = read_image(portrait)
    upright = finder.find(image)[0].landmarks
    turned = finder.find(np.ascontiguousarray(np.rot90(image, turns)))[0].landmarks
    h, w = image.shape[:2]
    x, y = upright[:, 0], upright[:, 1]
    expected = {1: (y, w - 1 - x), 2: (w - 1 - x, h - 1 - y), 3: (h - 1 - y, x)}[turns]
    assert np.hypot(turned[:, 0] - expected[0], turned[:, 1] - expected[1]).mean() < 6


def test_no_face_in_noise(finder: FaceFinder) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    assert finder.find(noise) == []


@pytest.mark.data
def test_several_faces_and_animals(finder: FaceFinder, data_dir: Path) -> None:
    couple = finder.find(read_image(data_dir / "portraits" / "deepface_couple.jpg"))
    assert len(couple) == 2
    left, right = choose(couple, 1, "x")[0], choose(couple, "2", "x")[0]
    assert left.box[0] < right.box[0]
    assert choose(couple, "largest", "x")[0].size == max(f.size for f in couple)
    with pytest.raises(InputError, match=r"2 face\(s\)"):
        choose(couple, "3", "x")
    with pytest.raises(InputError, match="largest, all"):
        choose(couple, "both", "x")
    assert finder.find(read_image(data_dir / "portraits" / "liveportrait_s39.jpg")) == []  # a cat


def test_choosing_among_none_or_tiny_ones() -> None:
    with pytest.raises(FaceNotFoundError, match=r"no face found in a\.png"):
        choose([], "largest", "a.png")
    with pytest.raises(FaceNotFoundError, match="too small"):
        choose([Face(top.mean_face() * 10)], "largest", "a.png")


def test_box_where_no_detector_helps(finder: FaceFinder, portrait: Path) -> None:
    image = read_image(portrait)
    found = finder.find(image)[0]
    given = finder.in_box(image, found.box)
    assert np.abs(given.landmarks - found.landmarks).mean() < 3


@pytest.mark.data
def test_tracker_follows_a_clip(data_dir: Path) -> None:
    with VideoReader(data_dir / "clips" / "train" / "retalking_2_00.mp4") as reader, FaceTracker() as tracker:
        track = [tracker(f.image) for f in reader if f.index < 40]
    assert all(track)
    step = np.diff(np.stack([f.landmarks[4, :2] for f in track if f]), axis=0)
    assert np.abs(step).max() < 12


@pytest.mark.data
def test_tracker_sees_nothing_where_there_is_nothing(data_dir: Path) -> None:
    with VideoReader(data_dir / "bad" / "no-face.mp4") as reader, FaceTracker() as tracker:
        assert not any(tracker(f.image) for f in reader)
