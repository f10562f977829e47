"""Where a studio keeps its work: a folder that is locked while it runs, how much may lie in it, and records on disk."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from infinex.errors import InputError, option
from infinex.media.files import locked

PREFIX = "infinex-studio-"
LOCK = "studio.lock"
SPARE = 64 << 20  # bytes of the disk that are left to others
FULL = (errno.ENOSPC, errno.EDQUOT) if hasattr(errno, "EDQUOT") else (errno.ENOSPC,)


class NoRoomError(Exception):
    """The disk, or what the studio may keep on it, is full."""


def usual_folder() -> Path:
    """Where the work of this machine's user is kept."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "infinex" / "studio"


def sweep_temporary() -> None:
    """Remove the temporary folders of studios that were killed: nobody holds their locks."""
    with contextlib.suppress(OSError):
        for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                if not (folder / LOCK).exists() or folder.stat().st_uid != _user():
                    continue
                lock = locked(folder / LOCK)
                if lock is not None:
                    lock.close()
                    shutil.rmtree(folder, ignore_errors=True)


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


class Place:
    """A studio's folder. One of its own is temporary and goes with it; a named one stays, with what is kept."""

    def __init__(self, folder: Path | None, space: int) -> None:
        """Raises InputError for a folder that cannot be written, or that another studio uses."""
        self.lasting, self._space = folder is not None, space
        self._lock = threading.Lock()
        if folder is None:
            sweep_temporary()
            folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            held = locked(folder / LOCK)
        except OSError as error:
            raise InputError(f"{option('folder')} {folder} cannot be written: {error.strerror}") from None
        if held is None:
            raise InputError(f"another studio keeps its work in {folder}; name another {option('folder')}")
        self._held = held
        for rest in folder.glob("**/.*.part"):  # half-written when a studio was killed
            rest.unlink(missing_ok=True)
        self._used = self._counted = 0.0
        self.count()

    def count(self) -> int:
        """Bytes that lie in the folder, counted anew."""
        total = 0
        for root, _, files in os.walk(self.folder):
            for name in files:
                with contextlib.suppress(OSError):
                    total += (Path(root) / name).lstat().st_size
        with self._lock:
            self._used, self._counted = total, time.monotonic()
        return total

    def over(self, more: int = 0) -> int:
        """Bytes by which what is kept, and `more`, is over the limit; below 0 there is room."""
        with self._lock:
            return int(self._used + more - self._space)

    def check(self, more: int) -> None:
        """Raise NoRoomError where `more` bytes have no place; they count from now on."""
        if self.over(more) > 0:
            self.count()
            if self.over(more) > 0:
                raise NoRoomError
        try:
            if shutil.disk_usage(self.folder).free < more + SPARE:
                raise NoRoomError
        except OSError:
            raise NoRoomError from None
        with self._lock:
            self._used += more

    def close(self) -> None:
        """Free the folder; a temporary one is removed."""
        self._held.close()
        if not self.lasting:
            shutil.rmtree(self.folder, ignore_errors=True)


def write_record(path: Path, data: Any) -> None:
    """Write JSON, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        temporary.write_text(json.dumps(data, separators=(",", ":")), "utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_record(path: Path) -> dict[str, Any] | None:
    """What `write_record` wrote; None where it cannot be read."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is that of a full disk."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, NoRoomError) or (isinstance(error, OSError) and error.errno in FULL):
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False
