"""Do two commits draw the same pictures? Bit for bit with the mesh engine, within 1e-5 with the others.

    python benchmarks/same.py OLD NEW DATA_DIR          # OLD, NEW: commits, or folders with a tree in them

Renders portraits under drivers and options by the public names of the package, in a process for each commit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
FRAMES = 12  # of each case
PORTRAITS = ("hallo_1.jpg", "sadtalker_art_0.jpg", "deepface_couple.jpg")
CLIP = "clips/train"
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "clip": ("clip", {}),
    "clip, own mouth, no networks": ("clip", {"mouth": "own", "wrinkles": "none", "refine": False}),
    "clip, parts and strength": ("clip", {"parts": ("pose", "lips"), "strength": 0.7}),
    "clip, absolute": ("clip", {"absolute": True, "smooth": 0.0}),
    "motion": ("nod", {}),
    "motion, everybody": ("talking", {"face": "all"}),
    "fomm by a clip": ("clip", {"engine": "fomm"}),
    "fomm by a motion": ("smile", {"engine": "fomm", "strength": 1.2}),
    "ganimation by a motion": ("smile", {"engine": "ganimation"}),
}


def drawn(data: Path, portraits: int, count: int) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Every case and its frames, by the package that this process imports."""
    import infinex

    clip = sorted((data / CLIP).glob("*.mp4"))[3]
    for name in PORTRAITS[:portraits]:
        for case, (driver, options) in CASES.items():
            o = infinex.Options(**options)
            sources = infinex.load_source(data / "portraits" / name, face=o.face, size=384)
            frames = []
            for frame in infinex.render(sources, clip if driver == "clip" else driver, o):
                frames.append(frame)
                if len(frames) == count:
                    break
            yield f"{name}: {case}", frames


def child(data: Path, out: Path, portraits: int, count: int) -> None:
    """What one tree draws, into a folder."""
    digests = {}
    for k, (name, frames) in enumerate(drawn(data, portraits, count)):
        stack = np.stack(frames)
        digests[name] = hashlib.sha256(stack.tobytes()).hexdigest()
        if "fomm" in name or "ganimation" in name:
            np.save(out / f"{k}.npy", stack)
    (out / "digests.json").write_text(json.dumps(digests))


def tree(name: str, place: Path) -> Path:
    """A folder with the tree of a commit."""
    if Path(name).is_dir():
        return Path(name)
    subprocess.run(["git", "worktree", "add", "--detach", str(place), name], cwd=ROOT, check=True, capture_output=True)
    return place


def main() -> int:
    """0 where they are the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("data", type=Path)
    parser.add_argument("--portraits", type=int, default=len(PORTRAITS), help="how many of them")
    parser.add_argument("--frames", type=int, default=FRAMES, help="of each case")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.data, args.child, args.portraits, args.frames)
        return 0
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for which, name in (("old", args.old), ("new", args.new)):
            place, out = Path(folder) / f"tree-{which}", Path(folder) / which
            out.mkdir()
            home = tree(name, place)
            env = os.environ | {"PYTHONPATH": str(home)}
            command = [
                sys.executable, __file__, "-", "-", str(args.data.absolute()), "--child", str(out),
                "--portraits", str(args.portraits), "--frames", str(args.frames),
            ]  # fmt: skip
            subprocess.run(command, cwd=home, env=env, check=True)
            if home == place:
                subprocess.run(["git", "worktree", "remove", "--force", str(place)], cwd=ROOT, check=True)
            arrays = {p.name: np.load(p) for p in sorted(out.glob("*.npy"))}
            found.append((json.loads((out / "digests.json").read_text()), arrays))
    (old, old_arrays), (new, new_arrays) = found
    bad = 0
    for k, name in enumerate(old):
        same = old[name] == new.get(name)
        words = "the same, bit for bit" if same else "DIFFERENT"
        key = f"{k}.npy"
        if not same and key in old_arrays and key in new_arrays:
            gap = float(np.abs(old_arrays[key].astype(float) - new_arrays[key]).mean() / 255)
            same = gap < 1e-5
            words = f"mean difference {gap:.1e}"
        bad += not same
        print(f"{name:55} {words}")
    print("all are the same" if not bad else f"{bad} differ")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
