"""The face networks against what MediaPipe's own graphs gave, and what is done around them."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from infinex.face.networks import (
    Detection,
    Detector,
    Mesh,
    MeshTracker,
    Segmenter,
    Window,
    _merged,
    around_detection,
    around_landmarks,
)
from infinex.media.image import read_image

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import faces

KNOWN = np.load(Path(__file__).parent / "data" / "mediapipe.npz", allow_pickle=False)


def picture(name: str) -> np.ndarray:
    """A public-domain portrait, where its package is installed."""
    pytest.importorskip("matplotlib" if name == "hopper" else "skimage")
    return read_image(faces.portraits()[name])


@pytest.mark.parametrize("name", ["hopper", "collins"])
def test_detectors_find_what_mediapipe_finds(name: str) -> None:
    image = picture(name)
    for kind, far in (("near", False), ("far", True)):
        own, theirs = faces.own_boxes(Detector(far), image), KNOWN[f"{name}_{kind}"]
        assert own.shape == theirs.shape
        assert np.abs(own[:, :4] - theirs[:, :4]).max(initial=0) < 0.5  # pixels
        assert np.abs(own[:, 4] - theirs[:, 4]).max(initial=0) < 1e-3


@pytest.mark.parametrize("name", ["hopper", "collins"])
def test_landmarks_are_those_of_mediapipe(name: str) -> None:
    image = picture(name)
    mesh = MeshTracker(True, Mesh(Window.cut))
    for k, place in enumerate(faces.WINDOWS):
        window = faces.recorded_window(KNOWN[f"{name}_near"][0], *place)
        points = mesh.landmarks(window.cut(image, faces.SIDE))
        assert points is not None
        off = np.abs(points - KNOWN[f"{name}_mesh_{k}"])
        assert off.mean() < 0.05 and off.max() < 0.5  # pixels of a window of 384


@pytest.mark.parametrize("name", ["hopper", "collins"])
def test_masks_are_those_of_mediapipe(name: str) -> None:
    mask = Segmenter()(picture(name))[::16, ::16]
    assert np.abs(mask - KNOWN[f"{name}_mask"] / 255).mean() < 0.01


def test_a_face_is_followed_and_found_again() -> None:
    image = picture("hopper")
    window = faces.recorded_window(KNOWN["hopper_near"][0], 2.0, 0, 0)
    part = window.cut(image, faces.SIDE)
    tracker = MeshTracker(still=False)
    first = tracker.landmarks(part)
    moved = np.roll(part, 6, axis=1)
    second = tracker.landmarks(moved)
    assert first is not None and second is not None
    assert (second - first)[:, 0].mean() == pytest.approx(6, abs=1.0)
    assert tracker.landmarks(np.zeros_like(part)) is None  # gone
    assert tracker.landmarks(np.zeros_like(part)) is None
    again = tracker.landmarks(part)
    assert again is not None and np.abs(again - first).max() < 1e-6  # from the detector, as at first


def test_a_face_that_holds_still_is_seen_to() -> None:
    image = picture("hopper")
    part = faces.recorded_window(KNOWN["hopper_near"][0], 2.0, 0, 0).cut(image, faces.SIDE)
    tracker = MeshTracker(still=False)
    seen = [tracker.landmarks(part) for _ in range(9)]
    assert all(np.array_equal(points, seen[-1]) for points in seen[6:-1])
    far = [tracker.landmarks(np.roll(part, k, axis=1)) for k in (2, 4, 8, 16, 24)]
    assert far[-1] is not None and seen[-1] is not None
    assert (far[-1] - seen[-1])[:, 0].mean() == pytest.approx(24, abs=1.0)


def test_a_still_look_remembers_nothing() -> None:
    image = picture("collins")
    part = faces.recorded_window(KNOWN["collins_near"][0], 2.0, 0, 0).cut(image, faces.SIDE)
    mesh = MeshTracker(still=True)
    alone = mesh.landmarks(part)
    mesh.landmarks(np.roll(part, 40, axis=0))
    assert np.array_equal(mesh.landmarks(part), alone)


def test_threads_share_networks() -> None:
    image = picture("hopper")
    alone, seen = faces.own_boxes(Detector(), image), []
    threads = [threading.Thread(target=lambda: seen.append(faces.own_boxes(Detector(), image))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(seen) == 4 and all(np.array_equal(s, alone) for s in seen)


def test_nothing_is_found_where_nothing_is() -> None:
    for shape in ((64, 64, 3), (90, 700, 3), (3, 3, 3)):
        grey = np.full(shape, 127, np.uint8)
        assert Detector()(grey) == [] and Detector(far=True)(grey) == []
        assert MeshTracker(still=True).landmarks(grey) is None
        assert Segmenter()(grey).shape == shape[:2]


def test_windows_lie_level_with_the_eyes() -> None:
    keypoints = np.array([[40.0, 60.0], [60.0, 50.0], *[[50.0, 70.0]] * 4])
    window = around_detection(Detection((20, 30, 80, 110), 0.9, keypoints))
    assert (window.x, window.y, window.width) == (50, 70, 120)
    assert window.angle == pytest.approx(np.arctan2(-10, 20))
    level = window.to_picture(np.array([[0.0, 0.5, 0], [1.0, 0.5, 0.1]]))
    assert np.arctan2(*(level[1] - level[0])[[1, 0]]) == pytest.approx(window.angle)
    assert level[1, 2] == pytest.approx(12)
    points = np.zeros((478, 3))
    points[33], points[263] = (0, 0, 0), (10, 0, 0)
    assert around_landmarks(points).width == 15


def test_overlapping_boxes_become_one() -> None:
    box = np.tile([[10.0, 10.0], [20.0, 20.0]], (3, 4, 1)).reshape(3, 8, 2)
    box[1] += 1
    box[2] += 50
    merged = _merged(box, np.array([0.6, 0.9, 0.5]), 0.3)
    assert [score for score, _ in merged] == [0.9, 0.5]
    assert merged[0][1][0] == pytest.approx([10.6, 10.6])  # nearer to the surer one
    assert merged[1][1] == pytest.approx(box[2])


def test_a_window_beyond_the_border_repeats_it() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, :4] = 200
    part = Window(0, 20, 40, 40).cut(image, 40)
    assert (part[:, :20] == 200).all() and (part[:, 30:] == 0).all()


def test_a_large_window_skips_no_pixels() -> None:
    y, x = np.mgrid[:600, :800]
    smooth = np.stack([x / 4, y / 3, (x + y) / 8], -1).astype(np.uint8)
    window = Window(380.3, 310.8, 500, 500, 0.2)
    cut, sampled = (f(smooth, 120).astype(int) for f in (window.cut, window.sampled))
    assert np.abs(cut - sampled)[5:-5, 5:-5].max() <= 2  # the same place
    squares = np.repeat(((x + y) % 2 * 255).astype(np.uint8)[..., None], 3, -1)
    assert window.sampled(squares, 120).std() < 2 < window.cut(squares, 120).std()
    beside = Window(-900.0, 100.0, 500, 500)
    assert np.array_equal(beside.sampled(smooth, 120), beside.cut(smooth, 120))


@pytest.mark.parametrize("width", [80, 200])
def test_a_small_window_has_less_noise_and_is_in_the_same_place(width: int) -> None:
    y, x = np.mgrid[:600, :800]
    wave = 128 + 100 * np.sin(x / 20) * np.cos(y / 20)
    window = Window(380.3, 310.8, width, width, 0.2)
    clean = np.repeat(wave[..., None].round().astype(np.uint8), 3, -1)
    cut, off = (part[..., 0].astype(float) for part in (window.cut(clean, 120), window.sampled(clean, 120)))
    off -= cut
    assert np.abs(off).max() <= 2
    for slope in np.gradient(cut):
        assert abs(((off - off.mean()) * slope).sum() / (slope**2).sum()) < 0.05  # pixels
    noisy = (clean + np.random.default_rng(0).normal(0, 8, clean.shape)).clip(0, 255).astype(np.uint8)
    noise = [np.std(f(noisy, 120) - f(clean, 120).astype(int)) for f in (window.sampled, window.cut)]
    assert noise[0] < 0.92 * noise[1]
