"""Further pictures of a person: the mouth that fits is taken from them, and other people are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infinex.drivers.contract import Drive
from infinex.drivers.units import units_motion
from infinex.engine import Setting, Source, find_engine, load_engine
from infinex.errors import FaceNotFoundError, InputError
from infinex.face import topology as top
from infinex.face.portrait import SourceFace
from infinex.face.pose import fit_pose, to_matrix
from infinex.face.shape import lip_gaps
from infinex.face.tracker import FaceTracker, find_faces
from infinex.media.image import write_image
from infinex.media.video import VideoReader
from infinex.mesh import album as module
from infinex.mesh.album import Album, cut_out, identity_is_checked, mixed, read_album
from infinex.mesh.engine import MeshEngine, MeshOptions
from infinex.mesh.retarget import Retarget
from infinex.mesh.seen import draw_seen_lids, draw_seen_skin, facing
from infinex.options import Options

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def frames(data_dir: Path) -> list[Source]:
    """Frames of one talker, tracked."""
    clip = data_dir / "clips/train/latentsync_2_00.mp4"
    with VideoReader(clip) as reader, FaceTracker() as tracker:
        seen = [(f.image, tracker(f.image)) for f, _ in zip(reader, range(24))]
    return [Source(image, face) for image, face in seen if face is not None]


def test_the_mouth_that_is_asked_for_is_found(frames: list[Source]) -> None:
    album = Album([cut_out(s.image, s.face.landmarks) for s in frames])
    if album.gaps.max() < module.OPEN:
        pytest.skip("this talker never opens the mouth")
    widest = int(np.argmax(album.gaps))
    found = album(album.views[widest].points)
    assert found is not None and (found.points == album.views[widest].points).all()
    shut = album.views[widest].points.copy()
    shut[module.top.LIPS_INNER_LOWER] = shut[module.top.LIPS_INNER_UPPER]
    closed = album(shut)  # lips that meet are shown as well, and never an open mouth for them
    if album.gaps.min() < 2 * module.OPEN:
        assert closed is not None and lip_gaps(module._head(closed.points))[4] < 2 * module.OPEN
    agape = album.views[widest].points.copy()
    agape[module.top.LIPS_INNER_LOWER[1:-1], 1] += 1000
    assert album(agape) is None


def test_mouths_are_mixed_on_the_first_ones_places(frames: list[Source]) -> None:
    first, other = (cut_out(s.image, s.face.landmarks) for s in (frames[0], frames[-1]))
    dark, light = (
        replace(first, image=np.full_like(first.image, 40)),
        replace(other, image=np.full_like(other.image, 120)),
    )
    shown = mixed([dark, light], np.array([0.75, 0.25]))
    assert (shown.points == first.points).all()
    x, y = np.round(first.points[module.LIPS, :2]).astype(int).T
    assert (shown.image[y, x] == 60).all() and (shown.image[:20] == 40).all() and (dark.image == 40).all()
    again = mixed([first, first], np.array([0.5, 0.5]))
    assert np.abs(again.image.astype(int) - first.image).max() <= 1


def test_what_was_shown_last_stays_in_part(frames: list[Source]) -> None:
    views = [cut_out(s.image, s.face.landmarks) for s in frames]
    lips = module.top.LIPS_INNER_LOWER[1:-1]
    for k, view in enumerate(views):  # all are open, each in its own way
        view.points[lips, 1] += 8 + k
        view.image[:] = 10 * k
    album, alone = Album(views), Album(views)
    x, y = np.round(views[0].points[module.LIPS, :2]).astype(int).T
    seen = [int(np.median(album(views[k].points).image[y, x])) for k in (0, len(views) - 1)]  # type: ignore[union-attr]
    last = int(np.median(alone(views[-1].points).image[y, x]))  # type: ignore[union-attr]
    assert seen[0] < seen[1] < last - 10


def test_an_album_changes_mouths_that_move_alone(frames: list[Source], tmp_path: Path) -> None:
    for i, s in enumerate(frames[::4]):
        write_image(tmp_path / f"{i:02}.png", s.image)
    source = frames[0]
    pictures = {}
    for name, album in (("without", ""), ("with", str(tmp_path))):
        engine = MeshEngine(MeshOptions("own", "none", album=album, refine=False))
        face = engine.prepare(source)
        for units in ({"AU1": 0.8}, {"AU26": 0.9, "AU25": 0.6}):
            motion = units_motion(np.array([list(units.values())]), list(units))
            face.begin(motion.rest, None, None)
            canvas = source.image.copy()
            face.draw(canvas, Drive(motion.at(0)))
            pictures[name, len(units)] = canvas
    assert (pictures["with", 1] == pictures["without", 1]).all()  # brows
    changed = np.abs(pictures["with", 2].astype(int) - pictures["without", 2]).max(2) > 4
    assert changed.any()
    lips = source.face.landmarks[module.LIPS, :2]
    y, x = np.nonzero(changed)
    wide = np.ptp(lips[:, 0])
    assert (np.abs(x - lips[:, 0].mean()) < 0.8 * wide).all() and (y > lips[:, 1].min() - 0.3 * wide).all()


def test_what_is_no_album_is_refused(frames: list[Source], tmp_path: Path, data_dir: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_album(tmp_path / "nowhere", frames[0])
    with pytest.raises(FaceNotFoundError, match="--album"):
        read_album(tmp_path, frames[0])
    with pytest.raises(InputError, match="--album"):
        Options(engine="fomm", album=str(tmp_path)).of_engine(find_engine("fomm"))
    write_image(tmp_path / "a.png", frames[0].image)
    engine = load_engine("mesh", replace(Options(), album=str(tmp_path)))
    with pytest.raises(InputError, match="one person"):
        engine.prepare(frames[0], Setting(beside=[frames[0].face]))


@pytest.mark.skipif(
    not identity_is_checked(), reason="dlib is not installed: pip install face_recognition_models dlib-bin"
)
def test_somebody_else_is_refused(frames: list[Source], tmp_path: Path, portrait: Path) -> None:
    from infinex.media.image import read_image

    other = read_image(portrait)
    write_image(tmp_path / "a.png", frames[0].image)
    with pytest.raises(InputError, match="somebody else"):
        read_album(tmp_path, Source(other, find_faces(other)[0]))
    assert len(read_album(tmp_path, frames[3])) == 1


def shut_eyes(points: np.ndarray) -> np.ndarray:
    """Landmarks with both lids closed."""
    out = points.copy()
    for upper, lower in ((top.RIGHT_LID_UPPER, top.RIGHT_LID_LOWER), (top.LEFT_LID_UPPER, top.LEFT_LID_LOWER)):
        out[upper[1:-1]] = out[lower[1:-1]]
    return out


def test_shut_lids_are_those_of_a_picture_that_shows_them(frames: list[Source]) -> None:
    views = [cut_out(s.image, s.face.landmarks) for s in frames[:6]]
    assert Album(views).lids(shut_eyes(views[0].points)) is None  # nobody saw them shut
    views[3] = replace(views[3], points=shut_eyes(views[3].points), image=np.full_like(views[3].image, 200))
    album = Album(views)
    assert album.lids(views[0].points) is None  # open ones are the portrait's
    found = album.lids(shut_eyes(views[0].points))
    assert found is not None and found[0] is album.views[3]
    shares = found[1]
    assert (shares > 0.5).all()
    for yaw in (40.0, -40.0):  # the far eye lies on the edge of the face
        pose = fit_pose(top.mean_face(), views[0].points)
        turned = replace(pose, rotation=to_matrix(np.radians([0.0, yaw, 0.0])))
        assert album.lids(turned.to_image(pose.to_head(shut_eyes(views[0].points)))) is None


def test_shut_lids_change_nothing_but_eyes(frames: list[Source]) -> None:
    points = frames[0].face.landmarks
    plain, out = frames[0].image.copy(), frames[0].image.copy()
    unit = float(np.linalg.norm(points[33, :2] - points[263, :2]))
    rng = np.random.default_rng(1)
    striped = np.asarray(frames[0].image * 0.5 + rng.uniform(0, 120, frames[0].image.shape), np.uint8)
    draw_seen_lids(out, (0, 0), points, unit, striped, points, np.array([1.0, 0.0]))
    changed = np.abs(out.astype(int) - plain).max(-1)
    right, left = (points[ring, :2].mean(0) for ring in (top.RIGHT_EYE, top.LEFT_EYE))
    y, x = np.nonzero(changed)
    assert len(x) > 100 and np.hypot(x - right[0], y - right[1]).max() < 0.5 * unit
    assert np.hypot(x - left[0], y - left[1]).min() > 0.3 * unit


def turned(points: np.ndarray, yaw: float) -> np.ndarray:
    """Landmarks of a head that turns aside by some degrees more."""
    pose = fit_pose(top.mean_face(), points)
    about = to_matrix(np.radians([0.0, yaw, 0.0]))
    return replace(pose, rotation=about @ pose.rotation).to_image(pose.to_head(points))


def test_skin_that_a_turn_uncovers_is_that_of_a_picture_which_shows_it(frames: list[Source]) -> None:
    front = frames[0].face.landmarks
    aside = turned(front, 30.0)
    own = facing(aside)  # the portrait looks aside, the album has one picture from there and one from the front
    views = [cut_out(frames[0].image, p) for p in (aside, front)]
    album = Album(views)
    assert album.skin(aside, own) == []  # nothing is uncovered
    ((view, shares),) = album.skin(front, own)
    assert view is album.views[1]
    hidden = (own < 0.3) & (facing(front) > 0.5)
    hidden[module.FEATURES] = False
    assert hidden.sum() > 10 and shares[hidden].min() > 0.8
    assert shares[own > facing(front)].max() == 0 and shares[module.FEATURES].max() == 0
    assert Album(views[:1]).skin(front, own)[0][1].max() < 0.5 * shares.max()  # nor does it know more


def test_another_picture_of_skin_comes_little_by_little(frames: list[Source]) -> None:
    front = frames[0].face.landmarks
    own, half = facing(turned(front, 40.0)), turned(front, 20.0)
    album = Album([cut_out(frames[0].image, p) for p in (half, front)])
    assert len(album.skin(half, own)) == 1
    layers = [album.skin(front, own) for _ in range(round(1 / module.COMES) + 1)]
    assert [len(x) for x in layers[:2]] == [2, 2] and len(layers[-1]) == 1
    assert layers[-1][0][0] is album.views[1]
    shown = [x[-1][1].max() for x in layers]
    assert shown[0] < shown[1] < shown[-1]


def test_skin_is_laid_on_where_it_is_uncovered_alone(frames: list[Source]) -> None:
    points = frames[0].face.landmarks
    unit = float(np.linalg.norm(points[33, :2] - points[263, :2]))
    shares = np.zeros(top.SURFACE)
    near = np.linalg.norm(points[: top.SURFACE, :2] - points[205, :2], axis=1) < 0.3 * unit  # a cheek
    shares[near] = 1.0
    rng = np.random.default_rng(1)
    striped = np.asarray(frames[0].image * 0.5 + rng.uniform(0, 120, frames[0].image.shape), np.uint8)
    out = frames[0].image.copy()
    draw_seen_skin(out, (0, 0), points, unit, striped, points, shares, np.ones(top.SURFACE))
    changed = np.abs(out.astype(int) - frames[0].image).max(-1) > 0
    y, x = np.nonzero(changed)
    assert len(x) > 100 and np.hypot(x - points[205, 0], y - points[205, 1]).max() < 0.6 * unit
    coarse = np.abs(out.astype(float).mean() - frames[0].image.astype(float).mean())
    assert coarse < 1.0  # the portrait's light


def test_a_head_turns_towards_us_as_far_as_its_album_has_seen_it(frames: list[Source]) -> None:
    front = frames[0].face.landmarks
    aside = turned(front, 25.0)
    own = fit_pose(top.mean_face(), aside)
    away = [cut_out(frames[0].image, turned(front, y)) for y in (25.0, 30.0, 35.0)]
    assert Album(away).turns(own) < np.radians(1.0)
    seen = Album([*away, *(cut_out(frames[0].image, turned(front, y)) for y in (0.0, -1.0, -2.0))]).turns(own)
    assert np.radians(24.0) < seen < np.radians(28.0)
    fine = replace(own, scale=3 * own.scale * module.SIDE / np.ptp(front[: top.SURFACE, 1]))
    assert Album([cut_out(frames[0].image, front)]).turns(fine) == 0  # of which the album shows nothing
    rest = units_motion(np.zeros((1, 1)), ["AU1"]).rest
    turns = []
    for more in (0.0, seen):
        retarget = Retarget(SourceFace(aside), rest)
        retarget.turns_up_to(more)
        to_us = -np.sign(own.angles[0]) * np.radians(20.0)
        move = units_motion(np.zeros((1, 1)), ["AU1"]).at(0)
        target = max(
            (retarget(replace(move, rotation=np.array([0.0, s * to_us, 0.0]))) for s in (-1.0, 1.0)),
            key=lambda t: -abs(float(t.pose.angles[0])),
        )
        turns.append(abs(float(own.angles[0] - target.pose.angles[0])))
    assert turns[0] < 5 and turns[1] > 12
