"""`infinex doctor`."""

from __future__ import annotations

from infinex.errors import InfinexError


def doctor() -> None:
    """Check this installation: versions, libraries, models; write, read, track and render a short clip."""
    from infinex.doctor import examine

    if bad := examine():
        raise InfinexError(f"this installation does not work, see above: {', '.join(bad)}")
