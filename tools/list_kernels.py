"""List what an animation compiles, and with which types, for the process that compiles ahead (`infinex/mesh/ahead.py`).

    NUMBA_CACHE_DIR=$(mktemp -d) python tools/list_kernels.py CLIP

runs the demonstration and CLIP as a driver with nothing compiled yet, and writes `infinex/mesh/data/kernels.json`:
those that take longest, in the order in which they are needed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from numba.core import event

from infinex.jobs.animate import animate
from infinex.mesh import ahead
from infinex.options import Options
from infinex.studio.examples import EXAMPLES

WORTH = 0.1  # seconds of compiling from which a kernel is listed


class Met(event.Listener):
    """Notes what is compiled where it is called from Python."""

    def __init__(self) -> None:
        self.found: list[tuple[str, list[str], float]] = []
        self._open: list[float] = []

    def on_start(self, event: Any) -> None:
        self._open.append(time.perf_counter())

    def on_end(self, event: Any) -> None:
        seconds = time.perf_counter() - self._open.pop()
        if not self._open:
            f = event.data["dispatcher"].py_func
            arguments = [ahead.spelt(a) for a in event.data["args"]]
            self.found.append((f"{f.__module__}.{f.__qualname__}", arguments, seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    clip = parser.parse_args().clip
    ahead.compile_ahead.cache_clear()
    met = Met()
    event.register("numba:compile", met)
    portrait = EXAMPLES[0].path
    with tempfile.TemporaryDirectory() as folder:
        ahead.TABLE.write_text("[]")  # the second process has nothing to do
        for driver in (clip, "smile"):
            animate(portrait, driver, Path(folder) / "out.mp4", Options(end=1.5))
    kept = [(name, arguments) for name, arguments, seconds in met.found if seconds >= WORTH]
    lines = ",\n".join(json.dumps(k) for k in kept)
    ahead.TABLE.write_text(f"[\n{lines}\n]\n")
    for name, _, seconds in met.found:
        print(f"{seconds:6.2f} s  {name}")


if __name__ == "__main__":
    main()
