"""Reading and writing still pictures."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from infinex.errors import InputError, OutputError
from infinex.media.files import atomic_path, readable_file

RGB = NDArray[np.uint8]
MAX_PIXELS = 120_000_000
MIN_SIDE = 64
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
# What is read, and nothing else: Pillow's other plugins include some that start other programs.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF", "JPEG2000")
ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")  # the pages of a TIFF and the second view of an MPO are no animation
LONGEST_SIDE = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}

Image.MAX_IMAGE_PIXELS = None  # the limit below answers in one line instead of a warning


def _open(path: Path) -> Image.Image:
    Image.init()
    return Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])


def is_image(path: str | Path) -> bool:
    """Whether the file's content is a still picture; an animation of several frames is not."""
    try:
        with warnings.catch_warnings(), _open(Path(path)) as image:
            warnings.simplefilter("ignore")
            return image.format not in ANIMATED or int(getattr(image, "n_frames", 1)) == 1
    except Exception:  # decoders report damage in every way there is
        return False


def read_image(path: str | Path) -> RGB:
    """Read a picture as (H, W, 3) uint8 sRGB, upright; transparency is laid on white.

    16 bits are scaled to 8, palettes and CMYK converted, embedded colour profiles applied. Of an
    animation the first frame is read. Raises InputError for anything that is not a whole picture of at
    least 64 pixels a side and at most 120 megapixels."""
    path = readable_file(path)
    try:
        with warnings.catch_warnings(), _open(path) as image:
            warnings.simplefilter("ignore")
            w, h = image.size
            if w * h > MAX_PIXELS:
                raise InputError(f"{path.name} has {w * h / 1e6:.0f} megapixels; the limit is {MAX_PIXELS / 1e6:.0f}")
            if min(w, h) < MIN_SIDE:
                raise InputError(f"{path.name} is {w}x{h} pixels; at least {MIN_SIDE} a side are needed")
            image.load()
            return _to_rgb(image)
    except InputError:
        raise
    except Image.UnidentifiedImageError:
        raise InputError(f"{path.name} is not a picture that can be read; use JPEG, PNG, WebP, TIFF or BMP") from None
    except Exception as error:  # decoders report damage in every way there is
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{path.name} is damaged and cannot be read as a picture ({reason})") from None


def _to_rgb(image: Image.Image) -> RGB:
    profile = image.info.get("icc_profile")
    # Older Pillows call the 16 bits of a PNG "I".
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
    with contextlib.suppress(Exception):  # a damaged EXIF block says nothing against the pixels
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":  # Pillow itself would clip these
        return _deep_to_rgb(np.asarray(image), sixteen)
    if image.mode in ("P", "PA", "LA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == "LAB":
        image = _transformed(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "RGB")
    elif profile and image.mode in ("RGB", "RGBA", "CMYK", "L"):
        # An unusable profile is as good as none.
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "srgb" not in ImageCms.getProfileDescription(source).lower():
                image = _transformed(image, source, "RGBA" if image.mode == "RGBA" else "RGB")
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return np.ascontiguousarray(np.asarray(image.convert("RGB")))


def _transformed(image: Image.Image, source: ImageCms.ImageCmsProfile, mode: str) -> Image.Image:
    """`image` in sRGB."""
    converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    return image if converted is None else converted


def _deep_to_rgb(grey: NDArray, sixteen: bool) -> RGB:
    """Grey values (H, W) of more than 8 bits to (H, W, 3) uint8."""
    if sixteen:
        small = ((np.clip(grey, 0, 65535).astype(np.uint32) + 128) // 257).astype(np.uint8)
    else:  # 32-bit integers and floats do not say what white is
        grey = np.nan_to_num(grey.astype(np.float32), posinf=0, neginf=0)
        high = float(grey.max(initial=0))
        top = next((t for t in (1.0, 255.0, 65535.0) if high <= t), high)
        small = np.clip(np.round(grey * (255 / top)), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(small[..., None], 3, axis=2))


def write_image(path: str | Path, image: RGB, metadata: dict[str, str] | None = None) -> None:
    """Write (H, W, 3) uint8 by suffix: PNG, JPEG, WebP, TIFF or BMP; whole or not at all.

    `metadata` becomes text chunks in PNG, the comment in JPEG and the EXIF description in WebP and TIFF;
    BMP has no place for it. Raises OutputError where it cannot be written."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise OutputError(f"{path.name}: a picture must end in {', '.join(SUFFIXES)}")
    h, w = image.shape[:2]
    longest = LONGEST_SIDE.get(suffix, 1 << 31)
    if max(w, h) > longest:
        raise OutputError(f"{path.name}: {suffix[1:]} holds at most {longest} pixels a side, not {w}x{h}; use .png")
    picture = Image.fromarray(image)
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
        options = {"exif": exif} | ({"quality": 95} if suffix == ".webp" else {})
    with atomic_path(path) as temporary:
        picture.save(temporary, format=Image.registered_extensions()[suffix], **options)  # type: ignore[arg-type]


def png_text(metadata: dict[str, str]) -> PngImagePlugin.PngInfo:
    """Text chunks with the keys as PNG spells them: Comment, Description, Software."""
    text = PngImagePlugin.PngInfo()
    for key, value in metadata.items():
        text.add_text(key.capitalize(), value)
    return text


def header_size(data: bytes | Path) -> tuple[int, int] | None:
    """Width and height that a picture's header states, nothing decoded; None where it is no picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.init()
            names = [name for name in FORMATS if name in Image.OPEN]
            with Image.open(data if isinstance(data, Path) else io.BytesIO(data), formats=names) as image:
                return image.size
    except Exception:  # decoders report damage in every way there is
        return None
