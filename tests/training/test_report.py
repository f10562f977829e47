"""Pictures of a training run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from infinex.errors import InputError
from infinex.media.image import read_image, write_image
from infinex.training.report import flatness, read_table, report, smoothed


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with two terms, a cut last row, a held-out table and two panels."""
    steps = np.arange(1, 101)
    rows = [f"{s},0,{s / 10},0.001,{5 / s + 1:.5f},{2.0:.5f}" for s in steps]
    (tmp_path / "metrics.csv").write_text("step,epoch,seconds,rate,perceptual,own_term\n" + "\n".join(rows) + "\n101,0")
    (tmp_path / "held.csv").write_text("step,l1\n50,0.2\n100,0.1\n")
    about = {"recipe": "fomm-<tiny>", "data": "/data/clips", "set": ["a=1"], "settings": {}}
    (tmp_path / "recipe.json").write_text(json.dumps(about))
    (tmp_path / "panels").mkdir()
    for step, value in ((50, 10), (100, 200)):
        write_image(tmp_path / "panels" / f"step-{step:09d}.png", np.full((64, 320, 3), value, np.uint8))
    return tmp_path


def test_a_run_is_drawn(run: Path) -> None:
    summary = report(run)
    assert (summary["steps"], summary["held"]) == (100, {"l1": 0.1})
    assert summary["terms"]["own_term"] == pytest.approx(2)
    curves = read_image(run / "report" / "curves.png")
    assert curves.shape[1] > 800 and curves.std() > 5
    assert read_image(run / "report" / "panel.png").mean() == 200
    text = (run / "report" / "index.html").read_text()
    assert "fomm-&lt;tiny&gt;" in text and "held.png" in text and "after 100 steps" in text
    report(run)  # again
    table = (run / "metrics.csv").read_text().splitlines()
    (run / "metrics.csv").write_text("\n".join([table[0] + ",gone", *(f"{r}," for r in table[1:-1])]) + "\n")
    assert set(report(run)["terms"]) == {"perceptual", "own_term"}


def test_smoothing_and_flatness() -> None:
    assert np.allclose(smoothed(np.full(30, 3.0)), 3.0)
    noisy = np.random.default_rng(0).normal(1, 0.5, 1000)
    assert smoothed(noisy)[200:].std() < 0.3 * noisy.std()
    assert np.isfinite(smoothed(np.array([np.nan, 1.0, np.nan]))[1:]).all()
    assert flatness(np.ones(50)) == 0
    assert flatness(np.linspace(2, 1, 100)) < -0.1
    assert np.isnan(flatness(np.full(20, np.nan)))


def test_what_is_no_run(tmp_path: Path, run: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="holds no training run"):
        report(tmp_path / "other")
    (run / "metrics.csv").write_text("step,loss\n")
    with pytest.raises(InputError, match="no metrics yet"):
        report(run)
    (run / "metrics.csv").write_text("step,loss\n1,oops\n")
    with pytest.raises(InputError, match="damaged"):
        read_table(run / "metrics.csv")
