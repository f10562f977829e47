"""Transparent frames and other backgrounds."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from infinex.editing import edit
from infinex.engine import Drive, Source
from infinex.errors import InfinexError, InputError
from infinex.face.tracker import Face
from infinex.media.background import backdrop, parse_background
from infinex.mesh.cutout import bled
from infinex.mesh.engine import MeshEngine, MeshOptions
from infinex.motion import Move, Rest
from infinex.pipeline import Options, Stage, animate, load_source

STILL = Move(0.0, np.zeros(3), np.zeros(3), 1.0, np.zeros((478, 3)), np.zeros(2))
TURNED = Move(0.0, np.array([0, 0.3, 0.1]), np.array([0.1, 0, 0]), 1.0, np.zeros((478, 3)), np.zeros(2))


def frame(sources: list[Source], background: str, move: Move) -> np.ndarray:
    stage = Stage(sources, MeshEngine(MeshOptions("own", "none", refine=False)), background=background)
    stage.begin(Rest.neutral(), None, None)
    return stage.render(Drive(move))[0].copy()


@pytest.fixture(scope="module")
def opaque(portrait: Path) -> list[Source]:
    return load_source(portrait)


@pytest.fixture(scope="module")
def cutout(opaque: list[Source]) -> list[Source]:
    """The portrait cut out by an ellipse around the head, black where nothing shows."""
    source = opaque[0]
    h, w = source.image.shape[:2]
    p = source.face.landmarks
    unit = float(np.linalg.norm(p[33] - p[263]))
    y, x = np.mgrid[:h, :w]
    far = np.hypot((x - p[1, 0]) / 1.5, (y - p[1, 1]) / 2.0) / unit
    alpha = np.clip((1 - far) * 20, 0, 1)
    rgba = np.dstack([np.where(alpha[..., None] > 0, source.image, 0), np.round(255 * alpha)]).astype(np.uint8)
    white = np.round(rgba[..., :3] * alpha[..., None] + 255 * (1 - alpha[..., None])).astype(np.uint8)
    return [Source(white, source.face, rgba)]


def test_at_rest_a_cut_out_is_itself(cutout: list[Source]) -> None:
    rgba = cutout[0].cutout
    assert rgba is not None
    image = frame(cutout, "none", STILL)
    assert np.array_equal(image[..., 3], rgba[..., 3])
    seen = rgba[..., 3] == 255
    assert np.array_equal(image[seen, :3], cutout[0].image[seen])
    some = rgba[..., 3] >= 8
    assert np.abs(image[some, :3].astype(int) - rgba[some, :3]).max() <= 8
    assert np.array_equal(frame(cutout, "keep", STILL), cutout[0].image)


def test_a_cut_out_moves_with_its_head_and_has_no_dark_rim(cutout: list[Source]) -> None:
    image, rgba = frame(cutout, "none", TURNED), cutout[0].cutout
    assert rgba is not None and (np.abs(image[..., 3].astype(int) - rgba[..., 3]) > 128).sum() > 100
    assert image[..., 3].max() == 255 and image[..., 3].min() == 0
    # What lies under transparency is black in the file: at the rim no pixel is darker than the person near it.
    rim = (image[..., 3] > 20) & (image[..., 3] < 235)
    own = (rgba[..., 3] > 20) & (rgba[..., 3] < 235)
    assert image[rim, :3].mean() > 0.9 * rgba[own, :3].mean()


@pytest.mark.parametrize("move", [STILL, TURNED])
def test_where_the_person_is_opaque_the_background_changes_nothing(opaque: list[Source], move: Move) -> None:
    plain, image = frame(opaque, "keep", move), frame(opaque, "none", move)
    seen = image[..., 3] == 255
    assert 0.15 < seen.mean() < 0.9
    assert np.array_equal(image[seen, :3], plain[seen])


def test_a_colour_takes_the_place_of_the_background(opaque: list[Source], tmp_path: Path) -> None:
    image, clear = frame(opaque, "#ff00ff", TURNED), frame(opaque, "none", TURNED)
    assert image.shape[2] == 3 and (image[clear[..., 3] == 0] == [255, 0, 255]).all()
    a = clear[..., 3:] / 255
    assert np.abs(image - (clear[..., :3] * a + np.array([255, 0, 255]) * (1 - a))).max() <= 1
    Image.new("RGB", (300, 90), (0, 90, 0)).save(tmp_path / "green.png")
    green = frame(opaque, str(tmp_path / "green.png"), TURNED)
    assert (green[clear[..., 3] == 0] == [0, 90, 0]).all()


def test_a_face_that_fills_the_picture_is_cut_out(opaque: list[Source]) -> None:
    p = opaque[0].face.landmarks
    x0, y0 = np.floor(p[:468, :2].min(0)).astype(int)
    x1, y1 = np.ceil(p[:468, :2].max(0)).astype(int)
    tight = Source(np.ascontiguousarray(opaque[0].image[y0:y1, x0:x1]), Face(p - np.array([x0, y0, 0])))
    assert (frame([tight], "none", STILL)[..., 3] == 255).mean() > 0.6


def test_two_people_are_cut_out_together(opaque: list[Source]) -> None:
    one = opaque[0]
    w = one.image.shape[1]
    image = np.ascontiguousarray(np.hstack([one.image, one.image]))
    both = [Source(image, one.face), Source(image, Face(one.face.landmarks + np.array([w, 0, 0])))]
    left, right = np.hsplit(frame(both, "none", TURNED), 2)
    for half in (left, right):
        assert (half[..., 3] == 255).mean() > 0.15
    p = np.round(one.face.landmarks[1, :2]).astype(int)
    assert left[p[1], p[0], 3] == right[p[1], p[0], 3] == 255


def test_colours_bleed_under_transparency() -> None:
    rgba = np.zeros((40, 40, 4), np.uint8)
    rgba[10:30, 10:30] = [200, 100, 50, 255]
    out = bled(rgba)
    assert np.array_equal(out[..., 3], rgba[..., 3])
    assert np.abs(out[9, 9:31, :3].astype(int) - [200, 100, 50]).max() < 6


def test_names_of_backgrounds(tmp_path: Path) -> None:
    assert parse_background("keep") == "keep" and parse_background("white") == (255, 255, 255)
    assert parse_background("#00a0ff") == (0, 160, 255)
    for wrong in ("nosuch", "#12", "#11223344", str(tmp_path)):
        with pytest.raises(InputError, match="--background"):
            parse_background(wrong)
    Image.new("RGB", (100, 64), "navy").save(tmp_path / "b.png")
    assert backdrop(tmp_path / "b.png", 64, 90).shape == (90, 64, 3)
    for options in (Options(engine="fomm", background="red"), Options(panel=True, background="none")):
        with pytest.raises(InputError, match="background"):
            options.check()


def test_outputs_that_cannot_be_transparent_say_so(portrait: Path, tmp_path: Path) -> None:
    with pytest.raises(InfinexError, match="cannot be transparent"):
        animate(portrait, "nod", tmp_path / "out.mp4", Options(background="none"))
    with pytest.raises(InputError, match="cannot be transparent"):
        edit(portrait, "AU12=0.5", tmp_path / "out.jpg", background="none")
    assert not list(tmp_path.iterdir())


def test_an_edited_portrait_is_saved_transparent(portrait: Path, tmp_path: Path) -> None:
    image = edit(portrait, "AU12=0.5", tmp_path / "out.png", background="none")
    assert image.shape[2] == 4
    with Image.open(tmp_path / "out.png") as saved:
        assert np.array_equal(np.asarray(saved), image)
