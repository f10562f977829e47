"""`infinex batch`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Optional

import typer

from infinex.commands.choices import Json, Quiet
from infinex.commands.common import progress_bar, report
from infinex.errors import InputError


def batch(
    what: Annotated[Path, typer.Argument(help="A folder of portraits, or a .jsonl with a job in every line.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the results and their manifest.")],
    driver: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="What drives portraits for which nothing else is named."),
    ] = None,
    jobs: Annotated[int, typer.Option(help="How many at once; 0: one for each core.")] = 0,
    ray: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Address of a Ray cluster that sees the same files; local: one on this machine."),
    ] = None,
    no_share: Annotated[
        bool,
        typer.Option("--no-share", help="Track a clip anew for every portrait, which keeps its wrinkles and mouth."),
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Animate many portraits: infinex batch portraits --driver clip.mp4 --out results

    The same call goes on where a killed one ended; manifest.jsonl says what came of every job."""
    from infinex.jobs.batch import batch as run
    from infinex.jobs.batch import read_jobs

    if jobs < 0:
        raise InputError(f"--jobs {jobs}: it goes from 0")
    started = time.perf_counter()
    with progress_bar("animating", quiet or as_json, "jobs") as update:
        summary = run(read_jobs(what, driver), out, jobs, ray, not no_share, update)
    summary["seconds"] = round(time.perf_counter() - started, 3)
    text = f"{summary['manifest']}: {summary['done']} done, {summary['failed']} failed"
    report(summary, as_json, text + (f", {summary['skipped']} of them before" if summary["skipped"] else ""))
