"""How inner loops are compiled, which a first run waits for, and read again, which every other one does."""

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


def compiled(fast: bool = False, inner: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """A decorator for loops over numbers and arrays that release the GIL, kept on disk.

    `fast` ones may add and multiply in any order; `inner` ones are called by other compiled functions alone, and kept
    as part of those. A division by zero gives infinity; arrays had better be made by the caller: each kind of
    `np.empty` is a function to be compiled."""

    def decorate(function: Callable[..., Any]) -> Any:
        made = njit(
            nogil=True, fastmath=fast, error_model="numpy", no_cpython_wrapper=inner, no_cfunc_wrapper=True
        )(function)  # fmt: skip
        if not inner:
            made._cache = Kept(function)
        return made

    return decorate
