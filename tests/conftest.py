"""Folders of real inputs, and small things many tests use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # see infinex.cli

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]


def _folder(variable: str, default: str) -> Path:
    path = Path(os.environ.get(variable, ROOT.parent / "shared" / default))
    if not path.is_dir():
        pytest.skip(f"{path} is missing; set {variable} to the folder of real inputs")
    return path


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
