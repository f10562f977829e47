"""Paths that users give: checked on the way in, whole or absent on the way out."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from infinex.errors import InputError, OutputError

STALE = 86400.0  # seconds
CLIPS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")  # endings by which most clips are known without a look


def readable_file(path: str | Path) -> Path:
    """The path, if it is a file with content that may be read. Raises InputError otherwise."""
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; a file is wanted")
        if not path.exists():
            raise InputError(f"{path}: no such file")
        if path.stat().st_size == 0:
            raise InputError(f"{path.name} is empty")
        with path.open("rb"):
            pass
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    return path


def writable_target(path: Path, folder: bool = False) -> None:
    """Check before any work that `path` can be created; of a `folder` the parents may be missing too.

    Raises OutputError otherwise."""
    parent = path.parent
    while folder and not parent.exists() and parent != parent.parent:
        parent = parent.parent
    if not parent.is_dir():
        raise OutputError(f"the folder {parent} does not exist; create it first")
    if not os.access(parent, os.W_OK):
        raise OutputError(f"the folder {parent} is not writable")
    if not folder and path.is_dir():
        raise OutputError(f"{path} is a folder; name a file")
    if folder and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise OutputError(f"{path} exists and is not an empty folder")


def write_error(path: Path, error: OSError) -> OutputError:
    """One line for a failed write."""
    if error.errno == errno.ENOSPC:
        return OutputError(f"the disk is full; {path.name} was not written")
    return OutputError(f"{path} cannot be written: {error.strerror or error}")


def _remove_stale(path: Path) -> None:
    """Remove what runs that were killed left of the same target; a running one wrote within the last day."""
    with contextlib.suppress(OSError):
        for old in path.parent.glob(f".{glob.escape(path.stem)}.????????.part{glob.escape(path.suffix)}*"):
            if time.time() - old.stat().st_mtime > STALE and not old.is_dir():
                old.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_path(path: Path, folder: bool = False) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name on success and vanishes on any failure.

    Raises OutputError where the target cannot be written."""
    writable_target(path, folder)
    _remove_stale(path)
    temporary = path.parent / f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}"
    try:
        if folder:
            temporary.mkdir(parents=True)
        yield temporary
        if folder and path.is_dir():
            path.rmdir()
        temporary.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Where this user's copies of what can be had again are kept. Raises RuntimeError for a user without a home."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return Path(base or Path.home() / ".cache") / "infinex"


def same_file(a: str | Path, b: str | Path) -> bool:
    """Whether two paths are the same existing file."""
    try:
        return Path(a).samefile(b)
    except OSError:
        return False


def locked(path: Path) -> TextIO | None:
    """A lock file, opened and held until it is closed or this process ends; None where another process holds it.

    Raises OSError where nothing can be written."""
    file = path.open("w")
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
