"""How inner loops are compiled, which a first run waits for: what is left out here need not be made."""

from __future__ import annotations

from typing import Any

from numba import njit


def compiled(fast: bool = False, inner: bool = False) -> Any:
    """A decorator for loops over numbers and arrays that release the GIL, kept on disk.

    `fast` ones may add and multiply in any order; `inner` ones are called by other compiled functions alone, and kept
    as part of those. A division by zero gives infinity; arrays had better be made by the caller: each kind of
    `np.empty` is a function to be compiled."""
    return njit(
        nogil=True, fastmath=fast, error_model="numpy", cache=not inner, no_cpython_wrapper=inner, no_cfunc_wrapper=True
    )
