"""Pictures come out in their true colours, whatever says what those are."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import picture_files as files
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from infinex.media.image import read_image, read_rgba

EXACT = 1.01  # levels of 8 bits


def chart() -> NDArray[np.float64]:
    """(72, 90, 3) sRGB 0..1: patches of 9 pixels, all inside the narrowest gamut, greys among them."""
    rng = np.random.default_rng(3)
    patches = rng.uniform(0.02, 0.98, (8, 10, 3))
    patches[0] = np.linspace(0, 1, 10)[:, None]
    return np.kron(patches, np.ones((9, 9, 1)))


def wrong(path: Path, wanted: NDArray) -> float:
    """Largest difference in 8-bit levels from sRGB colours 0..1."""
    return float(np.abs(read_image(path) - wanted * 255).max())


def gamma(g: float) -> Callable[[NDArray], NDArray]:
    return lambda v: v ** (1 / g)


SRGB_TABLE = files.table_curve(files.linear(np.linspace(0, 1, 1024)))
KINDS = {
    "linear, called sRGB": ("sRGB", files.gamma_curve(1.0), gamma(1), "sRGB linear"),
    "P3 with a parametric curve": ("P3", files.para_curve(), files.encoded, "Display P3"),
    "P3, called sRGB": ("P3", SRGB_TABLE, files.encoded, "sRGB IEC61966-2.1"),
    "Adobe RGB": ("Adobe", files.gamma_curve(563 / 256), gamma(563 / 256), "Adobe RGB (1998)"),
    "ProPhoto": ("ProPhoto", files.gamma_curve(1.8), gamma(1.8008), "ProPhoto RGB"),
    "Rec. 2020": ("Rec2020", files.gamma_curve(2.4), gamma(2.3984), "Rec. 2020"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_profiles_count_by_what_they_say(tmp_path: Path, kind: str) -> None:
    space, curve, to_code, name = KINDS[kind]
    codes = files.in_space(chart(), space, to_code)
    for version in (2, 4):
        profile = files.matrix_profile(space, curve, name, version)
        deep = tmp_path / f"deep{version}.png"
        deep.write_bytes(files.png(np.round(codes * 65535).astype(np.uint16), files.iccp(profile)))
        assert wrong(deep, chart()) <= EXACT
        flat = np.round(codes * 255).astype(np.uint8)
        (tmp_path / "flat.png").write_bytes(files.png(flat, files.iccp(profile)))
        Image.fromarray(flat).save(tmp_path / "flat.tif", icc_profile=profile)
        Image.fromarray(flat).save(tmp_path / "flat.webp", icc_profile=profile, lossless=True)
        own = read_image(tmp_path / "flat.png")
        for other in ("flat.tif", "flat.webp"):
            assert np.array_equal(read_image(tmp_path / other), own)
        # What 8 bits can say: the error of a code value, seen through the curve, is largest in the shadows.
        assert np.abs(own - chart() * 255)[chart().min(-1) > 0.25].max() <= 5
        # An independent judge.
        judge = ImageCms.profileToProfile(
            Image.fromarray(flat), ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), 1
        )
        assert judge is not None
        assert np.abs(own.astype(int) - np.asarray(judge))[chart().min(-1) > 0.1].max() <= 2


@pytest.mark.parametrize("name", ["Display P3", "sRGB"])
def test_srgb_is_untouched_whatever_its_profile_is_called(tmp_path: Path, name: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    for i, curve in enumerate((SRGB_TABLE, files.para_curve())):
        path = tmp_path / f"{i}.png"
        path.write_bytes(files.png(image, files.iccp(files.matrix_profile("sRGB", curve, name))))
        assert np.array_equal(read_image(path), image)
    Image.fromarray(image).save(tmp_path / "own.png", icc_profile=_srgb_bytes())
    assert np.array_equal(read_image(tmp_path / "own.png"), image)


def _srgb_bytes() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_profiles_made_of_tables(tmp_path: Path) -> None:
    matrix = np.array(files.SPACES["P3"])
    profile = files.table_profile(b"RGB ", lambda v: files.linear(v) @ matrix, 17, "sRGB of tables")
    codes = np.round(files.in_space(chart(), "P3", files.encoded) * 255).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(files.png(codes, files.iccp(profile)))
    assert wrong(tmp_path / "a.png", chart()) <= 8 and np.abs(codes - chart() * 255).max() > 20

    def inks(v: NDArray) -> NDArray:
        return files.linear((1 - v[:, :3]) * (1 - v[:, 3:])) @ np.array(files.SPACES["sRGB"])

    profile = files.table_profile(b"CMYK", inks, 9, "inks")
    cmyk = Image.new("CMYK", (80, 80), (0, 128, 255, 0))
    for name in ("b.jpg", "b.tif"):
        cmyk.save(tmp_path / name, icc_profile=profile)
        got = read_image(tmp_path / name)[40, 40]
        assert np.abs(got - np.array([255, 127, 0])).max() <= 4


def test_grey_profiles(tmp_path: Path) -> None:
    profile = files.icc({b"kTRC": files.gamma_curve(1.0)}, "sRGB", b"GRAY")
    ramp = np.tile(np.linspace(0, 1, 128), (80, 1))
    light = files.linear(ramp)
    for codes in (np.round(light * 65535).astype(np.uint16), np.round(light * 255).astype(np.uint8)):
        (tmp_path / "a.png").write_bytes(files.png(codes, files.iccp(profile)))
        bright = ramp[0] > 0.3
        assert np.abs(read_image(tmp_path / "a.png")[0, :, 1] - ramp[0] * 255)[bright].max() <= 3
    cover = np.full(codes.shape, 200, np.uint8)
    (tmp_path / "b.png").write_bytes(files.png(np.stack([codes, cover], -1), files.iccp(profile)))
    rgb, alpha = read_rgba(tmp_path / "b.png")
    assert alpha is not None and set(alpha.ravel()) == {200}
    assert np.abs(rgb[0, :, 1] - ramp[0] * 255)[ramp[0] > 0.3].max() <= 3
    # A grey profile says nothing about colours, one for colours holds for greys too.
    colours = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    (tmp_path / "c.png").write_bytes(files.png(colours, files.iccp(profile)))
    assert np.array_equal(read_image(tmp_path / "c.png"), colours)
    (tmp_path / "d.png").write_bytes(
        files.png(codes, files.iccp(files.matrix_profile("sRGB", files.gamma_curve(1), "x")))
    )
    assert np.abs(read_image(tmp_path / "d.png")[0, :, 1] - ramp[0] * 255)[ramp[0] > 0.3].max() <= 3


def test_damaged_profiles_are_as_good_as_none(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    whole = files.matrix_profile("P3", files.para_curve(), "Display P3")
    blue = files.matrix_profile("P3", files.gamma_curve(2.2), "x").replace(files.s15(*files.SPACES["P3"][2]), bytes(12))
    for i, profile in enumerate((b"x", whole[:150], whole[:200] + bytes(len(whole) - 200), bytes(500), blue)):
        (tmp_path / f"{i}.png").write_bytes(files.png(image, files.iccp(profile)))
        assert np.array_equal(read_image(tmp_path / f"{i}.png"), image), i
    (tmp_path / "z.png").write_bytes(files.png(image, (b"iCCP", b"x\0\0no zlib")))
    assert np.array_equal(read_image(tmp_path / "z.png"), image)


# -- PNG's own statements -------------------------------------------------------------------------

P3_XY = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
SRGB_XY = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)


def deep(codes: NDArray) -> NDArray[np.uint16]:
    return np.round(codes * 65535).astype(np.uint16)


def test_gamma_and_chromaticities(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(files.png(deep(files.linear(chart())), files.gama(1.0)))
    assert wrong(path, chart()) <= EXACT
    path.write_bytes(files.png(deep(files.linear(chart()) ** (1 / 1.8)), files.gama(1 / 1.8)))
    assert wrong(path, chart()) <= EXACT
    path.write_bytes(
        files.png(deep(files.in_space(chart(), "P3", files.encoded)), files.gama(1 / 2.2), files.chrm(*P3_XY))
    )
    assert wrong(path, chart()) <= EXACT
    path.write_bytes(files.png(deep(files.in_space(chart(), "P3", gamma(1))), files.gama(1.0), files.chrm(*P3_XY)))
    assert wrong(path, chart()) <= EXACT
    flat = np.round(chart() * 255).astype(np.uint8)
    for said in (
        [files.gama(1 / 2.2)],
        [files.gama(1 / 2.2), files.chrm(*SRGB_XY)],
        [files.gama(0)],
        [files.chrm(*[0] * 8)],
    ):
        path.write_bytes(files.png(flat, *said))
        assert np.array_equal(read_image(path), flat)


def test_which_statement_of_a_png_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    p3 = deep(files.in_space(chart(), "P3", files.encoded))
    cicp, icc = (b"cICP", bytes([12, 13, 0, 1])), files.iccp(files.matrix_profile("Adobe", files.gamma_curve(2.2), "A"))
    srgb, wrong_gamma = (b"sRGB", b"\0"), files.gama(1.0)
    path.write_bytes(files.png(p3, wrong_gamma, srgb, icc, cicp))
    assert wrong(path, chart()) <= EXACT
    adobe = deep(files.in_space(chart(), "Adobe", gamma(2.19921875)))
    path.write_bytes(files.png(adobe, wrong_gamma, srgb, icc))
    assert wrong(path, chart()) <= EXACT
    path.write_bytes(files.png(deep(chart()), wrong_gamma, srgb, files.chrm(*P3_XY)))
    assert wrong(path, chart()) <= EXACT


def test_cicp(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(files.png(deep(files.in_space(chart(), "P3", gamma(1))), (b"cICP", bytes([12, 8, 0, 1]))))
    assert wrong(path, chart()) <= EXACT
    video = deep((chart() * 219 + 16) / 255)
    path.write_bytes(files.png(video, (b"cICP", bytes([1, 13, 0, 0]))))
    assert wrong(path, chart()) <= EXACT
    flat = np.round(chart() * 255).astype(np.uint8)
    for said in ((1, 13), (1, 1), (2, 2), (1, 6)):
        path.write_bytes(files.png(flat, (b"cICP", bytes([*said, 0, 1]))))
        assert np.array_equal(read_image(path), flat)


def test_a_camera_says_adobe_rgb_by_exif(tmp_path: Path) -> None:
    flat = np.round(files.in_space(chart(), "Adobe", gamma(563 / 256)) * 255).astype(np.uint8)
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 0xFFFF
    for name, there in (("R98", False), ("R03", True)):
        exif.get_ifd(0x8769)[0xA005] = {1: name}
        Image.fromarray(flat).save(tmp_path / "a.jpg", exif=exif, quality=100, subsampling=0)
        off = np.abs(read_image(tmp_path / "a.jpg") - chart() * 255).mean()
        assert off < 1.5 if there else off > 6


# -- depth ----------------------------------------------------------------------------------------


def test_sixteen_bits_are_rounded_not_cut(tmp_path: Path) -> None:
    import cv2

    rng = np.random.default_rng(1)
    codes = rng.integers(0, 65536, (70, 80, 4), dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(files.png(codes[..., :3]))
    assert np.array_equal(read_image(tmp_path / "a.png"), np.round(codes[..., :3] / 257).astype(np.uint8))
    (tmp_path / "b.png").write_bytes(files.png(codes))
    rgb, alpha = read_rgba(tmp_path / "b.png")
    assert alpha is not None and np.array_equal(np.dstack([rgb, alpha]), np.round(codes / 257).astype(np.uint8))
    cv2.imwrite(str(tmp_path / "c.tif"), codes[..., 2::-1])
    assert np.array_equal(read_image(tmp_path / "c.tif"), np.round(codes[..., :3] / 257).astype(np.uint8))


def test_floating_point_tiff(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "a.tif"), chart()[..., ::-1].astype(np.float32), [cv2.IMWRITE_TIFF_COMPRESSION, 1])
    assert wrong(tmp_path / "a.tif", chart()) <= 1
    cv2.imwrite(str(tmp_path / "g.tif"), chart()[..., 1].astype(np.float32))
    assert wrong(tmp_path / "g.tif", np.repeat(chart()[..., 1:2], 3, 2)) <= 1


# -- HDR ------------------------------------------------------------------------------------------


def pq(nits: NDArray) -> NDArray:
    """Light in cd/m² to code values of SMPTE ST 2084."""
    p = (np.maximum(nits, 0) / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * p) / (1 + 18.6875 * p)) ** 78.84375


def hlg(light: NDArray) -> NDArray:
    """Light of the scene 0..1 to code values of ARIB STD-B67."""
    low = np.sqrt(3 * np.minimum(light, 1 / 12))
    return np.where(light <= 1 / 12, low, 0.17883277 * np.log(np.maximum(12 * light - 0.28466892, 1e-9)) + 0.55991073)


def modest() -> NDArray[np.float64]:
    """The chart without its brightest, which an HDR picture rolls off."""
    return chart() * 0.8


@pytest.mark.parametrize("kind", ["cICP 16", "cICP 8", "cICP P3", "icc", "heic", "avif", "HLG"])
def test_hdr_looks_like_its_standard_picture(tmp_path: Path, kind: str) -> None:
    wanted = modest()
    space = "P3" if kind == "cICP P3" else "Rec2020"
    nits = files.in_space(wanted, space, gamma(1)) * 203
    codes = pq(nits)
    if kind == "HLG":  # the light of the screen back to that of the scene
        screen = nits / 1000
        luma = screen @ [0.2627, 0.6780, 0.0593]
        codes = hlg(screen * np.maximum(luma, 1e-9)[..., None] ** (1 / 1.2 - 1))
    path, limit = tmp_path / "a.png", EXACT
    flat = np.round(codes * 255).astype(np.uint8)
    if kind == "icc":
        said = b"cicp\0\0\0\0" + bytes([9, 16, 0, 1])
        profile = files.icc({b"cicp": said, b"A2B0": b"mft2" + bytes(48)}, "PQ", version=4)
        path.write_bytes(files.png(deep(codes), files.iccp(profile)))
    elif kind == "cICP 8":
        path.write_bytes(files.png(flat, (b"cICP", bytes([9, 16, 0, 1]))))
        limit = 6  # 8 bits of PQ are coarse
    elif kind == "heic":
        pytest.importorskip("pi_heif")
        path, limit = tmp_path / "a.heic", 6
        path.write_bytes(files.heif([codes], bits=10, colour=files.nclx(9, 16)))
    elif kind == "avif":
        path, limit = tmp_path / "a.avif", 8
        files.avif_of_ten_bits(path, codes)
    else:
        said = {"cICP 16": [9, 16], "cICP P3": [12, 16], "HLG": [9, 18]}[kind]
        path.write_bytes(files.png(deep(codes), (b"cICP", bytes([*said, 0, 1]))))
    middles = np.abs(read_image(path) - wanted * 255)[4::9, 4::9]  # where lossy coding blurs nothing
    assert np.percentile(middles, 97) <= limit and np.abs(codes - wanted).mean() > 0.03


def test_highlights_roll_off_instead_of_clipping(tmp_path: Path) -> None:
    nits = np.r_[np.linspace(50, 203, 45), np.linspace(203, 4000, 45)] * np.ones((72, 3, 1))
    path = tmp_path / "a.png"
    path.write_bytes(files.png(deep(pq(np.moveaxis(nits, 1, 2))), (b"cICP", bytes([9, 16, 0, 1]))))
    line = read_image(path)[0, :, 1].astype(int)
    assert (np.diff(line) >= 0).all() and line[-1] >= 254 and 240 <= line[44] <= 253
