"""Each number of the benchmark of looks finds the fault it is for, drawn by hand, and is silent without it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from infinex.evaluation import edges, looks
from infinex.evaluation.sheets import MOMENTS, Sheet
from infinex.face import topology as top
from infinex.face.tracker import FaceFinder
from infinex.media.image import read_image

FPS = 25.0


@pytest.fixture(scope="module")
def grace() -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A portrait and its landmarks."""
    import matplotlib

    image = read_image(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")
    with FaceFinder() as finder:
        return image, finder.find(image)[0].landmarks


def course(points: NDArray[np.float64], **change: NDArray) -> list[looks.Seen]:
    """Forty frames of one face, some of whose readings follow a course."""
    one = looks.seen(points)
    return [replace(one, **{k: v[i] for k, v in change.items()}) for i in range(40)]


def blinking(lids: NDArray, depth: float, side: int | None = None) -> NDArray:
    """Lids (40, 2) that shut twice, one of them alone where `side` says so."""
    out = np.tile(lids, (40, 1))
    for at in (8, 24):
        out[at : at + 6, slice(None) if side is None else slice(side, side + 1)] *= 1 - depth
    return out


def test_numbers_of_landmarks_find_their_faults(grace: tuple) -> None:
    """One lid alone, lids that stay open, lips that do not meet, brows that sleep, a head that pumps."""
    _, points = grace
    own = looks.seen(points)
    wave = np.sin(np.arange(40) / 3.0)
    performer = course(
        points, lids=blinking(own.lids, 1.0), brow=own.brow * (1 + 0.1 * wave), mouth=own.mouth * (1 + 0.1 * wave),
        gap=np.where(wave > 0, 0.1, 0.0), most=np.where(wave > 0, 0.15, 0.0),
    )  # fmt: skip
    good = looks.of_landmarks(performer, performer, FPS)
    assert good["apart"] == good["wide"] == good["residual"] == good["lips"] == 0
    for key in ("lids", "brows", "smile", "closed", "pumping"):
        assert good[key] == pytest.approx(1, abs=1e-6)
    half = [replace(s, lids=np.where(s.lids < 0.1, s.lids + 0.12, s.lids)) for s in performer]
    bad = looks.of_landmarks(half, performer, FPS)
    assert bad["residual"] == pytest.approx(0.12) and bad["lids"] < 0.8
    assert looks.of_landmarks(course(points, lids=blinking(own.lids, 1.0, 0)), performer, FPS)["apart"] > 0.2
    stare = [replace(s, lids=np.where(np.arange(2) >= 0, s.lids * (1.5 if i % 4 == 0 else 1), 0))
             for i, s in enumerate(performer)]  # fmt: skip
    assert looks.of_landmarks(stare, performer, FPS)["wide"] > 0.1
    apart = [replace(s, gap=s.gap + 0.04, most=s.most + 0.04) for s in performer]
    assert looks.of_landmarks(apart, performer, FPS)["lips"] == pytest.approx(0.04)
    asleep = [replace(s, brow=own.brow + 0.5 * (s.brow - own.brow)) for s in performer]
    assert looks.of_landmarks(asleep, performer, FPS)["brows"] == pytest.approx(0.5, abs=0.03)
    pumps = [replace(s, size=own.size + 0.02 * wave[i]) for i, s in enumerate(performer)]
    assert looks.of_landmarks(pumps, performer, FPS)["pumping"] > 2
    assert np.isnan(looks.of_landmarks([None] * 40, performer, FPS)["lids"])


def test_specks_above_a_shut_eye_are_seen_and_creases_and_liner_that_stays_are_not(grace: tuple) -> None:
    _, points = grace
    skin = np.full((*grace[0].shape[:2], 3), (190, 150, 130), np.uint8)
    outer, inner = (points[top.RIGHT_LID_UPPER[i], :2] for i in (0, -1))
    width = float(np.linalg.norm(inner - outer))

    def drawn(along: float, up: float, size: tuple[float, float]) -> NDArray[np.uint8]:
        at = outer + (inner - outer) * along - [0, up * width]
        half = np.array(size) * width / 2
        lo, hi = (tuple(np.round(v).astype(int).tolist()) for v in (at - half, at + half))
        return np.asarray(cv2.rectangle(skin.copy(), lo, hi, (60, 40, 35), -1), np.uint8)

    crease, speck = drawn(0.5, 0.32, (1.0, 0.04)), drawn(-0.05, 0.25, (0.12, 0.12))
    assert looks.smear(skin, points, skin, points, 0) < 0.01
    assert looks.smear(crease, points, skin, points, 0) < 0.06
    assert looks.smear(speck, points, speck, points, 0) < 0.01
    assert looks.smear(speck, points, skin, points, 0) > 0.15


def mouthed(grace: tuple, colour: tuple[int, int, int]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The portrait with parted lips and one colour between them."""
    image, points = grace[0].copy(), grace[1].copy()
    unit = float(np.linalg.norm(points[33] - points[263]))
    points[top.LIPS_INNER_LOWER[1:-1], 1] += 0.2 * unit
    cv2.fillPoly(image, [np.round(points[top.LIPS_INNER, :2]).astype(np.int32)], colour)
    return image, points


def test_mouths_are_measured_by_the_portrait_s_own_light(grace: tuple) -> None:
    """Neon teeth, blue teeth and magenta tongues are told; dark cavities and dim teeth are not."""
    light = looks.light_of(*grace)
    neon = looks.mouth(*mouthed(grace, (255, 255, 255)), light)
    lilac = looks.mouth(*mouthed(grace, (150, 140, 190)), light)
    magenta = looks.mouth(*mouthed(grace, (190, 70, 130)), light)
    assert neon is not None and lilac is not None and magenta is not None
    assert neon.over > 5 and lilac.blue > 0.9 and magenta.pink > 0.9
    for fine in ((20, 8, 6), (150, 135, 110)):
        found = looks.mouth(*mouthed(grace, fine), light)
        assert found is not None and found.over == 0 and found.blue < 0.02 and found.pink < 0.02


def test_black_mouths_and_teeth_like_tiles(grace: tuple) -> None:
    """A hole is black, a dim tongue is not; teeth whose lightness dips where they meet have relief, a slab has none."""
    light = looks.light_of(*grace)
    hole = looks.mouth(*mouthed(grace, (12, 5, 4)), light)
    tongue = looks.mouth(*mouthed(grace, (110, 55, 50)), light)
    image, points = mouthed(grace, (215, 200, 180))
    slab = looks.mouth(image, points, light)
    unit = float(np.linalg.norm(points[33] - points[263]))
    for x in np.arange(points[78, 0], points[308, 0], 0.08 * unit):
        top_, bottom = points[13, 1], points[14, 1]
        cv2.line(
            image, (round(x), round(top_)), (round(x), round(bottom)), (150, 130, 110), max(2, round(0.015 * unit))
        )
    row = looks.mouth(image, points, light)
    assert hole is not None and tongue is not None and slab is not None and row is not None
    assert hole.black > 0.9 and tongue.black == 0 and slab.black == 0
    assert np.isnan(hole.relief) and slab.relief < 0.02 < 0.045 < row.relief


def test_a_line_beside_the_corner_of_a_mouth(grace: tuple) -> None:
    """A dark line that goes on from a corner is told, on its own side alone."""
    image, points = grace[0].copy(), grace[1]
    before = looks.creases(image, points)
    unit = float(np.linalg.norm(points[33] - points[263]))
    a = points[78, :2]
    b = a + 0.16 * unit * (points[61, :2] - points[291, :2]) / np.linalg.norm(points[61, :2] - points[291, :2])
    cv2.line(image, *(tuple(int(v) for v in np.round(p)) for p in (a, b)), (90, 50, 40), max(1, round(0.015 * unit)))
    after = looks.creases(image, points)
    assert after[0] > before[0] + 0.05 and after[1] == pytest.approx(before[1], abs=0.005)


def test_teeth_between_lips_that_touch(grace: tuple) -> None:
    """A white line along the seam is seen; the portrait's own shut mouth is measured as it is."""
    image, points = grace[0].copy(), grace[1].copy()
    seam = (points[top.LIPS_INNER_UPPER, :2] + points[top.LIPS_INNER_LOWER, :2]) / 2
    before = looks.teeth(image, points)
    cv2.polylines(image, [np.round(seam).astype(np.int32)], False, (235, 230, 220), 3)
    assert looks.teeth(image, points) > before + 0.3


def test_shut_lids_with_bars_and_without_a_line(grace: tuple) -> None:
    """A clean lid over a dark line beats one with dark bars, and one that is a smear."""
    image, points = grace
    skin = tuple(int(v) for v in np.median(image[220:240, 230:270].reshape(-1, 3), 0))

    def drawn(bars: bool, line: bool) -> looks.Lid:
        out = image.copy()
        a, b = points[33, :2], points[133, :2]
        way, width = b - a, float(np.linalg.norm(b - a))
        cv2.ellipse(out, tuple(np.round((a + b) / 2).astype(int).tolist()), (round(width * 0.7), round(width * 0.6)),
                    0, 0, 360, skin, -1)  # fmt: skip
        if line:
            cv2.line(out, tuple(np.round(a).astype(int).tolist()), tuple(np.round(b).astype(int).tolist()),
                     (40, 25, 20), 2, cv2.LINE_AA)  # fmt: skip
        for t in np.linspace(0.1, 0.9, 7) if bars else ():
            foot = a + t * way
            cv2.line(out, tuple(np.round(foot).astype(int).tolist()),
                     tuple(np.round(foot - [0, 0.4 * width]).astype(int).tolist()), (40, 25, 20), 1)  # fmt: skip
        return looks.lid(out, points, 0)

    clean, barred, smeared = drawn(False, True), drawn(True, True), drawn(False, False)
    assert barred.uneven > clean.uneven + 0.05
    assert clean.line > 3 * smeared.line


def test_restlessness_is_what_no_straight_course_explains() -> None:
    """A face that brightens steadily is calm; one that flickers is not."""
    rng = np.random.default_rng(0)
    face = cv2.GaussianBlur(rng.uniform(0, 255, (96, 96)).astype(np.float32), (0, 0), 3)
    spot = 12 * np.exp(-((np.hypot(*(np.mgrid[:96, :96] - 40)) / 12) ** 2)).astype(np.float32)
    calm, flickering = looks.Restless(), looks.Restless()
    for i in range(12):
        calm.add(face + i)
        flickering.add(face + spot * (i % 2))
    assert calm.value < 0.01 and flickering.value > 0.1


class Scene(edges.Picture):
    """A disc before lines and dots, whose alpha is known."""

    def __init__(
        self, x: float, halo: int = 0, bend: float = 0.0, crumbs: bool = False, back: float = 0.0, left: bool = False
    ) -> None:
        rng = np.random.default_rng(3)
        image = np.full((400, 500, 3), 150, np.uint8)
        for place in rng.uniform(20, 480, (160, 2)):
            cv2.circle(image, (int(place[0] + back), int(place[1])), 2, (100, 110, 120), -1)
        across = np.arange(500)
        course = 60 + bend * np.exp(-(((across - 250) / 60.0) ** 2))
        cv2.polylines(image, [np.stack([across, course], -1).round().astype(np.int32)], False, (40, 40, 40), 3)
        if halo:
            cv2.circle(image, (round(x), 240), 96, (150 + halo,) * 3, -1)
        if left:
            cv2.circle(image, (250, 240), 91, (60, 50, 40), 2, cv2.LINE_AA)
        if crumbs:
            for place in np.array([152, 240]) + rng.uniform(-30, 30, (60, 2)):
                cv2.circle(image, (int(place[0]), int(place[1])), 3, (30, 20, 10), -1)
        cv2.circle(image, (round(x), 240), 90, (90, 60, 40), -1)
        super().__init__(image, np.zeros((478, 3)), 100.0)
        yy, xx = np.mgrid[:400, :500]
        self.__dict__["alpha"] = np.clip(90.5 - np.hypot(xx - x, yy - 240), 0, 1).astype(np.float32)


def test_edges_and_background_find_their_faults() -> None:
    """Aureoles, crumbs in what was uncovered, bent lines and a background that moves."""
    source = Scene(250)
    fine = Scene(285)
    assert edges.ring(fine, source) < 2 and edges.uncovered(fine, source) < 6
    assert edges.bent(fine, source) < 0.015 and edges.moved(fine, source) < 0.01
    assert edges.ring(Scene(285, halo=60), source) > 8
    assert edges.uncovered(Scene(285, crumbs=True), source) > edges.uncovered(fine, source) + 5
    assert edges.ghost(Scene(285, left=True), source) > edges.ghost(fine, source) + 2
    assert edges.bent(Scene(285, bend=8), source) > 0.05
    assert edges.moved(Scene(285, back=5), source) > 0.03


def test_streaks_at_the_border_and_stairs_at_the_jaw(grace: tuple) -> None:
    """A repeated border row is seen as streaks; steps of the jaw's edge as roughness."""
    image, points = grace
    streaked = image.copy()
    texture = np.random.default_rng(1).integers(0, 255, (1, image.shape[1], 3), dtype=np.uint8)
    streaked[:60] = cv2.GaussianBlur(texture, (0, 0), 2.0)
    unit = 90.0
    assert edges.barred(streaked, unit) > edges.barred(image, unit) + 0.1
    face = np.full(image.shape, 60, np.uint8)
    oval = np.round(points[top.OVAL, :2]).astype(np.int32)
    cv2.fillPoly(face, [oval], (200, 180, 160))
    smooth = cv2.GaussianBlur(face, (0, 0), 1.2)
    stairs = np.asarray(cv2.resize(cv2.resize(smooth, None, fx=1 / 9, fy=1 / 9, interpolation=cv2.INTER_NEAREST),
                                   image.shape[1::-1], interpolation=cv2.INTER_NEAREST))  # fmt: skip
    stairs = cv2.GaussianBlur(stairs, (0, 0), 1.2)
    assert edges.rough(stairs, points, unit) > 2 * edges.rough(smooth, points, unit)


def test_a_sheet_keeps_the_moments_that_matter(grace: tuple) -> None:
    """Widest mouth and shut eyes are found in a stream, with neighbours, in one picture."""
    image, points = grace
    own = looks.seen(points)
    sheet = Sheet()
    sheet.first(image, points, 90.0)
    for i in range(8):
        p = replace(own, gap=0.1 * (i == 3), lids=own.lids * (0 if i == 5 else 1))
        sheet.add(np.full_like(image, 20 * i), points, 90.0, image, points, p, own)
    assert set(sheet.best) == set(MOMENTS)
    assert sheet.best["wide mouth"][1][10, 10].max() == 60 and sheet.best["shut"][1][10, 10].max() == 100
    assert sheet.picture("title").shape[1] >= 2000


def test_a_turned_head_is_read_by_its_near_eye() -> None:
    """Positive yaw turns to the viewer's right: the subject's right eye stays in sight."""
    assert looks.near_eyes(0.0, 10.0) == [0, 1]
    assert looks.near_eyes(35.0, 0.0) == [0] and looks.near_eyes(-35.0) == [1]
    assert looks.near_eyes(60.0) == looks.near_eyes(30.0, -30.0) == []
