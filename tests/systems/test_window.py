"""What networks see of a picture, and the way back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from infinex.errors import FaceNotFoundError
from infinex.face.topology import mean_face
from infinex.systems.window import Leaning, Square, as_ffhq, by_head, cut, resized

FACE = mean_face()


def soft(h: int = 240, w: int = 320) -> np.ndarray:
    """A picture without detail, so that sampling it twice loses little."""
    noise = np.random.default_rng(0).integers(0, 255, (h // 20, w // 20, 3), dtype=np.uint8)
    return cv2.resize(noise, (w, h), interpolation=cv2.INTER_CUBIC)


def test_squares_take_framed_pictures_whole() -> None:
    image = np.zeros((256, 256, 3), np.uint8)
    framed = Square(image, FACE * 62 + [128, 140, 0])
    assert framed.whole and (framed.x, framed.y, framed.side) == (0, 0, 256)
    assert float(framed.seam(0.14).min()) == 1.0
    assert framed.rim(0.05)[0].max() < 0.1


def test_squares_reach_over_the_border_where_the_edge_goes_on() -> None:
    image = soft(256, 256)
    small = Square(image, FACE * 20 + [20, 30, 0])
    assert not small.whole and small.x < 0 and small.box[0] == 0
    full = small.full(image)
    assert full.shape == (small.side, small.side, 3)
    assert np.array_equal(full[:, 0], full[:, -small.x])  # the same pixel, again and again
    x0, y0, x1, y1 = small.box
    assert np.array_equal(small.inside(full), image[y0:y1, x0:x1])
    assert small.seam(0.14)[small.side // 2, 0] == 1.0  # nothing to fade into outside the picture


def test_a_square_outside_the_picture_is_refused() -> None:
    image = soft()
    with pytest.raises(FaceNotFoundError, match="left the picture"):
        Square(image, FACE * 20 + [-500, 30, 0]).full(image)


def test_what_was_cut_out_leaning_is_laid_back_in_its_place() -> None:
    image, size = soft(), 128
    turn = np.array([[np.cos(0.4), -np.sin(0.4), 0], [np.sin(0.4), np.cos(0.4), 0], [0, 0, 1]])
    points = FACE * 40 @ turn.T + [160, 120, 0]
    window = Leaning(by_head(points, size, 2.25, (168, 152), 0.1), size, image.shape)
    x0, y0, x1, y1 = window.box
    back = window.spread(window.cut(image).astype(np.float32))
    mask = window.spread(window.seam(0.3)) > 0.9
    assert mask.mean() > 0.1
    assert np.abs(back - image[y0:y1, x0:x1])[mask].mean() < 3


def test_windows_of_ffhq_stand_on_eyes_and_mouth() -> None:
    points = FACE * 40 + [160, 120, 0]
    m = as_ffhq(points, 256)
    placed = points[:, :2] @ m[:, :2].T + m[:, 2]
    assert placed[[33, 263], 1].mean() < 128 < placed[[61, 291], 1].mean()
    assert placed[4, 0] == pytest.approx(128, abs=4)
    assert cut(soft(), m, 256, cv2.BORDER_REFLECT).shape == (256, 256, 3)


def test_nothing_is_resampled_at_its_own_size() -> None:
    picture = soft(64, 64)
    assert resized(picture, 64) is picture and resized(picture, 32).shape == (32, 32, 3)
