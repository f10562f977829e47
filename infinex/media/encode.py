"""Video encoders behind MP4, MOV and WebM: H.264, VP9 with or without transparency, ProRes 4444."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from infinex.compiled import compiled
from infinex.errors import OutputError
from infinex.media.carry import Sound
from infinex.media.timecode import Timecode

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]
# x264 looks less far for motion, which half a step of quality makes up for: less time, larger files.
SEARCH, FINER = {"motion-est": "dia", "subq": "1", "weightp": "0"}, 0.5
BLEED = 9  # pixels over which colours go on beyond a transparent edge, so that players blend no black into it


@compiled(fast=True)
def _to_i420(rgb: NDArray, x0: int, y0: int, x1: int, y1: int, Y: NDArray, U: NDArray, V: NDArray) -> None:
    """RGB (H, W, 3) to BT.709 limited-range planes over an even-aligned box; chroma is the mean of 2×2."""
    # Lines of plain bytes and unsigned numbers: the steps are known, so that loops become vectors.
    i32, two, six = np.int32, np.uintp(2), np.uintp(6)
    one, three, four, five = np.uintp(1), np.uintp(3), np.uintp(4), np.uintp(5)
    lines = rgb.reshape(rgb.shape[0], -1)
    for i in range(y0, y1, 2):
        for k in range(2):
            line, grey = lines[i + k], Y[i + k]
            for j in range(np.uintp(x0), np.uintp(x1)):
                m = np.uintp(three * j)
                r, g, b = i32(line[m]), i32(line[m + one]), i32(line[m + two])
                grey[j] = (i32(11966) * r + i32(40254) * g + i32(4064) * b + i32(1081344)) >> i32(16)
        p, q, u, v = lines[i], lines[i + 1], U[i // 2], V[i // 2]
        for j in range(np.uintp(x0 // 2), np.uintp(x1 // 2)):
            m = np.uintp(six * j)
            r = i32(p[m]) + i32(p[m + three]) + i32(q[m]) + i32(q[m + three])
            g = i32(p[m + one]) + i32(p[m + four]) + i32(q[m + one]) + i32(q[m + four])
            b = i32(p[m + two]) + i32(p[m + five]) + i32(q[m + two]) + i32(q[m + five])
            u[j] = (i32(-6596) * r - i32(22189) * g + i32(28784) * b + i32(33685504)) >> i32(18)
            v[j] = (i32(28784) * r - i32(26145) * g - i32(2639) * b + i32(33685504)) >> i32(18)


def _plane(frame: Any, index: int) -> NDArray[np.uint8]:
    """A writable view of one plane of a video frame, stride included."""
    plane = frame.planes[index]
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)


def bled(rgba: Pixels) -> Pixels:
    """RGBA (H, W, 4) whose unseen colours go on from the seen ones nearby; elsewhere they are black."""
    seen = (rgba[..., 3] > 0).astype(np.float32)
    if seen.all():
        return rgba
    size = (2 * BLEED + 1, 2 * BLEED + 1)
    near = cv2.blur(seen, size)
    colour = cv2.blur(rgba[..., :3] * seen[..., None], size) / np.maximum(near, 1e-6)[..., None]
    out = rgba.copy()
    out[..., :3] = np.where(seen[..., None] > 0, rgba[..., :3], np.where(near[..., None] > 1e-4, colour + 0.5, 0))
    return out


def opened(path: Path) -> Any:
    """A container to write, of the kind that the ending says."""
    kind = path.suffix.lower()[1:]
    options = {} if kind == "webm" else {"movflags": "+faststart+use_metadata_tags"}
    return av.open(str(path), "w", format=kind, container_options=options)


def _tell(stream: Any, timecode: Timecode | None) -> None:
    """Give a stream of pictures its timecode: a track of its own in MP4 and MOV, a tag in WebM."""
    if timecode is not None:
        stream.metadata["timecode"] = str(timecode)


def _pictures(out: Any, kind: str, size: tuple[int, int], rate: Fraction, quality: int, alpha: bool) -> Any:
    """A stream of pictures of an even size (width, height) in an open file of that kind (mp4, mov, webm)."""
    w, h = size
    prores = kind == "mov" and alpha
    codec = "prores_ks" if prores else "libvpx-vp9" if kind == "webm" else "libx264"
    stream: Any = out.add_stream(codec, rate=rate)
    context = stream.codec_context
    stream.width, stream.height = w, h
    stream.pix_fmt = "yuva444p10le" if prores else "yuva420p" if alpha else "yuv420p"
    stream.thread_count = 0 if w * h > 1 << 20 else 1
    context.color_range, context.colorspace = 1, 1  # limited range, BT.709
    context.color_primaries, context.color_trc = 1, 1
    if codec == "libx264":
        preset = "veryfast" if w * h <= 1 << 21 else "ultrafast"
        profile = "high" if preset != "ultrafast" else "baseline"
        stream.options = {"crf": f"{quality - FINER:g}", "preset": preset, "profile": profile} | SEARCH
    elif codec == "prores_ks":
        stream.options = {"profile": "4444", "vendor": "apl0", "alpha_bits": "16"}
    else:
        stream.options = {
            "crf": str(quality + 12),
            "b": "0",
            "deadline": "realtime",
            "cpu-used": "6",
            "row-mt": "1",
        }
        if alpha:  # hidden frames of one layer would have none beside them in the other
            stream.options |= {"auto-alt-ref": "0"}
            stream.metadata["alpha_mode"] = "1"
    return stream


class VideoSink:
    """H.264 (.mp4, .mov), VP9 (.webm) or ProRes 4444 (.mov, transparent) through PyAV, with sound."""

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        rate: Fraction,
        metadata: dict[str, str],
        quality: int,
        alpha: bool = False,
        audio: str | Path | None = None,
        audio_start: float = 0.0,
        audio_end: float | None = None,
        timecode: Timecode | None = None,
    ) -> None:
        self._w, self._h = size
        w, h = (self._w + 1) // 2 * 2, (self._h + 1) // 2 * 2
        self._even, self._alpha = (w, h), alpha
        self._rate, self._each, self._count = rate, 1 / rate, 0
        kind = path.suffix.lower()[1:]
        self._out = opened(path)
        self._sound: Sound | None = None
        try:
            self._out.metadata.update(metadata)
            self._prores = kind == "mov" and alpha
            self._stream = _pictures(self._out, kind, self._even, rate, quality, alpha)
            _tell(self._stream, timecode)
            if audio is not None:
                codec = "libopus" if kind == "webm" else "pcm_s16le" if self._prores else "aac"
                self._sound = Sound(self._out, audio, codec, audio_start, audio_end)
        except BaseException:
            self.close()
            raise
        # One frame for all: the encoders copy what they are given, and only what has changed is written anew.
        self._frame = None if self._prores else av.VideoFrame(w, h, "yuva420p" if alpha else "yuv420p")
        self._canvas = [] if self._frame is None else [_plane(self._frame, i) for i in range(3 + alpha)]
        self._bled = np.zeros((h, w, 3) if alpha and not self._prores else (0, 0, 3), np.uint8)
        self._reformatter = VideoReformatter() if self._prores else None

    def write(self, frame: Pixels, changed: Box | None = None) -> None:
        """Add a frame (H, W, 3), with transparency (H, W, 4); outside the box `changed` it equals the last one."""
        if frame.shape != (self._h, self._w, 4 if self._alpha else 3):
            raise ValueError(f"frame of shape {frame.shape}, expected {self._w}x{self._h}")
        w, h = self._even
        if (w, h) != (self._w, self._h):
            frame = cv2.copyMakeBorder(frame, 0, h - self._h, 0, w - self._w, cv2.BORDER_REPLICATE)
        picture = self._whole(frame) if self._prores else self._planes(frame, changed)
        picture.pts = self._count
        picture.time_base = self._each
        picture.colorspace, picture.color_range = 1, 1
        picture.color_primaries, picture.color_trc = 1, 1
        self._count += 1
        self._mux(self._stream.encode(picture))
        if self._sound is not None:
            self._sound.until(self._count / self._rate)

    def _whole(self, frame: Pixels) -> Any:
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(bled(frame)), format="rgba")
        assert self._reformatter is not None
        return self._reformatter.reformat(
            picture,
            format="yuva444p10le",
            src_colorspace=Colorspace.ITU709,
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
        )

    def _planes(self, frame: Pixels, changed: Box | None) -> Any:
        w, h = self._even
        x0, y0, x1, y1 = changed if changed is not None and self._count else (0, 0, w, h)
        x0, y0, x1, y1 = (
            max(0, x0 // 2 * 2),
            max(0, y0 // 2 * 2),
            min(w, (x1 + 1) // 2 * 2),
            min(h, (y1 + 1) // 2 * 2),
        )
        if x1 > x0 and y1 > y0:
            if self._alpha:
                part = frame[y0:y1, x0:x1]
                self._canvas[3][y0:y1, x0:x1] = part[..., 3]
                self._bled[y0:y1, x0:x1] = bled(part)[..., :3]
                frame = self._bled
            _to_i420(np.ascontiguousarray(frame), x0, y0, x1, y1, *self._canvas[:3])
        return self._frame

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            if not packet.duration:  # else the last frame would be shown for no time
                packet.duration = round(self._each / packet.time_base)
            self._out.mux(packet)

    def finish(self) -> None:
        """Flush the encoders. Raises OutputError where no frame was written."""
        if not self._count:
            raise OutputError("there is no frame to write")
        self._mux(self._stream.encode())
        if self._sound is not None:
            self._sound.until(self._count / self._rate)
            self._sound.finish()
        self._out.close()

    def close(self) -> None:
        """Close what is open; the file is then whole only after `finish`."""
        with contextlib.suppress(av.error.FFmpegError, OSError):
            self._out.close()
        if self._sound is not None:
            self._sound.close()


def _like(out: Any, kind: str, source: Any, rate: Fraction, timecode: Timecode | None) -> Any:
    """A stream in `out` for the packets of `source`, which `_pictures` has made."""
    if timecode is None or kind == "webm":
        stream = out.add_stream_from_template(source)
        stream.metadata.update({k: v for k, v in source.metadata.items() if k == "alpha_mode"})
    else:  # a copied stream has no rate, without which FFmpeg before 8.1.2 writes no track of timecode
        alpha = source.codec_context.name == "prores"
        stream = _pictures(out, kind, (source.width, source.height), rate, 18, alpha)
        stream.codec_context.open()
        if source.codec_context.extradata:
            stream.codec_context.extradata = source.codec_context.extradata
    _tell(stream, timecode)
    return stream


def join(
    pieces: Sequence[Path], path: Path, rate: Fraction, metadata: dict[str, str], audio: str | Path | None,
    audio_start: float, audio_end: float | None, timecode: Timecode | None = None,
) -> None:  # fmt: skip
    """Lay videos of the same encoder behind one another without encoding them again, with sound."""
    with contextlib.ExitStack() as stack:
        out: Any = stack.enter_context(contextlib.closing(opened(path)))
        out.metadata.update(metadata)
        stream: Any = None
        sound: Sound | None = None
        count = 0
        for piece in pieces:
            with av.open(str(piece)) as container:
                source: Any = container.streams.video[0]
                if stream is None:
                    stream = _like(out, path.suffix.lower()[1:], source, rate, timecode)
                    if audio is not None:
                        lossless = path.suffix.lower() == ".mov" and source.codec_context.name == "prores"
                        codec = "libopus" if path.suffix.lower() == ".webm" else "pcm_s16le" if lossless else "aac"
                        sound = Sound(out, audio, codec, audio_start, audio_end)
                        stack.callback(sound.close)
                begin = count
                for packet in container.demux(source):
                    if packet.pts is None:  # the flush at the end
                        continue
                    late = round(begin / rate / packet.time_base)
                    packet.pts, packet.dts, packet.stream = packet.pts + late, packet.dts + late, stream
                    packet.duration = packet.duration or round(1 / rate / packet.time_base)
                    out.mux(packet)
                    count += 1
                    if sound is not None:
                        sound.until(count / rate)
        if sound is not None:
            sound.finish()
