"""The conversions of `colour.py` for frames of video, by tables, fast."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infinex.compiled import compiled
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
        # What light above the knee becomes, by knee / light: 0..1, which is endless light to the knee itself.
        over = (KNEE / np.maximum(np.linspace(0, 1, STEPS + 1), 1e-6) - KNEE) / (1 - KNEE)
        rolled = KNEE + (1 - KNEE) * over * (1 + over**1.5) ** (-2 / 3)
        self._rolled = np.append(rolled, KNEE).astype(np.float32)

    def __call__(self, image: NDArray[np.uint16]) -> NDArray[np.uint8]:
        """(H, W, 3 or more) uint16 code values over the whole range to (H, W, 3) uint8."""
        out = np.empty((*image.shape[:2], 3), np.uint8)
        _map(image, self._light, self._gain, self._luma, self._matrix, self._code, self._knee, self._rolled, out)
        return out


@compiled(fast=True)
def _map(image, light, gain, luma, matrix, code, knee, rolled, out):  # type: ignore[no-untyped-def]
    """The tables' indices are 12 bits of the code value, and the root of linear light or luminance.

    Rows go through one step at a time: what looks up tables and what computes stand apart, so that the latter is done
    for many pixels at once."""
    zero, one, half, top = np.float32(0), np.float32(1), np.float32(0.5), np.float32(len(code) - 1)
    m00, m01, m02 = matrix[0, 0], matrix[0, 1], matrix[0, 2]
    m10, m11, m12 = matrix[1, 0], matrix[1, 1], matrix[1, 2]
    m20, m21, m22 = matrix[2, 0], matrix[2, 1], matrix[2, 2]
    l0, l1, l2 = luma[0], luma[1], luma[2]
    height, width = image.shape[:2]
    r, g, b = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    i, j, k = np.empty(width, np.int32), np.empty(width, np.int32), np.empty(width, np.int32)
    bits = np.uint32(4)  # what has no sign needs no look for indices from the end
    fine = np.float32(len(rolled) - 2)
    for y in range(height):
        for x in range(width):
            r[x] = light[np.uint32(image[y, x, 0]) >> bits]
            g[x] = light[np.uint32(image[y, x, 1]) >> bits]
            b[x] = light[np.uint32(image[y, x, 2]) >> bits]
        if len(gain) > 0:
            for x in range(width):
                i[x] = np.int32(np.sqrt(l0 * r[x] + l1 * g[x] + l2 * b[x]) * top)
            for x in range(width):
                bright = gain[np.uint32(i[x])]
                r[x], g[x], b[x] = r[x] * bright, g[x] * bright, b[x] * bright
        peak = zero
        for x in range(width):
            red = max(m00 * r[x] + m01 * g[x] + m02 * b[x], zero)
            green = max(m10 * r[x] + m11 * g[x] + m12 * b[x], zero)
            blue = max(m20 * r[x] + m21 * g[x] + m22 * b[x], zero)
            r[x], g[x], b[x] = red, green, blue
            peak = max(peak, max(red, max(green, blue)))
        if peak > knee:
            for x in range(width):
                most = max(r[x], max(g[x], b[x]))
                if most > knee:
                    place = knee / most * fine
                    at = int(place)
                    part = place - np.float32(at)
                    less = (rolled[at] * (one - part) + rolled[at + 1] * part) / most
                    r[x], g[x], b[x] = r[x] * less, g[x] * less, b[x] * less
        for x in range(width):
            i[x] = np.int32(np.sqrt(min(r[x], one)) * top + half)
            j[x] = np.int32(np.sqrt(min(g[x], one)) * top + half)
            k[x] = np.int32(np.sqrt(min(b[x], one)) * top + half)
        for x in range(width):
            out[y, x, 0] = code[np.uint32(i[x])]
            out[y, x, 1] = code[np.uint32(j[x])]
            out[y, x, 2] = code[np.uint32(k[x])]
