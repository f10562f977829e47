"""Films as drivers: cuts, jumps, several faces, zooms."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from infinex.drivers.capture import FREE, Adjust, Camera, choose_rest, one_rest
from infinex.drivers.cast import parse_cast
from infinex.drivers.shots import Shots, likeness, thumbnail
from infinex.drivers.video import VideoDriver
from infinex.drivers.whose import check_driver_face, whose
from infinex.errors import InputError
from infinex.face.shape import lip_gaps
from infinex.face.topology import SURFACE, mean_face
from infinex.face.tracker import FaceFinder, FaceTracker
from infinex.media.video import VideoReader
from infinex.motion import DEFAULT_PARTS, PARTS, Move, Rest, is_whole

Frames = list[np.ndarray]


def frames_of(path: Path, count: int, start: int = 0) -> Frames:
    out = []
    with VideoReader(path) as reader:
        for frame in reader:
            if frame.index >= start + count:
                break
            if frame.index >= start:
                out.append(frame.image)
    return out


@pytest.fixture(scope="module")
def two(data_dir: Path) -> tuple[Frames, Frames]:
    """Two people, alike in framing."""
    clips = data_dir / "clips" / "train"
    return frames_of(clips / "pcavs_m_00.mp4", 48), frames_of(clips / "linly_man_00.mp4", 48)


def cuts(frames: Frames) -> list[int]:
    shots = Shots(25.0)
    found = []
    for i, frame in enumerate(frames):
        shots.picture(i, thumbnail(frame))
        found += shots.face(None)
    return [b.index for b in [*found, *shots.close()] if b.kind == "cut"]


def test_a_hard_cut_is_found_where_it_is(two: tuple[Frames, Frames]) -> None:
    a, b = two
    assert cuts(a[:20] + b[:20]) == [20]
    assert cuts(a[:12] + b[:12] + a[12:24]) == [12, 24]
    assert likeness(thumbnail(a[3]), thumbnail(a[4])) > 0.9


def test_several_clips_are_looked_through_at_once() -> None:
    """Each by a thread, as a studio does; an optical flow that threads share ends the process."""
    rng = np.random.default_rng(0)
    pairs = []
    for shape in ((96, 96), (54, 96), (96, 54), (72, 96)):
        one = cv2.GaussianBlur(rng.integers(0, 255, shape, dtype=np.uint8), (0, 0), 3)
        pairs.append((one, np.roll(one, 3, 1)))
    alone = [likeness(*pair) for pair in pairs]
    with ThreadPoolExecutor(len(pairs)) as pool:
        many = list(pool.map(lambda pair: [likeness(*pair) for _ in range(200)], pairs))
    assert [set(found) for found in many] == [{found} for found in alone]


def test_what_is_no_cut_is_none(two: tuple[Frames, Frames]) -> None:
    a = two[0]
    assert cuts(a) == []
    flash = [f if i not in (15, 16) else np.clip(f * 1.4 + 90.0, 0, 255).astype(np.uint8) for i, f in enumerate(a)]
    assert cuts(flash) == []
    hidden = [f if i not in (15, 16, 17) else two[1][0] for i, f in enumerate(a)]
    assert cuts(hidden) == []  # something passes by
    wide = [cv2.resize(f, (512, 512)) for f in a]
    pan = [f[100:400, 6 * i : 6 * i + 230] for i, f in enumerate(wide[:40])]
    assert cuts(pan) == []
    dark = [(f * abs(np.cos(np.pi * i / 47))).astype(np.uint8) for i, f in enumerate(a)]  # fades out and in again
    assert cuts(dark) == []


def test_a_cross_fade_is_a_cut_in_its_middle(two: tuple[Frames, Frames]) -> None:
    a, b = two
    share = np.clip((np.arange(48) - 17.5) / 12, 0, 1)
    mixed = [(x * (1 - w) + y * w).astype(np.uint8) for x, y, w in zip(a, b, share)]
    found = cuts(mixed)
    assert len(found) == 1 and abs(found[0] - 24) <= 3


def jumping(frames: Frames, at: int, by: int) -> Frames:
    """Frames whose picture is moved aside by some pixels from one on, with a dozen frames left out there."""
    kept = frames[:at] + frames[at + 12 :]
    m = np.array([[1.0, 0, by], [0, 1, 0]])
    return [
        f if i < at else cv2.warpAffine(f, m, f.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        for i, f in enumerate(kept)
    ]


def test_a_face_that_leaps_is_looked_at_anew_in_the_same_frame(data_dir: Path) -> None:
    frames = frames_of(data_dir / "clips" / "train" / "linly_man_00.mp4", 30)
    with FaceTracker() as tracker:
        first = tracker(frames[0])
        assert first is not None
        unit = float(np.linalg.norm(first.landmarks[33] - first.landmarks[263]))
        seen = [tracker(f) for f in jumping(frames, 8, round(unit / 2))[1:12]]
    finder = FaceFinder()
    alone = finder.find(jumping(frames, 8, round(unit / 2))[8])
    finder.close()
    leapt = seen[7]
    assert leapt is not None
    off = np.linalg.norm((leapt.landmarks - alone[0].landmarks)[:SURFACE, :2], axis=1) / unit
    assert off.max() < 0.08 and off.mean() < 0.025


def test_nobody_else_is_taken_for_the_face_that_is_followed(two: tuple[Frames, Frames]) -> None:
    mine, other = two
    places = []
    with FaceTracker(near=(330, 130, 440, 270)) as tracker:
        for i in range(30):
            frame = np.full((400, 900, 3), 90, np.uint8)
            frame[80:336, 260:516] = mine[i]
            x = 900 - 42 * i  # a larger face passes in front of it
            lo, hi = max(0, x), min(900, x + 320)
            if hi > lo:
                frame[60:380, lo:hi] = cv2.resize(other[i], (320, 320))[:, lo - x : hi - x]
            face = tracker(frame)
            places.append(None if face is None else (face.box[0] + face.box[2]) / 2)
    assert None in places and all(p is None or abs(p - 390) < 60 for p in places)
    assert places[-1] is not None


def test_smoothing_begins_anew_where_a_face_leaps(data_dir: Path, write_clip: Callable[..., Path]) -> None:
    frames = frames_of(data_dir / "clips" / "train" / "linly_man_00.mp4", 44)
    clip = write_clip(jumping(frames, 14, 30), quality=8)
    driver = VideoDriver(clip, flow=False).settle()
    drives = list(driver)
    driver.close()
    assert len(drives) == 32 and not driver.cuts
    x = np.array([d.move.translation[0] for d in drives])
    step = np.abs(np.diff(x))
    assert step[13] > 0.25  # at once,
    assert np.delete(step, 13).max() < 0.06  # and neither before nor after


def test_each_shot_is_measured_from_its_own_rest(data_dir: Path) -> None:
    driver = VideoDriver(data_dir / "field" / "cut.mp4", flow=False).settle()
    drives = list(driver)
    begins = [i for i, d in enumerate(drives) if d.begins is not None]
    assert len(drives) == 80 and begins == [40] and driver.cuts == [1.6]
    assert driver.warnings == ["cut at 1.6 s of the driver: each shot is measured from its own rest"]
    shot = drives[40].begins
    assert shot is not None and np.abs(shot.rest.translation - driver.rest.translation).max() > 0.3
    after = [d.move for d in drives[40:]]
    assert min(np.abs(m.translation - shot.rest.translation).max() for m in after) < 0.02
    assert max(np.abs(m.offsets).max() for m in after) < 0.45
    # For a motion file everything is told from the first rest.
    moves = [d.move for d in one_rest(driver, driver.rest)]
    driver.close()
    there = np.array([m.translation - driver.rest.translation for m in moves])
    assert np.abs(there[40:]).max() < 0.3 and [d.begins for d in one_rest(driver, driver.rest)] == [None] * 80


def test_glances_at_once_or_afterwards_find_the_same(data_dir: Path) -> None:
    clip = data_dir / "clips" / "train" / "dpe_d_00.mp4"
    at_once, afterwards = VideoDriver(clip, flow=False), VideoDriver(clip, flow=False)
    afterwards.frames, afterwards._known = None, []  # as where nothing says how long it is
    afterwards._begun(afterwards._looked_over("largest", None), None)
    assert len(at_once._seen[0]) > 80
    assert np.array_equal(at_once._seen[0], afterwards._seen[0]) and at_once._seen[1:3] == afterwards._seen[1:3]
    assert np.array_equal(at_once.settle().rest.face, afterwards.settle().rest.face)
    at_once.close()
    afterwards.close()


def test_a_clip_seen_before_is_not_looked_over_again(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFINEX_CACHE", str(tmp_path / "kept"))
    clip = data_dir / "clips" / "train" / "dpe_d_00.mp4"
    first = VideoDriver(clip, flow=False)
    other = VideoDriver(clip, flow=False, end=1.0)
    monkeypatch.setattr(VideoDriver, "_looked_over", lambda *_: pytest.fail("looked over again"))
    again = VideoDriver(clip, flow=False)
    assert len(first._seen[0]) > 80 > len(other._seen[0])
    for one, same in zip(first._seen[0], again._seen[0], strict=True):
        assert np.array_equal(one, same)
    glance = again._seen[1].index(-1) + 2  # seen, but not followed: its picture is read when it is asked for
    for driver in (first, again):
        tracks, places, penalty, images, _ = driver._seen
        driver._seen = tracks, places, [0.0 if i == glance else 9.0 for i in range(len(penalty))], images, None
        driver.settle()
    assert np.array_equal(first.rest_image, again.rest_image) and np.array_equal(first.rest_points, again.rest_points)
    assert np.array_equal(again.rest_points, again._seen[0][glance])
    drives = [list(d) for d in (first, again)]
    assert len(drives[0]) == len(drives[1]) == first.frames
    assert all(np.array_equal(a.move.offsets, b.move.offsets) for a, b in zip(*drives))
    for driver in (first, other, again):
        driver.close()


def test_a_photograph_loses_to_who_speaks(data_dir: Path) -> None:
    slide = data_dir / "field" / "slide.mp4"
    driver = VideoDriver(slide, flow=False)
    assert driver._near is not None and driver._near[0] > 900
    assert "2 faces" in driver.warnings[0] and "number 2 from the left" in driver.warnings[0]
    driver.close()
    with VideoReader(slide, max_side=960) as reader:
        frames = list(zip(reader, range(2)))
        boxes = [whose((f for f, _ in frames), str(n), "slide.mp4")[0] for n in (1, 2)]
        assert boxes[0] is not None and boxes[1] is not None and boxes[0][2] < 500 < boxes[1][0]
        with pytest.raises(InputError, match="begins with 2 face"):
            whose((f for f, _ in frames), "3", "slide.mp4")
        assert whose((f for f, _ in frames), "1200,500,100,100", "slide.mp4", 0.5)[0] == (600, 250, 650, 300)


def test_every_frame_is_answered_wherever_there_is_nobody(
    two: tuple[Frames, Frames], write_clip: Callable[..., Path]
) -> None:
    a, b = two
    title = [np.full_like(a[0], 200)] * 12
    for f in title[:1]:
        f[40:60, 40:200] = 20
    clip = write_clip(title + a[:16] + title + b[:16] + title, quality=8)
    driver = VideoDriver(clip, flow=False).settle()
    drives = list(driver)
    driver.close()
    assert len(drives) == 68 and [round(d.move.time * 25) for d in drives] == list(range(68))
    valid = np.array([d.move.valid for d in drives])
    assert not valid[:12].any() and valid[13:28].all() and not valid[29:40].any() and valid[41:56].all()
    assert [i for i, d in enumerate(drives) if d.begins is not None] == [40] and not valid[57:].any()


@pytest.mark.parametrize("text", ["first", "0", "1,2,3", "1,2,0,4", "a,b,c,d"])
def test_no_such_face(text: str) -> None:
    with pytest.raises(InputError, match="--driver-face"):
        check_driver_face(text)


def test_faces_and_their_drivers() -> None:
    assert parse_cast("largest") is None
    assert parse_cast("1=a, b.mp4,2=nod") == {1: "a, b.mp4", 2: "nod"}
    for wrong, why in (
        ("1=a,1=b", "two drivers"),
        ("x=a", "NUMBER=DRIVER"),
        ("1=", "NUMBER=DRIVER"),
        ("0=a", "NUMBER"),
    ):
        with pytest.raises(InputError, match=why):
            parse_cast(wrong)


def state(size: float, x: float = 0.0) -> np.ndarray:
    return np.array([0, 0, 0, x, 0, 0, size])


def test_a_zoom_is_the_cameras_and_a_nod_the_heads_own() -> None:
    camera = Camera()
    zoomed = [camera(i / 25, state(0.008 * i, 0.02 * i)) for i in range(60)]
    assert max(abs(s[6]) for s in zoomed) <= FREE + 1e-9 and max(abs(s[3]) for s in zoomed) < 0.4
    camera = Camera()
    nods = [0.02 * np.sin(2 * np.pi * 1.5 * i / 25) for i in range(60)]
    kept = [camera(i / 25, state(v, 5 * v)) for i, v in enumerate(nods)]
    assert np.std([s[6] for s in kept]) > 0.8 * np.std(nods)
    assert np.allclose([s[3] for s in kept], 5 * np.array(nods))
    still = Camera()
    assert not any(still(i / 25, state(0.0)).any() for i in range(5))


def test_size_is_a_part_of_its_own() -> None:
    assert is_whole(DEFAULT_PARTS) and is_whole(PARTS) and not is_whole(("lips", "scale"))
    filmed = Rest(mean_face(), lids_open=np.array([0.3, 0.3]))
    moves = [Move(i / 25, np.zeros(3), np.zeros(3), 1.0 + 0.01 * i, np.zeros((478, 3)), np.zeros(2)) for i in range(40)]

    def last(rest: Rest, parts: tuple[str, ...], absolute: bool = False) -> float:
        adjust = Adjust(parts, absolute=absolute)
        adjust.begin(rest)
        return [adjust(m) for m in moves][-1].scale

    assert last(filmed, DEFAULT_PARTS) < 1.03 and last(filmed, PARTS) == moves[-1].scale
    assert last(filmed, DEFAULT_PARTS, absolute=True) == moves[-1].scale
    assert last(replace(filmed, lids_open=None), DEFAULT_PARTS) == moves[-1].scale  # leans as it was written
    assert last(filmed, ("lips", "scale")) == moves[-1].scale and last(filmed, ("lips",)) == 1.0


def test_a_part_is_measured_from_the_rest_of_the_whole_clip(data_dir: Path) -> None:
    clip = data_dir / "field" / "base.mp4"
    part = VideoDriver(clip, flow=False, start=1.8, end=2.1).settle()  # it speaks all the time there
    spoken = [p for p in part._known if p is not None]
    alone, _ = choose_rest(spoken)
    assert lip_gaps(part.rest.face)[4] < 0.03 < 0.04 < lip_gaps(alone.face)[4]
    assert part.rest_image is not None and part.reference == -1
    assert min(lip_gaps(part.rest.face + d.move.offsets)[4] for d in part) > lip_gaps(part.rest.face)[4]
    before = part.rest_image.copy()
    assert part.settle().reference == -1 and np.array_equal(part.rest_image, before)  # a frame that is read anew
    part.close()


def test_what_is_seen_closely_is_part_of_the_frame(data_dir: Path) -> None:
    path = data_dir / "clips" / "train" / "linly_man_00.mp4"
    whole, near = (VideoDriver(path, end=0.4).settle() for _ in range(2))
    near.closely = True
    for one, other in zip(whole, near):
        assert one.image is not None and one.points is not None and other.image is not None and other.points is not None
        assert np.array_equal(one.move.offsets, other.move.offsets) and other.image.size < one.image.size
        shift = one.points - other.points
        assert (shift == shift[0]).all()
        x, y = shift[0, :2].astype(int)
        h, w, _ = other.image.shape
        assert np.array_equal(one.image[y : y + h, x : x + w], other.image)
        assert (other.points[:, :2] >= 0).all() and (other.points[:, :2] <= [w, h]).all()
