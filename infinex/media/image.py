"""Reading and writing still pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from infinex.errors import InputError, OutputError
from infinex.media import header
from infinex.media.decode import decode
from infinex.media.files import atomic_path, readable_file
from infinex.media.header import header_size

RGB = NDArray[np.uint8]
MAX_PIXELS = 120_000_000
MIN_SIDE = 64
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")  # the pages of a TIFF and the second view of an MPO are no animation
TRANSPARENT = (".png", ".webp", ".tif", ".tiff")
LONGEST_SIDE = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}


def is_image(path: str | Path) -> bool:
    """Whether the file's content is a still picture; an animation of several frames is not."""
    path = Path(path)
    try:
        if header.moves(path):
            return False
        if header.kind(path) in ("heif", "jxl"):
            return header_size(path) is not None
        with header.open_lazily(path) as image:
            return image.format not in ANIMATED or int(getattr(image, "n_frames", 1)) == 1
    except Exception:  # decoders report damage in every way there is
        return False


def read_image(path: str | Path) -> RGB:
    """Read a picture as (H, W, 3) uint8 sRGB, upright; transparency is laid on white.

    16 bits and more are scaled to 8, palettes and CMYK converted, colour profiles and PNG's statements of colour
    applied, HDR tone-mapped; sRGB comes through bit for bit. Of an animation the first frame is read, of several
    pictures the primary one. Raises InputError for anything that is not a whole picture of at least 64 pixels a
    side and at most 120 megapixels, which its header must say before a pixel is decoded."""
    rgb, alpha = read_rgba(path)
    if alpha is None:
        return rgb
    return on_white(rgb, alpha)


def read_rgba(path: str | Path) -> tuple[RGB, NDArray[np.uint8] | None]:
    """`read_image` with its transparency: (H, W, 3) uint8 sRGB, not premultiplied, and (H, W) uint8 alpha.

    The alpha is None where the picture is opaque everywhere."""
    path = readable_file(path)

    def check(size: tuple[int, int]) -> None:
        w, h = size
        if w * h > MAX_PIXELS:
            raise InputError(f"{path.name} has {w * h / 1e6:.0f} megapixels; the limit is {MAX_PIXELS / 1e6:.0f}")
        if min(w, h) < MIN_SIDE:
            raise InputError(f"{path.name} is {w}x{h} pixels; at least {MIN_SIDE} a side are needed")

    try:
        return decode(path, check)
    except InputError:
        raise
    except Image.UnidentifiedImageError:
        raise InputError(
            f"{path.name} is not a picture that can be read; use JPEG, PNG, WebP, HEIC, AVIF, TIFF or BMP"
        ) from None
    except Exception as error:  # decoders report damage in every way there is
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{path.name} is damaged and cannot be read as a picture ({reason})") from None


def on_white(rgb: RGB, alpha: NDArray[np.uint8]) -> RGB:
    """(H, W, 3) colours under (H, W) alpha, laid on white."""
    out = np.empty_like(rgb)
    rows = max(1, (1 << 19) // rgb.shape[1])
    for y in range(0, len(rgb), rows):
        a = alpha[y : y + rows, :, None].astype(np.uint32)
        out[y : y + rows] = (rgb[y : y + rows] * a + 255 * (255 - a) + 127) // 255
    return out


def write_image(
    path: str | Path, image: RGB, metadata: dict[str, str] | None = None, alpha: NDArray[np.uint8] | None = None
) -> None:
    """Write (H, W, 3) uint8 by suffix: PNG, JPEG, WebP, TIFF or BMP; whole or not at all.

    `alpha` (H, W) uint8, or a fourth channel, makes it transparent, colours not premultiplied: in PNG, WebP and
    TIFF only.
    `metadata` becomes text chunks in PNG, the comment in JPEG and the EXIF description in WebP and TIFF;
    BMP has no place for it. Raises OutputError where it cannot be written."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise OutputError(f"{path.name}: a picture must end in {', '.join(SUFFIXES)}")
    if image.shape[2] == 4:
        image, alpha = image[..., :3], image[..., 3]
    h, w = image.shape[:2]
    longest = LONGEST_SIDE.get(suffix, 1 << 31)
    if max(w, h) > longest:
        raise OutputError(f"{path.name}: {suffix[1:]} holds at most {longest} pixels a side, not {w}x{h}; use .png")
    if alpha is not None and suffix not in TRANSPARENT:
        raise OutputError(f"{path.name}: {suffix[1:]} holds no transparency; use {', '.join(TRANSPARENT)}")
    picture = Image.fromarray(image if alpha is None else np.dstack([image, alpha]))
    metadata = metadata or {}
    words = "; ".join(metadata.values())
    options: dict[str, object] = {}
    if suffix == ".png":
        options = {"pnginfo": png_text(metadata), "compress_level": 4}
    elif suffix in (".jpg", ".jpeg"):
        options = {"quality": 95, "subsampling": 0, "comment": words}
    elif suffix in (".webp", ".tif", ".tiff"):
        exif = Image.Exif()
        if words:
            exif[0x010E] = words  # ImageDescription
        options = {"exif": exif} | ({"quality": 95, "exact": True} if suffix == ".webp" else {})
    with atomic_path(path) as temporary:
        picture.save(temporary, format=Image.registered_extensions()[suffix], **options)  # type: ignore[arg-type]


def png_text(metadata: dict[str, str]) -> PngImagePlugin.PngInfo:
    """Text chunks with the keys as PNG spells them: Comment, Description, Software."""
    text = PngImagePlugin.PngInfo()
    for key, value in metadata.items():
        text.add_text(key.capitalize(), value)
    return text
