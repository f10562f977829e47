"""Animations: GIF with one palette, whose still parts stay still, and APNG."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from infinex.errors import OutputError

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]


class _Stream:
    """A file of one stream of pictures."""

    def __init__(
        self, path: Path, size: tuple[int, int], rate: Fraction, kind: str, codec: str, pixels: str,
        options: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        """`kind`, `codec`, `pixels`: FFmpeg's names of the container, the encoder and the layout of its pixels."""
        self._out = av.open(str(path), "w", format=kind)
        stream: Any = self._out.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        self._stream = stream

    def put(self, picture: Any) -> None:
        """Encode a picture; None flushes the encoder."""
        for packet in self._stream.encode(picture):
            self._out.mux(packet)

    def finish(self) -> None:
        """Write what the encoder holds, and the end of the file."""
        self.put(None)
        self._out.close()

    def close(self) -> None:
        """Close the file, whatever is in it."""
        with contextlib.suppress(av.error.FFmpegError, OSError):
            self._out.close()


class APNGSink:
    """APNG, in true colours, with or without transparency."""

    def __init__(self, path: Path, size: tuple[int, int], rate: Fraction, alpha: bool = False) -> None:
        self._rate, self._count = rate, 0
        self._format = "rgba" if alpha else "rgb24"
        self._out = _Stream(path, size, rate, "apng", "apng", self._format)

    def write(self, frame: Pixels, changed: Box | None = None) -> None:
        """Add a frame (H, W, 3), or (H, W, 4) with transparency."""
        picture = av.VideoFrame.from_ndarray(unseen_cleared(frame), format=self._format)
        picture.pts, picture.time_base = self._count, 1 / self._rate
        self._count += 1
        self._out.put(picture)

    def finish(self) -> None:
        """Flush the encoder. Raises OutputError where no frame was written."""
        if not self._count:
            raise OutputError("there is no frame to write")
        self._out.finish()

    def close(self) -> None:
        """Close the file."""
        self._out.close()


class GIFSink:
    """GIF in two passes: a lossless file beside the target while one palette for all frames is counted, then the GIF.

    One palette and a dither that depends on the place alone: a pixel that does not change stays as it is."""

    def __init__(self, path: Path, size: tuple[int, int], rate: Fraction, alpha: bool = False) -> None:
        self._path, self._size, self._alpha = path, size, alpha
        self._step = max(1, round(float(rate) / 25))  # players slow GIFs whose frames are very short
        self._rate, self._count = rate / self._step, 0
        self._between = path.with_name(path.name + ".frames")
        self._format = "rgba" if alpha else "rgb24"
        # FFV1 keeps transparency; H.264 without loss is smaller and faster where there is none.
        codec, options = ("ffv1", {}) if alpha else ("libx264rgb", {"qp": "0", "preset": "ultrafast", "bf": "0"})
        pixels = "bgra" if alpha else "rgb24"
        self._lossless = _Stream(self._between, size, self._rate, "nut", codec, pixels, options)
        self._graph = av.filter.Graph()
        self._source = self._buffer(self._graph)
        make = self._graph.add("palettegen", f"stats_mode=full:reserve_transparent={int(alpha)}")
        sink = self._graph.add("buffersink")
        self._source.link_to(make)
        make.link_to(sink)
        self._graph.configure()

    def _buffer(self, graph: Any) -> Any:
        w, h = self._size
        name = "rgba" if self._alpha else "rgb24"
        return graph.add_buffer(width=w, height=h, format=name, time_base=1 / self._rate)

    def write(self, frame: Pixels, changed: Box | None = None) -> None:
        """Add a frame (H, W, 3), or (H, W, 4), whose pixels are then either seen or not."""
        self._count += 1
        if (self._count - 1) % self._step:
            return
        picture = av.VideoFrame.from_ndarray(unseen_cleared(frame), format=self._format)
        picture.pts, picture.time_base = (self._count - 1) // self._step, 1 / self._rate
        self._source.push(picture)
        stored = picture.reformat(format="bgra") if self._alpha else picture
        stored.pts, stored.time_base = picture.pts, picture.time_base
        self._lossless.put(stored)

    def finish(self) -> None:
        """Count the palette and write the GIF. Raises OutputError where no frame was written."""
        if not self._count:
            raise OutputError("there is no frame to write")
        self._lossless.finish()
        self._source.push(None)
        palette = self._graph.pull()
        graph = av.filter.Graph()
        frames = self._buffer(graph)
        colours = graph.add_buffer(width=16, height=16, format=palette.format.name, time_base=1 / self._rate)
        use = graph.add("paletteuse", "dither=bayer:bayer_scale=3")
        sink = graph.add("buffersink")
        frames.link_to(use, 0, 0)
        colours.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()
        palette.pts = 0
        colours.push(palette)
        colours.push(None)
        out = _Stream(self._path, self._size, self._rate, "gif", "gif", "pal8")
        with contextlib.closing(out), av.open(str(self._between)) as stored:
            for index, picture in enumerate(stored.decode(video=0)):
                plain = picture.reformat(format=self._format)
                plain.pts, plain.time_base = index, 1 / self._rate
                frames.push(plain)
                _drain(graph, out)
            frames.push(None)
            _drain(graph, out)
            out.finish()

    def close(self) -> None:
        """Close and remove what lies between."""
        self._lossless.close()
        self._between.unlink(missing_ok=True)


def unseen_cleared(frame: Pixels) -> Pixels:
    """A contiguous frame, black where it is wholly transparent, which takes no room in a file."""
    if frame.shape[2] == 4 and not frame[..., 3].all():
        frame = frame.copy()
        frame[frame[..., 3] == 0] = 0
    return np.ascontiguousarray(frame)


def _drain(graph: Any, out: _Stream) -> None:
    while True:
        try:
            picture = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        out.put(picture)
