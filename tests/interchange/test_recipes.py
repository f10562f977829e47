"""The recipes of docs/interchange.md, run as they are printed, each by the program it is for."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```(python|js)\n(.*?)^```", (ROOT / "docs" / "interchange.md").read_text(), re.M | re.S)
pytestmark = pytest.mark.slow


def _recipe(word: str, module: str = "") -> str:
    if module and importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    found = [code for _, code in BLOCKS if word in code]
    assert len(found) == 1
    return found[0]


def _run(folder: Path, *call: str) -> str:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=False, timeout=600,
                          env=env | {"BLENDER_USER_RESOURCES": str(folder)})  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def _infinex(folder: Path, *words: str) -> str:
    return _run(folder, sys.executable, "-m", "infinex.cli", *words)


def test_blender(tmp_path: Path) -> None:
    code = _recipe("import bpy", "bpy")
    shutil.make_archive(str(tmp_path / "infinex_take"), "zip", ROOT / "blender")
    _infinex(tmp_path, "track", "smile", "-o", "take.glb")
    rows = [r.split() for r in _run(tmp_path, sys.executable, "-c", code).splitlines() if r[:1].isdigit()]
    assert [r[0] for r in rows if r[0] in ("1", "10", "20")] == ["1", "10", "20"] and float(rows[-1][1]) > 0.1


def test_node(tmp_path: Path) -> None:
    modules = Path(os.environ.get("NODE_PATH", "/nowhere"))
    if shutil.which("node") is None or not (modules / "@pixiv" / "three-vrm-animation").exists():
        pytest.skip("node, or @pixiv/three-vrm-animation in the folder NODE_PATH, is not there")
    (tmp_path / "node_modules").symlink_to(modules)
    (tmp_path / "read.mjs").write_text(_recipe("VRMAnimationLoaderPlugin"))
    _infinex(tmp_path, "track", "smile", "-o", "take.vrma")
    said = _run(tmp_path, "node", "read.mjs")
    assert "head" in said and float(said.split()[0]) > 1 and float(said.split()[-1]) > 0.3


def test_python_osc(tmp_path: Path) -> None:
    code = _recipe("pythonosc", "pythonosc")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    process = subprocess.Popen([sys.executable, "-c", code.replace("39539", port)], stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(1)
        while process.poll() is None:  # it may not listen yet
            _infinex(tmp_path, "track", "smile", "--send", f"vmc://127.0.0.1:{port}")
        frames, most = process.communicate()[0].split()
    finally:
        process.kill()
    assert int(frames) == 30 and float(most) > 0.2


def test_py_feat(tmp_path: Path) -> None:
    code = _recipe("read_openface", "feat")
    _infinex(tmp_path, "track", "smile", "-o", "clip.csv", "--format", "openface")
    frames, most = _run(tmp_path, sys.executable, "-c", code).split()[:2]
    assert int(frames) > 20 and float(most) > 1


def test_openexr(portrait: Path, tmp_path: Path) -> None:
    code = _recipe("OpenEXR", "OpenEXR")
    shutil.copy(portrait, tmp_path / "portrait.jpg")
    cv2.imwrite(str(tmp_path / "scan.png"), cv2.imread(str(portrait)))
    _infinex(tmp_path, "animate", "scan.png", "look-around", "-o", "frames", "--size", "320", "--end", "0.5",
             "--no-refine", "--passes", "kit")  # fmt: skip
    _run(tmp_path, sys.executable, "-c", code)
    ours = cv2.imread(str(tmp_path / "frames" / "frame_000010.png")).astype(np.float64)
    assert cv2.PSNR(ours, cv2.imread(str(tmp_path / "shot.000010.png")).astype(np.float64)) > 45
