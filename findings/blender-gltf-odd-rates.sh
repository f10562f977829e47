#!/bin/sh
# Blender 5.0.1 (bpy on PyPI, for Python 3.11), its glTF importer: an animation sampled at 29.97 frames a second, brought into a
# scene of 29.97 (fps 30, fps_base 1.001), does not lie on whole frames. A scene shows fps / fps_base frames a second; the importer
# counts fps * fps_base, so that keys land as for 30.03. At whole rates (fps_base 1) nothing is seen of it; a take of an hour at
# NTSC rates ends seven seconds late. Remedy: keys multiplied by 1 / fps_base^2 after the import, or read from a table.
# Seen: key 90 lies at frame 90.18. Fails as soon as it lies at 90.
set -eu
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3.11 -m venv "$here/venv"
"$here/venv/bin/pip" install -q 'numpy==1.26.4' 'bpy==5.0.1'
cd "$here"
venv/bin/python - <<'PY'
import base64
import json
import struct

import bpy

FRAMES = 91
times = [k * 1001 / 30000 for k in range(FRAMES)]
places = [v for k in range(FRAMES) for v in (k / 10, 0.0, 0.0)]
data = struct.pack(f"<{FRAMES}f", *times) + struct.pack(f"<{3 * FRAMES}f", *places)
numbers = {"componentType": 5126, "count": FRAMES}
take = {
    "asset": {"version": "2.0"},
    "scene": 0,
    "scenes": [{"nodes": [0]}],
    "nodes": [{"name": "head"}],
    "buffers": [{"byteLength": len(data), "uri": "data:application/octet-stream;base64," + base64.b64encode(data).decode()}],
    "bufferViews": [
        {"buffer": 0, "byteOffset": 0, "byteLength": 4 * FRAMES},
        {"buffer": 0, "byteOffset": 4 * FRAMES, "byteLength": 12 * FRAMES},
    ],
    "accessors": [
        {**numbers, "bufferView": 0, "type": "SCALAR", "min": [times[0]], "max": [times[-1]]},
        {**numbers, "bufferView": 1, "type": "VEC3"},
    ],
    "animations": [{
        "samplers": [{"input": 0, "output": 1, "interpolation": "LINEAR"}],
        "channels": [{"sampler": 0, "target": {"node": 0, "path": "translation"}}],
    }],
}
with open("take.gltf", "w") as file:
    json.dump(take, file)


def last_key(fps: int, base: float) -> float:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    render = bpy.context.scene.render
    render.fps, render.fps_base = fps, base
    bpy.ops.import_scene.gltf(filepath="take.gltf")
    curve = bpy.data.actions[0].layers[0].strips[0].channelbags[0].fcurves[0]
    at = curve.keyframe_points[-1].co[0]
    print(f"Blender {bpy.app.version_string}, {fps} / {base} = {fps / base:.3f} frames a second:",
          f"{times[-1]:.3f} s lie at frame {at:.2f}, which is shown at {at * base / fps:.3f} s")
    return at


assert abs(last_key(30, 1.0) - times[-1] * 30) < 0.01, "a whole rate was right"
assert abs(last_key(30, 1.001) - 90 * 1.001**2) < 0.01, "this has changed"
PY
echo "as described"
