"""Reading and writing pictures."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from infinex.errors import InputError, OutputError
from infinex.media.image import is_image, read_image, write_image

BAD = ["corrupt.jpg", "empty.png", "one-pixel.png", "text-not-image.jpg", "audio-only.mp4"]
ODD = ["alpha.png", "animated.gif", "cmyk.jpg", "exif-rotated.jpg", "grey.png", "odd-size.jpg", "palette.png",
       "photo.webp", "sixteen-bit.png"]  # fmt: skip


@pytest.mark.data
@pytest.mark.parametrize("name", BAD)
def test_bad_pictures_are_refused_in_one_line(data_dir: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        read_image(data_dir / "bad" / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.data
@pytest.mark.parametrize("name", ODD)
def test_odd_pictures_work(data_dir: Path, name: str) -> None:
    image = read_image(data_dir / "odd" / name)
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    assert 60 < image.mean() < 160  # neither clipped nor black


def test_eight_bit_png_comes_through_bit_for_bit(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    write_image(tmp_path / "a.png", image, {"comment": "made here"})
    assert np.array_equal(read_image(tmp_path / "a.png"), image)
    assert Image.open(tmp_path / "a.png").text["Comment"] == "made here"


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 65535, 128).astype(np.uint16), (80, 1))
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    image = read_image(tmp_path / "deep.png")
    assert np.abs(image[0, :, 0] - np.linspace(0, 255, 128)).max() <= 1


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    rgba = np.zeros((70, 70, 4), np.uint8)
    rgba[:35, :, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image[10, 10].tolist() == [0, 0, 0] and image[60, 10].tolist() == [255, 255, 255]


def test_exif_orientation_is_honoured(tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((80, 100, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (100, 80, 3)


def test_missing_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(InputError, match="folder"):
        read_image(tmp_path)


def test_is_image_looks_at_content(tmp_path: Path, portrait: Path) -> None:
    assert is_image(portrait)
    (tmp_path / "a.jpg").write_text("text")
    assert not is_image(tmp_path / "a.jpg")


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="must end in"):
        write_image(tmp_path / "a.xyz", np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(OutputError, match="does not exist"):
        write_image(tmp_path / "none" / "a.png", np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(OutputError, match="at most"):
        write_image(tmp_path / "a.webp", np.zeros((64, 20000, 3), np.uint8))  # wider than WebP allows
    assert list(tmp_path.iterdir()) == []
