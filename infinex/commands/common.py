"""What commands share: the progress bar, the closing line and the reading of small options."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from infinex.errors import InputError


@contextmanager
def progress_bar(label: str, quiet: bool, unit: str = "frames") -> Iterator[Callable[[int, int | None], None] | None]:
    """A bar with speed and time left on stderr, where that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[speed]:.1f} " + unit + "/s"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None, speed=0.0)
        start = [0.0]

        def update(done: int, total: int | None) -> None:
            start[0] = start[0] or time.perf_counter()
            speed = (done - 1) / max(1e-3, time.perf_counter() - start[0])
            bar.update(task, completed=done, total=max(total, done) if total else None, speed=speed)

        yield update


def parse_box(text: str | None) -> tuple[float, float, float, float] | None:
    if text is None:
        return None
    try:
        x, y, w, h = (float(v) for v in text.split(","))
    except ValueError:
        raise InputError(f"--box {text}: four numbers x,y,width,height are wanted") from None
    if not all(math.isfinite(v) for v in (x, y, w, h)) or w <= 0 or h <= 0:
        raise InputError(f"--box {text}: width and height must be above 0")
    return x, y, w, h


def report(summary: dict[str, Any], as_json: bool, text: str) -> None:
    for warning in summary.get("warnings", []):
        print(f"infinex: note: {warning}", file=sys.stderr)
    print(json.dumps(summary) if as_json else text)
