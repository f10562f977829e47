"""How inner loops are compiled, which a first run waits for, and read again, which every other one does."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any


class Compiled:
    """A loop over numbers and arrays, of which Numba hears once it is called: processes that call none load none."""

    def __init__(self, function: Callable[..., Any], fast: bool, inner: bool) -> None:
        self._function, self._how = function, (fast, inner)
        self.__name__, self.__module__, self.__doc__ = function.__name__, function.__module__, function.__doc__

    @cached_property
    def _made(self) -> Any:
        from infinex.jit import dispatcher

        known = self._function.__globals__
        for name in self._function.__code__.co_names:  # those that it calls, as Numba knows them
            if isinstance(known.get(name), Compiled):
                known[name] = known[name]._made
        return dispatcher(self._function, *self._how)

    def __call__(self, *arguments: Any) -> Any:
        return self._made(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)


def compiled(fast: bool = False, inner: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """A decorator for loops over numbers and arrays that release the GIL, kept on disk.

    `fast` ones may add and multiply in any order; `inner` ones are called by other compiled functions alone, and kept
    as part of those. A division by zero gives infinity; arrays had better be made by the caller: each kind of
    `np.empty` is a function to be compiled."""
    return lambda function: Compiled(function, fast, inner)
