"""A studio in this process, and pictures to hand to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the studio's packages are not installed: pip install 'infinex[studio]'")
pytest.importorskip("python_multipart", reason="the studio's packages are not installed: pip install 'infinex[studio]'")
pytest.importorskip(
    "starlette.testclient", reason="httpx, which the test client needs, is not installed", exc_type=Exception
)


@pytest.fixture(scope="session")
def small(portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portrait, cropped and small."""
    from infinex.media.image import read_image, write_image

    path = tmp_path_factory.mktemp("small") / "small.png"
    write_image(path, np.ascontiguousarray(read_image(portrait)[:420, 60:480][::2, ::2]))
    return path


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    """A client without a session of its own: it sends no cookies."""
    from starlette.testclient import TestClient

    from infinex.studio.app import create_app
    from infinex.studio.settings import Settings

    with TestClient(create_app(Settings(workers=1, queue=4, upload=64 << 20, duration=20, rate=10_000))) as one:
        yield one


@pytest.fixture(autouse=True)
def no_other_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Studios of single tests look for no engine but the mesh: that costs each a process that loads PyTorch."""
    from infinex.studio.offer import Engines

    monkeypatch.setattr(Engines, "_try", lambda self: self._done.set())


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs begin and never end, and no process is started for them."""
    from studio_helpers import Endless

    from infinex.studio import jobs

    monkeypatch.setattr(jobs, "_Worker", Endless)
