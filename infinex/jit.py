"""Numba, as `infinex.compiled` uses it, apart from that: to load it takes time and memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys


class Kept(FunctionCache):  # type: ignore[misc]
    """What was compiled before, read without loading what compiling needs: that takes longer, and much memory."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """See there; but for its first line the same."""
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


def dispatcher(function: Callable[..., Any], fast: bool, inner: bool) -> Any:
    """What compiles a loop where it is called; see `infinex.compiled.compiled`."""
    made = njit(
        nogil=True, fastmath=fast, error_model="numpy", no_cpython_wrapper=inner, no_cfunc_wrapper=True
    )(function)  # fmt: skip
    if not inner:
        made._cache = Kept(function)
    return made
