"""The rough matte: two networks, each where it errs less."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from infinex.mesh.rough import BROW, CHIN, fused

UNIT = 40.0
Mask = NDArray[np.bool_]


def ellipse(centre: tuple[int, int], axes: tuple[int, int]) -> Mask:
    return cv2.ellipse(np.zeros((240, 240), np.uint8), centre, axes, 0, 0, 360, 1, -1) > 0


FACE, HEAD, BODY = ellipse((120, 110), (28, 38)), ellipse((120, 100), (40, 52)), ellipse((120, 235), (100, 75))
PERSON = HEAD | BODY
POINTS = np.zeros((478, 2))
POINTS[CHIN], POINTS[BROW] = (120, 148), (120, 72)


def joined(people: Mask, stands: Mask) -> Mask:
    return fused(people.astype(np.float32), stands.astype(np.float32), POINTS, FACE, UNIT) > 0.5


def test_a_hat_that_only_stands_out_is_hers() -> None:
    hat = ellipse((120, 45), (55, 20))
    assert (joined(PERSON, PERSON | hat) == PERSON | hat).all()


def test_a_lamp_that_is_taken_for_somebody_goes() -> None:
    lamp = ellipse((200, 110), (15, 40))
    assert not joined(PERSON | lamp, PERSON)[lamp & ~PERSON].any()


@pytest.mark.parametrize(
    "stands", [HEAD, ellipse((120, 120), (115, 115)), PERSON & ~ellipse((60, 220), (40, 60))],
    ids=["without a body", "a card", "without a shoulder"],
)  # fmt: skip
def test_where_what_stands_out_is_not_she_it_tells_nothing(stands: Mask) -> None:
    assert (joined(PERSON, stands) == PERSON).mean() > 0.995
