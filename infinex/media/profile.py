"""What the numbers of a picture mean: ICC profiles and other statements of colour, and the way from there to sRGB."""

from __future__ import annotations

import contextlib
import io
import struct
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

Transfer = Literal["pq", "hlg"]
Primaries = Literal["bt2020", "p3", "bt709"]
STRIP = 1 << 19  # pixels converted at a time: bounds the memory of large pictures
SAME = 2  # levels by which a profile may differ from sRGB and still be taken for it
D50 = np.array([0.9642, 1.0, 0.8249])
D65 = (0.3127, 0.3290)
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
RGB_XY = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
ADOBE_XY = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
# Code points of ITU-T H.273: red, green, blue and white of the primaries that pictures use.
PRIMARIES = {
    1: (*RGB_XY, D65),
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.310, 0.316)),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), D65),
}
GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0, 17: 2.6}
HDR: dict[int, Transfer] = {16: "pq", 18: "hlg"}
WIDE: dict[int, Primaries] = {1: "bt709", 11: "p3", 12: "p3"}  # else BT.2020


@dataclass(frozen=True, eq=False)
class Colour:
    """How code values become light: three curves and a matrix, or an HDR transfer.

    `curves`: (3, 65536) float32, linear light 0..1 of every code value, none for sRGB's curve. `matrix`: (3, 3)
    from linear RGB to linear sRGB. `hdr`: transfer and primaries of what needs tone mapping. `narrow`: video range."""

    curves: NDArray[np.float32] | None = None
    matrix: NDArray[np.float64] | None = None
    hdr: tuple[Transfer, Primaries] | None = None
    narrow: bool = False


def srgb_to_linear(v: NDArray) -> NDArray:
    """sRGB code values 0..1 to linear light 0..1."""
    return np.where(v <= 0.04045, v / 12.92, ((np.maximum(v, 0.04045) + 0.055) / 1.055) ** 2.4)


def _encoding() -> NDArray[np.uint8]:
    v = np.linspace(0, 1, 65536)
    code = np.where(v <= 0.0031308, v * 12.92, 1.055 * np.maximum(v, 1e-9) ** (1 / 2.4) - 0.055)
    return np.round(code * 255).astype(np.uint8)


CODES = np.linspace(0, 1, 65536)
LINEAR = srgb_to_linear(CODES).astype(np.float32)
ENCODE = _encoding()  # linear light in 65536 steps to 8-bit sRGB


def primaries_matrix(xy: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    """(3, 3) from linear RGB of these chromaticities (red, green, blue, white) to XYZ under D50.

    Raises ValueError where they span no colours."""
    if any(y <= 0 or not np.isfinite([x, y]).all() for x, y in xy):
        raise ValueError("chromaticities without light")
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in xy]).T
    try:
        matrix = columns[:, :3] * np.linalg.solve(columns[:, :3], columns[:, 3])
    except np.linalg.LinAlgError:
        raise ValueError("chromaticities on one line") from None
    cone = BRADFORD @ columns[:, 3]
    if np.any(cone <= 0):
        raise ValueError("a white point that is none")
    return np.linalg.inv(BRADFORD) @ np.diag(BRADFORD @ D50 / cone) @ BRADFORD @ matrix


TO_SRGB = np.linalg.inv(primaries_matrix((*RGB_XY, D65)))


def from_primaries(xy: tuple[tuple[float, float], ...] | None, gamma: float | None) -> Colour:
    """A colour by chromaticities (none: sRGB's) and the exponent that makes light of code values (none: sRGB's curve).

    Raises ValueError where they make no sense."""
    matrix = TO_SRGB @ primaries_matrix(xy) if xy is not None else None
    if gamma is None:
        return Colour(None, matrix)
    if not 0.2 <= gamma <= 5:
        raise ValueError("no such gamma")
    return Colour(np.repeat((CODES**gamma).astype(np.float32)[None], 3, 0), matrix)


def from_code_points(primaries: int, transfer: int, narrow: bool = False) -> Colour | None:
    """A colour by the code points of ITU-T H.273, as PNG, HEIF and AVIF give them; None where they say nothing.

    BT.709 and its relatives are shown as sRGB, as players do."""
    if transfer in HDR:
        return Colour(None, None, (HDR[transfer], WIDE.get(primaries, "bt2020")), narrow)
    xy = PRIMARIES.get(primaries)
    if xy is None and transfer not in GAMMAS and not narrow:
        return None
    colour = from_primaries(xy, GAMMAS.get(transfer))
    return Colour(colour.curves, colour.matrix, None, narrow)


# -- ICC profiles ---------------------------------------------------------------------------------


def icc_space(profile: bytes) -> str:
    """The colour space whose numbers a profile explains: RGB, GRAY, CMYK, Lab ..., empty where it is damaged."""
    if len(profile) < 132 or profile[36:40] != b"acsp":
        return ""
    return profile[16:20].decode("latin-1").strip()


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    out = {}
    for i in range(min(count, 200)):
        name, at, size = struct.unpack_from(">4sII", profile, 132 + 12 * i)
        out[name] = profile[at : at + size]
    return out


def _curve(data: bytes) -> NDArray[np.float32]:
    """(65536,) linear light of every code value. Raises ValueError or struct.error for what is no curve."""
    kind = data[:4]
    if kind == b"curv":
        (count,) = struct.unpack_from(">I", data, 8)
        if count == 0:
            return CODES.astype(np.float32)
        if count == 1:
            return (CODES ** (struct.unpack_from(">H", data, 12)[0] / 256)).astype(np.float32)
        table = np.frombuffer(data, ">u2", count, 12).astype(np.float64) / 65535
        return np.interp(CODES, np.linspace(0, 1, count), table).astype(np.float32)
    if kind != b"para":
        raise ValueError("no curve")
    form = struct.unpack_from(">H", data, 8)[0]
    if form > 4:
        raise ValueError("no such curve")
    p = [v / 65536 for v in struct.unpack_from(f">{(1, 3, 4, 5, 7)[form]}i", data, 12)]
    g, a, b = (*p, 1.0, 0.0)[:3] if form == 0 else p[:3]
    c, d, e, f = 0.0, -np.inf, 0.0, 0.0
    if form in (1, 2) and a:
        d, f = -b / a, p[3] if form == 2 else 0.0
        e = f
    elif form >= 3:
        c, d = p[3], p[4]
        e, f = p[5:7] if form == 4 else (0.0, 0.0)
    with np.errstate(all="ignore"):
        out = np.where(d <= CODES, np.maximum(a * CODES + b, 0) ** g + e, c * CODES + f)
    if not np.isfinite(out).all():
        raise ValueError("a curve without end")
    return np.clip(out, 0, 1).astype(np.float32)


def from_icc(profile: bytes) -> Colour | None:
    """The colour of an RGB or grey profile that is made of curves and a matrix.

    None for one made of tables, for another colour space and for a damaged one."""
    with contextlib.suppress(struct.error, ValueError, TypeError):
        tags, space = _tags(profile), icc_space(profile)
        if space == "RGB" and (cicp := tags.get(b"cicp")) and len(cicp) >= 12 and cicp[9] in HDR:
            return from_code_points(cicp[8], cicp[9])
        if b"A2B0" in tags or b"A2B1" in tags:
            return None
        if space == "GRAY":
            curve = _curve(tags.get(b"kTRC", b""))
            return Colour(np.repeat(curve[None], 3, 0)) if curve[-1] > 0.5 else None
        if space != "RGB" or profile[20:24] != b"XYZ ":
            return None
        columns = [struct.unpack_from(">3i", tags.get(n, b""), 8) for n in (b"rXYZ", b"gXYZ", b"bXYZ")]
        matrix = np.array(columns).T / 65536
        if np.abs(matrix.sum(1) - D50).max() > 0.1 or abs(np.linalg.det(matrix)) < 1e-3:
            return None  # its white is not white
        curves = np.stack([_curve(tags.get(n, b"")) for n in (b"rTRC", b"gTRC", b"bTRC")])
        return Colour(curves, TO_SRGB @ matrix) if curves[:, -1].min() > 0.5 else None
    return None


def is_srgb(colour: Colour) -> bool:
    """Whether converting from `colour` would change nothing that counts, whatever its name."""
    if colour.hdr or colour.narrow:
        return False
    steps = np.linspace(0, 255, 18).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    both = np.concatenate([cube, grey], 1)
    return int(np.abs(_by_matrix(both, colour).astype(int) - both).max()) <= SAME


# -- conversion -----------------------------------------------------------------------------------


def to_eight(pixels: NDArray) -> NDArray[np.uint8]:
    """uint8 as it is, uint16 rounded to 8 bits."""
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def to_srgb(pixels: NDArray, colour: Colour | None) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 or uint16 to (H, W, 3) uint8 sRGB; what is sRGB already comes through bit for bit."""
    if colour is None or is_srgb(colour):
        return to_eight(pixels)
    out = np.empty(pixels.shape, np.uint8)
    rows = max(1, STRIP // pixels.shape[1])
    for y in range(0, len(pixels), rows):
        part = pixels[y : y + rows]
        if colour.narrow:
            part = _full_range(part)
        out[y : y + rows] = _by_tone(part, colour) if colour.hdr else _by_matrix(part, colour)
    return out


def _full_range(pixels: NDArray) -> NDArray[np.uint16]:
    top = np.iinfo(pixels.dtype).max
    v = (pixels.astype(np.float32) / top * 255 - 16) / 219
    return np.round(np.clip(v, 0, 1) * 65535).astype(np.uint16)


def _by_matrix(pixels: NDArray, colour: Colour) -> NDArray[np.uint8]:
    curves = colour.curves if colour.curves is not None else np.broadcast_to(LINEAR, (3, 65536))
    if pixels.dtype == np.uint8:
        curves = curves[:, ::257]
    light = np.stack([curves[i][pixels[..., i]] for i in range(3)], -1)
    if colour.matrix is not None:
        light = light @ colour.matrix.T.astype(np.float32)
    return ENCODE[(np.clip(light, 0, 1) * 65535 + 0.5).astype(np.uint16)]


def _by_tone(pixels: NDArray, colour: Colour) -> NDArray[np.uint8]:
    from infinex.media.colour import to_sdr

    assert colour.hdr is not None
    transfer, primaries = colour.hdr
    sdr = to_sdr(pixels.astype(np.float32) / np.iinfo(pixels.dtype).max, transfer, primaries)
    return np.round(np.clip(sdr, 0, 1) * 255).astype(np.uint8)


def by_tables(image: Image.Image, profile: bytes) -> Image.Image | None:
    """A Pillow image (RGB, L or CMYK) in sRGB through a profile made of tables; None where that is unusable."""
    cmyk = image.mode == "CMYK"
    if not any(name in profile[128:4096] for name in (b"A2B0", b"A2B1")):
        return None  # no tables: what `from_icc` found unusable stays so
    intent = ImageCms.Intent.PERCEPTUAL if cmyk else ImageCms.Intent.RELATIVE_COLORIMETRIC
    with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source, target, intent, "RGB")
    return None
