"""Motion: its file, its filters, and how it is captured."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infinex.drivers.capture import (
    BRIDGE,
    NOISE_FACE,
    NOISE_POSE,
    Capture,
    Sighting,
    bridge,
    choose_rest,
    smooth,
    with_strength,
)
from infinex.drivers.motion import MotionDriver, bundled_motions, load_motion, still_motion
from infinex.errors import InputError
from infinex.face.interior import USUAL
from infinex.face.portrait import SourceFace
from infinex.face.pose import Pose, fit_pose, to_matrix
from infinex.face.shape import eye_openness, gaze_of
from infinex.face.topology import POINTS, SURFACE, mean_face
from infinex.face.tracker import Face
from infinex.face.units import units_offsets
from infinex.motion import PARTS, Motion, Move, Rest, part_weights


def swing(frames: int = 30, fps: float = 30.0) -> Motion:
    """A head that turns and a chin that drops, both as sines."""
    phase = np.sin(np.arange(frames) / frames * 2 * np.pi)
    offsets = np.zeros((POINTS, 3))
    offsets[152, 1] = 0.1
    offsets[105, 1] = -0.1
    rows = (Move(i / fps, np.array([0, 0.3 * p, 0]), np.array([0.1 * p, 0, 0]), 1 + 0.1 * p, offsets * p,
                 np.array([0.2 * p, 0])) for i, p in enumerate(phase))  # fmt: skip
    return Motion.collect(rows, Rest.neutral(), fps)


def test_file_round_trip(tmp_path: Path) -> None:
    motion = swing()
    motion.save(tmp_path / "a.motion.npz")
    back = Motion.load(tmp_path / "a.motion.npz")
    assert len(back) == 30 and back.fps == 30
    assert np.abs(back.offsets - motion.offsets).max() < 1e-4
    assert np.abs(back.rotation - motion.rotation).max() < 1e-6
    assert np.allclose(back.rest.face, motion.rest.face, atol=1e-6)
    with np.load(tmp_path / "a.motion.npz", allow_pickle=False) as data:
        assert all(data[k].dtype != object for k in data.files)


def test_what_the_outline_does_goes_through_files_and_filters(tmp_path: Path) -> None:
    plain = swing()
    fields = np.random.default_rng(0).normal(0, 0.02, (30, 2, 2, 3))
    motion = replace(plain, outline=fields)
    motion.save(tmp_path / "a.motion.npz")
    back = Motion.load(tmp_path / "a.motion.npz")
    assert back.outline is not None and np.abs(back.outline - fields).max() < 1e-6
    assert Motion.collect(list(motion), motion.rest, 30).outline is not None and plain.outline is None
    assert np.allclose(motion.scaled(0.5).outline, fields / 2)
    assert motion.only(["lips"]).outline is None
    assert np.array_equal(motion.only(["pose"]).outline, fields)
    both = plain.concatenate(motion)
    assert both.outline is not None and not both.outline[:30].any() and np.array_equal(both.outline[30:], fields)
    assert plain.mix(motion, ["pose"]).outline is not None and motion.mix(plain, ["pose"]).outline is None
    assert motion.resample(60).outline.shape == (60, 2, 2, 3)
    move = with_strength(motion.at(3), motion.rest, 2.0, None, PARTS)
    assert np.allclose(move.outline, 2 * fields[3])
    assert with_strength(motion.at(3), motion.rest, 2.0, None, ["lips"]).outline is None
    with np.load(tmp_path / "a.motion.npz") as data:
        arrays = dict(data)
    np.savez(tmp_path / "b.motion.npz", **{**arrays, "outline": fields[:, :1]})
    with pytest.raises(InputError, match="outline is damaged"):
        Motion.load(tmp_path / "b.motion.npz")


def test_what_the_mouth_shows_goes_through_files_and_filters(tmp_path: Path) -> None:
    plain = swing()
    shares = np.random.default_rng(0).uniform(0, 1, (len(plain), 3, 2))
    motion = replace(plain, interior=shares)
    motion.save(tmp_path / "a.motion.npz")
    back = Motion.load(tmp_path / "a.motion.npz")
    assert back.interior is not None and np.abs(back.interior - shares).max() < 1e-6
    assert Motion.collect(list(motion), motion.rest, 30).interior is not None and plain.interior is None
    assert np.array_equal(motion.scaled(0.5).interior, shares)  # half a movement shows no half teeth
    assert motion.only(["pose"]).interior is None and np.array_equal(motion.only(["lips"]).interior, shares)
    both = plain.concatenate(motion)
    assert np.array_equal(both.interior[0], USUAL) and np.array_equal(both.interior[len(plain) :], shares)
    assert plain.mix(motion, ["lips"]).interior is not None and motion.mix(plain, ["lips"]).interior is None
    assert with_strength(motion.at(3), motion.rest, 2.0, None, ["pose"]).interior is None
    assert np.array_equal(with_strength(motion.at(3), motion.rest, 2.0, None, ["lips"]).interior, shares[3])


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.motion.npz"
    with pytest.raises(InputError, match="no such"):
        Motion.load(path)
    path.write_bytes(b"not a zip file")
    with pytest.raises(InputError, match="not a readable"):
        Motion.load(path)
    np.savez(path, a=1)
    with pytest.raises(InputError, match="lacks"):
        Motion.load(path)
    np.savez(path, evil=np.array([{"a": 1}], object))
    with pytest.raises(InputError):
        Motion.load(path)
    swing().save(path)
    with np.load(path) as data:
        arrays = dict(data)
    for change in ({"rotation": np.zeros((3, 3))}, {"scale": -arrays["scale"]}, {"fps": np.array(0.0)},
                   {"gaze": arrays["gaze"] * np.nan}, {"format": np.array(99)},
                   {"offsets": arrays["offsets"] * np.nan}, {"offsets": arrays["offsets"][:-1]}):  # fmt: skip
        np.savez(path, **{**arrays, **change})
        with pytest.raises(InputError):
            Motion.load(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError):
        Motion.load(path)


@pytest.mark.parametrize("fps", [None, 24.0, 71.0])
def test_a_file_is_played_as_it_is_read(fps: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.motion.npz"
    swing().save(path)
    whole = Motion.load(path)
    monkeypatch.setattr("infinex.motion.BLOCK", 7)
    driver = MotionDriver.stored(str(path), fps)
    assert driver.motion.offsets.size == 0
    for played, move in zip(driver, whole.resample(fps) if fps else whole, strict=True):
        assert np.allclose(played.move.offsets, move.offsets, 0, 1e-6)
        assert played.move.time == move.time and np.array_equal(played.move.rotation, move.rotation)
    assert np.array_equal(driver.whole().at(9).offsets, whole.resample(fps).at(9).offsets if fps else whole.offsets[9])


def test_filters() -> None:
    motion = swing()
    assert len(motion.trim(0.2, 0.5)) == 9
    assert len(motion.resample(60)) == 60 and motion.resample(60).duration == motion.duration
    assert np.allclose(motion.scaled(0.5).rotation, motion.rotation / 2)
    assert np.abs(motion.smooth(0.1).rotation).max() < np.abs(motion.rotation).max()
    assert abs(motion.loop(5.0).duration - 5) < 0.04
    long = motion.concatenate(motion, 0.2)
    assert len(long) == 60 - 6
    with pytest.raises(InputError):
        motion.trim(5, 6)
    with pytest.raises(InputError):
        Motion.collect([], Rest.neutral(), 25)


def test_parts_divide_the_face() -> None:
    total = sum(part_weights([p]) for p in ("lips", "eyes", "brows"))
    assert np.allclose(total, 1)
    assert part_weights(["lips"])[152] == 1 and part_weights(["lips"])[105] == 0 and part_weights(["brows"])[105] > 0.8
    assert part_weights(PARTS).min() == 1
    with pytest.raises(InputError, match="unknown part 'nose'"):
        part_weights(["nose"])


def test_only_and_mix() -> None:
    motion = swing()
    lips = motion.only(["lips"])
    assert np.abs(lips.rotation).max() == 0 and np.abs(lips.offsets[:, 152]).max() > 0.09
    assert np.abs(lips.offsets[:, 105]).max() == 0
    still = swing().scaled(0.0)
    mixed = still.mix(motion, ["pose"])
    assert np.allclose(mixed.rotation, motion.rotation) and np.abs(mixed.offsets).max() == 0


def test_relative_motion_starts_from_neutral() -> None:
    pose = Pose(50.0, to_matrix(np.array([0.1, 0.2, 0])), np.array([10.0, 20, 0]))
    points = pose.to_image(mean_face())
    rest, _ = choose_rest([points])
    capture = Capture(rest, 50.0, 25)
    motion = Motion.collect([capture.move(capture.state(points), 0.0, True)], rest, 25).relative()
    assert np.allclose(motion.rotation, 0, atol=1e-6) and np.allclose(motion.scale, 1)
    assert np.allclose(motion.rest.rotation, 0)


def noisy(frames: int = 60, sigma: float = 0.0) -> list[np.ndarray]:
    """Landmarks of a turning head with tracking noise, in pixels."""
    rng = np.random.default_rng(0)
    out = []
    for i in range(frames):
        pose = Pose(80.0, to_matrix(np.array([0, 0.2 * np.sin(i / 8), 0])), np.array([128.0, 128, 0]))
        out.append(pose.to_image(mean_face() + rng.normal(0, sigma, (POINTS, 3))))
    return out


def test_reference_is_neutral_and_near_the_portrait() -> None:
    tracks = noisy()
    near = Pose(1.0, to_matrix(np.array([0, 0.15, 0])), np.zeros(3))
    rest, index = choose_rest(tracks, near)
    assert abs(rest.rotation[1] - 0.15) < 0.03
    _, given = choose_rest(tracks, near, reference=7)
    assert given == 7 and index != 7


def test_rest_is_no_smile_and_no_raised_brow_where_a_performer_does_them_often() -> None:
    pose = Pose(80.0, np.eye(3), np.array([128.0, 128, 0]))
    smiles = [0.0] * 6 + [0.7, 0.75, 0.8] * 14
    tracks = [pose.to_image(mean_face() + units_offsets({"AU12": a, "AU6": 0.5 * a})) for a in smiles]
    assert smiles[choose_rest(tracks)[1]] == 0
    purses = [0.7, 0.8] * 3 + [0.0] * 4 + [-0.4, -0.5] * 10  # of one who rounds her lips often, and smiles
    faces = [units_offsets({"AU18": a} if a > 0 else {"AU12": -a}) for a in purses]
    assert purses[choose_rest([pose.to_image(mean_face() + f) for f in faces])[1]] == 0
    brows = [0.0] * 12 + [0.6, 0.7, 0.8] * 6
    tracks = [pose.to_image(mean_face() + units_offsets({"AU1": a, "AU2": a, "AU5": 0.4 * a})) for a in brows]
    rest, index = choose_rest(tracks)
    assert brows[index] == 0
    assert rest.lids_open is None or np.allclose(rest.lids_open, eye_openness(mean_face()), atol=0.01)


def test_who_blinks_shuts_the_eyes_however_open_a_tracker_has_them() -> None:
    pose = Pose(80.0, np.eye(3), np.array([128.0, 128, 0]))
    source = SourceFace(pose.to_image(mean_face()))
    wide = eye_openness(source.face)

    def rest_of(shares: list[float]) -> Rest:
        tracks = []
        for share in shares:
            face = source.face.copy()
            source.set_lids(face, np.full(2, share))
            tracks.append(pose.to_image(face))
        return choose_rest(tracks, moments=[i / 25 for i in range(len(shares))])[0]

    blinks, looks = rest_of(([1.0] * 12 + [0.75, 0.5, 0.6, 0.85]) * 3), rest_of(([1.0] * 12 + [0.5] * 20) * 3)
    for rest, least in ((blinks, 0.45), (looks, 0.0)):
        assert rest.lids_closed is not None
        share = (rest.lids_closed / wide).mean()
        assert share > least if least else share < 0.4
    assert (blinks.lids_closed / wide).mean() > (looks.lids_closed / wide).mean() + 0.1  # type: ignore[operator]


@pytest.mark.parametrize(("usual", "low", "shut"), [(0.14, 0.5, True), (0.28, 0.5, False), (0.25, 0.35, True)])
def test_lids_are_shut_by_what_is_open_of_them_not_by_a_share_alone(usual: float, low: float, shut: bool) -> None:
    pose = Pose(80.0, np.eye(3), np.array([128.0, 128, 0]))
    source = SourceFace(pose.to_image(mean_face()))
    tracks = []
    for share in [1.0] * 20 + [low] * 20:
        face = source.face.copy()
        source.set_lids(face, np.full(2, share * usual) / source.openness)
        tracks.append(pose.to_image(face))
    rest = choose_rest(tracks, moments=[i / 25 for i in range(len(tracks))])[0]
    assert rest.lids_closed is not None and rest.lids_open is not None
    left = (low * usual - rest.lids_closed) / (rest.lids_open - rest.lids_closed)
    assert (left < 0.1).all() if shut else (left > 0.3).all()


def test_eyes_rest_where_they_usually_look_not_where_the_calmest_frame_glances() -> None:
    pose = Pose(80.0, np.eye(3), np.array([128.0, 128, 0]))
    face = mean_face()
    aside = face.copy()
    aside[SURFACE:, 0] += 0.05  # both irises
    straight, glance = gaze_of(face), gaze_of(aside)
    assert glance[0] - straight[0] > 0.2
    smile = units_offsets({"AU12": 0.5})
    tracks = [pose.to_image(aside)] * 2 + [pose.to_image(face + smile)] * 6
    rest, index = choose_rest(tracks)
    assert index < 2 and abs(rest.gaze[0] - straight[0]) < 0.02
    assert np.allclose(choose_rest(tracks, reference=0)[0].gaze, glance, atol=1e-6)  # who names a frame means it
    assert np.allclose(choose_rest(tracks[:2])[0].gaze, glance, atol=1e-6)  # eyes that never move are at rest


def test_smoothing_calms_noise_without_lag() -> None:
    tracks = noisy(80, 0.002)
    rest, _ = choose_rest(tracks, reference=0)
    capture = Capture(rest, 80.0, 30)
    raw = np.stack([capture.state(x) for x in tracks])
    moves = [move for move, _, _ in capture.moves((Sighting(x), None) for x in tracks)]
    truth = 0.2 * np.sin(np.arange(80) / 8)
    turn = np.array([move.rotation[1] for move in moves])
    assert np.abs(turn - truth).mean() < 0.01
    shifts = [np.corrcoef(turn[5:-5], truth[5 + k : 75 + k])[0, 1] for k in (-1, 0, 1)]
    assert int(np.argmax(shifts)) == 1
    calm = np.stack([move.offsets.ravel() for move in moves])
    assert np.abs(np.diff(calm, axis=0)).mean() < 0.5 * np.abs(np.diff(raw[:, 9:], axis=0)).mean()


def test_a_head_that_seems_to_shake_is_steadied_and_its_face_read_within() -> None:
    tracks = noisy(40, 0.0)
    for i in range(1, 40, 2):
        tracks[i] = tracks[i] + [0.8, 0, 0]  # pixels, of 80 between the eyes
    rest, _ = choose_rest(tracks, reference=0)
    unit = fit_pose(mean_face(), tracks[0]).scale
    for smoothed in (0.5, 0.0):
        capture = Capture(rest, unit, 30, smoothed)
        moves = [move for move, _, _ in capture.moves((Sighting(x), None) for x in tracks)]
        jolts = np.abs(np.diff([move.translation[0] for move in moves], 2))[8:-8]
        assert (jolts < 0.01).all() == (smoothed > 0)
    for move, points in zip(moves, tracks):  # unsmoothed, every landmark is where it was seen
        head = Pose(move.scale * unit, to_matrix(move.rotation), unit * move.translation)
        assert np.abs(head.to_image(rest.face + move.offsets) - points).max() < 1e-6


def test_a_still_face_stays_exactly_still_and_a_blink_passes() -> None:
    still = np.zeros((30, 9 + 3 * POINTS))
    noise = np.concatenate([NOISE_POSE[:7], NOISE_FACE])
    assert not np.stack([s for s, _ in smooth(((x, None) for x in still), 30, 0.5, noise)]).any()
    still[15, 9:] = 0.1  # one frame, far above noise
    out = np.stack([s for s, _ in smooth(((x, None) for x in still), 30, 0.5, noise)])
    assert out[15, 9:].max() > 0.08


def test_lost_frames_are_bridged() -> None:
    tracks = noisy(40)
    seen = [Sighting(None if 10 <= i < 15 else x) for i, x in enumerate(tracks)]
    out = list(bridge((s, i) for i, s in enumerate(seen)))
    assert [i for _, _, i in out] == list(range(40))
    assert [v for _, v, _ in out] == [not 10 <= i < 15 for i in range(40)]
    between = out[12][0]
    assert np.allclose(between, tracks[9] * 0.5 + tracks[15] * 0.5)
    # A long gap holds the last pose, then comes back without a jump.
    seen = [Sighting(None if 5 <= i < 30 else x) for i, x in enumerate(tracks)]
    out = list(bridge((s, i) for i, s in enumerate(seen)))
    assert len(out) == 40 and np.allclose(out[5 + BRIDGE][0], tracks[4])
    jumps = [np.abs(out[i + 1][0] - out[i][0]).max() for i in range(39)]
    assert max(jumps) < 0.35 * np.abs(tracks[30] - tracks[4]).max() + 8


def test_strength_and_parts_of_one_move() -> None:
    motion = swing()
    move = motion.at(7)
    half = with_strength(move, motion.rest, 0.5, None, PARTS)
    assert np.allclose(half.rotation, move.rotation / 2) and np.allclose(half.offsets, move.offsets / 2)
    none = with_strength(move, motion.rest, 1.0, part_weights(["lips"]), ["lips"])
    assert not none.rotation.any() and none.scale == 1.0 and not none.gaze.any()


def test_bundled_performances() -> None:
    names = bundled_motions()
    assert {"smile", "talking", "surprise", "nod", "wink", "look-around"} <= set(names)
    for name in names:
        motion = load_motion(name)
        assert 1 < motion.duration < 10
        assert np.abs(motion.offsets[0]).max() < 0.01 and np.abs(motion.offsets[-1]).max() < 0.01
        assert max(np.abs(motion.offsets).max(), np.abs(motion.rotation).max()) > 0.03
    with pytest.raises(InputError, match="no motion called 'frown'"):
        load_motion("frown")


def test_still_pictures_ease_in() -> None:
    pose = Pose(80.0, to_matrix(np.array([0, 0.2, 0])), np.array([128.0, 128, 0]))
    motion = still_motion(Face(pose.to_image(mean_face())))
    assert not motion.rotation[0].any() and np.allclose(motion.rotation[-1], [0, 0.2, 0], atol=0.02)
    assert np.all(np.diff(motion.rotation[:, 1]) >= -1e-9)


def blinking(lids: np.ndarray) -> list[np.ndarray]:
    """Landmarks in pixels of a head whose lids, right and left, are open by these shares (T, 2) of the mean face's."""
    model = SourceFace(mean_face())
    pose = Pose(80.0, np.eye(3), np.array([128.0, 128, 0]))
    out = []
    for share in lids:
        face = mean_face().copy()
        model.set_lids(face, share)
        out.append(pose.to_image(face))
    return out


def shown_lids(lids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is made of such a clip at 25 frames/s: lids as they are usually (2,), and in its moves (T, 2)."""
    tracks = blinking(lids)
    rest, index = choose_rest(tracks)
    capture = Capture(rest, fit_pose(mean_face(), tracks[index]).scale, 25, 0.0)
    moves = [move for move, _, _ in capture.moves((Sighting(x), None) for x in tracks)]
    usual = eye_openness(mean_face())
    return rest.lids[1] / usual, np.stack([eye_openness(rest.face + m.offsets) for m in moves]) / usual


def test_lids_are_measured_from_the_frames_in_which_the_performer_is_awake() -> None:
    lids = np.ones((60, 2))
    lids[10:45] = 0.35  # looks down for more than half of the clip
    usual, shown = shown_lids(lids)
    assert np.abs(usual - 1).max() < 0.05
    assert np.abs(shown - lids).max() < 0.05


def test_lids_agree_but_for_a_wink_that_is_plain() -> None:
    guessed = np.ones((60, 2))
    guessed[20:40] = 0.6, 0.25  # looking down, of which one eye is misread
    shown = shown_lids(guessed)[1]
    assert np.abs(np.diff(shown, axis=1)).max() < 0.05 and 0.3 < shown[30, 0] < 0.55
    twitch = np.ones((60, 2))
    twitch[[10, 50]] = 0.1  # blinks, so that it is known what shut means
    twitch[30] = 1.0, 0.1  # one frame of one eye alone
    assert np.abs(np.diff(shown_lids(twitch)[1], axis=1)).max() < 0.05
    twitch[25:35] = 1.0, 0.1
    shown = shown_lids(twitch)[1]
    assert shown[30, 0] > 0.95 and shown[30, 1] < 0.15


@pytest.mark.data
def test_what_is_written_as_it_comes_is_what_is_kept(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infinex.jobs import track as tracking

    clip, out = data_dir / "clips" / "train" / "latentsync_1_01.mp4", tmp_path / "a.motion.npz"
    kept = tracking.track(clip, end=0.6)[0]
    monkeypatch.setattr(tracking, "AT_ONCE", 4)
    monkeypatch.setattr(tracking, "MOST", 7)
    with pytest.raises(InputError, match=r"too many to keep in memory.*motion\.npz"):
        tracking.track(clip, end=0.6)
    lean = tracking.track(clip, end=0.6, output=out)[0]
    assert lean.offsets.size == 0 and [p.name for p in tmp_path.iterdir()] == [out.name]
    back = Motion.load(out)
    for name in ("offsets", "rotation", "gaze", "units", "outline", "interior", "valid"):
        assert np.abs(np.subtract(getattr(back, name), getattr(kept, name), dtype=float)).max() < 2e-3, name
