"""Blender's add-on: installed, and asked for takes, by Blender itself (`bpy`); its reader of files without it."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from takes import take

from infinex.face.blendshapes import AT
from infinex.interchange import formats, livelink
from infinex.interchange.take import turned

FOLDER = Path(__file__).parents[2] / "blender"
AXES = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])  # of a head's right, down and away, Blender's X, Y and Z

# In a process of its own: a face and an armature are given a table, an empty scene a .glb, and what moves is told.
SCRIPT = """
import json, sys, bpy
zipped, table, binary = sys.argv[1:]
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.extensions.package_install_files(filepath=zipped, repo="user_default", enable_on_install=True)
mesh = bpy.data.meshes.new("me")
mesh.from_pydata([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [], [(0, 1, 2)])
face = bpy.data.objects.new("face", mesh)
bpy.context.collection.objects.link(face)
for name in ("Basis", "jawOpen", "MouthSmile_L", "other"):
    face.shape_key_add(name=name)
data = bpy.data.armatures.new("rig")
rig = bpy.data.objects.new("rig", data)
bpy.context.collection.objects.link(rig)
bpy.context.view_layer.objects.active = rig
bpy.ops.object.mode_set(mode="EDIT")
bone = data.edit_bones.new("J_Bip_C_Head")
bone.head, bone.tail, bone.roll = (0, 0, 1), (0.1, -0.2, 1.3), 0.4
bpy.ops.object.mode_set(mode="OBJECT")
scene, out = bpy.context.scene, {}

def told(read):
    rows = []
    for f in range(scene.frame_start, scene.frame_end + 1):
        scene.frame_set(f)
        rows.append(read())
    fps = scene.render.fps / scene.render.fps_base
    return {"fps": fps, "range": [scene.frame_start, scene.frame_end], "rows": rows}

def keys(o, *names):
    return [o.data.shape_keys.key_blocks[n].value for n in names]

bpy.ops.object.select_all(action="DESELECT")
try:
    bpy.ops.import_anim.infinex_take(filepath=table)
except RuntimeError as error:
    out["refused"] = str(error)
face.select_set(True)
rig.select_set(True)
bpy.ops.import_anim.infinex_take(filepath=table, start=10)
b = rig.pose.bones[0]
out["table"] = told(lambda: [*keys(face, "jawOpen", "MouthSmile_L", "other"),
    *[v for row in (b.matrix @ b.bone.matrix_local.inverted()).to_3x3() for v in row]])
bpy.ops.object.select_all(action="DESELECT")
bpy.ops.import_anim.infinex_take(filepath=binary)
head = bpy.data.objects["head"]
out["glb"] = told(lambda: [*keys(head, "jawOpen", "mouthSmileLeft"),
    *[v for row in head.matrix_world.to_3x3() for v in row]])
# The same file by Blender's own importer, whose animation begins at frame 0.
bpy.ops.object.select_all(action="DESELECT")
bpy.ops.import_scene.gltf(filepath=binary)
other = next(o for o in bpy.context.selected_objects if o.type == "MESH")
scene.frame_start, scene.frame_end = 0, scene.frame_end - 1
out["own"] = told(lambda: [*keys(other, "jawOpen", "mouthSmileLeft"),
    *[v for row in other.matrix_world.to_3x3() for v in row]])
print("TOLD" + json.dumps(out))
"""


@pytest.fixture(scope="module")
def reader() -> ModuleType:
    """What reads files in the add-on."""
    spec = importlib.util.spec_from_file_location("infinex_blender_takes", FOLDER / "takes.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_blender_plays_takes(tmp_path: Path) -> None:
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("bpy is not installed: pip install bpy (Python 3.11)")
    wanted = take(12, 30000 / 1001)
    table, binary = tmp_path / "take.csv", tmp_path / "take.glb"
    formats.FORMATS["livelink"].write(wanted, table)
    formats.FORMATS["gltf"].write(wanted, binary)
    zipped = shutil.make_archive(str(tmp_path / "infinex_take"), "zip", FOLDER)
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, zipped, str(table), str(binary)],
        capture_output=True, text=True, check=False, env={**os.environ, "BLENDER_USER_RESOURCES": str(tmp_path)},
    )  # fmt: skip
    assert "TOLD" in ran.stdout, ran.stderr[-2000:]
    out = json.loads(ran.stdout.split("TOLD")[1].splitlines()[0])
    assert "select a mesh" in out["refused"]
    turns = np.array([AXES @ turned(h) @ AXES.T for h in wanted.head]).reshape(-1, 9)
    shown = wanted.shapes[:, [AT["jawOpen"], AT["mouthSmileLeft"]]]
    for name, start in (("table", 10), ("glb", 1)):
        assert out[name]["fps"] == pytest.approx(30000 / 1001, rel=1e-5)
        assert out[name]["range"] == [start, start + 11]
        rows = np.array(out[name]["rows"])
        assert np.abs(rows[:, :2] - shown).max() < 2e-3  # a timecode has thousandths of a sixtieth
        assert np.abs(rows[:, -9:] - turns).max() < 2e-3
    assert np.ptp(np.array(out["table"]["rows"])[:, 2]) == 0  # a shape that is not in the take
    # Blender's own importer multiplies by a scene's fps_base, where the rate is divided by it: 30.03 for 29.97.
    assert np.abs(np.array(out["own"]["rows"]) - np.array(out["glb"]["rows"])).max() < 0.03


def test_its_reader_reads_what_we_write_and_what_we_read(reader: ModuleType, tmp_path: Path) -> None:
    wanted = take(200, 60.0)
    formats.FORMATS["livelink"].write(wanted, tmp_path / "a.csv")
    back = reader.read(str(tmp_path / "a.csv"))
    assert back.fps == 60 and np.abs(back.shapes["jawopen"] - wanted.shapes[:, AT["jawOpen"]]).max() < 1e-6
    codes = [f"23:59:{58 + s:02};{f:02}" if s < 2 else f"00:00:{s - 2:02};{f:02}" for s in range(5) for f in range(30)]
    assert np.allclose(np.diff(reader.seconds(codes))[3:50], np.diff(livelink.seconds_of(codes, ""))[3:50])
    odd = "time;jawOpen;EyeBlink_L;a;b;c;d;HeadYaw\n0;0.5;x;1;1;1;1;0\n0.1;nan;0.2;1;1;1;1;\n"
    (tmp_path / "b.csv").write_text(odd)
    back = reader.read(str(tmp_path / "b.csv"))
    assert np.isnan(back.shapes["jawopen"][1]) and back.shapes["eyeblinkleft"][1] == pytest.approx(0.2)
    assert back.fps == 10 and np.isnan(back.head[1]).all() and back.head[0] == pytest.approx([1, 0, 0, 0])


@pytest.mark.parametrize("suffix", [".csv", ".glb"])
def test_damaged_takes_are_refused_in_one_line(reader: ModuleType, suffix: str, tmp_path: Path) -> None:
    formats.FORMATS["livelink" if suffix == ".csv" else "gltf"].write(take(6), tmp_path / f"a{suffix}")
    whole = (tmp_path / f"a{suffix}").read_bytes()
    path, rng, refused = tmp_path / f"b{suffix}", random.Random(3), 0
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(min(len(data), 4000))] = rng.randrange(256)
        path.write_bytes(data[: rng.randrange(len(data)) if rng.random() < 0.5 else None])
        try:
            back = reader.read(str(path))
            assert len(back.times) and all(len(v) == len(back.times) for v in back.shapes.values())
        except reader.TakeError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 200
    assert refused > 20
