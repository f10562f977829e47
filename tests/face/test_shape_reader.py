"""Apple's shapes read off pictures."""

from pathlib import Path

import cv2
import numpy as np

from infinex.face import topology as top
from infinex.face.blendshapes import AT, NAMES, fields, mirrored
from infinex.face.pose import Pose, fit_pose, to_matrix
from infinex.face.shape_reader import INPUTS, Flattened, ShapeReader, numbers, swapped
from infinex.face.tracker import FaceFinder
from infinex.media.image import read_image


def painted(pose: Pose) -> np.ndarray:
    """A picture of the mean face's landmarks, as spots (500, 500, 3)."""
    image = np.full((500, 500, 3), 90, np.uint8)
    for k, p in enumerate(pose.to_image(top.mean_face())[: top.SURFACE : 3]):
        cv2.circle(image, tuple(np.round(p[:2] * 16).astype(int)), 64, (90 + (k * 37) % 160,) * 3, -1, cv2.LINE_AA, 4)
    return image


def test_a_head_that_turns_does_not_slide_over_the_flat_face() -> None:
    face, middle = top.mean_face(), np.array([250.0, 270.0, 0.0])
    here = Pose(160.0, np.eye(3), middle)
    turned = Pose(150.0, to_matrix(np.array([0.08, 0.2, 0.05])), middle + np.array([12.0, -7.0, 0.0]))
    flat = Flattened(painted(here), here.to_image(face), face)
    inside = (slice(70, 190), slice(60, 164))
    apart = [
        np.abs(flat.seen(painted(here), here)[inside].astype(float) - flat.seen(painted(p), q)[inside]).mean()
        for p, q in ((turned, turned), (turned, here))
    ]
    assert apart[0] < 0.35 * apart[1]
    moved = flat.pieces(painted(turned), turned)[4:]
    assert all(np.median(np.abs(f)) < 0.6 for f in moved)  # pixels


def test_a_portrait_at_rest_is_at_rest_in_other_light_and_opens_its_jaw_with_its_landmarks(portrait: Path) -> None:
    image, finder = read_image(portrait), FaceFinder()
    points = finder.find(image)[0].landmarks
    rest = fit_pose(top.mean_face(), points).to_head(points)
    reader = ShapeReader(image, points, rest)
    dark = np.clip(image * 0.8 + 6, 0, 255).astype(np.uint8)
    opened = fields()[AT["jawOpen"]]
    for picture, offsets in ((image, 0 * opened), (dark, 0 * opened), (image, opened)):
        reader.add(picture, points, offsets)
    still, darker, moved = reader.shapes()
    assert still.max() < 0.1 and darker.max() < 0.2
    assert moved[AT["jawOpen"]] > still[AT["jawOpen"]] + 0.1
    assert len(reader.shapes()) == 0


def test_a_mirrored_input_is_mirrored_back() -> None:
    rng = np.random.default_rng(1)
    sizes = ((1, 64, 64), (1, 64, 64), (2, 64, 96), (1, 112, 96), (2, 16, 16), (2, 16, 16), (2, 16, 24), (2, 28, 24))
    pieces = [rng.normal(0, 1, (2, *s)).astype(np.float32) for s in sizes]
    x = numbers(rng.normal(0, 0.1, (2, 478, 3)), top.mean_face(), rng.normal(0, 5, (2, 3))).astype(np.float32)
    given = [*pieces, x]
    assert len(given) == len(INPUTS)
    for a, b in zip(swapped(swapped(given)), given):
        assert np.allclose(a, b, atol=1e-6)
    assert AT["mouthSmileRight"] == int(mirrored(np.arange(len(NAMES)))[AT["mouthSmileLeft"]])
