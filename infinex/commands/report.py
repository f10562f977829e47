"""`infinex report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infinex.commands.choices import Json
from infinex.commands.common import report as closing


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run of infinex train.")],
    as_json: Json = False,
) -> None:
    """Draw a training run: infinex report RUN"""
    from infinex.training.report import report as draw

    summary = draw(run)
    held = "".join(f", {k} {v:.4g}" for k, v in summary["held"].items())
    closing(summary, as_json, f"{summary['page']}: {summary['recipe']}, {summary['steps']} steps{held}")
