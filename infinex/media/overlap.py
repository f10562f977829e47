"""Stages that run beside one another: one reads ahead of its consumer, one works behind its producer."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import cv2

DEPTH = 6  # items that wait between two stages


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """OpenCV works in the thread that calls it: where stages overlap, its own threads only wait for one another."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


class Ahead:
    """Runs an iterator in a thread, a few items ahead of its consumer."""

    _END = object()

    def __init__(self, items: Iterator[Any], depth: int = DEPTH) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(items,), daemon=True)
        self._thread.start()

    def _put(self, item: Any) -> bool:
        while not self._stop.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return True
        return False

    def _run(self, items: Iterator[Any]) -> None:
        try:
            for item in items:
                if not self._put((item, None)):
                    return
            self._put((self._END, None))
        except BaseException as error:  # handed to the consumer, which raises it
            self._put((self._END, error))

    def __iter__(self) -> Iterator[Any]:
        while True:
            item, error = self._queue.get()
            if error is not None:
                raise error
            if item is self._END:
                return
            yield item

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()
        self._thread.join(timeout=10)


class Behind:
    """Runs a function in a thread on items given to it, in order."""

    def __init__(self, work: Callable[[Any], None], depth: int = DEPTH) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._error is None:
                try:
                    self._work(item)
                except BaseException as error:  # raised to the producer at its next item
                    self._error = error

    def put(self, item: Any) -> None:
        """Queue an item; raises what the work raised."""
        if self._error is not None:
            raise self._error
        self._queue.put(item)

    def finish(self) -> None:
        """Wait until all is done; raises what the work raised."""
        self._queue.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def check(self) -> None:
        """Raise what the work raised."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End the thread whatever happened."""
        if self._thread.is_alive():
            self._error = self._error or RuntimeError("stopped")
            self._queue.put(None)
            self._thread.join(timeout=30)
