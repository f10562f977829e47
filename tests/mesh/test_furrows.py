"""Furrows by relighting, where no performer's frames show any."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from infinex.engine import Drive, Source
from infinex.face import topology as top
from infinex.face.portrait import SourceFace
from infinex.face.tracker import Face
from infinex.face.units import units_offsets
from infinex.mesh.engine import MeshOptions, PreparedFace
from infinex.mesh.furrows import _MUSCLES, SMOOTH, Furrows, activations
from infinex.mesh.retarget import Target
from infinex.motion import Move, Rest
from infinex.pipeline import load_source

RIGHT, LEFT = slice(0, None, 2), slice(1, None, 2)


def move(**units: float) -> Move:
    return Move(0.0, np.zeros(3), np.zeros(3), 1.0, units_offsets(units), np.zeros(2))


def plain(light: float = 0.0, size: int = 600) -> tuple[np.ndarray, SourceFace]:
    """A skin-coloured picture with a face in it that only its mesh knows of."""
    image = np.empty((size, size, 3), np.uint8)
    image[:] = (200, 160, 140)
    shade = np.clip(1 + light * (np.arange(size) / size - 0.5), 0.3, 1.7)
    image = np.clip(image * shade[None, :, None], 0, 255).astype(np.uint8)
    points = top.mean_face() * (0.4 * size) + [size / 2, 0.62 * size, 0]
    return image, SourceFace(points)


def gain(units: dict[str, float], image: np.ndarray, face: SourceFace) -> np.ndarray:
    """What shading does to the picture of a face that stays where it is, as a log ratio of luminance."""
    still = Target(face.face, face.points, face.pose, 0.0, np.ones(2), np.zeros(9), np.zeros(2), False)
    out = image.copy()
    Furrows(image, face).apply(out, (0, 0), still, move(**units))
    light = [cv2.cvtColor(i, cv2.COLOR_RGB2GRAY).astype(float) for i in (out, image)]
    return np.log(light[0] / light[1])


@pytest.mark.parametrize("unit", ["AU1", "AU2", "AU4", "AU6", "AU9", "AU10", "AU12"])
def test_each_muscle_folds_where_it_pulls_and_more_when_it_pulls_more(unit: str) -> None:
    k = [m.unit for m in _MUSCLES].index(unit)
    amounts = np.array([activations(units_offsets({unit: a})) for a in (0.0, 0.3, 0.6, 1.0)])
    assert not amounts[0].any() and np.allclose(amounts[3, 2 * k : 2 * k + 2], 1, atol=0.02)
    assert (np.diff(amounts[:, 2 * k]) > 0.1).all()
    image, face = plain()
    weak, full = gain({unit: 0.4}, image, face), gain({unit: 1.0}, image, face)
    least = -0.08 * SMOOTH  # there is no crease in this skin yet
    assert full.min() < least and full.min() < 1.5 * weak.min() < 0
    mouth, eyes = face.points[top.LIPS_OUTER, 1].min(), face.points[top.RIGHT_EYE + top.LEFT_EYE, 1]
    if unit in ("AU1", "AU2", "AU4"):
        assert np.abs(full[int(eyes.max()) :]).max() < 0.02
    if unit in ("AU10", "AU12"):
        assert np.abs(full[: int(eyes.min())]).max() < 0.02
        assert full[: int(mouth)].min() < least


def test_one_side_folds_alone() -> None:
    amounts = activations(units_offsets({"AU12L": 1.0}))
    assert amounts[LEFT].max() > 0.9 and amounts[RIGHT].max() < 0.1


def test_an_open_mouth_or_shut_eye_folds_nothing() -> None:
    assert activations(units_offsets({"AU26": 1.0, "AU25": 1.0})).max() < 0.15
    assert activations(units_offsets({"AU45": 1.0})).max() < 0.35


def test_shading_follows_the_light_of_the_portrait() -> None:
    image, face = plain()
    slopes = [Furrows(*plain(light))._gain[12] for light in (-0.8, 0.8)]  # the fold of the right cheek
    assert np.abs(slopes[0] - slopes[1]).max() > 0.02
    assert gain({"AU12": 1.0}, image, face).max() > 0.01  # lit as well as shaded


def test_smooth_skin_folds_less_than_a_lined_face(monkeypatch: pytest.MonkeyPatch) -> None:
    image, face = plain()
    lined = image.copy()
    lined[:, ::7] = lined[:, 1::7] = (165, 130, 112)
    monkeypatch.setattr("infinex.mesh.furrows.OWN", 0.0)  # the lines themselves deepen too
    smooth, worn = (-gain({"AU12": 1.0}, i, face).min() for i in (image, lined))
    assert worn > 1.3 * smooth > 0


def test_the_fold_of_a_smile_fades_as_the_smile_goes() -> None:
    image, face = plain()
    fold = face.points[[203, 206, 216, 212], :2] + [-8, 0]
    cv2.polylines(image, [np.round(fold).astype(np.int32)], False, (150, 112, 95), 5, cv2.LINE_AA)
    furrows = Furrows(image, face)
    light = []
    for smile in (0.0, -0.9):  # this face is its own with a smile already
        moved = face.face + units_offsets({"AU12": 1.0}) * smile
        target = Target(moved, face.points, face.pose, 0.0, np.ones(2), np.zeros(9), np.zeros(2), False)
        out = image.copy()
        furrows.apply(out, (0, 0), target, move())
        light.append(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY).astype(float))
        assert bool(furrows.unsmiled(target).min() > 0.9) == (smile < 0)
    x, y = np.round(fold[1:3].mean(0)).astype(int)
    skin = light[0][y, x - 30]
    assert light[0][y, x] < 0.8 * skin and light[1][y, x] > 0.83 * skin
    assert np.abs(light[1] - light[0])[:, int(face.points[4, 0]) :].max() < 2  # there was none on the other side


def test_hair_and_stone() -> None:
    image, face = plain()
    before = np.abs(gain({"AU1": 1.0}, image, face)).max()
    covered = image.copy()
    covered[: int(face.points[[107, 336], 1].min())] = (40, 25, 15)  # a fringe
    assert np.abs(gain({"AU1": 1.0}, covered, face)).max() < 0.35 * before
    grey = np.full_like(image, 150)
    out = grey.copy()
    still = Target(face.face, face.points, face.pose, 0.0, np.ones(2), np.zeros(9), np.zeros(2), False)
    Furrows(grey, face).apply(out, (0, 0), still, move(AU12=1.0))
    assert (np.ptp(out.astype(int), axis=2) <= 1).all() and (out != grey).any()


def test_the_engine_shades_only_without_a_performer_and_when_asked(portrait: Path) -> None:
    source = load_source(portrait)[0]
    frames = {}
    for wrinkles in ("driver", "none"):
        face = PreparedFace(Source(source.image, Face(source.face.landmarks)), MeshOptions("own", wrinkles))  # type: ignore[arg-type]
        face.begin(Rest.neutral(), None, None)
        for unit in ("AU12", "AU5"):
            canvas = source.image.copy()
            face.draw(canvas, Drive(move(**{unit: 1.0})))
            frames[wrinkles, unit] = canvas.astype(int)
    assert np.abs(frames["driver", "AU12"] - frames["none", "AU12"]).max() > 15
    assert np.array_equal(frames["driver", "AU5"], frames["none", "AU5"])
