"""Creases at the corners of a mouth, and lips that round."""

from typing import Any

import cv2
import numpy as np
import pytest

from infinex.drivers.units import rest_face, units_motion
from infinex.face import topology as top
from infinex.face.portrait import SourceFace
from infinex.face.pose import Pose
from infinex.face.relax import TINY, areas
from infinex.face.units import units_offsets
from infinex.mesh.corners import Corners, _continued
from infinex.mesh.retarget import Retarget
from infinex.motion import Move, Rest

POSE = Pose(120.0, np.eye(3), np.array([200.0, 180.0, 0.0]))
SKIN = 190


class Still:
    """A flow that moves nothing."""

    def maps(self, step: int, first: tuple[int, int], end: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        y, x = np.mgrid[first[1] : end[1], first[0] : end[0]].astype(np.float32)
        return x, y


def drawn(hairy: bool, units: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture with a crease, or a beard, at one corner, what is drawn of it under some units, and where it is."""
    face = SourceFace(POSE.to_image(top.mean_face()))
    image, where = np.full((400, 400, 3), SKIN, np.uint8), np.zeros((400, 400), np.uint8)
    x, y = face.points[61, :2]
    rows = range(-16, 17, 4) if hairy else [0]
    for dy in rows:
        for picture in (image, where):
            cv2.line(picture, (round(x - 10), round(y + dy)), (round(x), round(y + dy)), (60, 60, 60), 2)
    target = Retarget(face, rest_face())(units_motion(np.ones((1, len(units))), units).at(0))
    out = image.copy()
    flow: Any = Still()
    Corners(image, face, (0, 0)).draw(out, (0, 0), flow, target)
    return image, out, where > 0


def test_a_crease_goes_as_lips_part_and_a_beard_stays() -> None:
    before, after, where = drawn(False, ["AU25", "AU26"])
    assert after[where].mean() > before[where].mean() + 0.3 * (SKIN - before[where].mean())
    assert np.array_equal(*drawn(False, ["AU1"])[:2])  # shut lips keep it
    before, after, _ = drawn(True, ["AU25", "AU26"])
    assert np.abs(after.astype(int) - before).max() < 12


def test_skin_goes_on_over_a_crease_with_its_light_and_grain_and_nothing_of_lips() -> None:
    y, x = np.mgrid[:160, :160].astype(np.float32)
    rng = np.random.default_rng(1)
    skin = np.dstack([120 + 0.6 * x + 3 * rng.standard_normal(x.shape)] * 3).astype(np.float32)
    gone = cv2.GaussianBlur(((abs(x - 80) < 30) & (abs(y - 80) < 16)).astype(np.float32), (0, 0), 3)
    part, known = skin.copy(), np.ones_like(x)
    part[gone > 0.3] -= 90
    lips = (x > 112) & (abs(y - 80) < 16)
    part[lips], known[lips] = (200, 30, 30), 0
    filled = _continued(part, gone, known, 120.0)
    inside = gone > 0.5
    off = (filled - skin)[inside]
    assert abs(off.mean()) < 4 and np.abs(off.mean(0) - off.mean()).max() < 1.5
    assert (filled[inside] - cv2.GaussianBlur(filled, (0, 0), 3)[inside]).std() > 1
    assert _continued(part, np.zeros_like(gone), known, 120.0) is part


def test_ends_of_lips_go_where_a_narrow_mouth_opens() -> None:
    face = SourceFace(POSE.to_image(top.mean_face()))
    corners = Corners(np.full((400, 400, 3), SKIN, np.uint8), face, (0, 0))
    retarget = Retarget(face, rest_face())

    def shares(*units: str) -> tuple[float, ...]:
        return corners.shares(retarget(units_motion(np.ones((1, len(units))), list(units)).at(0)))

    assert max(shares("AU1")) < 0.01  # from where on anything is laid on
    _, beside, ends = shares("AU18")
    assert beside > 0.3 and ends == 0
    _, beside, ends = shares("AU18", "AU27")
    assert beside > 0.3 and ends > 0.2
    opened, beside, ends = shares("AU12", "AU25", "AU26")
    assert opened > 0.2 and max(beside, ends) < 0.01


@pytest.mark.parametrize("way", [-1, 1])
def test_full_lips_do_not_swell_as_thin_ones_do(way: int) -> None:
    """A pout adds more red to thin lips than full ones have room for; skin beside them goes along."""
    face = SourceFace(POSE.to_image(top.mean_face()))
    inner, outer = (
        (top.LIPS_INNER_LOWER, top.LIPS_OUTER_LOWER) if way > 0 else (top.LIPS_INNER_UPPER, top.LIPS_OUTER_UPPER)
    )
    offsets = np.zeros((478, 3))
    offsets[outer[1:-1], 1] = way * 0.15
    still = Move(0.0, np.zeros(3), np.zeros(3), 1.0, offsets, np.zeros(2))
    own = way * (face.face[outer, 1] - face.face[inner, 1])
    target = Retarget(face, Rest(face.face))(still)
    thick = way * (target.face[outer, 1] - target.face[inner, 1])
    assert own[5] < thick[5] < 1.5 * own[5]
    as_is = Retarget(face, Rest(face.face), absolute=True)(still)
    assert way * (as_is.face[outer[5], 1] - as_is.face[inner[5], 1]) > 1.8 * own[5]


def smiling(narrow: float = 0.0, open_: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Corner and middle of the upper lip (2,) each, of a smiling portrait whose performer opens the mouth."""
    smile = units_offsets({"AU12": 0.7})
    face = SourceFace(POSE.to_image(top.mean_face() + smile))
    offsets = units_offsets({"AU26": open_, "AU25": open_}) + units_offsets({"AU12": -narrow})
    rest = Rest(top.mean_face(), lids_open=np.full(2, 0.3), lips_closed=np.zeros(9))
    points = Retarget(face, rest)(Move(0.0, np.zeros(3), np.zeros(3), 1.0, offsets, np.zeros(2))).face
    return points[78, :2], points[13, :2]


def test_corners_of_a_smile_come_down_where_the_performers_mouth_opens_without_one() -> None:
    open_corner, lip = smiling()
    shut_corner, _ = smiling(open_=0.02)
    assert open_corner[1] > shut_corner[1] + 0.03
    grin_corner, grin_lip = smiling(narrow=-1.0)
    assert grin_corner[1] - grin_lip[1] < 0.8 * (open_corner[1] - lip[1])  # who smiles keeps them up


def test_a_filmed_smile_keeps_its_corners_where_small_triangles_fold() -> None:
    face = SourceFace(POSE.to_image(top.mean_face()))
    laugh = face.face + units_offsets({"AU12": 1.2, "AU6": 1.0, "AU25": 1.0, "AU26": 0.6})
    for inner, outer in ((78, 61), (308, 291)):
        laugh[inner, :2] += 0.6 * (laugh[outer, :2] - laugh[inner, :2])
    rises = []
    for filmed in (False, True):
        relaxed = laugh.copy()
        face.unfold(relaxed, filmed=filmed)
        rises.append(float((face.face[[61, 291], 1] - relaxed[[61, 291], 1]).mean()))
        turned = areas(relaxed) * areas(face.face[: top.SURFACE])
        assert (turned[np.abs(areas(face.face[: top.SURFACE])) > TINY] > -1e-9).all()
    wanted = float((face.face[[61, 291], 1] - laugh[[61, 291], 1]).mean())
    assert rises[1] > 0.8 * wanted > 0 and rises[1] >= rises[0]
