"""The film kit: read back by other libraries it makes the frames again, and every pass says what it claims."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from infinex.errors import InputError, MissingDependencyError, OutputError
from infinex.jobs import passes
from infinex.jobs.animate import animate, render
from infinex.jobs.batch import read_jobs
from infinex.jobs.source import load_source
from infinex.options import Options

SIZE, FRAMES = 320, 4
NOSE, CHIN, BROW, RIGHT, LEFT = 1, 152, 10, 234, 454  # points of the mesh; right and left are the subject's


@dataclass
class Made:
    """A kit, and the frames it belongs to."""

    folder: Path
    frames: list[np.ndarray]
    scan: np.ndarray

    def exr(self, name: str, number: int) -> dict[str, np.ndarray]:
        exr: Any = pytest.importorskip("OpenEXR")
        channels = exr.File(str(self.folder / name / f"{name}.{number:06d}.exr")).channels()
        return {k: v.pixels.astype(np.float64) for k, v in channels.items()}

    def png(self, name: str, number: int) -> np.ndarray:
        return cv2.imread(str(self.folder / name / f"{name}.{number:06d}.png"), cv2.IMREAD_UNCHANGED)

    def places(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows of the scan, as an STMap means them."""
        uv = self.exr("stmap", number)["RGB"]
        h, w = uv.shape[:2]
        return uv[..., 0] * w - 0.5, (1 - uv[..., 1]) * h - 0.5

    def landmarks(self) -> np.ndarray:
        """(T, 478, 2)."""
        with (self.folder / "landmarks.csv").open() as file:
            rows = list(csv.reader(file))[1:]
        return np.array([[float(v) for v in row[2:]] for row in rows]).reshape(len(rows), 478, 2)


@pytest.fixture(scope="module")
def made(portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    pytest.importorskip("OpenEXR", reason="OpenEXR is not installed: pip install 'infinex[film]'")
    out = tmp_path_factory.mktemp("film")
    options = Options(size=SIZE, start=0.3, end=0.3 + FRAMES / 25, refine=False, passes=out / "kit")
    assert animate(portrait, "look-around", out / "frames", options).frames == FRAMES
    frames = [cv2.imread(str(f))[..., ::-1] for f in sorted((out / "frames").iterdir())]
    return Made(out / "kit", frames, load_source(portrait, size=SIZE)[0].image)


def _keys(t: np.ndarray) -> np.ndarray:
    t, a = np.abs(t), -0.75
    near, far = ((a + 2) * t - (a + 3)) * t * t + 1, ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0))


def _moved(scan: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cubic convolution, written from its formula."""
    h, w = scan.shape[:2]
    left, top, out = np.floor(x).astype(int), np.floor(y).astype(int), np.zeros((*x.shape, 3))
    for j in range(-1, 3):
        for i in range(-1, 3):
            weight = _keys(x - left - i) * _keys(y - top - j)
            out += weight[..., None] * scan[np.clip(top + j, 0, h - 1), np.clip(left + i, 0, w - 1)]
    return np.clip(out, 0, 255)


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, ((a - b.astype(float)) ** 2).mean())))


def _shifts(made: np.ndarray, frame: np.ndarray, free: np.ndarray, side: int = 17) -> np.ndarray:
    """How far (N,) in pixels windows of two pictures lie apart, by least squares on their gradients (Lucas and Kanade
    1981): windows that are `free` (H, W) as a whole and have texture in every direction."""
    a, b = (
        cv2.cvtColor(i.clip(0, 255).astype(np.float32), cv2.COLOR_RGB2GRAY).astype(np.float64) for i in (made, frame)
    )
    gy, gx = np.gradient(a)
    xx, xy, yy, xd, yd = (cv2.blur(p, (side, side)) for p in (gx * gx, gx * gy, gy * gy, gx * (b - a), gy * (b - a)))
    least = (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    good = (cv2.erode(free.astype(np.uint8), np.ones((side, side))) > 0) & (least > 4)
    det = xx * yy - xy**2
    return np.hypot(yy * xd - xy * yd, xx * yd - xy * xd)[good] / det[good]


def test_the_frames_are_made_again_from_the_untouched_picture(made: Made) -> None:
    for number, frame in enumerate(made.frames, 1):
        x, y = made.places(number)
        moved = _moved(made.scan, x, y)
        paint = made.png("paint", number)
        share, colour = paint[..., 3:] / 65535, paint[..., 2::-1] / 257
        assert _psnr(moved * (1 - share) + colour * share, frame) > 50
        assert _psnr(made.scan, frame) < 32  # it has moved
        apart = _shifts(moved, frame, share[..., 0] == 0)
        assert len(apart) > 1000 and apart.max() < 0.1
        aside = _moved(made.scan, x + 0.15, y)
        assert np.median(_shifts(aside, frame, share[..., 0] == 0)) > 0.1  # which would have been seen
        person = made.png("matte", number) == 255
        assert (share[person] > 0).mean() < 0.3  # the paint is not simply the frame
        assert (share[person] == 0).mean() > 0.6


def test_maps_lead_to_the_places_of_the_picture_and_stay_behind_the_person(made: Made, portrait: Path) -> None:
    own = load_source(portrait, size=SIZE)[0].face.landmarks
    points = made.landmarks()
    for number in range(1, FRAMES + 1):
        x, y = made.places(number)
        for p in (NOSE, BROW, 50, 280):
            at = points[number - 1, p]
            there = [cv2.remap(m.astype(np.float32), *np.float32(at).reshape(2, 1, 1), 1)[0, 0] for m in (x, y)]
            np.testing.assert_allclose(there, own[p, :2], atol=0.4)
        behind = made.png("matte", number) == 0
        rows, columns = np.indices(x.shape)
        np.testing.assert_allclose(x[behind], columns[behind], atol=1e-3)
        np.testing.assert_allclose(y[behind], rows[behind], atol=1e-3)


def test_vectors_lead_from_frame_to_frame(made: Made) -> None:
    points = made.landmarks()
    ways = np.diff(points, axis=0)
    assert np.abs(ways).max() > 0.3
    for number in range(1, FRAMES):
        for name, at, way in (("forward", number, ways[number - 1]), ("backward", number + 1, -ways[number - 1])):
            vectors = made.exr("vectors", at)
            for p in (NOSE, BROW, 50, 280):
                column, row = np.round(points[at - 1, p]).astype(int)
                seen = vectors[f"{name}.u"][row, column], -vectors[f"{name}.v"][row, column]
                np.testing.assert_allclose(seen, way[p], atol=0.1)
    assert not made.exr("vectors", 1)["backward.u"].any()
    assert not made.exr("vectors", FRAMES)["forward.u"].any()


def test_normals_face_the_viewer_and_turn_with_the_cheeks(made: Made) -> None:
    normals, points = made.exr("normals", 1)["RGBA"], made.landmarks()[0]
    skin = normals[..., 3] > 0
    assert 0.02 < skin.mean() < 0.5
    np.testing.assert_allclose(np.linalg.norm(normals[skin][:, :3], axis=1), 1, atol=5e-3)
    assert (normals[skin][:, 2] > 0).mean() > 0.97

    def at(p: int) -> np.ndarray:
        column, row = np.round(0.9 * points[p] + 0.1 * points[NOSE]).astype(int)
        return normals[row, column]

    assert at(RIGHT)[0] < -0.4 and at(LEFT)[0] > 0.4  # a subject's right side is the viewer's left
    assert at(BROW)[1] > at(NOSE)[1] > at(CHIN)[1]
    assert not normals[~skin].any()


def test_the_folder_says_what_it_holds(made: Made) -> None:
    said = json.loads((made.folder / "passes.json").read_text())
    assert (said["width"], said["height"]) == made.scan.shape[1::-1]
    assert said["frames"] == FRAMES and said["fps"] == 25 and "not a recording" in said["made"]
    for name in passes.LAYERS:
        assert len(list((made.folder / name).iterdir())) == FRAMES and name in said["passes"]
    matte, points = made.png("matte", 1), made.landmarks()
    column, row = np.round(points[0, NOSE]).astype(int)
    assert matte[row, column] == 255 and matte[2, 2] == 0


def test_what_breaks_off_leaves_nothing(portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("OpenEXR", reason="OpenEXR is not installed: pip install 'infinex[film]'")

    def full(kit: object, name: str, number: int, picture: object) -> None:
        if number == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(passes.Kit, "_png", full)
    with pytest.raises(OutputError, match="disk is full"):
        animate(portrait, "nod", tmp_path / "o.mp4", Options(size=192, end=0.2, passes=tmp_path / "kit", refine=False))
    assert not list(tmp_path.iterdir())


def test_what_has_no_passes_says_so(portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kit = tmp_path / "kit"
    for options in (Options(passes=kit, panel=True), Options(passes=kit, background="red"),
                    Options(passes=kit, engine="fomm")):  # fmt: skip
        with pytest.raises(InputError, match="passes"):
            options.check()
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(MissingDependencyError, match=r"infinex\[film\]"):
        animate(portrait, "nod", tmp_path / "o.mp4", Options(passes=kit))
    monkeypatch.setattr(passes, "_library", lambda: None)
    with pytest.raises(InputError, match="several drivers"):
        animate(portrait, "", tmp_path / "o.mp4", Options(passes=kit, face="1=nod,2=smile"))
    with pytest.raises(InputError, match="handed over"):
        next(render([], "nod", Options(passes=kit)))
    with pytest.raises(OutputError, match="side by side"):
        animate(portrait, "nod", kit, Options(passes=kit / "in"))
    kit.mkdir()
    (kit / "a").touch()
    with pytest.raises(OutputError, match="not an empty folder"):
        animate(portrait, "nod", tmp_path / "o.mp4", Options(passes=kit))


def test_a_list_of_jobs_writes_where_it_is_told_to_only(tmp_path: Path) -> None:
    line = {"source": "a.png", "driving": "nod", "options": {"passes": "/elsewhere"}}
    (tmp_path / "jobs.jsonl").write_text(json.dumps(line))
    with pytest.raises(InputError, match="unknown passes"):
        read_jobs(tmp_path / "jobs.jsonl")
