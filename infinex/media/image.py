"""Reading and writing still pictures."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError

from infinex.errors import InputError, OutputError
from infinex.media.files import atomic_path, readable_file

RGB = NDArray[np.uint8]
MAX_PIXELS = 120_000_000
MIN_SIDE = 64
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")

Image.MAX_IMAGE_PIXELS = None  # the limit below answers in one line instead of a warning


def is_image(path: str | Path) -> bool:
    """Whether the file's content is a still picture; an animation of several frames is not."""
    try:
        with Image.open(path) as image:
            return int(getattr(image, "n_frames", 1)) == 1
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, EOFError):
        return False


def read_image(path: str | Path) -> RGB:
    """Read a picture as (H, W, 3) uint8 sRGB, upright; transparency is laid on white.

    16 bits are scaled to 8, palettes and CMYK converted, embedded colour profiles applied. Of an
    animation the first frame is read. Raises InputError for anything that is not a whole picture of at
    least 64 pixels a side and at most 120 megapixels."""
    path = readable_file(path)
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
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
    except UnidentifiedImageError:
        raise InputError(f"{path.name} is not a picture that can be read") from None
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, IndexError, TypeError, KeyError,
            AttributeError, ZeroDivisionError, OverflowError, RuntimeError) as error:  # fmt: skip
        # Decoders report damage in all these ways.
        raise InputError(f"{path.name} is damaged and cannot be read as a picture ({error})") from None


def _to_rgb(image: Image.Image) -> RGB:
    profile = image.info.get("icc_profile")
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":  # 16 bit grey; Pillow itself would clip it
        deep = np.asarray(image, np.float64)
        top = 65535.0 if deep.max(initial=0) > 255 else 255.0
        grey = np.clip(np.round(deep * 255 / top), 0, 255).astype(np.uint8)
        return np.ascontiguousarray(np.repeat(grey[..., None], 3, axis=2))
    if profile and image.mode in ("RGB", "CMYK", "L"):
        try:
            srgb = ImageCms.createProfile("sRGB")
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "srgb" not in ImageCms.getProfileDescription(source).lower():
                converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
                image = converted if converted is not None else image
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # an unusable profile is as good as none
    if image.mode == "P" or "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.ascontiguousarray(np.asarray(image.convert("RGB")))


def write_image(path: str | Path, image: RGB, metadata: dict[str, str] | None = None) -> None:
    """Write (H, W, 3) uint8 by suffix: PNG, JPEG, WebP, TIFF or BMP; whole or not at all.

    Raises OutputError where it cannot be written."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise OutputError(f"{path.name}: a picture must end in {', '.join(SUFFIXES)}")
    picture = Image.fromarray(image)
    options: dict[str, object] = {}
    if suffix == ".png":
        text = PngImagePlugin.PngInfo()
        for key, value in (metadata or {}).items():
            text.add_text(key.capitalize(), value)
        options = {"pnginfo": text, "compress_level": 4}
    elif suffix in (".jpg", ".jpeg"):
        options = {"quality": 95, "subsampling": 0, "comment": "; ".join((metadata or {}).values())}
    elif suffix == ".webp":
        options = {"quality": 95}
    with atomic_path(path) as temporary:
        picture.save(temporary, format=Image.registered_extensions()[suffix], **options)  # type: ignore[arg-type]
