"""What a picture file says before anything is decoded: its kind, its size, and a PNG's statements of colour."""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import BinaryIO

from PIL import Image

# What Pillow reads, and nothing else: its other plugins include some that start other programs.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF", "JPEG2000")
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
AVIF_BRANDS = {b"avif", b"avis"}
MOVING_BRANDS = {b"hevc", b"hevx", b"hevm", b"hevs", b"msf1"}  # of an AVIF Pillow counts the frames
JXL = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL \r\n\x87\n")
PNG = b"\x89PNG\r\n\x1a\n"
PNG_TEXT = {b"tEXt", b"zTXt", b"iTXt"}
LARGEST_CHUNK = 16 << 20  # of a statement of colour or EXIF block, packed or unpacked

Image.MAX_IMAGE_PIXELS = None  # the readers' own limit answers in one line instead of a warning


def _opened(source: bytes | Path) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, (bytes, bytearray, memoryview)) else Path(source).open("rb")


def kind(source: bytes | Path) -> str:
    """ "heif", "jxl" or "png" by the first bytes; "" for what Pillow may know."""
    with _opened(source) as file:
        head = file.read(64)
    if head.startswith(JXL):
        return "jxl"
    if head.startswith(PNG):
        return "png"
    if head[4:8] == b"ftyp":
        brands = {head[i : i + 4] for i in range(8, min(len(head), struct.unpack(">I", head[:4])[0]), 4) if i != 12}
        # Files of neither brand are found out by trying: HEIC is by far the more common.
        if brands & HEIC_BRANDS or (brands & {b"mif1", b"msf1"} and not brands & AVIF_BRANDS):
            return "heif"
    return ""


def moves(path: Path) -> bool:
    """Whether a HEIF file calls itself a sequence, which is read as a clip."""
    with path.open("rb") as file:
        head = file.read(12)
    return head[4:8] == b"ftyp" and head[8:12] in MOVING_BRANDS


def open_lazily(source: bytes | Path) -> Image.Image:
    """Pillow's view of a picture, nothing decoded. Raises whatever decoders raise.

    A PNG comes without its text: programs keep megabytes there, and packed text can hide a thousand times more."""
    Image.init()
    file: Path | BinaryIO = source if isinstance(source, Path) else io.BytesIO(source)
    if kind(source) == "png":
        file = io.BytesIO(_without_text(source))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])


def header_size(source: bytes | Path) -> tuple[int, int] | None:
    """Width and height in pixels, as stored, from a picture's header alone; None where there is none that is known.

    Nothing is decoded and nothing of the size of the pixels is allocated."""
    try:
        if (size := own_size(source)) is not None or kind(source):
            return size
        with open_lazily(source) as image:
            return image.size
    except Exception:  # decoders report damage in every way there is
        return None


def own_size(source: bytes | Path) -> tuple[int, int] | None:
    """`header_size` of the kinds that Pillow does not know, or whose canvas it allocates on opening; None for others.

    Raises ValueError or struct.error for damage."""
    read = {"png": _png_size, "jxl": _jxl_size, "heif": _heif_size}.get(kind(source), _webp_size)
    return read(source)


# -- PNG ------------------------------------------------------------------------------------------


def _png_size(source: bytes | Path) -> tuple[int, int] | None:
    with _opened(source) as file:
        head = file.read(24)
    w, h = struct.unpack(">II", head[16:24])
    return (w, h) if head[12:16] == b"IHDR" and w and h else None


def _chunks(file: BinaryIO) -> list[tuple[bytes, int, int]]:
    """Name, where its data begin, and length of each chunk up to the end or the first that is cut off."""
    out: list[tuple[bytes, int, int]] = []
    at = 8
    end = file.seek(0, io.SEEK_END)
    while at + 12 <= end and len(out) < 100_000:
        file.seek(at)
        length, name = struct.unpack(">I4s", file.read(8))
        out.append((name, at + 8, length))
        at += 12 + length
    return out


def _without_text(source: bytes | Path) -> bytes:
    with _opened(source) as file:
        chunks = _chunks(file)
        file.seek(0)
        data = file.read()
    if not any(name in PNG_TEXT for name, _, _ in chunks):
        return data
    return data[:8] + b"".join(data[at - 8 : at + n + 4] for name, at, n in chunks if name not in PNG_TEXT)


def png_statements(path: Path) -> dict[bytes, bytes]:
    """The data of a PNG's chunks cICP, iCCP (unpacked), sRGB, gAMA, cHRM and IHDR, those before the pixels."""
    out: dict[bytes, bytes] = {}
    with path.open("rb") as file:
        for name, at, length in _chunks(file):
            if name == b"IDAT":
                break
            if name in (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"IHDR") and length <= LARGEST_CHUNK:
                file.seek(at)
                out.setdefault(name, file.read(length))
    if b"iCCP" in out:
        packed = out.pop(b"iCCP").partition(b"\0")[2][1:]
        with contextlib.suppress(zlib.error):  # an unusable profile is as good as none
            out[b"iCCP"] = zlib.decompressobj().decompress(packed, LARGEST_CHUNK)
    return out


# -- JPEG XL, WebP, HEIF --------------------------------------------------------------------------


class _Bits:
    """Bits of a JPEG XL header, the lowest of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._bits, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError("cut off")
        out = self._bits & ((1 << count) - 1)
        self._bits >>= count
        self._left -= count
        return out


JXL_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


def _jxl_size(source: bytes | Path) -> tuple[int, int] | None:
    with _opened(source) as file:
        head = file.read(1 << 16)
    if not head.startswith(JXL[0]):  # in a box: the codestream or its first part
        at = 0
        while True:
            size, name = struct.unpack_from(">I4s", head, at)
            if name in (b"jxlc", b"jxlp"):
                head = head[at + (8 if name == b"jxlc" else 12) :]
                break
            if size < 8:
                return None
            at += size
    if not head.startswith(JXL[0]):
        return None
    bits = _Bits(head[2:16])

    def side(small: bool) -> int:
        return (bits.take(5) + 1) * 8 if small else bits.take((9, 13, 18, 30)[bits.take(2)]) + 1

    small = bool(bits.take(1))
    h = side(small)
    ratio = bits.take(3)
    w = side(small) if ratio == 0 else h * JXL_RATIOS[ratio][0] // JXL_RATIOS[ratio][1]
    return w, h


def _webp_size(source: bytes | Path) -> tuple[int, int] | None:
    with _opened(source) as file:
        head = file.read(30)
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    form = head[12:16]
    if form == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if form == b"VP8L" and head[20] == 0x2F:
        v = int.from_bytes(head[21:25], "little")
        return 1 + (v & 0x3FFF), 1 + (v >> 14 & 0x3FFF)
    if form == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        w, h = struct.unpack("<HH", head[26:30])
        return w & 0x3FFF, h & 0x3FFF
    return None


def _heif_size(source: bytes | Path) -> tuple[int, int] | None:
    """The largest picture that the boxes of a HEIF file describe: a tile, the whole and a thumbnail have one each."""
    with _opened(source) as file:
        end, at = file.seek(0, io.SEEK_END), 0
        while at + 8 <= end:
            file.seek(at)
            size, name = struct.unpack(">I4s", file.read(8))
            if name == b"meta":
                data = file.read(min(size - 8, LARGEST_CHUNK))
                break
            if size == 1:
                size = struct.unpack(">Q", file.read(8))[0]
            if size < 8:
                return None
            at += size
        else:
            return None
    sizes = []
    at = data.find(b"ispe")
    while at >= 0 and at + 16 <= len(data):
        sizes.append(struct.unpack_from(">II", data, at + 8))
        at = data.find(b"ispe", at + 4)
    return max(sizes, key=lambda s: s[0] * s[1]) if sizes else None
