"""`infinex stimuli`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from infinex.commands.choices import Json, Quiet
from infinex.commands.common import progress_bar, report


def stimuli(
    portraits: Annotated[list[Path], typer.Argument(help="Portraits, or folders of them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the pictures and stimuli.csv.")],
    size: Annotated[int, typer.Option(help="Longer side of the pictures in pixels.")] = 768,
    only: Annotated[str, typer.Option(help="Some expressions only: neutral,AU12_E,happy ...")] = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Pictures for studies: infinex stimuli portraits -o stimuli

    Every Action Unit at FACS levels A to E, and 54 combinations of them, on every portrait; stimuli.csv says what was
    asked and what is read back."""
    from infinex.evaluation.stimuli import portraits_in
    from infinex.evaluation.stimuli import stimuli as run

    started = time.perf_counter()
    names = tuple(n.strip() for n in only.split(",") if n.strip())
    with progress_bar("drawing", quiet or as_json, "pictures") as update:
        counts = run(portraits_in(portraits), output, size, names, update)
    summary = {"output": str(output), **counts, "seconds": round(time.perf_counter() - started, 3)}
    report(
        summary, as_json, f"{output}: {counts['pictures']} pictures, {counts['failed']} portraits that cannot be used"
    )
