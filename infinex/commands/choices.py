"""Options that several commands have, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

# typer reads `Optional` on Python 3.10.
Album = Annotated[str, typer.Option(help="A folder of pictures or a clip of the same person, whose mouths are shown.")]
Background = Annotated[str, typer.Option(help="keep, none (transparent), a colour by name or #rrggbb, or a picture.")]
BoxText = Annotated[Optional[str], typer.Option(help="x,y,width,height of the face where none is found.")]  # noqa: UP045
Browser = Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page where there is a screen.")]
DriverFace = Annotated[
    str, typer.Option(help="Whose performance: largest, moving, a number from the left, or x,y,width,height.")
]
End = Annotated[Optional[str], typer.Option(help="Where to end, seconds or m:ss.")]  # noqa: UP045
Exaggerate = Annotated[
    bool, typer.Option("--allow-exaggeration", help="With --units: intensities up to 2 instead of 1.")
]
Json = Annotated[bool, typer.Option("--json", help="Print a summary as JSON in the last line.")]
Mark = Annotated[bool, typer.Option("--mark", help="Put a small visible mark in the corner.")]
Neutral = Annotated[
    bool, typer.Option("--neutral", help="Take the portrait's own expression off first: its smile, its open mouth.")
]
OpenEyes = Annotated[bool, typer.Option("--open-eyes", help="Draw closed eyes open first; their iris is made up.")]
Port = Annotated[int, typer.Option(help="Port; 0 takes a free one.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]
Sign = Annotated[
    Optional[tuple[Path, Path]],  # noqa: UP045
    typer.Option(metavar="CERT KEY", help="Sign the result with a C2PA manifest: certificate chain and key, PEM."),
]
Smooth = Annotated[float, typer.Option(help="Smoothing, 0 (none) to 1.")]
Start = Annotated[Optional[str], typer.Option(help="Where to begin, seconds or m:ss.")]  # noqa: UP045
