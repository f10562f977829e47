"""What the tests of the studio share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def visitor(client: Any) -> Iterator[Any]:
    """Somebody who has opened the page of the same studio, with a session of their own."""
    from starlette.testclient import TestClient

    one = TestClient(client.app)
    assert one.get("/").status_code == 200
    try:
        yield one
    finally:
        one.close()


def ended(client: Any, name: str, seconds: float = 900) -> dict[str, Any]:
    """Wait for an animation's end."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        answer = client.get(f"/v1/animations/{name}")
        assert answer.status_code == 200, answer.text
        if answer.json()["state"] in ("done", "failed", "cancelled"):
            return dict(answer.json())
        time.sleep(0.1)
    raise AssertionError(f"not ended after {seconds} s: {answer.json()}")


class Endless:
    """A worker that is never done."""

    ready, pipe, dead = True, property(lambda self: self), False

    def __init__(self, cores: list[int], folder: Path) -> None:
        pass

    def send(self, task: Any) -> None:
        pass

    def poll(self, seconds: float) -> bool:
        time.sleep(min(seconds, 0.05))
        return False

    def alive(self) -> bool:
        return not self.dead

    def stop(self) -> None:
        self.dead = True
