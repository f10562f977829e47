"""Another driver for each face of a group, as a user writes it: `1=a.mp4,2=b.mp4`."""

from __future__ import annotations

import re

from infinex.errors import InputError, option


def parse_cast(text: str) -> dict[int, str] | None:
    """Drivers by the number of a face from the left, of `1=a.mp4,2=nod`; None for what names no drivers.

    Raises InputError for what is neither."""
    if "=" not in text:
        return None
    cast: dict[int, str] = {}
    for part in re.split(r",(?=\s*\d+\s*=)", text):  # names may contain commas
        number, _, name = (p.strip() for p in part.partition("="))
        if not number.isdigit() or int(number) < 1 or not name:
            raise InputError(
                f"{option('face')} {text}: NUMBER=DRIVER is wanted, several with commas, as in 1=a.mp4,2=b.mp4"
            )
        if int(number) in cast:
            raise InputError(f"{option('face')} {text}: face {int(number)} is given two drivers")
        cast[int(number)] = name
    return cast
