"""A look at the installation: versions, libraries, models and a short self-test."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable

import numpy as np

from infinex._version import __version__
from infinex.errors import missing_library

REQUIRED = (
    "numpy", "scipy", "opencv-contrib-python", "mediapipe", "av", "numba", "pillow", "typer", "rich", "onnxruntime",
)  # fmt: skip
OPTIONAL = ("torch", "pyvirtualcam")


def _version_of(package: str) -> str | None:
    for name in (package, f"{package}-headless"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _check_codecs() -> str:
    import av

    missing = [c for c in ("libx264", "libvpx-vp9", "aac", "libopus", "gif", "apng") if c not in av.codecs_available]
    if missing:
        raise RuntimeError(f"encoders missing: {', '.join(missing)}")
    return "H.264, VP9, AAC, Opus, GIF, APNG"


def _check_models() -> str:
    from infinex.face.tracker import FaceFinder

    with FaceFinder() as finder:
        faces = finder.find(np.full((128, 128, 3), 127, np.uint8))
    if faces:
        raise RuntimeError("the detector sees a face on plain grey")
    return "face detector and mesh load"


def _check_engine() -> str:
    """Warp a drawn picture with the mean face: exactly still at rest, and moved under a turn."""
    from infinex.engine import Drive, Source
    from infinex.face.topology import mean_face
    from infinex.face.tracker import Face
    from infinex.mesh.engine import MeshEngine
    from infinex.motion import Move, Rest

    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (256, 256, 3), dtype=np.uint8)
    face = MeshEngine().prepare(Source(image, Face(mean_face() * 80 + [128, 140, 0])))
    face.begin(Rest.neutral(), None, None)
    canvas = image.copy()
    still = Move(0.0, np.zeros(3), np.zeros(3), 1.0, np.zeros((478, 3)), np.zeros(2))
    face.draw(canvas, Drive(still))
    if not np.array_equal(canvas, image):
        raise RuntimeError("no motion must reproduce the source exactly")
    turned = Move(0.0, np.array([0.0, 0.2, 0.0]), np.zeros(3), 1.0, np.zeros((478, 3)), np.zeros(2))
    face.draw(canvas, Drive(turned))
    start = time.perf_counter()
    face.draw(canvas, Drive(turned))
    if np.array_equal(canvas, image):
        raise RuntimeError("a turned head must change the picture")
    return f"a 256x256 frame in {(time.perf_counter() - start) * 1e3:.0f} ms"


def examine() -> bool:
    """Print what is here and whether it works; True if all that is needed does."""
    print(f"infinex {__version__} on Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    print(f"cores: {os.cpu_count()}")
    good = True
    for package in REQUIRED:
        version = _version_of(package)
        good &= version is not None
        print(f"  {package:24} {version or 'MISSING: pip install ' + package}")
    for package in OPTIONAL:
        print(f"  {package:24} {_version_of(package) or '- (optional)'}")
    checks: list[tuple[str, Callable[[], str]]] = [
        ("encoders", _check_codecs),
        ("face models", _check_models),
        ("mesh engine", _check_engine),
    ]
    for name, check in checks:
        try:
            print(f"  {name:24} ok: {check()}")
        except Exception as error:  # whatever is broken is the finding
            good = False
            missing = missing_library(error) if isinstance(error, ImportError) else None
            print(f"  {name:24} FAILED: {missing or error}")
    print("all is well" if good else "not all is well")
    return good
