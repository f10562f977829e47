"""Frames of two fields made into whole pictures, one for each field, since each shows another instant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import av.error
from av.filter import Graph


class Deinterlacer:
    """Streams frames through FFmpeg's bwdif; those that are not flagged as interlaced pass unchanged.

    The order of fields is that of each frame's flags. One picture for each field keeps all of the movement: 30
    interlaced frames a second become 60. Nothing is built before the first interlaced frame comes."""

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._kind: Any = None

    @property
    def busy(self) -> bool:
        """Whether frames must pass through here, since an interlaced one has come."""
        return self._graph is not None

    def __call__(self, frame: Any) -> Iterator[Any]:
        """Pictures that are ready once `frame` is known."""
        if self._graph is None and not getattr(frame, "interlaced_frame", False):
            yield frame
            return
        kind = frame.width, frame.height, frame.format.name, frame.time_base
        if self._graph is None or kind != self._kind:
            yield from self.flush()
            self._build(frame, kind)
        assert self._graph is not None
        self._graph.push(frame)
        yield from self._ready()

    def flush(self) -> Iterator[Any]:
        """The pictures that are left; then the filter begins anew."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._ready()
            self._graph = None

    def _build(self, frame: Any, kind: Any) -> None:
        graph = Graph()
        graph.threads = 1
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        work = graph.add("bwdif", "mode=send_field:parity=auto:deint=interlaced")
        graph.link_nodes(source, work, graph.add("buffersink")).configure()
        self._graph, self._kind = graph, kind

    def _ready(self) -> Iterator[Any]:
        assert self._graph is not None
        while True:
            try:
                yield self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
