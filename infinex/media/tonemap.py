"""The conversions of `colour.py` for frames of video, by tables, fast."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from infinex.media.colour import (
    KNEE,
    LUMA,
    TO_709,
    Encoding,
    Primaries,
    Transfer,
    from_light,
    scene_gain,
    to_light,
)

STEPS = 4096


class ToneMap:
    """Maps frames of one transfer and one set of primaries to the standard range; same result as `colour.to_sdr`."""

    def __init__(self, transfer: Transfer, primaries: Primaries) -> None:
        self.key = transfer, primaries
        # Greys of the standard range stay as they are.
        encoding: Encoding = "srgb" if transfer in ("srgb", "gamma22") else "bt1886"
        codes = np.linspace(0, 1, STEPS, dtype=np.float32)
        middles = (np.arange(STEPS, dtype=np.float32) * 16 + 7.5) / 65535
        self._light = to_light(middles, transfer)
        self._gain = scene_gain(codes * codes) if transfer == "hlg" else np.zeros(0, np.float32)
        self._luma, self._matrix = LUMA[primaries], TO_709[primaries]
        self._code = np.round(from_light(codes * codes, encoding) * 255).astype(np.uint8)
        self._knee = np.float32(KNEE if transfer in ("pq", "hlg") else np.inf)

    def __call__(self, image: NDArray[np.uint16]) -> NDArray[np.uint8]:
        """(H, W, 3 or more) uint16 code values over the whole range to (H, W, 3) uint8."""
        out = np.empty((*image.shape[:2], 3), np.uint8)
        _map(image, self._light, self._gain, self._luma, self._matrix, self._code, self._knee, out)
        return out


@njit(cache=True, nogil=True, fastmath=True)
def _map(image, light, gain, luma, matrix, code, knee, out):  # type: ignore[no-untyped-def]
    """The tables' indices are 12 bits of the code value, and the root of linear light or luminance."""
    one, top, rest = np.float32(1), np.float32(len(code) - 1), np.float32(1) - knee
    scene = len(gain) > 0
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            r, g, b = light[image[y, x, 0] >> 4], light[image[y, x, 1] >> 4], light[image[y, x, 2] >> 4]
            if scene:
                k = gain[int(np.sqrt(luma[0] * r + luma[1] * g + luma[2] * b) * top)]
                r, g, b = r * k, g * k, b * k
            red = max(matrix[0, 0] * r + matrix[0, 1] * g + matrix[0, 2] * b, np.float32(0))
            green = max(matrix[1, 0] * r + matrix[1, 1] * g + matrix[1, 2] * b, np.float32(0))
            blue = max(matrix[2, 0] * r + matrix[2, 1] * g + matrix[2, 2] * b, np.float32(0))
            most = max(red, green, blue)
            if most > knee:
                over = (most - knee) / rest
                k = (knee + rest * over * (one + over * np.sqrt(over)) ** np.float32(-2 / 3)) / most
                red, green, blue = red * k, green * k, blue * k
            half = np.float32(0.5)
            out[y, x, 0] = code[int(np.sqrt(min(red, one)) * top + half)]
            out[y, x, 1] = code[int(np.sqrt(min(green, one)) * top + half)]
            out[y, x, 2] = code[int(np.sqrt(min(blue, one)) * top + half)]
