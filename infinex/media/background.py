"""What stands behind a person: as it was, nothing, a colour, or a picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from infinex.errors import InputError, option

Image = NDArray[np.uint8]


def parse_background(text: str) -> str | tuple[int, int, int] | Path:
    """What `--background` names: "keep" or "none", a colour (r, g, b) in 0..255, or the path of a picture.

    Raises InputError for anything else."""
    if text in ("keep", "none"):
        return text
    try:
        colour = ImageColor.getrgb(text)
    except ValueError:
        if Path(text).is_file():
            return Path(text)
        raise InputError(
            f"{option('background')} {text}: it is keep, none, a colour such as white or #00a0ff, or a "
            "picture that exists"
        ) from None
    if len(colour) != 3:
        raise InputError(
            f"{option('background')} {text}: a colour here has no transparency; leave out the last digits, or none"
        )
    return colour[0], colour[1], colour[2]


def backdrop(choice: tuple[int, int, int] | Path, width: int, height: int) -> Image:
    """The background (height, width, 3): one colour, or a picture that covers it all, its middle kept."""
    if not isinstance(choice, Path):
        return np.full((height, width, 3), choice, np.uint8)
    from infinex.media.image import read_image

    picture = read_image(choice)
    h, w = picture.shape[:2]
    k = max(width / w, height / h)
    size = max(width, round(w * k)), max(height, round(h * k))
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if k < 1 else cv2.INTER_CUBIC)
    x, y = (size[0] - width) // 2, (size[1] - height) // 2
    return np.ascontiguousarray(picture[y : y + height, x : x + width])
