"""Opening media files through PyAV, and which of a file's streams are meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av

# What is read, and nothing else: playlists would open other files, and text is a video to FFmpeg.
FORMATS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,apng,png_pipe,jpeg_pipe,webp_pipe,h264,hevc,"
    "mjpeg,m4v,ivf,mxf,rm,dv,nut,mp3,wav,w64,flac,aac,ac3,eac3,aiff,caf,amr,au,wv,tta"
)
OLD = int(av.__version__.split(".")[0]) < 19  # of PyAV: it wants to be told more, and the words are gone since
MAX_SIDE = 8192  # of pictures that are read
MAX_STREAMS = 64  # of a file, that are held to it while it is opened
DEFAULT = 0x1  # dispositions of FFmpeg
IMPAIRED = 0x80 | 0x100  # for those who hear or see less
COVER = 0x400 | 0x800  # the picture of an album, thumbnails on a time line
PART = 0x80000 | 0x100000  # layers of another stream, still pictures


def open_container(path: Path) -> Any:
    """Open a media file through PyAV. Raises FFmpegError, OSError or ValueError where it is none."""
    # FFmpeg decodes pictures to learn of a stream: not those whose header claims more than is read.
    wary = {"max_pixels": str(MAX_SIDE * MAX_SIDE)}
    options = {"format_whitelist": FORMATS} if OLD else {"format_whitelist": FORMATS, **wary}
    # Tags in no known encoding are no reason to refuse a file; from PyAV 19 on they never are.
    words: dict[str, Any] = {"stream_options": [wary] * MAX_STREAMS, "metadata_errors": "replace"} if OLD else {}
    # An absolute path, since FFmpeg takes the "a:" of a relative a:b.mp4 for a protocol.
    return av.open(str(path.absolute()), options=options, **words)


def _flags(stream: Any) -> int:
    return int(getattr(stream, "disposition", 0) or 0)


def picture_stream(container: Any) -> Any:
    """The stream of moving pictures that a player shows, or None.

    That is the one flagged as default, else the first; neither the cover of an album nor, where others move,
    a still picture, nor what cannot be decoded."""
    streams = [s for s in container.streams.video if s.codec_context is not None and not _flags(s) & COVER]

    def rank(stream: Any) -> tuple[bool, bool, bool]:
        still = stream.frames == 1 or bool(_flags(stream) & PART)
        return stream.codec_context.width == 0, still, not _flags(stream) & DEFAULT

    return min(streams, key=rank, default=None)  # the first of the best


def sound_stream(container: Any) -> Any:
    """The stream of sound that a player plays, or None: the one flagged as default, else the first of those that
    can be decoded."""
    streams = [s for s in container.streams.audio if s.codec_context is not None]
    return min(streams, key=lambda s: (not _flags(s) & DEFAULT, bool(_flags(s) & IMPAIRED)), default=None)
