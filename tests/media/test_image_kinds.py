"""Pictures of every kind: HEIC and AVIF, orientation once, transparency, inks, and what a header says."""

import io
import struct
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import picture_files as files
import pytest
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from infinex.errors import InputError, OutputError
from infinex.media.image import header_size, is_image, read_image, read_rgba, write_image

SMOOTH = 0.8  # mean difference in levels that careful lossy coding leaves


def scene(h: int = 96, w: int = 128) -> NDArray[np.float64]:
    """(h, w, 3) 0..1: smooth, with a red corner at the top left, so that every turn and mirror differs."""
    y, x = np.mgrid[:h, :w]
    picture = np.stack([x / w, y / h, 1 - (x + y) / (w + h)], -1)
    picture[: h // 4, : w // 4] = (1, 0, 0)
    return picture


def off(path: Path, wanted: NDArray) -> float:
    image = read_image(path)
    assert image.shape == wanted.shape
    return float(np.abs(image - wanted * 255).mean())


# -- HEIC -----------------------------------------------------------------------------------------


@pytest.fixture
def heic(tmp_path: Path):
    pytest.importorskip("pi_heif")

    def write(*pictures: NDArray, **options: object) -> Path:
        path = tmp_path / "a.heic"
        path.write_bytes(files.heif(pictures, **options))  # type: ignore[arg-type]
        return path

    return write


def test_heic_of_tiles_turned_and_mirrored(heic) -> None:
    tiles = [scene(64, 64) * (i + 3) / 9 for i in range(6)]
    whole = np.vstack([np.hstack(tiles[:3]), np.hstack(tiles[3:])])
    path = heic(*tiles, grid=(2, 3))
    assert off(path, whole) < SMOOTH and header_size(path) == (192, 128) and is_image(path)
    assert off(heic(*tiles, grid=(2, 3), turns=1), np.rot90(whole)) < SMOOTH
    for turns in (0, 2, 3):
        for axis, mirrored in ((None, scene()), (0, scene()[::-1]), (1, scene()[:, ::-1])):
            # The file's turn comes before its mirror here only where they commute.
            if axis is None or turns in (0, 2):
                assert off(heic(scene(), turns=turns, mirror=axis), np.rot90(mirrored, turns)) < SMOOTH


def test_heic_is_turned_once_whatever_exif_says(heic) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert off(heic(scene(), turns=3, exif=b"Exif\0\0" + exif.tobytes()), np.rot90(scene(), 3)) < SMOOTH
    assert off(heic(scene(), exif=exif.tobytes()), scene()) < SMOOTH


def test_heic_of_several_pictures_gives_the_primary_one(heic) -> None:
    burst = [scene(), scene()[::-1], scene()[:, ::-1]]
    for i, picture in enumerate(burst):
        assert off(heic(*burst, primary=i), picture) < SMOOTH


def test_heic_alpha_ten_bits_and_colour(heic) -> None:
    cover = np.zeros(scene().shape[:2])
    cover[:40], cover[40:64] = 1, 0.5
    rgb, alpha = read_rgba(heic(scene(), alpha=cover))
    assert alpha is not None and np.abs(alpha - cover * 255).mean() < 1 and np.abs(rgb - scene() * 255).mean() < SMOOTH
    assert off(heic(scene(), bits=10), scene()) < SMOOTH
    pale = 0.3 + 0.5 * scene()
    p3 = files.in_space(pale, "P3", files.encoded)
    for said in (files.nclx(12, 13), b"prof" + files.matrix_profile("P3", files.para_curve(), "sRGB", 4)):
        assert off(heic(p3, bits=10, colour=said), pale) < SMOOTH
    assert np.abs(p3 - pale).mean() * 255 > 3


def test_a_missing_library_is_said_in_one_line(heic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = heic(scene())
    for name in ("pi_heif", "pylibjxl", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match="pip install pi-heif"):
        read_image(path)
    jxl = tmp_path / "a.jxl"
    jxl.write_bytes(bytes.fromhex("ff0a") + bytes([1 | 17 << 1 | 1 << 6]) + bytes(40))
    assert is_image(jxl) and header_size(jxl) == (144, 144)
    with pytest.raises(InputError, match=r"JPEG XL.*infinex\[jxl\]") as caught:
        read_image(jxl)
    assert "\n" not in str(caught.value)


def test_heic_claims_are_checked_before_decoding(heic) -> None:
    path = heic(scene())
    path.write_bytes(path.read_bytes().replace(struct.pack(">II", 128, 96), struct.pack(">II", 30000, 30000)))
    with pytest.raises(InputError, match="900 megapixels"):
        read_image(path)


def test_jpeg_xl(tmp_path: Path) -> None:
    jxl = pytest.importorskip("pylibjxl")
    image = np.round(scene() * 255).astype(np.uint8)
    path = tmp_path / "a.jxl"
    path.write_bytes(jxl.encode(image, lossless=True))
    assert np.array_equal(read_image(path), image) and header_size(path) == (128, 96) and is_image(path)
    cover = np.full(image.shape[:2], 77, np.uint8)
    path.write_bytes(jxl.encode(np.dstack([image, cover]), lossless=True))
    rgb, alpha = read_rgba(path)
    assert alpha is not None and np.array_equal(alpha, cover) and np.array_equal(rgb, image)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=98, subsampling=0, exif=exif)
    path.write_bytes(jxl.jpeg_to_jxl(buffer.getvalue()))
    assert off(path, np.rot90(scene(), 3)) < 1.5
    p3 = np.round(files.in_space(scene() * 0.5 + 0.3, "P3", files.encoded) * 255).astype(np.uint8)
    path.write_bytes(jxl.encode(p3, lossless=True, icc=files.matrix_profile("P3", files.para_curve(), "sRGB", 4)))
    assert off(path, scene() * 0.5 + 0.3) < 1


# -- orientation ----------------------------------------------------------------------------------

TURNS = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.swapaxes(0, 1),
         6: lambda a: np.rot90(a, 3), 7: lambda a: np.rot90(a.swapaxes(0, 1), 2), 8: np.rot90}  # fmt: skip


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.jpg", "a.avif", "deep.png"])
def test_exif_turns_every_kind_once(tmp_path: Path, name: str) -> None:
    if name.endswith("avif") and ".avif" not in Image.registered_extensions():
        pytest.skip("this Pillow knows no AVIF")
    flat = np.round(scene() * 255).astype(np.uint8)
    options = {"a.webp": {"lossless": True}, "a.jpg": {"quality": 98, "subsampling": 0}, "a.avif": {"quality": 98}}
    for orientation, turned in TURNS.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / name
        if name == "deep.png":
            path.write_bytes(files.png(flat.astype(np.uint16) * 257, (b"eXIf", exif.tobytes())))
        else:
            Image.fromarray(flat).save(path, exif=exif, **options.get(name, {}))
        assert off(path, turned(scene())) < 2, orientation


# -- transparency and odd kinds -------------------------------------------------------------------


def test_transparency_keeps_its_colours(tmp_path: Path) -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (70, 80, 4), dtype=np.uint8)
    rgba[:20, :, 3] = 0
    for name, options in (("a.png", {}), ("a.webp", {"lossless": True, "exact": True}), ("a.tif", {})):
        Image.fromarray(rgba).save(tmp_path / name, **options)
        rgb, alpha = read_rgba(tmp_path / name)
        assert alpha is not None and np.array_equal(np.dstack([rgb, alpha]), rgba), name
    rgba[..., 3] = 255
    Image.fromarray(rgba).save(tmp_path / "b.png")
    assert read_rgba(tmp_path / "b.png")[1] is None


def test_written_transparency_comes_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image, alpha = rng.integers(0, 256, (70, 80, 3), dtype=np.uint8), rng.integers(0, 256, (70, 80), dtype=np.uint8)
    for name in ("a.png", "a.tif", "a.webp"):
        write_image(tmp_path / name, image, {"comment": "cut out"}, alpha)
        rgb, back = read_rgba(tmp_path / name)
        assert back is not None and np.array_equal(back, alpha)
        if name != "a.webp":
            assert np.array_equal(rgb, image)
    write_image(tmp_path / "b.png", np.dstack([image, alpha]))
    assert np.array_equal(read_rgba(tmp_path / "b.png")[0], image)
    with pytest.raises(OutputError, match="transparency"):
        write_image(tmp_path / "a.jpg", image, None, alpha)


def test_palettes_keyed_colours_and_bits(tmp_path: Path) -> None:
    flat = np.zeros((70, 80, 3), np.uint8)
    flat[:35] = (200, 10, 60)
    palette = Image.fromarray(flat).quantize(4)
    first = palette.getpixel((0, 0))
    palette.save(tmp_path / "a.png", transparency=first)
    palette.save(tmp_path / "a.gif", transparency=first)
    for name in ("a.png", "a.gif"):
        rgb, alpha = read_rgba(tmp_path / name)
        assert alpha is not None and alpha[0, 0] == 0 and alpha[60, 0] == 255
        assert rgb[0, 0].tolist() == [200, 10, 60] and rgb[60, 0].tolist() == [0, 0, 0]
    for bits in (flat, flat.astype(np.uint16) * 257):
        key = struct.pack(">3H", *bits[0, 0])
        (tmp_path / "k.png").write_bytes(files.png(bits, (b"tRNS", key)))
        rgb, alpha = read_rgba(tmp_path / "k.png")
        assert alpha is not None and alpha[0, 0] == 0 and alpha[60, 0] == 255 and rgb[0, 0].tolist() == [200, 10, 60]
    grey = flat[..., 0].astype(np.uint16) * 257
    (tmp_path / "g.png").write_bytes(files.png(grey, (b"tRNS", struct.pack(">H", 200 * 257))))
    rgb, alpha = read_rgba(tmp_path / "g.png")
    assert alpha is not None and alpha[0, 0] == 0 and alpha[60, 0] == 255 and rgb[0, 0].tolist() == [200] * 3
    Image.fromarray(flat[..., 0] > 0).save(tmp_path / "one.png")
    assert set(read_image(tmp_path / "one.png").ravel()) == {0, 255}
    Image.fromarray(np.dstack([flat[..., 0], flat[..., 1] * 20])).save(tmp_path / "la.png")
    rgb, alpha = read_rgba(tmp_path / "la.png")
    assert alpha is not None and rgb[0, 0].tolist() == [200] * 3 and alpha[0, 0] == 200


def test_inks_luma_and_inverted_greys(tmp_path: Path) -> None:
    cmyk = Image.new("CMYK", (80, 80), (0, 128, 255, 0))
    for name in ("a.jpg", "a.tif"):  # Adobe's JPEG holds them inverted
        cmyk.save(tmp_path / name)
        assert np.abs(read_image(tmp_path / name)[40, 40].astype(int) - [255, 127, 0]).max() <= 3
    ycc = Image.fromarray(np.round(scene() * 255).astype(np.uint8)).convert("YCbCr")
    ycc.save(tmp_path / "y.tif")
    assert off(tmp_path / "y.tif", scene()) < 1.5
    ycc.save(tmp_path / "turned.tif", tiffinfo={274: 6})
    assert off(tmp_path / "turned.tif", np.rot90(scene(), 3)) < 1.5
    data = bytearray((tmp_path / "a.jpg").read_bytes())
    Image.fromarray(np.round(scene() * 255).astype(np.uint8)).save(tmp_path / "rgb.jpg", keep_rgb=True, quality=98)
    assert off(tmp_path / "rgb.jpg", scene()) < 1.5 and b"Adobe" in data
    ramp = np.tile(np.linspace(0, 65535, 128).astype(np.uint16), (80, 1))
    Image.fromarray(ramp).save(tmp_path / "w.tif", tiffinfo={262: 0})
    raw = (tmp_path / "w.tif").read_bytes()
    if struct.pack("<HHIHH", 262, 3, 1, 0, 0) in raw:
        assert read_image(tmp_path / "w.tif")[0, 0, 0] == 255 and read_image(tmp_path / "w.tif")[0, -1, 0] == 0


def test_avif_says_its_colours_by_code_points(tmp_path: Path) -> None:
    if ".avif" not in Image.registered_extensions():
        pytest.skip("this Pillow knows no AVIF")
    pale = 0.3 + 0.5 * scene()
    p3 = np.round(files.in_space(pale, "P3", files.encoded) * 255).astype(np.uint8)
    Image.fromarray(p3).save(tmp_path / "a.avif", quality=98, subsampling="4:4:4")
    data = (tmp_path / "a.avif").read_bytes()
    assert data.count(b"nclx\0\1\0\r") == 1
    (tmp_path / "a.avif").write_bytes(data.replace(b"nclx\0\1\0\r", b"nclx\0\x0c\0\r"))
    assert off(tmp_path / "a.avif", pale) < 1


# -- headers --------------------------------------------------------------------------------------


def large(kind: str) -> bytes:
    """A small file that claims 30000 x 30000 pixels."""
    side = 30000
    if kind == "PNG":
        row = zlib.compress(bytes(100_000))
        head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        parts = [(b"IHDR", head), (b"IDAT", row), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts
        )
    buffer, small = io.BytesIO(), Image.new("RGB", (640, 480))
    if kind == "WEBP":
        small.save(buffer, kind, lossless=True)
        data = bytearray(buffer.getvalue())
        body = data[12:]
        canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (16383).to_bytes(3, "little") * 2
        return b"RIFF" + struct.pack("<I", 4 + len(canvas) + len(body)) + b"WEBP" + canvas + body
    small.save(buffer, kind)
    data = bytearray(buffer.getvalue())
    if kind in ("JPEG", "MPO"):
        at = data.index(b"\xff\xc0")
        data[at + 5 : at + 9] = struct.pack(">HH", side, side)
    elif kind == "GIF":
        data[6:10] = struct.pack("<HH", side, side)
    elif kind == "BMP":
        data[18:26] = struct.pack("<ii", side, side)
    elif kind == "TIFF":
        for tag in (256, 257):
            at = next(data.index(k) for k in (struct.pack("<HHI", tag, t, 1) for t in (3, 4)) if k in data)
            data[at + 8 : at + 10] = struct.pack("<H", side)
    elif kind == "JPEG2000":
        at = data.index(b"ihdr")
        data[at + 4 : at + 12] = struct.pack(">II", side, side)
        at = data.index(b"\xff\x51")
        data[at + 6 : at + 14] = struct.pack(">II", side, side)
    return bytes(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000"])
def test_a_header_is_read_before_a_picture_is_decoded(tmp_path: Path, kind: str) -> None:
    import resource

    data = large(kind)
    path = tmp_path / "a.bin"
    path.write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        size = header_size(data)
        assert size == header_size(path) and size is not None and min(size) >= 16384
        with pytest.raises(InputError, match="megapixels"):
            read_image(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB


def test_header_sizes(tmp_path: Path) -> None:
    small = Image.new("RGB", (300, 200), (90, 80, 70))
    thumbnail = io.BytesIO()
    small.resize((30, 20)).save(thumbnail, "JPEG")
    exif = Image.Exif()
    exif[0x010E] = "x" * 100
    block = exif.tobytes() + thumbnail.getvalue()
    for options in ({}, {"progressive": True}, {"exif": block}):
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", **options)
        assert header_size(buffer.getvalue()) == (300, 200)
    for options in ({"lossless": True}, {"quality": 50}, {"quality": 50, "exif": exif}):
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", **options)
        assert header_size(buffer.getvalue()) == (300, 200)
    for data in (b"", b"text", b"\x89PNG\r\n\x1a\n", b"RIFF1234WEBP", b"\xff\x0a", b"\0\0\0\x18ftypheic" + bytes(12)):
        assert header_size(data) is None


def test_text_in_a_png_is_not_unpacked(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    text = PngImagePlugin.PngInfo()
    text.add_text("workflow", "x" * 9_000_000, zip=True)  # as picture generators write them; Pillow refuses it
    text.add_itxt("more", "y" * 3_000_000, zip=True)
    Image.fromarray(image).save(tmp_path / "a.png", pnginfo=text)
    assert np.array_equal(read_image(tmp_path / "a.png"), image)
