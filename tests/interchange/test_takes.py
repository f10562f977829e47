"""Takes in other tools' files: written, read back, and refused in one line where they are damaged."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from takes import take

from infinex.drivers.units import units_motion
from infinex.errors import InputError
from infinex.face import blendshapes as shapes
from infinex.face import topology as top
from infinex.face.shape import eye_openness, lip_gaps
from infinex.interchange import cues, formats, gltf, livelink, openface
from infinex.interchange.take import Take, TakeDriver, even, turned
from infinex.jobs.open import open_driver


@pytest.mark.parametrize(("name", "close"), [("livelink", 1e-6), ("gltf", 1e-5), ("vrma", 1e-5)])
def test_all_of_a_take_comes_back(name: str, close: float, tmp_path: Path) -> None:
    wanted, found = take(), formats.FORMATS[name]
    path = tmp_path / f"take{found.suffix}"
    found.write(wanted, path)
    back = formats.read(path)
    assert back.fps == wanted.fps and len(back) == len(wanted) and not back.notes
    for a, b in ((back.shapes, wanted.shapes), (back.head, wanted.head), (back.eyes, wanted.eyes)):
        assert np.abs(a - b).max() < close


def test_openface_and_bvh_keep_what_they_can(tmp_path: Path) -> None:
    wanted = take()
    openface.write(wanted, tmp_path / "a.csv")
    back = formats.read(tmp_path / "a.csv")
    assert np.abs(back.head - wanted.head).max() < 2e-3 and np.abs(back.eyes - wanted.eyes).max() < 4e-3
    smile = shapes.AT["mouthSmileLeft"]
    both = wanted.shapes[:, [smile, smile + 1]].mean(1)
    assert np.abs(back.shapes[:, smile] - both).max() < 5e-3
    formats.FORMATS["bvh"].write(wanted, tmp_path / "a.bvh")
    assert np.abs(formats.read(tmp_path / "a.bvh").head - wanted.head).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", formats.FORMATS)
def test_damaged_takes_are_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    found, rng, refused = formats.FORMATS[name], random.Random(name), 0
    found.write(take(8), tmp_path / f"a{found.suffix}")
    whole = (tmp_path / f"a{found.suffix}").read_bytes()
    path = tmp_path / f"b{found.suffix}"
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            # Half of the damage where a file says what it is, half of it bytes that texts are made of.
            at = rng.randrange(min(len(data), 3000) if rng.random() < 0.5 else len(data))
            data[at] = rng.choice(b'0123456789-:;.,eEnN \n\t{}[]"x') if rng.random() < 0.5 else rng.randrange(256)
        path.write_bytes(data[: rng.randrange(len(data))] if rng.random() < 0.4 else data)
        try:
            back = formats.read(path)
            assert (
                len(back) and np.isfinite(back.shapes).all() and np.isfinite(back.head).all() and 1 <= back.fps <= 1000
            )
        except InputError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 300
    assert refused > 10


@pytest.mark.slow
def test_py_feat_reads_openface_tables_as_fex(tmp_path: Path) -> None:
    io = pytest.importorskip("feat.utils.io", reason="py-feat is not installed: pip install py-feat")
    wanted = take()
    openface.write_people([wanted, take(seed=1)], tmp_path / "a.csv")
    fex = io.read_openface(str(tmp_path / "a.csv"))
    assert type(fex).__name__ == "Fex" and fex.detector == "OpenFace" and len(fex) == 2 * len(wanted)
    first = fex[fex["face_id"] == 0]
    smile = shapes.to_units(wanted.shapes)["AU12"]
    assert np.abs(first.aus["AU12_r"] - 5 * smile).max() < 0.01
    assert np.allclose(first.poses[["pose_Rx", "pose_Ry", "pose_Rz"]], [openface.euler(turned(h)) for h in wanted.head],
                       atol=1e-3)  # fmt: skip
    assert first.landmark.shape == (len(wanted), 136) and (first["timestamp"].diff()[1:] - 0.04).abs().max() < 1e-6


def test_head_turns_are_the_ones_of_poses() -> None:
    from infinex.face.pose import Pose

    for head in take(10).head:
        assert np.allclose(np.radians(Pose(1.0, turned(head), np.zeros(3)).angles), head)


def test_openface_axes() -> None:
    """A head turned to the viewer's right, looking down: OpenFace's y goes down and its z away from the camera."""
    x, y, z = openface.euler(turned(np.array([0.3, 0.2, 0.0])))
    assert x > 0.15 and y < -0.25
    assert np.allclose(openface.from_euler(x, y, z), turned(np.array([0.3, 0.2, 0.0])))


def test_gltf_is_whole(tmp_path: Path) -> None:
    wanted = take(10)
    gltf.write(wanted, tmp_path / "a.glb")
    data = (tmp_path / "a.glb").read_bytes()
    magic, version, length = struct.unpack_from("<III", data)
    assert (magic, version, length) == (gltf.GLTF, 2, len(data))
    whole, binary = gltf.load(tmp_path / "a.glb")
    assert whole["meshes"][0]["extras"]["targetNames"] == list(shapes.NAMES)
    assert all(
        v["byteOffset"] % 4 == 0 and v["byteOffset"] + v["byteLength"] <= len(binary) for v in whole["bufferViews"]
    )
    face = top.mean_face()[: top.SURFACE] * gltf.AXES
    a, b, c = (face[top.triangles()[:, [0, 2, 1]][:, k]] for k in range(3))
    assert (np.cross(b - a, c - a)[:, 2] > 0).all()  # the outside is seen


def test_units_become_shapes_and_back() -> None:
    units = units_motion(np.array([[0.8, 0.5, 0.6]]), ["AU12L", "AU4", "AU26"])
    weights = Take.of(units).shapes[0]
    at = shapes.AT
    assert weights[at["mouthSmileLeft"]] == pytest.approx(0.8) and weights[at["mouthSmileRight"]] == 0
    assert weights[at["browDownRight"]] == pytest.approx(0.5) and weights[at["jawOpen"]] == pytest.approx(0.33)
    back = shapes.to_units(weights[None])
    assert back["AU4"][0] == pytest.approx(0.5) and back["AU26"][0] == pytest.approx(0.6, abs=0.02)


def test_shapes_move_the_mesh() -> None:
    def moved(**weights: float) -> np.ndarray:
        return np.asarray(shapes.offsets_of(shapes.named(weights)[None])[0])

    face = top.mean_face()
    open_, shut = eye_openness(face), eye_openness(face + moved(eyeBlinkLeft=1.0))
    assert shut[1] < 0.1 * open_[1] and shut[0] == pytest.approx(open_[0], rel=0.02)
    assert lip_gaps(face + moved(jawOpen=1.0)).max() > 0.2
    assert lip_gaps(face + moved(jawOpen=0.6, mouthClose=0.6)).max() < 0.06
    assert moved(jawLeft=1.0)[152, 0] > 0.05  # the subject's left is the viewer's right
    assert not moved(tongueOut=1.0).any()
    for weights in np.eye(52):
        assert lip_gaps(face + shapes.offsets_of(weights[None])[0]).min() > -1e-9


def test_shapes_are_found_again_in_the_mesh() -> None:
    rng = np.random.default_rng(1)
    for name in ("jawOpen", "mouthSmileLeft", "browInnerUp", "cheekPuff", "jawRight", "noseSneerLeft", "mouthPucker"):
        amount = float(rng.uniform(0.5, 1))
        found = shapes.from_offsets(shapes.offsets_of(shapes.named({name: amount})[None]))[0]
        assert found[shapes.AT[name]] > 0.6 * amount
        found[shapes.AT[name]] = 0
        assert found.max() < 0.25 * amount


# -- tables as they are found ---------------------------------------------------------------------


def _table(path: Path, names: list[str], rows: list[list[object]]) -> Path:
    path.write_text(",".join(names) + "\n" + "".join(",".join(map(str, r)) + "\n" for r in rows), encoding="utf-8")
    return path


def test_other_spellings_missing_and_extra_columns(tmp_path: Path) -> None:
    names = ["timestamp", "eyeBlink_L", "EyeBlinkRight", "jaw open", "mouthSmile_L", "MOUTHSMILERIGHT", "browInnerUp",
             "cheekPuff", "mouth_pucker", "mood"]  # fmt: skip
    path = _table(tmp_path / "a.csv", names, [[k / 50, 0.5, 0.25, 0.1, 0, 1, 0, 0, 0, "calm"] for k in range(20)])
    back = livelink.read(path)
    assert (
        back.fps == 50
        and back.shapes[3, shapes.AT["eyeBlinkLeft"]] == 0.5
        and back.shapes[3, shapes.AT["jawOpen"]] == 0.1
    )
    assert any("44 shapes" in n for n in back.notes)
    rows = [[k / 50, *[0.5] * 52] for k in range(20)]
    path = _table(path, ["timestamp", *(n.replace("jawOpen", "JawOpne") for n in shapes.NAMES)], rows)
    assert any("1 shape (jawOpen)" in n and "JawOpne meant to be jawOpen?" in n for n in livelink.read(path).notes)


def test_a_timecode_without_end_is_no_timecode(tmp_path: Path) -> None:
    names = ["Timecode", *shapes.NAMES]
    rows: list[list[object]] = [[f"{'9' * n}:00:00:00", *[0] * 52] for n in (400, 5000)]
    rows += [[f"00:00:00:{k:02}", *[0] * 52] for k in range(20)]
    back = livelink.read(_table(tmp_path / "a.csv", names, rows))
    assert len(back) == 20 and "2 of 22 rows" in back.notes[0]


@pytest.mark.parametrize("rate", [24, 25, 30000 / 1001, 30, 60, 120])
def test_times_in_milliseconds_keep_the_rate(rate: float, tmp_path: Path) -> None:
    """OpenFace's timestamps have three decimals: of a step of 33 ms one is two hundred frames off in ten minutes."""
    names = ["frame", "timestamp", "success", "AU12_r"]
    rows: list[list[object]] = [[k + 1, f"{k / rate:.3f}", 1, 2] for k in range(300)]
    back = formats.read(_table(tmp_path / "a.csv", names, rows))
    assert len(back) == 300 and back.fps == pytest.approx(rate, rel=1e-4)


def test_timecodes_with_dropped_frames_and_over_midnight() -> None:
    late = livelink.seconds_of(["23:59:59:58.000", "23:59:59:59.500", "00:00:00:01.000"], "a")
    assert np.allclose(np.diff(late), [1.5 / 60, 1.5 / 60])
    codes = [f"00:00:{s:02}:{f:02}.000" for s in range(3) for f in range(30)]
    assert np.allclose(np.diff(livelink.seconds_of(codes, "a")), 1 / 30)
    dropped = [f"00:00:{s:02};{f:02}" for s in range(57, 60) for f in range(30)] + ["00:01:00;02", "00:01:00;03"]
    assert np.allclose(np.diff(livelink.seconds_of(dropped, "a")), 1001 / 30000)


def test_rows_that_are_no_numbers_are_bridged_and_said(tmp_path: Path) -> None:
    wanted = take(30)
    livelink.write(wanted, tmp_path / "a.csv")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    cells = lines[11].split(",")
    cells[9] = "nan"
    lines[11] = ",".join(cells)
    (tmp_path / "a.csv").write_text("\n".join(lines))
    back = livelink.read(tmp_path / "a.csv")
    assert len(back) == 30 and np.isfinite(back.shapes).all() and "1 of 30 rows" in back.notes[0]
    assert np.allclose(back.shapes[10], (wanted.shapes[9] + wanted.shapes[11]) / 2, atol=1e-6)
    for k in (1, 2, 30):
        lines[k] = lines[k].rsplit(",", 1)[0] + ",x"
    (tmp_path / "a.csv").write_text("\n".join(lines))
    assert np.allclose(livelink.read(tmp_path / "a.csv").shapes[20], back.shapes[20])  # nothing comes earlier


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "names no columns"), ("a,b\n1,2\n", "52 shapes"), ("Timecode,eyeBlinkLeft\n", "no rows"),
        ("jawOpen,jawOpen,time\n1,2,3\n", "twice"), ("\0\0\0,\0\n", "names no columns"),
    ],
)  # fmt: skip
def test_tables_of_something_else_are_refused(text: str, word: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=word):
        formats.read(tmp_path / "a.csv")


def test_a_table_without_times_or_with_nothing_but_nan_is_refused(tmp_path: Path) -> None:
    names = [*shapes.NAMES]
    with pytest.raises(InputError, match="says when"):
        livelink.read(_table(tmp_path / "a.csv", names, [[0] * 52] * 3))
    with pytest.raises(InputError, match="no row holds numbers"):
        livelink.read(_table(tmp_path / "a.csv", ["time", *names], [[k, *["x"] * 52] for k in range(3)]))
    with pytest.raises(InputError, match="not a timecode"):
        livelink.read(_table(tmp_path / "a.csv", ["Timecode", *names], [["soon", *[0] * 52]] * 3))


def test_a_million_rows_are_refused_before_they_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infinex.interchange import table

    monkeypatch.setattr(table, "MOST_ROWS", 50)
    livelink.write(take(60), tmp_path / "a.csv")
    with pytest.raises(InputError, match="more than 50 rows"):
        formats.read(tmp_path / "a.csv")


def test_uneven_times_are_laid_on_a_clock() -> None:
    t = np.array([0, 1, 2, 4, 5, 6, 40, 41]) / 30
    fps, rows, valid, _ = even(t, t[:, None] * 3, "a")
    assert fps == 30 and np.allclose(rows[:, 0], np.arange(42) / 10)
    assert valid[3] and not valid[22]
    with pytest.raises(InputError, match="gaps"):
        even(np.array([0, 0.01, 0.02, 5000.0]), np.zeros((4, 1)), "a")


def test_openface_of_several_faces_takes_the_one_seen_most(tmp_path: Path) -> None:
    names = ["frame", "face_id", "timestamp", "success", "AU12_r", "AU45_r", "pose_Rx", "pose_Ry", "pose_Rz"]
    rows = [[k, 1, k / 30, 1, 5, 0, 0, 0, 0] for k in range(20)] + [[k, 0, k / 30, 1, 1, 0, 0, 0, 0] for k in range(5)]
    back = formats.read(_table(tmp_path / "a.csv", names, rows))
    assert len(back) == 20 and back.shapes[0, shapes.AT["mouthSmileLeft"]] == 1
    assert any("2 faces" in n for n in back.notes)


# -- mouth cues -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rhubarb", "rhubarb-json", "vtt"])
def test_cues_come_back(name: str, tmp_path: Path) -> None:
    weights = np.zeros((100, 52))
    weights[20:40, shapes.AT["jawOpen"]] = 0.6
    weights[40:55, shapes.AT["mouthPucker"]] = 0.8
    wanted = Take(50.0, weights, np.zeros((100, 3)), np.zeros((100, 2, 2)), np.ones(100, bool))
    assert [c[2] for c in cues.cues_of(wanted)] == ["X", "D", "F", "X"]
    found = formats.FORMATS[name]
    path = tmp_path / f"a{found.suffix}"
    found.write(wanted, path)
    back = formats.read(path)
    assert [c[2] for c in cues.cues_of(back) if c[1] - c[0] > 0.15] == ["X", "D", "F", "X"]


def test_cues_are_as_rhubarb_writes_them(tmp_path: Path) -> None:
    cues.write_json(take(20), tmp_path / "a.json")
    whole = json.loads((tmp_path / "a.json").read_text())
    assert set(whole) == {"metadata", "mouthCues"} and set(whole["mouthCues"][0]) == {"start", "end", "value"}
    assert all(a["end"] == b["start"] for a, b in zip(whole["mouthCues"], whole["mouthCues"][1:]))


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"mouthCues": 3}',
        "0.0 A",
        "0.0\tQ\n1.0\tX\n",
        "nan\tA\n1\tX\n",
        '{"mouthCues": []}',
        '{"mouthCues": [{"start": 0, "end": 1' + 400 * "0" + ', "value": "A"}]}',
        "0\tA\n99999999\tX\n",
    ],
)
def test_cues_of_something_else_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(text)
    with pytest.raises(InputError):
        formats.read(tmp_path / "a.tsv")


# -- drivers --------------------------------------------------------------------------------------


def test_a_take_is_a_driver(tmp_path: Path) -> None:
    livelink.write(take(12), tmp_path / "a.csv")
    driver = open_driver(tmp_path / "a.csv")
    assert isinstance(driver, TakeDriver) and driver.frames == 12 and driver.fps == 25
    drives = list(driver.settle())
    assert len(drives) == 12 and drives[3].move.offsets.shape == (478, 3)
    assert open_driver(tmp_path / "a.csv", __import__("infinex").Options(fps=50)).frames == 24


def test_rest_moves_nothing() -> None:
    still = Take(25.0, np.zeros((3, 52)), np.zeros((3, 3)), np.zeros((3, 2, 2)), np.ones(3, bool))
    for drive in TakeDriver(still):
        assert not drive.move.offsets.any() and not drive.move.rotation.any() and not drive.move.translation.any()


@pytest.mark.parametrize(
    ("style", "name"), [("livelink", "a.glb"), ("poem", "a.csv"), (None, "a.csv"), (None, "a.txt")]
)
def test_formats_and_endings_must_agree(style: str | None, name: str) -> None:
    with pytest.raises(InputError):
        formats.chosen(style, Path(name))
