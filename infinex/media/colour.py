"""High dynamic range, wide gamut and linear light to the standard range and gamut of a BT.709 or sRGB screen."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Transfer = Literal["pq", "hlg", "linear", "srgb", "bt1886", "gamma22", "gamma28"]
Primaries = Literal["bt709", "bt2020", "p3"]
Encoding = Literal["srgb", "bt1886"]

WHITE = 203.0  # cd/m² of diffuse white in PQ and HLG (ITU-R BT.2408); becomes white of the standard range
PEAK = 1000.0  # cd/m² of the screen that HLG is meant for
KNEE = 0.7  # linear light up to which nothing changes; what is brighter is rolled off towards 1
SYSTEM_GAMMA = 1.2  # of HLG on a screen of PEAK
LUMA = {
    "bt709": np.array([0.2126, 0.7152, 0.0722], np.float32),
    "bt2020": np.array([0.2627, 0.6780, 0.0593], np.float32),
    "p3": np.array([0.22897, 0.69174, 0.07929], np.float32),
}
# Linear RGB to linear BT.709 RGB, all with white D65.
TO_709 = {
    "bt709": np.eye(3, dtype=np.float32),
    "bt2020": np.array(
        [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]],
        np.float32,
    ),
    "p3": np.array(
        [[1.224940, -0.224940, 0.0], [-0.042057, 1.042057, 0.0], [-0.019638, -0.078636, 1.098274]], np.float32
    ),
}


def pq_to_light(code: NDArray) -> NDArray[np.float32]:
    """Code values 0..1 of SMPTE ST 2084 to linear light, 1 at `WHITE`."""
    power = np.clip(code, 0, 1).astype(np.float64) ** (32 / 2523)
    light = (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (16384 / 2610)
    return (light * (10000 / WHITE)).astype(np.float32)


def hlg_to_scene(code: NDArray) -> NDArray[np.float32]:
    """Code values 0..1 of HLG (ARIB STD-B67) to the light of the scene, 0..1; see `scene_gain`."""
    code = np.clip(code, 0, 1).astype(np.float64)
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12).astype(
        np.float32
    )


def scene_gain(luma: NDArray) -> NDArray[np.float32]:
    """What the light of an HLG scene is multiplied by, by its luminance 0..1, to be that of a screen, 1 at `WHITE`."""
    gain = np.maximum(luma, 0).astype(np.float64) ** (SYSTEM_GAMMA - 1) * (PEAK / WHITE)
    return gain.astype(np.float32)


def srgb_to_light(code: NDArray) -> NDArray[np.float32]:
    """Code values of sRGB to linear light."""
    code = np.clip(code, 0, 1).astype(np.float64)
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_light(code: NDArray, transfer: Transfer) -> NDArray[np.float32]:
    """Code values 0..1 to linear light, 1 at white; of HLG to that of the scene."""
    if transfer == "pq":
        return pq_to_light(code)
    if transfer == "hlg":
        return hlg_to_scene(code)
    if transfer == "srgb":
        return srgb_to_light(code)
    power = {"linear": 1.0, "bt1886": 2.4, "gamma22": 2.2, "gamma28": 2.8}[transfer]
    return (np.clip(code, 0, 1).astype(np.float64) ** power).astype(np.float32)


def from_light(light: NDArray, encoding: Encoding) -> NDArray[np.float32]:
    """Linear light to code values 0..1; what lies outside 0..1 is clipped."""
    light = np.clip(light, 0, 1).astype(np.float64)
    if encoding == "srgb":
        return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055).astype(np.float32)
    return (light ** (1 / 2.4)).astype(np.float32)


def roll_off(light: NDArray) -> NDArray[np.float32]:
    """Linear light, as it is up to `KNEE`, then ever flatter towards 1, which it never passes."""
    over = (np.maximum(light, KNEE) - KNEE) / (1 - KNEE)
    return np.where(light <= KNEE, light, KNEE + (1 - KNEE) * over * (1 + over**1.5) ** (-2 / 3)).astype(np.float32)


def to_sdr(
    rgb: NDArray, transfer: Transfer, primaries: Primaries = "bt2020", encoding: Encoding = "srgb"
) -> NDArray[np.float32]:
    """RGB code values (..., 3) in 0..1 to those of the standard range in BT.709 primaries, (..., 3) float32 in 0..1.

    In PQ and HLG diffuse white (203 cd/m²) becomes nearly white (0.95), what is up to 0.7 as bright stays
    as it is, and brighter light is rolled off by its largest component, so that hues stay. Video is encoded
    for a screen by "bt1886", pictures by "srgb"."""
    light = to_light(np.asarray(rgb, np.float32), transfer)
    if transfer == "hlg":
        light = light * scene_gain(light @ LUMA[primaries])[..., None]
    if primaries != "bt709":
        light = light @ TO_709[primaries].T
    light = np.maximum(light, 0)
    if transfer in ("pq", "hlg"):
        top = light.max(-1, keepdims=True)
        light = light * (roll_off(top) / np.maximum(top, 1e-6))
    return from_light(light, encoding)
