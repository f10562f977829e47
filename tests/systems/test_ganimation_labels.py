"""Labels of faces: OpenFace files, unit names, sets of faces, crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from infinex.errors import InputError
from infinex.face.pose import Pose
from infinex.face.topology import mean_face
from infinex.face.units import basis
from infinex.systems.ganimation import labels as L  # noqa: N812
from infinex.systems.ganimation.crop import SIDE, crop_matrix, cut


def _openface(path: Path, rows: int = 3, header: str | None = None) -> Path:
    names = ["frame", " face_id", " timestamp", " confidence", " success", *(f" {u}_r" for u in L.UNITS), " AU28_c"]
    text = [header or ",".join(names)]
    for i in range(rows):
        values = [str(i + 1), "0", "0.0", "0.98", "0" if i == 1 else "1", *(str(0.5 * i) for _ in L.UNITS), "0"]
        text.append(", ".join(values))
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return path


def test_openface_file(tmp_path: Path) -> None:
    units, seen = L.read_openface(_openface(tmp_path / "clip.csv"), frames=3)
    assert units.shape == (3, 17)
    assert units[2] == pytest.approx(np.full(17, 0.2))  # 1.0 of 5
    assert seen.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p.unlink(), "no such file"),
        (lambda p: p.write_text("a,b\n1,2\n"), "no OpenFace file"),
        (lambda p: p.write_text(""), "no OpenFace file"),
        (lambda p: p.write_bytes(b"\xff\xfe\x00"), "no CSV file"),
        (lambda p: p.write_text(p.read_text().replace("0.5", "half", 1)), "line 3 is damaged"),
        (lambda p: p.write_text(p.read_text().replace("0.5", "nan", 1)), "line 3 is damaged"),
        (lambda p: p.write_text(p.read_text() + "4, 0\n"), "line 5 is damaged"),
        (lambda p: _openface(p, rows=2), "has 2 rows and the clip 3 frames"),
    ],
)
def test_openface_files_that_cannot_be(tmp_path: Path, change, words: str) -> None:  # type: ignore[no-untyped-def]
    path = _openface(tmp_path / "clip.csv")
    change(path)
    with pytest.raises(InputError, match=words):
        L.read_openface(path, frames=3)


def test_names_of_both_sides_and_of_one() -> None:
    names = [*(f"AU{int(u[2:])}" for u in L.UNITS if u != "AU12"), "AU12L", "AU12R", "AU27"]
    values = np.linspace(0, 0.8, len(names))[None]
    out = L.from_named(values, names)[0]
    assert out[L.UNITS.index("AU12")] == pytest.approx(values[0, -3:-1].mean())
    assert out[L.UNITS.index("AU26")] == pytest.approx(values[0, -1])  # a stretched jaw has dropped
    with pytest.raises(InputError, match="AU12 is missing"):
        L.from_named(values[:, :16], names[:16])


def test_measures_what_the_basis_makes() -> None:
    b = basis()
    strong = np.zeros(len(b.names))
    strong[[n in ("AU12", "AU25") for n in b.names]] = 0.7
    units = L.measured(b.offsets(strong)[None], drawn=True)[0]
    assert units[L.UNITS.index("AU12")] > 0.4
    assert units[L.UNITS.index("AU01")] < 0.1
    assert L.measured(b.offsets(strong)[None])[0][L.UNITS.index("AU12")] > 0.4  # as a tracker would see it
    assert L.measured(np.zeros((2, 478, 3))).max() == 0
    assert L.measured(np.zeros((0, 478, 3))).shape == (0, 17)


def _rows(split: tuple[str, ...] = ("train", "test")) -> list[L.Row]:
    return [
        L.Row(f"clip{i}", i, f"p{i}", split[i % len(split)], i == 3, (1.0, -2.0, 0.5), tuple(np.full(17, i / 10)))
        for i in range(4)
    ]


def test_a_set_of_faces_survives(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)
    L.write_faces(tmp_path / "faces", frames, _rows())
    faces = L.read_faces(tmp_path)
    assert np.array_equal(faces.frames, frames)
    assert faces.rows == _rows()
    assert faces.of("test").tolist() == [1, 3]
    assert faces.units.shape == (4, 17)


def test_sets_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no faces with units"):
        L.read_faces(tmp_path)
    frames = np.zeros((4, 16, 16, 3), np.uint8)
    L.write_faces(tmp_path, frames[:3], _rows())
    with pytest.raises(InputError, match="4 rows of units do not match 3 frames"):
        L.read_faces(tmp_path)
    both = [*_rows()[:3], L.Row("x", 0, "p0", "test", False, (0, 0, 0), (0.0,) * 17)]
    L.write_faces(tmp_path, frames, both)
    with pytest.raises(InputError, match="p0 is in both splits"):
        L.read_faces(tmp_path)
    L.write_faces(tmp_path, frames, _rows())
    (tmp_path / L.TABLE).write_text("clip,frame\na,b\n")
    with pytest.raises(InputError, match="damaged"):
        L.read_faces(tmp_path)
    L.write_faces(tmp_path, frames, _rows())
    (tmp_path / L.FRAMES).write_bytes(b"nothing")
    with pytest.raises(InputError, match="damaged"):
        L.read_faces(tmp_path)
    L.write_faces(tmp_path, frames[..., :2], _rows())
    with pytest.raises(InputError, match="no pictures of faces"):
        L.read_faces(tmp_path)


def _face(angle: float = 0.3, scale: float = 60.0) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return Pose(scale, np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]), np.array([150.0, 120.0, 0])).to_image(mean_face())


def test_crops_are_upright_and_of_one_size() -> None:
    size = 96
    for angle, scale in ((0.0, 60.0), (0.5, 30.0), (-1.2, 200.0)):
        points = _face(angle, scale)
        m = crop_matrix(points, size)
        inside = points[:, :2] @ m[:, :2].T + m[:, 2]
        assert inside[10, 0] == pytest.approx(size / 2 - 0.5, abs=0.5)  # brow and chin on the middle
        assert inside[152, 0] == pytest.approx(size / 2 - 0.5, abs=0.5)
        assert 0 < inside[152, 1] < size
        eyes = inside[263] - inside[33]
        assert eyes[0] == pytest.approx(size / SIDE, rel=0.03)
        assert eyes[1] == pytest.approx(0, abs=0.5)


def test_cutting_follows_the_matrix() -> None:
    image = np.zeros((240, 320, 3), np.uint8)
    points = _face()
    x, y = np.round(points[4, :2]).astype(int)
    image[y - 3 : y + 4, x - 3 : x + 4] = 255
    m = crop_matrix(points, 96)
    bright = np.argwhere(cut(image, m, 96)[..., 0] > 128).mean(0)[::-1]
    assert bright == pytest.approx(points[4, :2] @ m[:, :2].T + m[:, 2], abs=1)


@pytest.mark.data
def test_labels_prepared_clips(data_dir: Path, tmp_path: Path) -> None:
    """Faces of a prepared folder, by our estimator and from OpenFace's files; what was done is not done again."""
    import shutil

    (tmp_path / "clips").mkdir()
    shutil.copy(data_dir / "clips" / "train" / "faceswap_hamilton_01.mp4", tmp_path / "clips" / "h.mp4")
    (tmp_path / "manifest.csv").write_text(
        "clip,status,identity,split,frames,fps,width,height\nclips/h.mp4,ok,p,train,48,29.97,256,256\n"
    )
    count = L.label(tmp_path, size=48)
    faces = L.read_faces(tmp_path)
    assert count == len(faces.rows) == len(faces.frames) > 15
    assert faces.frames.shape[1:] == (48, 48, 3)
    assert {r.identity for r in faces.rows} == {"p"}
    assert faces.units.max() > 0.1
    assert not (tmp_path / "faces" / ".parts").exists()
    total = faces.rows[-1].frame + 1
    with pytest.raises(InputError, match=r"holds no h\.csv"):
        L.label(tmp_path, tmp_path, 48)
    _openface(tmp_path / "h.csv", total + 5)
    with pytest.raises(InputError, match="do not belong together"):
        L.label(tmp_path, tmp_path, 48)
    frames = next(n for n in (total, total + 1) if _fits(tmp_path, n))
    assert frames >= total
    assert L.read_faces(tmp_path).units[3] == pytest.approx(np.full(17, min(1.0, 0.1 * 6)))


def _fits(folder: Path, rows: int) -> bool:
    _openface(folder / "h.csv", rows)
    try:
        L.label(folder, folder, 48)
    except InputError:
        return False
    return True
