"""Benchmarks that drive a portrait as `infinex animate` does: they go on with what that goes on with."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np

from infinex.evaluation.theval import KEYS
from infinex.face.tracker import FaceFinder


def benchmark(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[2] / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_numbers_and_a_sheet_of_a_few_frames(data_dir: Path) -> None:
    clip = data_dir / "clips" / "train" / "linly_man_00.mp4"
    portrait = data_dir / "portraits" / "hallo_2.jpg"
    numbers, sheet = benchmark("looks").driven(portrait, clip, 1.2, 8)
    assert {"lips", "lids"} & set(numbers) and np.isfinite(list(numbers.values())).all()
    assert sheet.shape[1] > 1000 and sheet.std() > 10


def test_head_lips_and_brows_of_a_few_frames(data_dir: Path) -> None:
    finder = FaceFinder()
    result, truth = benchmark("theval").pair(data_dir / "clips" / "train" / "linly_man_00.mp4", 10, finder)
    finder.close()
    assert set(result) == set(truth) == set(KEYS)
    assert all(result[k] > 0 and truth[k] > 0 for k in ("head", "lips", "brows"))
