"""Two versions before one viewer: benchmarks/side_by_side.py."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "side_by_side.py"


@pytest.fixture
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("side_by_side", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reports(folder: Path, pairs: int) -> tuple[Path, Path]:
    """An old report of black sheets, and a new one of white ones."""
    for name, level in (("old", 0), ("new", 255)):
        (folder / name / "sheets").mkdir(parents=True)
        for k in range(pairs):
            cv2.imwrite(str(folder / name / "sheets" / f"p{k}--c.png"), np.full((20, 2300, 3), level, np.uint8))
    return folder / "old", folder / "new"


def test_the_key_says_which_side_is_new_and_counts_follow_it(tool: ModuleType, tmp_path: Path) -> None:
    old, new = reports(tmp_path, 6)
    out = tmp_path / "out"
    assert tool.deal(old, new, out, seed=3) == 6
    key = dict(line.split(",") for line in (tmp_path / "out.key.csv").read_text().split()[1:])
    assert sorted(key.values()) == ["A"] * 3 + ["B"] * 3 and not list(out.glob("*.csv"))
    for name, side in key.items():
        sheet = cv2.imread(str(out / f"{name}__{side}.png"))
        assert sheet.min() == 255 and sheet.shape[1] == tool.WIDEST
    lines = [f"{n} | A: {'ACCEPT' if s == 'A' else 'MINOR'} | B: {'ACCEPT' if s == 'B' else 'MINOR'} | better: {s} |"
             f" eyes: SAME | mouth: {'AB'[s == 'A']} | why: so" for n, s in key.items()]  # fmt: skip
    (out / "verdicts.txt").write_text("\n".join(lines))
    said, verdicts = tool.counted(out)
    assert said["better", "new"] == said["eyes", "same"] == said["mouth", "old"] == 6
    assert verdicts["new", "ACCEPT"] == verdicts["old", "MINOR"] == 6


def test_what_cannot_be_paired_or_read_is_said(tool: ModuleType, tmp_path: Path) -> None:
    old, new = reports(tmp_path, 1)
    with pytest.raises(ValueError, match="no sheet of the same pair"):
        tool.deal(old, tmp_path / "nothing", tmp_path / "out")
    tool.deal(old, new, tmp_path / "out")
    (tmp_path / "out" / "verdicts.txt").write_text("p0--c | A: ACCEPT\n")
    with pytest.raises(ValueError, match="cannot read"):
        tool.counted(tmp_path / "out")
