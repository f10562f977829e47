"""What commands share: the progress bar, the closing line and the reading of small options."""

from __future__ import annotations

import functools
import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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


def parse_time(text: str | None, option: str) -> float | None:
    """Seconds of "12.5", "1:02.5" or "1:00:02"; None of None. Raises InputError, which names the `option`."""
    if text is None:
        return None
    match = re.fullmatch(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d*)?|\.\d+)", text.strip())
    if match is None or (match[2] is not None and float(match[3]) >= 60) or (match[1] and int(match[2]) >= 60):
        raise InputError(f"{option} {text}: a time is wanted, in seconds (12.5) or as m:ss (1:02.5)")
    hours, minutes, seconds = (float(v or 0) for v in match.groups())
    return 3600 * hours + 60 * minutes + seconds


def piped(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose `source`, `driving`, `video` or `speech` may be "-", standard input, and whose `output` may be.

    What goes to standard output is of the kind that `kind` names, and `kind` is None where nothing does."""

    @functools.wraps(command)
    def run(**given: Any) -> None:
        from infinex.media.pipes import standard_input, standard_output

        with ExitStack() as stack:
            inputs = [k for k in ("source", "driving", "video", "speech") if str(given.get(k)) == "-"]
            if len(inputs) > 1:
                raise InputError("standard input, -, can be read only once; name a file for the other")
            if "kind" in given:
                if str(given["output"]) == "-":
                    given["kind"] = given["kind"] or "mp4"
                    given["output"] = stack.enter_context(standard_output(given["kind"]))
                elif given["kind"] is not None:
                    raise InputError("--format goes with -o -; a file's name says of which kind it is")
            for k in inputs:
                path = stack.enter_context(standard_input())
                given[k] = str(path) if isinstance(given[k], str) else path
            command(**given)

    return run


def parse_own(pairs: list[str] | None) -> dict[str, str]:
    """Choices of one engine alone, written KEY=VALUE. Raises InputError."""
    out = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise InputError(f"--option {pair}: KEY=VALUE is wanted")
        out[key.strip()] = value.strip()
    return out


def report(summary: dict[str, Any], as_json: bool, text: str) -> None:
    for warning in summary.get("warnings", []):
        print(f"infinex: note: {warning}", file=sys.stderr)
    print(json.dumps(summary) if as_json else text)
