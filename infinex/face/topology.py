"""The 478-point face mesh: named index sets, triangles and the mean face they live on.

Indices follow MediaPipe Face Mesh (468 surface points, then ten iris points). "Right" and "left" are
the subject's own, so the right eye stands on the left of an unmirrored picture. Coordinates are x right,
y down, z away from the viewer.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

POINTS = 478
SURFACE = 468

OVAL = [10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
        152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109]  # fmt: skip

# Lips from the right corner to the left one; the two corners open and close each list.
LIPS_INNER_UPPER = [78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308]
LIPS_INNER_LOWER = [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308]
LIPS_OUTER_UPPER = [61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291]
LIPS_OUTER_LOWER = [61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291]
LIPS_INNER = LIPS_INNER_UPPER + LIPS_INNER_LOWER[-2:0:-1]
LIPS_OUTER = LIPS_OUTER_UPPER + LIPS_OUTER_LOWER[-2:0:-1]

# Lids from the outer to the inner corner.
RIGHT_LID_UPPER = [33, 246, 161, 160, 159, 158, 157, 173, 133]
RIGHT_LID_LOWER = [33, 7, 163, 144, 145, 153, 154, 155, 133]
LEFT_LID_UPPER = [263, 466, 388, 387, 386, 385, 384, 398, 362]
LEFT_LID_LOWER = [263, 249, 390, 373, 374, 380, 381, 382, 362]
RIGHT_EYE = RIGHT_LID_UPPER + RIGHT_LID_LOWER[-2:0:-1]
LEFT_EYE = LEFT_LID_UPPER + LEFT_LID_LOWER[-2:0:-1]
RIGHT_IRIS = [468, 469, 470, 471, 472]  # centre first
LEFT_IRIS = [473, 474, 475, 476, 477]

RIGHT_BROW = [70, 63, 105, 66, 107, 55, 65, 52, 53, 46]
LEFT_BROW = [300, 293, 334, 296, 336, 285, 295, 282, 283, 276]

# Points that expressions move little: nose bridge, forehead, temples, eye corners, cheekbones.
RIGID = [6, 197, 195, 5, 4, 168, 8, 9, 151, 10, 33, 133, 263, 362, 127, 356, 234, 454, 162, 389, 21, 251, 54,
         284, 103, 332, 67, 297, 109, 338, 129, 358, 98, 327, 193, 417, 122, 351, 196, 419, 3, 248, 236, 456,
         198, 420, 174, 399, 50, 280, 116, 345, 143, 372]  # fmt: skip

# How stiff they are, where not 1: nose bridge and temples most, cheeks and the wings of the nose least.
RIGID_WEIGHTS = {
    **dict.fromkeys((6, 197, 195, 168, 8, 127, 356, 234, 454, 162, 389, 21, 251, 33, 263), 2.0),
    **dict.fromkeys((129, 358, 98, 327, 50, 280, 116, 345, 143, 372, 9, 151), 0.4),
}

# Bare skin of cheeks and nose, free of hair and beard on most faces.
SKIN = [117, 50, 36, 129, 102, 48, 115, 220, 45, 4, 275, 440, 344, 278, 331, 358, 266, 280, 346]


@cache
def _data() -> dict[str, NDArray]:
    path = resources.files("infinex.face").joinpath("data/face_model.npz")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
        return dict(data)


def triangles() -> NDArray[np.int32]:
    """The surface triangles, (854, 3) indices; eye and mouth openings are holes."""
    return _data()["triangles"]


def mean_face() -> NDArray[np.float64]:
    """The mean neutral face, (478, 3): inter-ocular distance 1, origin between the ears, mirror-symmetric."""
    return _data()["mean_face"]


def mirror() -> NDArray[np.int32]:
    """For each point the index of its mirror image on the other side of the face, (478,)."""
    return _data()["mirror"]


def strip(upper: list[int], lower: list[int]) -> list[tuple[int, int, int]]:
    """Triangles that fill the opening between two chains of points which share their end points."""
    out = []
    for a, b, c, d in zip(upper[:-1], upper[1:], lower[:-1], lower[1:]):
        if a != c:
            out.append((a, b, c))
        if b != d:
            out.append((b, d, c))
    return out


def opening_triangles() -> NDArray[np.int32]:
    """Triangles over the mouth opening, then over the right and the left eye, (n, 3)."""
    return np.array(
        strip(LIPS_INNER_UPPER, LIPS_INNER_LOWER)
        + strip(RIGHT_LID_UPPER, RIGHT_LID_LOWER)
        + strip(LEFT_LID_UPPER, LEFT_LID_LOWER),
        np.int32,
    )
