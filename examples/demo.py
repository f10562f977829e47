"""Animate Rear Admiral Grace Hopper, whose public-domain portrait comes along."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def portrait() -> Path:
    """The picture that the studio offers as an example."""
    from infinex.studio.examples import EXAMPLES

    return EXAMPLES[0].path


def show(path: Path) -> None:
    """Open a file with the desktop's player where there is a screen."""
    if sys.platform == "darwin":
        subprocess.run(["open", str(path)], check=False)
    elif sys.platform == "win32":
        os.startfile(path)  # type: ignore[attr-defined]
    elif os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        subprocess.Popen(["xdg-open", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main() -> None:
    out = Path("demo.mp4").resolve()
    print("animating Grace Hopper with a smile ...", flush=True)
    words = ["animate", str(portrait()), "--motion", "smile", "-o", str(out)]
    subprocess.run([sys.executable, "-m", "infinex.cli", *words], check=True)
    print(f"the video is at {out}")
    show(out)


if __name__ == "__main__":
    main()
