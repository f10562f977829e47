"""Folders of real inputs, and small things many tests use."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # see infinex.cli
os.environ.setdefault("INFINEX_CACHE", "none")  # tests make everything themselves
ROOT = Path(__file__).parents[1]
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    # Tests start hundreds of processes, each of which would compile all that it imports: that is done once, elsewhere.
    sys.pycache_prefix = os.environ.setdefault("PYTHONPYCACHEPREFIX", str(ROOT / ".pytest_cache" / "compiled"))
    sys.dont_write_bytecode = False

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from numpy.typing import NDArray  # noqa: E402


def _folder(variable: str, default: str) -> Path:
    path = Path(os.environ.get(variable, ROOT.parent / "shared" / default))
    if not path.is_dir():
        pytest.skip(f"{path} is missing; set {variable} to the folder of real inputs")
    return path


KEPT = 24  # pictures taken apart that are kept for the tests that follow
SLOW = ("refined", "plate", "parted")  # what takes a portrait apart: a second each, always the same for the same


def _kept(slow: Callable[..., Any]) -> Callable[..., Any]:
    """`slow`, which depends on its arguments alone, called once for the same ones."""
    answers: OrderedDict[bytes, Any] = OrderedDict()

    def copied(answer: Any) -> Any:
        return tuple(a.copy() for a in answer) if isinstance(answer, tuple) else answer.copy()

    @functools.wraps(slow)
    def kept(*args: Any) -> Any:
        key = hashlib.blake2b()
        for a in args:
            key.update(repr((getattr(a, "shape", None), getattr(a, "dtype", a))).encode())
            key.update(np.ascontiguousarray(a).data)
        found = answers.get(key.digest())
        if found is None:
            found = answers[key.digest()] = copied(slow(*args))
            if len(answers) > KEPT:
                answers.popitem(last=False)
        answers.move_to_end(key.digest())
        return copied(found)

    return kept


@pytest.fixture(autouse=True)
def taken_apart_once() -> None:
    """Tests that animate the same portrait take it apart once; those of the parts call the parts themselves."""
    layers = sys.modules.get("infinex.mesh.layers")
    for name in SLOW if layers is not None else ():
        if not hasattr(getattr(layers, name), "__wrapped__"):
            setattr(layers, name, _kept(getattr(layers, name)))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real clips and portraits."""
    return _folder("INFINEX_DATA_DIR", "data")


@pytest.fixture(scope="session")
def parity_dir() -> Path:
    """Reference outputs of published models."""
    return _folder("INFINEX_PARITY_DIR", "parity")


@pytest.fixture(scope="session")
def portrait() -> Path:
    """The public-domain portrait of Grace Hopper inside Matplotlib."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


class Harm:
    """Would write a file on being unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return (open, (str(self.trace), "w"))


@pytest.fixture
def harm(tmp_path: Path) -> Harm:
    """Code to hide in a checkpoint; `trace` exists once it has run."""
    return Harm(tmp_path / "was-here")


@pytest.fixture
def write_clip(tmp_path: Path) -> Callable[..., Path]:
    """Writes frames (H, W, 3) uint8 as a clip and returns its path."""

    def write(frames: list[NDArray[np.uint8]], name: str = "clip.mp4", fps: float = 25, **options: object) -> Path:
        from infinex.media.sink import open_sink

        path = tmp_path / name
        h, w = frames[0].shape[:2]
        with open_sink(path, (w, h), fps, **options) as sink:  # type: ignore[arg-type]
            for frame in frames:
                sink.write(frame)
        return path

    return write
