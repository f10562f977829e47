"""Text from a user as the value that a dataclass field wants."""

from __future__ import annotations

import types
from typing import Any, Literal, Union, get_args, get_origin


def parsed(text: str, hint: Any) -> Any:
    """`text` as the type `hint`; tuples are comma-separated. Raises ValueError."""
    origin = get_origin(hint)
    if origin is Literal:
        if text not in get_args(hint):
            raise ValueError(f"it is one of {', '.join(get_args(hint))}")
        return text
    if origin in (Union, types.UnionType):
        if text.lower() in ("none", ""):
            return None
        return parsed(text, next(a for a in get_args(hint) if a is not type(None)))
    if origin is tuple:
        return tuple(parsed(part.strip(), get_args(hint)[0]) for part in text.split(",") if part.strip())
    if hint is bool:
        if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise ValueError("true or false is wanted")
        return text.lower() in ("true", "1", "yes")
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            raise ValueError("a whole number is wanted" if hint is int else "a number is wanted") from None
    if hint is str:
        return text
    raise ValueError("it cannot be set from the command line")
