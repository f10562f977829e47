"""What portraits are taken apart into and clips looked over for, kept between runs: the same again begins sooner.

It lies in a folder of the user's own and never takes more than `MOST` bytes: files that were not asked for longest go
first. `INFINEX_CACHE` names another folder than the usual one; `INFINEX_CACHE=none` keeps
nothing. What is read back is what was made, to the bit, by this code and with these libraries; else it is made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import zipfile
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.media.files import cache_folder

Arrays = tuple[NDArray, ...]
MOST = 256 << 20  # bytes of all files together; what alone takes a quarter of that is not kept
MAKERS = ("mesh", "drivers", "face", "media")  # the folders of code and networks by which it is made
MANY = 400  # files, each of which is looked at when one is written
LIBRARIES = ("numpy", "numba", "onnxruntime")
NOTHING = "none"


def kept(name: str, made: Callable[[], Arrays], *given: NDArray | float | str) -> Arrays:
    """The arrays that `made` makes of what is `given`, on which alone they may depend, or what it made before."""
    folder = _folder()
    if folder is None:
        return made()
    key = hashlib.blake2b(_makers(), digest_size=16)
    for value in given:
        array = np.ascontiguousarray(value)
        key.update(f"{name} {array.dtype} {array.shape}".encode())
        key.update(array.data)
    path = folder / f"{name}-{key.hexdigest()}.npz"
    with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile):  # not there, or a disk's fault
        with np.load(path, allow_pickle=False) as found:
            arrays = tuple(found[f"arr_{i}"] for i in range(len(found.files)))
        os.utime(path)
        return arrays
    arrays = made()
    with contextlib.suppress(OSError):  # a full disk, or one that may not be written
        _write(path, arrays)
    return arrays


def _folder() -> Path | None:
    """Where the files lie; None where nothing is to be kept, or there is no place of the user's own."""
    asked = os.environ.get("INFINEX_CACHE")
    if asked:
        return None if asked == NOTHING else Path(asked)
    with contextlib.suppress(RuntimeError):
        return cache_folder() / "kept"
    return None


@cache
def _makers() -> bytes:
    """What tells one state of the code, its networks and its libraries from another."""
    out = hashlib.blake2b()
    for folder in MAKERS:
        root = Path(__file__).parents[1] / folder
        for path in sorted([*root.glob("*.py"), *root.glob("data/*")]):
            stat = path.stat()
            out.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns} ".encode())
    for library in LIBRARIES:
        out.update(version(library).encode())
    import cv2  # a distribution of many names

    out.update(cv2.__version__.encode())
    return out.digest()


def _write(path: Path, arrays: Arrays) -> None:
    """Write a file, whole or not at all, and remove the oldest ones beyond `MOST`."""
    if sum(a.nbytes for a in arrays) > MOST // 4:
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(6)}.part")
    try:
        with temporary.open("wb") as file:
            np.savez(file, *arrays)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    left = MOST
    files = [(p.stat(), p) for p in path.parent.iterdir()]
    for n, (stat, old) in enumerate(sorted(files, key=lambda f: -f[0].st_mtime)):
        left -= stat.st_size
        if left < 0 or n >= MANY:
            old.unlink(missing_ok=True)
