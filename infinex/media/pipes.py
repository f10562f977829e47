"""Standard input and output as files: `-` on the command line."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from infinex.errors import InputError, OutputError, option
from infinex.media.files import write_error

CHUNK = 1 << 20
KINDS = ("mp4", "webm", "gif", "apng", "mov")  # of a result that is one file


def suffix_of(head: bytes) -> str:
    """The ending that goes with the first bytes of a file, "" where none is needed to read it."""
    if head[:4] == b"PK\x03\x04":
        return ".motion.npz"
    if head[:4] == b"RIFF":
        return {b"WEBP": ".webp", b"WAVE": ".wav", b"AVI ": ".avi"}.get(head[8:12], "")
    if head[4:8] == b"ftyp":
        return {b"heic": ".heic", b"mif1": ".heic", b"avif": ".avif", b"avis": ".avif"}.get(head[8:12], ".mp4")
    for magic, suffix in (
        (b"GIF8", ".gif"),
        (b"\x89PNG", ".png"),
        (b"\xff\xd8\xff", ".jpg"),
        (b"\x1aE\xdf\xa3", ".mkv"),
    ):
        if head.startswith(magic):
            return suffix
    return ""


@contextlib.contextmanager
def standard_input() -> Iterator[Path]:
    """All of standard input as a file that vanishes afterwards. Raises InputError where nothing comes in."""
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("- reads standard input, and nothing comes in there; put a file in with < or |")
    source: IO[bytes] = sys.stdin.buffer
    with tempfile.TemporaryDirectory(prefix="infinex-") as folder:
        head = source.read(CHUNK)
        if not head:
            raise InputError("- reads standard input, which is empty")
        path = Path(folder) / f"standard-input{suffix_of(head)}"
        try:
            with path.open("wb") as file:
                file.write(head)
                shutil.copyfileobj(source, file, CHUNK)
        except OSError as error:
            raise InputError(f"standard input cannot be kept in {folder}: {error.strerror or error}") from None
        yield path


@contextlib.contextmanager
def standard_output(kind: str = "mp4") -> Iterator[Path]:
    """A path for a result of some kind of `KINDS`, which goes to standard output once the block has succeeded.

    Whatever is printed meanwhile goes to standard error. Raises OutputError for a terminal, or a reader that is gone.
    """
    if kind not in KINDS:
        raise OutputError(f"{option('format')} {kind}: it is one of {', '.join(KINDS)}")
    out: Any = sys.stdout
    if out is None or out.isatty():
        raise OutputError("-o - writes a video, and standard output is a terminal; send it on with > or |")
    with tempfile.TemporaryDirectory(prefix="infinex-") as folder:
        path = Path(folder) / f"standard-output.{kind}"
        with contextlib.redirect_stdout(sys.stderr):
            yield path
        try:
            # Through a descriptor of its own: what a reader that has gone leaves is not tried again at the end.
            with path.open("rb") as file, os.fdopen(os.dup(out.fileno()), "wb") as target:
                shutil.copyfileobj(file, target, CHUNK)
        except OSError as error:
            raise write_error(Path("standard output"), error) from error
