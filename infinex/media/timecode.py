"""Timecode: which frame of a day a film begins with, as cameras and editors count them (SMPTE 12M)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from infinex.media.container import picture_stream

DAY = 86400  # seconds
NTSC = Fraction(1000, 1001)
DROPPING = (30, 60, 120)  # whole rates of which NTSC's leave numbers out, two a minute for each 30
_CODE = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})([:;.,])(\d{2,3})")


@dataclass(frozen=True)
class Timecode:
    """A frame, counted from midnight; with `drop` numbers are left out so that the count keeps to the clock."""

    count: int
    rate: Fraction  # frames a second
    drop: bool = False

    @staticmethod
    def parse(text: str, rate: Fraction) -> Timecode | None:
        """The frame that `HH:MM:SS:FF` names, with `;` where numbers are left out; None of what is none."""
        found = _CODE.fullmatch(text.strip())
        if found is None:
            return None
        h, m, s, f = (int(found[k]) for k in (1, 2, 3, 5))
        drop = found[4] != ":" and _drops(rate)
        base = _whole(rate)
        few = base // 15 if drop else 0
        if h > 23 or m > 59 or s > 59 or f >= base or (f < few and s == 0 and m % 10):
            return None
        minutes = 60 * h + m
        return Timecode(base * (60 * minutes + s) + f - few * (minutes - minutes // 10), rate, drop)

    @staticmethod
    def of(seconds: float, rate: Fraction) -> Timecode:
        """The frame that is named like a time of day; where that name is left out, the next one."""
        base, drop = _whole(rate), _drops(rate)
        whole, f = divmod(round(seconds * base), base)
        minutes, s = divmod(whole % DAY, 60)
        few = base // 15 if drop else 0
        f = max(f, few) if s == 0 and minutes % 10 else f
        return Timecode(base * (60 * minutes + s) + f - few * (minutes - minutes // 10), rate, drop)

    @property
    def base(self) -> int:
        """How many numbers a second has."""
        return _whole(self.rate)

    @property
    def parts(self) -> tuple[int, int, int, int]:
        """Hours, minutes, seconds and the frame's number."""
        n = self.count
        if self.drop:
            few = self.base // 15
            tens, rest = divmod(n, 600 * self.base - 9 * few)
            n += 9 * few * tens + few * max(0, (rest - few) // (60 * self.base - few))
        s = n // self.base % DAY
        return s // 3600, s // 60 % 60, s % 60, n % self.base

    def __str__(self) -> str:
        h, m, s, f = self.parts
        return f"{h:02}:{m:02}:{s:02}{';' if self.drop else ':'}{f:02}"

    @property
    def seconds(self) -> float:
        """Seconds since midnight, as it is named."""
        h, m, s, f = self.parts
        return 3600 * h + 60 * m + s + f / self.base

    def later(self, frames: int) -> Timecode:
        """So many frames later."""
        return replace(self, count=self.count + frames)

    def at(self, rate: Fraction) -> Timecode:
        """The same moment, named at another rate."""
        if rate == self.rate:
            return self
        h, m, s, f = self.parts
        sign = ";" if self.drop and _drops(rate) else ":"
        text = f"{h:02}:{m:02}:{s:02}{sign}{f * _whole(rate) // self.base:02}"
        return Timecode.parse(text, rate) or Timecode.of(self.seconds, rate)


def _whole(rate: Fraction) -> int:
    return max(1, round(rate))


def _drops(rate: Fraction) -> bool:
    base = _whole(rate)
    return base in DROPPING and abs(rate / (base * NTSC) - 1) < Fraction(1, 10000)


def stated(container: Any, rate: Fraction) -> Timecode | None:
    """The timecode that an open file's first picture has, where it says one; `rate` is that of its pictures."""
    first = picture_stream(container)
    for holder in (first, *container.streams, container):
        for name, text in {} if holder is None else holder.metadata.items():
            if name.lower() == "timecode":
                code = Timecode.parse(text, rate)
                if code is not None:
                    return code
    return None
