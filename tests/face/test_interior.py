"""What a mouth shows between its lips."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from infinex.drivers.video import VideoDriver
from infinex.engine import Drive
from infinex.face import topology as top
from infinex.face.interior import BANDS, KINDS, interior, painted
from infinex.face.units import units_offsets
from infinex.mesh.engine import MeshOptions, PreparedFace
from infinex.mesh.mouth import _teeth_shown
from infinex.mesh.retarget import Target
from infinex.motion import Move, Rest
from infinex.pipeline import load_source
from infinex.studio.examples import EXAMPLES

TEETH, TONGUE, DARK = (225, 220, 205), (170, 85, 85), (25, 10, 10)
SKIN, LIPS = (205, 160, 135), (165, 80, 80)


def face(opening: float, unit: float = 120.0, tilt: float = 0.0) -> np.ndarray:
    """The mean face with its lips `opening` IOD apart, in pixels."""
    mean = top.mean_face().copy()
    middle = mean[top.LIPS_INNER, 1].mean()
    for ring, way in ((top.LIPS_INNER_UPPER, -1), (top.LIPS_INNER_LOWER, 1)):
        for i, point in enumerate(ring[1:-1], 1):
            mean[point, 1] = middle + way * opening / 2 * np.sin(np.pi * i / 10)
    c, s = np.cos(tilt), np.sin(tilt)
    mean[:, :2] = mean[:, :2] @ np.array([[c, s], [-s, c]])
    return mean * unit + [256, 200, 0]


def picture(points: np.ndarray, bands: list[tuple[int, int, int]], light: float = 1.0) -> np.ndarray:
    """A flat face whose mouth shows bands of colour from its upper lip to its lower one."""
    image = np.full((512, 512, 3), SKIN, np.uint8)
    cv2.fillPoly(image, [np.round(points[top.LIPS_OUTER, :2]).astype(np.int32)], LIPS)
    upper, lower = points[top.LIPS_INNER_UPPER, :2], points[top.LIPS_INNER_LOWER, :2]
    for i, colour in enumerate(bands):
        a, b = i / len(bands), (i + 1) / len(bands)
        strip = np.concatenate([upper * (1 - a) + lower * a, (upper * (1 - b) + lower * b)[::-1]])
        cv2.fillPoly(image, [np.round(strip).astype(np.int32)], colour)
    return np.clip(image * light, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("tilt", [0.0, 0.5, -1.2])
@pytest.mark.parametrize("light", [1.0, 0.45])
def test_teeth_tongue_and_dark_are_told_apart_where_they_are(tilt: float, light: float) -> None:
    points = face(0.3, tilt=tilt)
    shares = interior(picture(points, [TEETH, DARK, TONGUE], light), points)
    assert shares is not None and shares.shape == (BANDS, KINDS)
    assert shares[0, 0] > 0.7 and shares[0, 1] < 0.2
    assert shares[1, 1] > 0.7 and shares[1, 0] < 0.2
    assert shares[2].max() < 0.35
    assert shares.min() >= 0 and shares.max() <= 1


def test_lips_that_meet_or_lie_outside_show_nothing() -> None:
    points = face(0.0)
    assert interior(picture(points, [DARK]), points) is None
    points = face(0.3)
    assert interior(picture(points, [DARK])[:200], points) is None


def test_shares_are_laid_out_over_an_opening() -> None:
    opening = np.zeros((60, 80), np.float32)
    cv2.ellipse(opening, (40, 30), (30, 18), 8, 0, 360, 1.0, -1)
    planes = painted(np.array([[1.0, 0], [0, 1], [0, 0]]), opening)
    assert planes.shape == (2, 60, 80) and not planes[:, opening == 0].any()
    assert planes[0, 14:18, 40].min() > 0.9 and planes[1, 30, 40] > 0.9 and planes[:, 43:47, 40].max() < 0.1


def test_a_driving_clip_carries_it(write_clip: Callable[..., Path]) -> None:
    """A smile with teeth, which go dark and come back."""
    source = load_source(EXAMPLES[1].path)[0]
    k = 320 / source.image.shape[1]
    image = cv2.resize(source.image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
    image = np.ascontiguousarray(image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2])
    points = source.face.landmarks * k
    mask = np.zeros(image.shape[:2], np.float32)
    cv2.fillPoly(mask, [np.round(points[top.LIPS_INNER, :2]).astype(np.int32)], 1.0)
    dark = image * (1 - 0.9 * cv2.GaussianBlur(mask, (0, 0), 0.7)[..., None])
    lit = np.arange(24) // 8 != 1
    clip = write_clip([image if on else dark.astype(np.uint8) for on in lit], "teeth.mp4")
    driver = VideoDriver(clip).settle()
    shares = np.stack([drive.move.interior for drive in driver])
    driver.close()
    teeth, gone = shares[lit], shares[~lit]
    assert teeth[:, :2, 0].mean() > 0.4 > 0.15 > gone[:, :2, 0].mean()
    assert gone[..., 1].mean() > 0.5 > 0.3 > teeth[..., 1].mean()
    plain = VideoDriver(clip, flow=False).settle()
    assert all(drive.move.interior is None for drive in plain)
    plain.close()


def drawn(move: Move, refine: bool) -> tuple[np.ndarray, Target]:
    source = load_source(EXAMPLES[0].path)[0]
    prepared = PreparedFace(source, MeshOptions(mouth="own", wrinkles="none", refine=refine))
    prepared.begin(Rest.neutral(), None, None)
    canvas = source.image.copy()
    target = prepared.draw(canvas, Drive(move)).target
    return canvas, target


def opened(units: dict[str, float], told: list[list[float]] | None) -> Move:
    shares = None if told is None else np.array(told, float)
    return Move(0.0, np.zeros(3), np.zeros(3), 1.0, units_offsets(units), np.zeros(2), interior=shares)


def test_the_networks_show_what_they_are_told() -> None:
    """A shut mouth opens: with teeth if the performer showed teeth, dark if she did not."""
    shown = []
    for told in ([[1, 0]] * 3, [[0, 1]] * 3):
        canvas, target = drawn(opened({"AU25": 0.8, "AU12": 0.6}, told), True)
        mask = np.zeros(canvas.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.round(target.points[top.LIPS_INNER, :2]).astype(np.int32)], 1)
        shown.append(float(canvas[mask > 0].mean()))
    assert shown[0] > 1.3 * shown[1]


def test_the_modelled_teeth_stand_where_the_performers_did() -> None:
    """What is light from the upper lip on is upper teeth; untold, a wide mouth bares some, and in the dark dim ones."""
    wide = {"AU25": 0.6, "AU26": 1.0}
    light = {}
    for name, told in (("bare", [[0.6, 0], [0, 1], [0, 1]]), ("dark", [[0, 1]] * 3), ("untold", None)):
        canvas, target = drawn(opened(wide, told), False)
        (x, y), gap = target.points[13, :2], target.points[14, 1] - target.points[13, 1]
        light[name] = canvas[int(y + 0.05 * gap) : int(y + 0.2 * gap), int(x - 4) : int(x + 4)].mean()
    assert min(light["bare"], light["untold"]) > 1.15 * light["dark"]


def test_a_wide_mouth_that_is_light_throughout_has_two_rows_each_at_its_lip() -> None:
    canvas, target = drawn(opened({"AU25": 1.0, "AU27": 1.0}, [[1, 0]] * 3), False)
    (x, top_), low = target.points[13, :2], target.points[14, 1]
    part = canvas[int(top_) : int(low), int(x - 3) : int(x + 4)].mean((1, 2))
    shares = (0.08, 0.22), (0.4, 0.6), (0.78, 0.92)
    upper, between, lower = (part[int(a * len(part)) : int(b * len(part))].mean() for a, b in shares)
    assert min(upper, lower) > 1.3 * between  # the lower ones lie in shade


def test_teeth_that_a_portrait_shows_stay_as_its_mouth_opens_wide() -> None:
    source = load_source(EXAMPLES[1].path)[0]  # an astronaut, who smiles broadly
    prepared = PreparedFace(source, MeshOptions(mouth="own", wrinkles="none", refine=False))
    prepared.begin(Rest.neutral(), None, None)
    canvas = source.image.copy()
    target = prepared.draw(canvas, Drive(opened({"AU25": 0.6, "AU26": 1.0}, None))).target
    own = source.face.landmarks

    def light(image: np.ndarray, lip: np.ndarray, gap: float) -> float:
        x, y = lip[:2]
        return float(image[int(y + 0.2 * gap) : int(y + 0.6 * gap), int(x - 5) : int(x + 5)].mean())

    gap = own[14, 1] - own[13, 1]
    assert target.points[14, 1] - target.points[13, 1] > 1.5 * gap
    assert light(canvas, target.points[13], gap) > 0.6 * light(source.image, own[13], gap)


def test_a_wet_tongue_as_light_as_teeth_is_no_row_of_them() -> None:
    points = face(0.3)
    red, white = (interior(picture(points, [DARK, DARK, c]), points) for c in ((250, 150, 150), TEETH))
    assert red is not None and white is not None
    assert red[2, 0] < 0.1 and white[2, 0] > 0.7
    assert _teeth_shown(red)[1] == 0 and _teeth_shown(white)[1] > 0.2  # also under a dark roof


def test_teeth_no_lighter_than_the_lips_are_told_by_how_pale_they_are() -> None:
    points = face(0.3)
    dim, ruddy = (interior(picture(points, [DARK, DARK, c]), points) for c in ((150, 140, 132), (168, 126, 108)))
    assert dim is not None and ruddy is not None
    assert _teeth_shown(dim)[1] > 0.2 and _teeth_shown(ruddy)[1] == 0
