"""A live camera, played by pictures."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from infinex.drivers import camera
from infinex.drivers.camera import CameraDriver, run_live
from infinex.errors import FaceNotFoundError, InputError
from infinex.pipeline import Options, load_source
from infinex.studio.examples import EXAMPLES


class Pictures:
    """What cv2.VideoCapture is to a driver."""

    def __init__(self, frames: list[np.ndarray], opened: bool = True) -> None:
        self._frames, self._opened, self._next = frames, opened, 0

    def isOpened(self) -> bool:  # noqa: N802  (OpenCV's name)
        return self._opened

    def set(self, *_: float) -> bool:
        return True

    def get(self, _: int) -> float:
        return 25.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        self._next += 1
        if self._next > len(self._frames):
            return False, None
        return True, np.ascontiguousarray(self._frames[self._next - 1][:, ::-1, ::-1])  # BGR, unmirrored

    def release(self) -> None:
        pass


@pytest.fixture(scope="module")
def performance() -> list[np.ndarray]:
    """A portrait that holds still, then is pushed aside."""
    image = load_source(EXAMPLES[1].path)[0].image
    k = 320 / image.shape[1]
    image = cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
    ways = [0.0] * 22 + list(np.linspace(0, 14, 10))
    return [cv2.warpAffine(image, np.array([[1, 0, w], [0, 1, 0.0]]), image.shape[1::-1],
                           borderMode=cv2.BORDER_REPLICATE) for w in ways]  # fmt: skip


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def plug(frames: list[np.ndarray], opened: bool = True) -> None:
        monkeypatch.setattr(camera.cv2, "VideoCapture", lambda _: Pictures(frames, opened))

    return plug


@pytest.mark.parametrize("flow", [True, False])
def test_a_camera_drives(plugged: Callable[..., None], performance: list[np.ndarray], flow: bool) -> None:
    plugged(performance)
    driver = CameraDriver("camera:0", flow=flow)
    drives = list(driver)
    driver.close()
    assert len(drives) == len(performance) - camera.SETTLE
    assert drives[-1].move.translation[0] - drives[0].move.translation[0] > 0.05
    assert all(d.move.valid and d.image is not None for d in drives)
    assert all((d.move.outline is not None) is flow and (d.move.interior is not None) is flow for d in drives)


def test_a_performance_by_camera_is_written(
    plugged: Callable[..., None], performance: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugged(performance)
    monkeypatch.setattr(camera, "_window", lambda: False)
    out = tmp_path / "live.mp4"
    summary = run_live(EXAMPLES[0].path, "camera:0", out, Options(size=320))
    assert summary.frames == len(performance) - camera.SETTLE and out.stat().st_size > 5000


def test_what_is_wrong_with_a_camera_is_said(plugged: Callable[..., None], performance: list[np.ndarray]) -> None:
    with pytest.raises(InputError, match="a camera is named"):
        CameraDriver("camera:front")
    plugged([], opened=False)
    with pytest.raises(InputError, match="cannot be opened"):
        CameraDriver("camera:0")
    plugged(performance[:3])
    with pytest.raises(InputError, match="gives no picture"):
        CameraDriver("camera:0")
    plugged([np.full((240, 320, 3), 90, np.uint8)] * 200)
    with pytest.raises(FaceNotFoundError, match="sees no face"):
        CameraDriver("camera:0")
