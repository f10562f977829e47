"""Closed eyes that are drawn open on demand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import run

from infinex.errors import InputError
from infinex.face import topology as top
from infinex.face.portrait import SourceFace
from infinex.face.remarks import closed_eyes
from infinex.face.tracker import FaceFinder
from infinex.jobs.source import load_source
from infinex.media.image import read_image, write_image


@pytest.fixture(scope="module")
def sleeper(data_dir: Path) -> Path:
    path = data_dir / "field" / "closed_eyes.png"
    if not path.exists():
        pytest.skip("this folder of real inputs lacks field/closed_eyes.png")
    return path


@pytest.mark.data
def test_closed_eyes_open_on_demand_and_nothing_else_changes(sleeper: Path) -> None:
    asleep, awake = load_source(sleeper)[0], load_source(sleeper, open_eyes=True)[0]
    was, now = SourceFace(asleep.face.landmarks), SourceFace(awake.face.landmarks)
    said = closed_eyes(was)
    assert said is not None and "--open-eyes" in said and closed_eyes(now) is None
    assert was.openness.max() < 0.1 and now.openness.min() > 0.2
    changed = (asleep.image != awake.image).any(-1)
    near = np.zeros(changed.shape, bool)
    for chain in (top.RIGHT_EYE, top.LEFT_EYE):
        eye = was.points[chain, :2]
        room = 0.75 * np.ptp(eye[:, 0])
        (x0, y0), (x1, y1) = (eye.min(0) - room).astype(int), (eye.max(0) + room).astype(int)
        near[y0:y1, x0:x1] = True
        assert changed[y0:y1, x0:x1].mean() > 0.1
    assert not changed[~near].any()


@pytest.mark.data
def test_a_grey_cut_out_stays_one(sleeper: Path, tmp_path: Path) -> None:
    grey = read_image(sleeper).mean(-1).astype(np.uint8)
    alpha = np.full(grey.shape, 255, np.uint8)
    alpha[:20] = 0
    write_image(tmp_path / "grey.png", np.dstack([grey, grey, grey, alpha]))
    assert run("edit", tmp_path / "grey.png", "--open-eyes", "-o", tmp_path / "awake.png").returncode == 0
    awake = read_image(tmp_path / "awake.png")
    assert (np.ptp(awake, axis=-1) <= 1).all() and (awake[:20] == 255).all()
    with FaceFinder() as finder:
        assert SourceFace(finder.find(awake)[0].landmarks).openness.min() > 0.2


def test_open_eyes_are_left_alone_and_it_is_said(portrait: Path) -> None:
    with pytest.raises(InputError, match=r"--open-eyes: no eye in .* is closed"):
        load_source(portrait, size=300, open_eyes=True)
