"""`infinex doctor`."""

from __future__ import annotations

from infinex.errors import InfinexError


def doctor() -> None:
    """Check this installation: versions, libraries, models, a short self-test."""
    from infinex.doctor import examine

    if not examine():
        raise InfinexError("something is missing; see above")
