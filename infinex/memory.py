"""What the C library keeps of freed memory, where it is glibc; elsewhere nothing is done."""

from __future__ import annotations

import ctypes
import gc
import sys
from functools import cache
from typing import Any


@cache
def _library() -> Any:
    """The C library of this process, None where it is not glibc."""
    if sys.platform != "linux":
        return None
    try:
        library = ctypes.CDLL(None)
        return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
    except OSError:
        return None


def frugal() -> None:
    """Large arrays go back to the system as soon as they are freed: glibc would keep a fifth of what we use at most.

    Libraries make a hundred thousand objects that stay, among which there is no garbage to look for again and again."""
    gc.set_threshold(50_000)
    library = _library()
    if library is not None:
        for key, value in ((-3, 3 << 20), (-1, 8 << 20), (-8, 2)):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_ARENA_MAX
            library.mallopt(key, value)


def trim() -> None:
    """Give back what is free: after work that took more than what follows will."""
    library = _library()
    if library is not None:
        library.malloc_trim(0)
