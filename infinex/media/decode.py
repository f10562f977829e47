"""Decoding still pictures: from a file of any kind to upright sRGB and transparency."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, TiffImagePlugin

from infinex.errors import InputError
from infinex.media import header, profile
from infinex.media.profile import Colour

RGB = NDArray[np.uint8]
Check = Callable[[tuple[int, int]], None]
PIXEL_MODES = ("RGB", "RGBA")
MATRICES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}  # Kr, Kb of H.273


class Raw(NamedTuple):
    """Code values as the file holds them, not yet turned.

    `rgb`: (H, W, 3) uint8 or uint16; `alpha`: (H, W) uint8 or none; `colour`: what the values mean, none for sRGB;
    `orientation`: EXIF's number, 1 to 8, of how to turn them."""

    rgb: NDArray
    alpha: NDArray[np.uint8] | None = None
    colour: Colour | None = None
    orientation: int = 1


def decode(path: Path, check: Check) -> tuple[RGB, NDArray[np.uint8] | None]:
    """(H, W, 3) uint8 sRGB, upright, and (H, W) uint8 alpha, none where all is opaque; colours not premultiplied.

    `check` is given the size before anything is decoded and raises where it is too large or too small. Raises
    InputError where a library is missing, and whatever decoders raise for damage."""
    what = header.kind(path)
    if (size := header.own_size(path)) is not None:
        check(size)
    if what == "heif":
        raw = _heif(path, check)
    elif what == "jxl":
        raw = _jxl(path)
    else:
        raw = _pillow(path, check)
    alpha = raw.alpha if raw.alpha is not None and raw.alpha.min() < 255 else None
    rgb = upright(profile.to_srgb(raw.rgb, raw.colour), raw.orientation)
    return rgb, None if alpha is None else upright(alpha, raw.orientation)


def upright(pixels: NDArray, orientation: int) -> NDArray:
    """(H, W, ...) turned and mirrored as EXIF's orientation 1 to 8 says; any other number changes nothing."""
    if orientation in (2, 3, 4):
        pixels = pixels[:: -1 if orientation != 2 else 1, :: -1 if orientation != 4 else 1]
    elif orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)[:: -1 if orientation in (7, 8) else 1, :: -1 if orientation in (6, 7) else 1]
    return np.ascontiguousarray(pixels)


# -- through Pillow -------------------------------------------------------------------------------


def _pillow(path: Path, check: Check) -> Raw:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = header.open_lazily(path)
        except Image.UnidentifiedImageError:
            raw = _tiff_of_floats(path, check)
            if raw is None:
                raise
            return raw
        with image:
            check(image.size)
            icc = image.info.get("icc_profile") or b""
            statements = header.png_statements(path) if image.format == "PNG" else {}
            colour = _png_colour(statements)
            if image.format == "PNG":
                icc = statements.get(b"iCCP", b"") if b"cICP" not in statements else b""
            elif image.format == "AVIF" and not icc:
                deep, colour = _avif(path, image.size)
                if deep is not None:
                    image.load()
                    return Raw(deep, _alpha(image), colour, _orientation(image))
            if (raw := _sixteen(path, image, statements, icc, colour)) is not None:
                return raw
            if (plain := _plain_luma(path, image)) is not None:
                return _eight(plain, icc, colour)._replace(orientation=_orientation(image))
            image.load()
            if not icc and colour is None and _is_adobe(image):
                colour = profile.from_primaries((*profile.ADOBE_XY, profile.D65), 563 / 256)
            return _eight(image, icc, colour)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # a damaged EXIF block says nothing against the pixels
        return 1


def _is_adobe(image: Image.Image) -> bool:
    """Whether a camera says by EXIF, as cameras do instead of a profile, that this is Adobe RGB."""
    try:
        exif = image.getexif()
        own = exif.get_ifd(0x8769)
        if own.get(0xA001) == 2:
            return True
        name = exif.get_ifd(0xA005).get(1, "")
        name = name.decode("latin-1") if isinstance(name, bytes) else str(name)
        return own.get(0xA001) == 0xFFFF and name.startswith("R03")
    except Exception:  # as above
        return False


def _png_colour(statements: dict[bytes, bytes]) -> Colour | None:
    """What a PNG says without a profile: cICP before sRGB before gAMA and cHRM; a profile stands after cICP."""
    try:
        if len(cicp := statements.get(b"cICP", b"")) == 4:
            return profile.from_code_points(cicp[0], cicp[1], narrow=cicp[3] == 0)
        if b"iCCP" in statements or b"sRGB" in statements:
            return None
        gamma, xy = None, None
        if len(data := statements.get(b"gAMA", b"")) == 4 and (value := int.from_bytes(data, "big")):
            # 1/2.2 is how PNG writes "about sRGB".
            gamma = None if abs(value - 45455) <= 500 else 100000 / value
        if len(data := statements.get(b"cHRM", b"")) == 32:
            v = [int.from_bytes(data[i : i + 4], "big") / 100000 for i in range(0, 32, 4)]
            xy = ((v[2], v[3]), (v[4], v[5]), (v[6], v[7]), (v[0], v[1]))
        return None if gamma is None and xy is None else profile.from_primaries(xy, gamma)
    except ValueError:  # statements that make no sense are as good as none
        return None


def _sixteen(
    path: Path, image: Image.Image, statements: dict[bytes, bytes], icc: bytes, colour: Colour | None
) -> Raw | None:
    """A picture of 16 bits and more in full depth; Pillow has it for grey ones only. None for all others."""
    if image.mode.startswith("I") or image.mode == "F":
        sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
        see_through = image.info.get("transparency")
        grey = np.asarray(image)
        deep = grey if sixteen else _scaled(grey)
        if image.format == "TIFF" and sixteen and getattr(image, "tag_v2", {}).get(262) == 0:
            deep = 65535 - deep  # 0 is white
        alpha = np.where(grey == see_through, 0, 255).astype(np.uint8) if isinstance(see_through, int) else None
        deep = np.clip(deep, 0, 65535).astype(np.uint16)
        own = _explained(icc, ("GRAY", "RGB")) if icc else colour
        return Raw(np.repeat(deep[..., None], 3, 2), alpha, own, _orientation(image))
    if image.mode not in PIXEL_MODES or "transparency" in image.info:
        return None
    if image.format == "PNG":
        head = statements.get(b"IHDR", b"")
        wanted = len(head) == 13 and head[8] == 16 and head[9] in (2, 6)
    else:
        tags = getattr(image, "tag_v2", {})
        wanted = image.format == "TIFF" and tags.get(258, (8,))[0] == 16 and tags.get(262) == 2
        wanted = wanted and (image.mode == "RGB" or tags.get(338) == (2,))
    own = _explained(icc, ("RGB",)) if icc else colour
    if not wanted or (icc and own is None):
        return None
    pixels = _by_opencv(path, image.size)
    if pixels is None or pixels.dtype != np.uint16:
        return None
    alpha = profile.to_eight(pixels[..., 3]) if pixels.shape[2] == 4 else None
    return Raw(np.ascontiguousarray(pixels[..., 2::-1]), alpha, own, _orientation(image))


def _by_opencv(path: Path, size: tuple[int, int]) -> NDArray | None:
    """(H, W, 3 or 4) BGR(A) in full depth, or None."""
    try:
        pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if pixels is None or pixels.ndim != 3 or pixels.shape[2] < 3 or pixels.shape[1::-1] != size:
        return None
    return pixels


def _scaled(values: NDArray) -> NDArray[np.float32]:
    """32-bit integers and floats, which do not say what white is, to 0..65535."""
    values = np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0)
    high = float(values.max(initial=0))
    top = next((t for t in (1.0, 255.0, 65535.0) if high <= t), high)
    return np.clip(np.round(values * (65535 / top)), 0, 65535)


def _plain_luma(path: Path, image: Image.Image) -> Image.Image | None:
    """A TIFF of luma and chroma side by side, which Pillow before 13 takes for RGB of four bytes; else None."""
    tags = getattr(image, "tag_v2", {})
    kind = tags.get(262), tags.get(259, 1), tags.get(530), tags.get(284, 1)
    if image.format != "TIFF" or image.mode != "RGB" or kind != (6, 1, (1, 1), 1) or 273 not in tags:
        return None
    data = path.read_bytes()
    rows = b"".join(data[at : at + count] for at, count in zip(tags[273], tags.get(279, (len(data),))))
    size = tags[256], tags[257]  # as stored: Pillow's own may be turned already
    count = 3 * size[0] * size[1]
    return Image.frombytes("YCbCr", size, rows[:count]) if len(rows) >= count else None


def _tiff_of_floats(path: Path, check: Check) -> Raw | None:
    """A TIFF of floating-point colours, which Pillow does not open; None for anything else."""
    with path.open("rb") as file:
        head = file.read(8)
        if head[:4] not in (b"II*\0", b"MM\0*"):
            return None
        tags = TiffImagePlugin.ImageFileDirectory_v2(head)
        file.seek(tags.next)
        tags.load(file)
    if tags.get(339, (1,))[0] != 3 or tags.get(262) != 2:
        return None
    size = int(tags[256]), int(tags[257])
    check(size)
    pixels = _by_opencv(path, size)
    if pixels is None or pixels.dtype not in (np.float32, np.float64):
        return None
    icc = bytes(tags.get(34675, b""))
    colour = _explained(icc, ("RGB",)) if icc else None
    # A profile says what 1 means; without one the largest value has to.
    rgb = pixels[..., 2::-1]
    deep = np.clip(np.nan_to_num(rgb) * 65535, 0, 65535) if icc else _scaled(rgb)
    alpha = None
    if pixels.shape[2] == 4:
        alpha = np.clip(np.nan_to_num(pixels[..., 3]) * 255 + 0.5, 0, 255).astype(np.uint8)
    return Raw(np.ascontiguousarray(deep).astype(np.uint16), alpha, colour, int(tags.get(274, 1)))


def _explained(icc: bytes, spaces: tuple[str, ...]) -> Colour | None:
    return profile.from_icc(icc) if profile.icc_space(icc) in spaces else None


def _alpha(image: Image.Image) -> NDArray[np.uint8] | None:
    if image.mode in ("PA", "LA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    return np.asarray(image.getchannel("A")) if image.mode == "RGBA" else None


def _eight(image: Image.Image, icc: bytes, colour: Colour | None) -> Raw:
    """A loaded picture of 8 bits and less."""
    orientation, space = _orientation(image), profile.icc_space(icc)
    grey = image.mode in ("1", "L", "LA", "La")
    if image.mode == "LAB":
        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        image = ImageCms.profileToProfile(image, lab, ImageCms.createProfile("sRGB"), outputMode="RGB") or image
    elif image.mode == "CMYK" and space == "CMYK":
        image, icc = profile.by_tables(image, icc) or image, b""
    alpha = _alpha(image)
    if alpha is not None or image.mode in ("P", "PA", "LA", "La", "RGBa"):
        image = image.convert("RGBA")
    if image.mode != "RGB":
        image = image.convert("RGB")
    if space == "RGB" or (space == "GRAY" and grey):
        colour = profile.from_icc(icc)
        if colour is None:
            image = profile.by_tables(image.convert("L") if space == "GRAY" else image, icc) or image
    return Raw(np.asarray(image), alpha, colour, orientation)


# -- AVIF, HEIF and JPEG XL -----------------------------------------------------------------------


def _avif(path: Path, size: tuple[int, int]) -> tuple[NDArray[np.uint16] | None, Colour | None]:
    """The pixels of an HDR AVIF in full depth, none for others, and the colour of either; Pillow tells neither."""
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            context = stream.codec_context
            primaries, transfer = int(context.color_primaries), int(context.color_trc)
            colour = profile.from_code_points(primaries, transfer)
            if colour is None or not colour.hdr:
                return None, colour
            if (context.width, context.height) != size:  # tiles: Pillow's 8 bits have to do
                return None, colour
            frame = next(container.decode(stream))
            space, full = int(frame.colorspace), int(frame.color_range) == 2
            if space == 0:
                return frame.to_ndarray(format="rgb48le"), colour
            frame = frame.reformat(format="yuv444p16le")
            planes = [np.frombuffer(p, "<u2").reshape(p.height, -1)[:, : p.width] for p in frame.planes]
            return _from_ycc(np.stack(planes), *MATRICES.get(space, MATRICES[9]), full), colour
    except (av.FFmpegError, IndexError, StopIteration, ValueError):
        return None, None


def _from_ycc(planes: NDArray[np.uint16], kr: float, kb: float, full: bool) -> NDArray[np.uint16]:
    """(3, H, W) luma and colour differences of 16 bits to (H, W, 3) RGB of 16 bits."""
    out = np.empty((*planes.shape[1:], 3), np.uint16)
    scale, chroma, low = (65535.0, 65535.0, 0.0) if full else (219 * 256.0, 224 * 256.0, 4096.0)
    rows = max(1, profile.STRIP // planes.shape[2])
    for at in range(0, planes.shape[1], rows):
        y, cb, cr = (planes[i, at : at + rows].astype(np.float32) for i in range(3))
        y, cb, cr = (y - low) / scale, (cb - 32768) / chroma, (cr - 32768) / chroma
        r, b = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
        g = (y - kr * r - kb * b) / (1 - kr - kb)
        out[at : at + rows] = np.clip(np.stack([r, g, b], -1) * 65535 + 0.5, 0, 65535)
    return out


def _heif(path: Path, check: Check) -> Raw:
    """The primary picture of a HEIF file; the library turns it as the file says, so EXIF's orientation is void."""
    try:
        import pi_heif
    except ImportError:
        raise InputError(
            f"{path.name} is a HEIC photograph, which needs one more library: pip install pi-heif; or save it as JPEG"
        ) from None
    pi_heif.options.THUMBNAILS = pi_heif.options.DEPTH_IMAGES = pi_heif.options.AUX_IMAGES = False
    file = pi_heif.HeifFile(io.BytesIO(path.read_bytes()), convert_hdr_to_8bit=False, hdr_to_16bit=False)
    image = file[file.primary_index]
    check(image.size)
    pixels: NDArray = np.array(image)  # a copy: the library's own memory goes with its object
    check(image.size)
    name, _, depth = image.mode.partition(";")
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if depth:
        top = (1 << int(depth.rstrip("L"))) - 1
        pixels = ((pixels.astype(np.uint32) * 65535 + top // 2) // top).astype(np.uint16)
    pixels = pixels[: image.size[1], : image.size[0]]
    rgb, alpha = (pixels[..., :-1], pixels[..., -1]) if name[-1] in "Aa" else (pixels, None)
    if name[-1] == "a" and alpha is not None:
        full = np.iinfo(pixels.dtype).max
        rgb = np.clip(rgb.astype(np.float32) * (full / np.maximum(alpha, 1)[..., None]) + 0.5, 0, full)
        rgb = rgb.astype(pixels.dtype)
    if rgb.shape[2] == 1:
        rgb = np.repeat(rgb, 3, 2)
    return _raw(np.ascontiguousarray(rgb), None if alpha is None else profile.to_eight(alpha), _heif_colour(image.info))


def _heif_colour(info: dict[str, Any]) -> Colour | bytes | None:
    if icc := info.get("icc_profile"):
        return bytes(icc)
    nclx = info.get("nclx_profile")
    return profile.from_code_points(nclx["color_primaries"], nclx["transfer_characteristics"]) if nclx else None


def _raw(rgb: NDArray, alpha: NDArray[np.uint8] | None, colour: Colour | bytes | None) -> Raw:
    """Upright pixels with a colour or the bytes of a profile."""
    if isinstance(colour, bytes):
        own = _explained(colour, ("RGB", "GRAY"))
        if own is None and profile.icc_space(colour) == "RGB":
            turned = profile.by_tables(Image.fromarray(profile.to_eight(rgb)), colour)
            rgb = rgb if turned is None else np.asarray(turned)
        colour = own
    return Raw(rgb, alpha, colour)


def _jxl(path: Path) -> Raw:
    """A JPEG XL picture, by whichever of the libraries is there; they turn it, so EXIF's orientation is void."""
    if header.own_size(path) is None:
        raise ValueError("no size in its header")  # and none that could have been checked
    try:
        import pylibjxl
    except ImportError:
        return _jxl_by_plugin(path)
    pixels, said = pylibjxl.decode(path.read_bytes(), metadata=True)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    rgb, alpha = (pixels[..., :-1], pixels[..., -1]) if pixels.shape[2] in (2, 4) else (pixels, None)
    rgb = np.repeat(rgb, 3, 2) if rgb.shape[2] == 1 else rgb
    return _raw(np.ascontiguousarray(rgb), alpha, bytes(said.get("icc", b"")) or None)


def _jxl_by_plugin(path: Path) -> Raw:
    try:
        import pillow_jxl  # noqa: F401  (registers itself with Pillow)
    except ImportError:
        raise InputError(
            f"{path.name} is a JPEG XL picture, which needs one more library: pip install 'infinex[jxl]'; "
            "or save it as PNG or JPEG"
        ) from None
    with Image.open(path, formats=["JXL"]) as image:
        image.load()
        icc = image.info.get("icc_profile") or b""
        raw = _sixteen(path, image, {}, icc, None) or _eight(image, icc, None)
        # A JPEG packed as JPEG XL is unpacked as it was, anything else has been turned.
        return raw if getattr(image, "jpeg", False) else raw._replace(orientation=1)
