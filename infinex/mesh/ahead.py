"""A first run compiles in two processes: this one what it meets, a second one, from the end, what it will meet."""

from __future__ import annotations

import gc
import importlib
import json
import os
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

from numba import types

TABLE = Path(__file__).parent / "data" / "kernels.json"  # made by tools/list_kernels.py, in the order of need
LAST = "infinex.mesh.kernel.paint"  # the one whose absence says that nothing was compiled yet
STALE = 300.0  # seconds after which a process that never ended is no longer waited for


def spelt(kind: Any) -> str:
    """A type of an argument as it stands in the table: `int64`; arrays `uint8 3 C`, with `r` where read-only."""
    if isinstance(kind, types.Array):
        return f"{kind.dtype} {kind.ndim} {kind.layout}" + ("" if kind.mutable else " r")
    return str(kind)


def meant(text: str) -> Any:
    """The type that `spelt` wrote."""
    name, *array = text.split()
    kind = getattr(types, "boolean" if name == "bool" else name)
    return types.Array(kind, int(array[0]), array[1], readonly=array[2:] == ["r"]) if array else kind


def kernel(name: str) -> Any:
    """A compiled function by its full name."""
    module, _, function = name.rpartition(".")
    return getattr(importlib.import_module(module), function)


def _compiled_before() -> bool:
    """Whether this machine has compiled the kernels, of this source, already."""
    found = kernel(LAST)
    made = Path(found._cache.cache_path).glob(f"*.{found.__name__}-*.nbi")
    source = Path(found.py_func.__code__.co_filename)
    return any(m.stat().st_mtime >= source.stat().st_mtime for m in made)


@cache
def read_compiled() -> None:
    """Read the kernels that were compiled in earlier runs, while something else is waited for."""
    if _compiled_before():
        for name, arguments in json.loads(TABLE.read_text()):
            kernel(name).compile(tuple(meant(a) for a in arguments))


@cache
def compile_ahead() -> subprocess.Popen[bytes] | None:
    """Start the second process, once, where this machine has not compiled the kernels yet and has a core to spare.

    Nothing waits for it: what it has done by the time it is needed is read from Numba's cache, the rest is compiled
    where it is met, as always. It ends by itself, at once where another is at it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores < 2 or _compiled_before():
        return None
    folder = Path(kernel(LAST)._cache.cache_path)
    folder.mkdir(parents=True, exist_ok=True)
    nothing, words = subprocess.DEVNULL, [sys.executable, "-m", __name__, str(folder)]
    # Python imports from where it is started: not from a folder with files of the user's.
    return subprocess.Popen(words, stdin=nothing, stdout=nothing, stderr=nothing, cwd=folder)


def _main(folder: Path) -> None:
    """Compile the table, last first, unless another process is at it."""
    gc.disable()  # what compiling leaves behind goes with the process; looking for it takes a seventh of the time
    lock = folder / "ahead.lock"
    try:
        if time.time() - lock.stat().st_mtime > STALE:
            lock.unlink()
    except FileNotFoundError:
        pass
    try:
        lock.touch(exist_ok=False)
    except FileExistsError:
        return
    try:
        # What writes is wanted when the first frame has been drawn.
        table = json.loads(TABLE.read_text())[::-1]
        table.sort(key=lambda entry: entry[0].startswith("infinex.media"))
        for name, arguments in table:
            kernel(name).compile(tuple(meant(a) for a in arguments))
    finally:
        lock.unlink(missing_ok=True)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
