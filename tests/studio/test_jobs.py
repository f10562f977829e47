"""The queue at its seams, with workers that only pretend."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from infinex.studio import jobs
from infinex.studio.checks import Verdicts, look_in_box
from infinex.studio.jobs import Queue
from infinex.studio.settings import Settings


class Pretender:
    """A worker that has done a task as soon as it is asked."""

    made: list[Pretender]
    last_moment: Any = None

    def __init__(self, cores: list[int], folder: Path) -> None:
        self.ready, self.dead, self.pipe = True, False, self
        self.tasks: list[Any] = []
        type(self).made.append(self)

    def alive(self) -> bool:
        return not self.dead

    def stop(self) -> None:
        self.dead = True

    def send(self, task: Any) -> None:
        if self.dead:
            raise BrokenPipeError
        self.tasks.append(task)

    def poll(self, seconds: float) -> bool:
        return bool(self.tasks)

    def recv(self) -> tuple[Any, ...]:
        self.tasks.pop()
        if self.last_moment:
            self.last_moment()
        return "done", {}


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> type[Pretender]:
    class Mine(Pretender):
        made: list[Pretender] = []  # noqa: RUF012

    monkeypatch.setattr(jobs, "_Worker", Mine)
    return Mine


def until(what: Any) -> None:
    limit = time.monotonic() + 300
    while not what():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_cancelled_in_its_last_moment_is_not_done(pretend: type[Pretender], tmp_path: Path) -> None:
    queue = Queue(Settings(workers=1), tmp_path)
    job = queue.new(None)
    cancelling = threading.Thread(target=queue.remove, args=(job,))

    def cancel() -> None:
        cancelling.start()
        until(lambda: job.id in queue._cancel)

    pretend.last_moment = staticmethod(cancel)
    try:
        queue.submit(job)
        until(lambda: job.state not in ("queued", "running"))
        cancelling.join(300)
        assert job.state == "cancelled" and not job.folder.exists()
    finally:
        queue.close()


def test_a_worker_that_ended_while_idle_loses_no_job(pretend: type[Pretender], tmp_path: Path) -> None:
    queue = Queue(Settings(workers=1), tmp_path)
    try:
        until(lambda: pretend.made)
        time.sleep(0.1)  # it waits for work
        pretend.made[0].dead = True
        job = queue.new(None)
        queue.submit(job)
        until(lambda: job.state not in ("queued", "running"))
        assert job.state == "done" and len(pretend.made) == 2
    finally:
        queue.close()


def test_nobody_waits_for_a_long_clip_of_somebody_else(tmp_path: Path) -> None:
    verdicts, seen = Verdicts(), threading.Event()
    for name in ("long", "short"):
        (tmp_path / name).write_text(name)
    slow = threading.Thread(target=verdicts.of, args=(tmp_path / "long", "clip", lambda p: seen.wait(900)))
    slow.start()
    try:
        done: list[Any] = []
        quick = threading.Thread(target=lambda: done.append(verdicts.of(tmp_path / "short", "clip", lambda p: 1.5)))
        quick.start()
        quick.join(300)
        assert done == [1.5]
    finally:
        seen.set()
        slow.join()


def test_a_marked_picture_has_the_same_limit(small: Path) -> None:
    from infinex.errors import InputError

    with pytest.raises(InputError, match="megapixels"):
        look_in_box(small, "10,10,50,50", Settings(pixels=1000))


def test_a_worker_that_never_begins_is_the_machines_fault(
    pretend: type[Pretender], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "STARTING", 0.2)
    begin = pretend.__init__

    def late(self: Pretender, *words: Any) -> None:
        begin(self, *words)
        self.ready = False

    monkeypatch.setattr(pretend, "__init__", late)
    queue = Queue(Settings(workers=1), tmp_path)
    try:
        job = queue.new(None)
        queue.submit(job)
        until(lambda: job.state not in ("queued", "running"))
        assert job.state == "failed" and "machine is too busy" in (job.message or "")
    finally:
        queue.close()
