"""`--engine ganimation` through the pipeline: any driver in, a clip or a panel out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from infinex.errors import WeightsError  # noqa: E402
from infinex.media.video import VideoReader  # noqa: E402
from infinex.motion import Motion  # noqa: E402
from infinex.pipeline import Options, animate  # noqa: E402
from infinex.systems.ganimation.model import CONFIGS  # noqa: E402
from infinex.systems.ganimation.weights import LAYOUT, networks_of  # noqa: E402


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = CONFIGS["ganimation-tiny"]
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("w") / "w.safetensors"
    LAYOUT.save(path, LAYOUT.fit({"generator": networks_of(config)["generator"].state_dict()}, config))
    return path


@pytest.fixture(scope="module")
def smile() -> Motion:
    from infinex.drivers.units import units_motion

    return units_motion(np.array([[0.0], [0.5], [1.0]]), ["AU12"], 25.0)


@pytest.mark.parametrize("panel", [False, True])
def test_animates_a_portrait(portrait: Path, weights: Path, smile: Motion, panel: bool, tmp_path: Path) -> None:
    options = Options(engine="ganimation", weights=str(weights), size=256, panel=panel)
    done = animate(portrait, smile, tmp_path / "out.mp4", options)
    assert done.engine == "ganimation"
    assert done.frames == 3
    with VideoReader(tmp_path / "out.mp4") as reader:
        frames = [f.image.astype(int) for f in reader]
    third = frames[0].shape[1] // 4
    moved = np.abs(frames[2] - frames[0])
    if panel:  # the portrait's column stands still; colours, attention and result move
        assert moved[:, : third - 4].mean() < 1
        assert all(moved[:, third * k + 4 : third * (k + 1) - 4].mean() > 1 for k in (1, 2, 3))
    else:
        assert moved.mean() > 1


def test_other_weights_are_refused(portrait: Path, smile: Motion, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pth"
    bad.write_bytes(b"<html>")
    with pytest.raises(WeightsError, match="web page"):
        animate(portrait, smile, tmp_path / "out.mp4", Options(engine="ganimation", weights=str(bad), size=256))
    assert not (tmp_path / "out.mp4").exists()
