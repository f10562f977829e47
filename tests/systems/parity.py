"""What the tests against the outputs of the authors' code have in common."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

TOLERANCE = 1e-4


def read_reference(name: str) -> Mapping[str, np.ndarray]:
    """The arrays of one file. Skips where it is missing."""
    default = Path(__file__).parents[3] / "shared" / "parity"
    path = Path(os.environ.get("INFINEX_PARITY_DIR", default)) / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"no {path.name} in {path.parent}: set INFINEX_PARITY_DIR")
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def states(file: Mapping[str, np.ndarray]) -> dict[str, dict[str, Tensor]]:
    """The state dicts in a file, by the authors' names."""
    out: dict[str, dict[str, Tensor]] = {}
    for name, value in file.items():
        if name.startswith("state/"):
            _, network, key = name.split("/", 2)
            out.setdefault(network, {})[key] = torch.from_numpy(value)
    return out


def assert_close(
    ours: Tensor, theirs: np.ndarray | Tensor, relative: bool = False, tolerance: float = TOLERANCE
) -> None:
    """Shapes agree, and the largest difference is small, absolutely or beside the reference's largest value."""
    theirs = torch.as_tensor(theirs)
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    difference = float((ours.detach().double() - theirs.double()).abs().max())
    if relative:
        difference /= max(1e-12, float(theirs.abs().max()))
    assert difference < tolerance, difference


def word(text: str, key: str, part: str = "") -> str:
    """The value of `key=value` in the part of a `config` that begins with `part`."""
    found = re.search(rf"\b{key}=([^\s;,]+)", text[text.index(part) :] if part else text)
    assert found, key
    return found[1]
