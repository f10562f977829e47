"""The refiner at work: windows, supports, and what it must leave alone."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from infinex.engine import Drive, Source
from infinex.face.topology import mean_face
from infinex.face.tracker import Face
from infinex.mesh.engine import MeshOptions, PreparedFace
from infinex.mesh.kernel import about_window, folded, unfolded
from infinex.mesh.refiner import PARTS, Look, Network, Patch, Refiner, refiner
from infinex.motion import Move, Rest

SIDE = 320


def portrait(grey: bool = False, unit: float = 80) -> Source:
    """A smooth random picture with the mean face in it, whose outer eye corners are `unit` pixels apart."""
    rng = np.random.default_rng(3)
    small = rng.integers(40, 216, (12, 12, 1 if grey else 3), dtype=np.uint8)
    big = np.kron(small, np.ones((SIDE // 10, SIDE // 10, 1)))[:SIDE, :SIDE].astype(np.uint8)
    face = Face(mean_face() * unit + [160, 180, 0])
    return Source(np.ascontiguousarray(np.broadcast_to(big, (SIDE, SIDE, 3))), face)


def opened(strength: float = 1.0, turn: float = 0.1) -> Move:
    """Jaw down and head turned."""
    from infinex.face.units import units_offsets

    offsets = units_offsets({"AU25": strength, "AU26": strength})
    return Move(0.0, np.array([0.0, turn, 0.0]), np.zeros(3), 1.0, offsets, np.zeros(2))


def prepared(refine: bool, grey: bool = False) -> PreparedFace:
    face = PreparedFace(portrait(grey), MeshOptions("own", "none", refine=refine))
    face.begin(Rest.neutral(), None, None)
    return face


class Answers(Refiner):
    """A refiner whose networks give a constant answer."""

    def __init__(self, value: float, flow: bool = False) -> None:
        def answer(windows: Sequence[np.ndarray]) -> np.ndarray:
            side = windows[0].shape[-1]
            out = np.full((len(windows), 5 if flow else 3, side, side), value, np.float32)
            if flow:
                out[:, 3:] = 0
            return out

        self._networks = dict.fromkeys(PARTS, answer)


def test_window_places_points_where_it_cuts_pixels() -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((200, 240, 3), np.uint8)
    spot = np.array([[120.0, 90.0]])
    image[90, 120] = 255
    for mirrored in (False, True):
        axis = rng.normal(size=2)
        window = Patch.around(np.array([118.0, 93.0]), axis, 40.0, 80, mirrored)
        seen = window.cut(image)[..., 0]
        y, x = np.unravel_index(seen.argmax(), seen.shape)
        assert np.abs(window.of(spot)[0] - [x, y]).max() <= 1.0


def test_window_enlarges_what_it_cut() -> None:
    yy, xx = np.mgrid[:160, :160].astype(np.float32)
    picture = np.dstack([np.sin(xx / 20), np.cos(yy / 25)]).astype(np.float32)
    window = Patch.around(np.array([80.0, 80.0]), np.array([1.0, 0.2]), 70.0, 64)
    back = window.enlarged(window.cut(picture), (60, 60, 100, 100))
    assert np.abs(back - picture[60:100, 60:100]).max() < 0.01


def test_no_motion_is_the_source_exactly() -> None:
    face = prepared(True)
    canvas = face.source.image.copy()
    rest = Rest.neutral()
    face.draw(canvas, Drive(Move(0.0, rest.rotation, rest.translation, rest.scale, np.zeros((478, 3)), rest.gaze)))
    assert np.array_equal(canvas, face.source.image)


def test_little_motion_changes_little() -> None:
    plain, refined = (prepared(r) for r in (False, True))
    for strength, limit in ((0.01, 6), (0.05, 30)):
        a, b = plain.source.image.copy(), plain.source.image.copy()
        plain.draw(a, Drive(opened(strength, strength * 0.1)))
        refined.draw(b, Drive(opened(strength, strength * 0.1)))
        assert np.abs(a.astype(int) - b).max() <= limit


def test_nothing_changes_outside_the_supports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infinex.mesh.engine.refiner", lambda: Answers(0.4, flow=True))
    plain, refined = (prepared(r) for r in (False, True))
    a, b = plain.source.image.copy(), plain.source.image.copy()
    plain.draw(a, Drive(opened()))
    refined.draw(b, Drive(opened()))
    changed = np.abs(a.astype(int) - b).max(2) > 1
    assert changed.any()
    allowed = np.zeros(changed.shape, bool)
    x0, y0, x1, y1 = plain.box
    for look in plain.looks().values():
        box = (0, 0, x1 - x0, y1 - y0)
        allowed[y0:y1, x0:x1] |= look.window.enlarged(look.support, box) > 0
    assert not (changed & ~allowed).any()


def test_an_answer_that_is_no_number_is_left_out() -> None:
    look = Look(Patch.around(np.array([50.0, 50.0]), np.array([1.0, 0.0]), 40, 64),
                np.zeros((17, 64, 64), np.float32), np.ones((64, 64), np.float32))  # fmt: skip
    part = np.full((100, 100, 3), 90, np.uint8)
    with pytest.warns(UserWarning, match="not finite"):
        Answers(float("nan"))(part, {"eye-0": look})
    assert (part == 90).all()


def test_a_portrait_without_colour_gets_none() -> None:
    face = prepared(True, grey=True)
    assert face.colour == 0 and prepared(True).colour == 1
    canvas = face.source.image.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        face.draw(canvas, Drive(opened(turn=0.25)))
    x0, y0, x1, y1 = face.box
    looks = face.looks()
    mouth = looks.pop("mouth")  # the modelled mouth has a tone of its own
    inside = mouth.window.enlarged(mouth.support, (0, 0, x1 - x0, y1 - y0)) > 0
    spread = np.ptp(canvas[y0:y1, x0:x1].astype(int), axis=2)
    assert spread[~inside].max() <= 2


def test_the_packaged_networks_answer() -> None:
    networks = refiner()
    assert set(networks._networks) == set(PARTS)
    face = prepared(False)
    canvas = face.source.image.copy()
    face.draw(canvas, Drive(opened()))
    x0, y0, x1, y1 = face.box
    part = np.ascontiguousarray(canvas[y0:y1, x0:x1])
    before = part.copy()
    networks(part, face.looks())
    assert (part != before).any()


def test_a_frame_is_the_same_whatever_was_drawn_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infinex.mesh.engine.refiner", lambda: Answers(0.4, flow=True))
    # A small face in a wide picture that moves so little that not all of the picture does.
    face = PreparedFace(portrait(unit=25), MeshOptions("own", "none", refine=True, layers="flat"))
    face.begin(Rest.neutral(), None, None)
    fresh, got = copy.deepcopy(face), face.source.image.copy()
    for before in (opened(0.6, 0.04), opened(0.6, 0.0)):
        face.draw(got, Drive(before))
        x0, y0, x1, y1 = face.painter._touched
        beside = np.ones(face.layers.image.shape[:2], bool)
        beside[y0:y1, x0:x1] = False  # what the next frame takes back
        drawn = got[face.box[1] : face.box[3], face.box[0] : face.box[2]]
        assert beside.any() and np.array_equal(drawn[beside], face.layers.image[beside])
    for last in (opened(0.3, 0.0), opened(0.0, -0.3)):
        want = face.source.image.copy()
        copy.deepcopy(fresh).draw(want, Drive(last))
        face.draw(got, Drive(last))
        assert np.array_equal(got, want)


@pytest.mark.parametrize("part", PARTS)
def test_networks_answer_the_same_whatever_the_memory_held(part: str) -> None:
    """Some counts of channels in eight bits make ONNX Runtime 1.23 answer at random; the networks have none of them."""
    network = refiner()._networks[part]
    assert isinstance(network, Network)
    channels, half = network._session.get_inputs()[0].shape[1:3]
    windows = np.random.default_rng(5).uniform(-1, 1, (2, channels // 4, 2 * half, 2 * half)).astype(np.float32)
    answers = set()
    for k in range(8):
        litter = [np.full(1 << n, 31 * k, np.uint8) for n in (12, 14, 16, 18, 20) for _ in range(20)]
        del litter
        answers.add(network(list(windows)).tobytes())
    assert len(answers) == 1


def test_windows_become_bytes_and_bytes_answers() -> None:
    rng = np.random.default_rng(2)
    planes = rng.normal(0, 2, (3, 8, 8)).astype(np.float32)
    got = np.empty((12, 4, 4), np.uint8)
    folded(planes, np.float32(0.02), np.float32(100), got)
    for k, (y, x) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        want = np.clip(np.rint(planes[:, y::2, x::2] / np.float32(0.02)) + 100, 0, 255)
        assert np.abs(got[3 * k : 3 * k + 3] - want).max() <= 1  # a tie may be rounded either way
        assert (got[3 * k : 3 * k + 3] == want).mean() > 0.97
    whole = rng.integers(0, 256, (4, 4, 8), dtype=np.uint8)
    table, source = rng.normal(size=(3, 256)).astype(np.float32), np.array([0, 0, 1])
    out = np.empty((3, 8, 8), np.float32)
    unfolded(whole, source, table, out)
    for p, s in enumerate(source):
        for k, (y, x) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
            assert np.array_equal(out[p, y::2, x::2], table[p][whole[..., 4 * s + k]])


def test_a_window_is_told_the_dense_motion_around_it() -> None:
    rng = np.random.default_rng(4)
    h, w, side, step, unit = 60, 80, 16, 4, 20.0
    ids = np.where(rng.random((h, w)) < 0.2, -1, rng.integers(0, 3, (h, w))).astype(np.int16)
    affine = np.array([[1, 0, 3, 0, 1, -2], [1.1, 0.1, 0, -0.1, 1, 1], [1, 0, 90, 0, 1, 0]], np.float64)
    stretch = np.array([0.5, -0.3, 0.1])
    alpha = cv2.GaussianBlur(rng.random((h, w)).astype(np.float32), (0, 0), 3)
    near, coarse = (rng.integers(0, 256, s, dtype=np.uint8) for s in ((h, w), (h // step, w // step)))
    out = np.empty((6, side, side), np.float32)
    about_window(ids, affine, stretch, 2, 1, alpha, near, coarse, step, 4.5, 6.25, -3.25, unit, out)
    x, y = np.meshgrid(6.25 + 4.5 * np.arange(side), -3.25 + 4.5 * np.arange(side))
    there = (x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)
    assert there.any() and not there.all() and (out[:, ~there] == 0).all()
    x, y = x[there], y[there]
    columns, rows = (x + 0.5).astype(int), (y + 0.5).astype(int)
    t = ids[rows, columns]
    places = np.stack([x + 2, y + 1, np.ones_like(x)])
    map_x = np.where(t < 0, x, (affine[t, :3].T * places).sum(0))
    map_y = np.where(t < 0, y, (affine[t, 3:].T * places).sum(0))
    dx, dy = (map_x - x) / unit, (map_y - y) / unit
    assert (np.abs(dx) > 0.5).any()  # some are cut
    assert np.abs(out[0, there] - np.clip(4 * dx, -2, 2)).max() < 1e-4
    assert np.abs(out[1, there] - np.clip(4 * dy, -2, 2)).max() < 1e-4
    assert np.abs(out[2, there] - np.where(t < 0, 0, stretch[t])).max() < 1e-6
    maps = [m.astype(np.float32)[None] for m in (map_x, map_y)]
    shown = cv2.remap(alpha, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
    assert np.abs(out[3, there] - shown).max() < 0.02  # OpenCV's places have five bits of fraction
    maps = [((m - step // 2) / step).astype(np.float32)[None] for m in (x, y)]
    moved = cv2.remap(coarse.astype(np.float32), *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
    assert np.abs(out[4, there] - moved * near[rows, columns] / 255**2).max() < 0.02
    assert np.abs(out[5, there] - np.minimum(np.hypot(dx, dy) / 0.03, 1)).max() < 1e-4
