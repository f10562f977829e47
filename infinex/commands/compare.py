"""`infinex compare`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from infinex.commands.choices import Quiet
from infinex.commands.common import progress_bar
from infinex.commands.evaluate import by_task, tasks
from infinex.errors import InputError


def compare(
    clips: Annotated[
        Path, typer.Argument(help="A prepared folder (its test split), any folder of clips; or portraits.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the report.")],
    engines: Annotated[str, typer.Option(help="Names with commas; all: every engine that has weights.")] = "all",
    weights: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="ENGINE=FILE, a run or a name; once for each engine; NAME=FILE with --task."),
    ] = None,
    cross: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A folder of portraits, driven by other people."),
    ] = None,
    split: Annotated[str, typer.Option(help="Of a prepared folder: test, train or all.")] = "test",
    frames: Annotated[Optional[int], typer.Option(help="At most so many of each clip.")] = None,  # noqa: UP045
    drivers: Annotated[int, typer.Option(help="Clips that drive each portrait of --cross.")] = 2,
    jobs: Annotated[int, typer.Option(help="How many at once; 0: one for each core.")] = 0,
    ray: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Address of a Ray cluster that sees the same files; local: one on this machine."),
    ] = None,
    task: Annotated[
        str, typer.Option(help=f"reenactment, or the tables of a paper's own: {', '.join(tasks())}.")
    ] = "reenactment",
    as_json: Annotated[bool, typer.Option("--json", help="Print the means as JSON in the last line.")] = False,
    quiet: Quiet = False,
) -> None:
    """Compare engines on the same frames: infinex compare DATASET --out REPORT

    The static picture and the default engine stand beside all. The same call goes on where a killed one ended."""
    from infinex.evaluation.compare import compare as run
    from infinex.evaluation.compare import lines

    if task != "reenactment":
        of_clips = {"engines": engines != "all", "cross": cross, "frames": frames, "ray": ray, "jobs": jobs}
        if task in tasks() and (wrong := [n for n, given in of_clips.items() if given]):
            raise InputError(f"--{wrong[0]} belongs to --task reenactment, not {task}")
        summary, table = by_task(task, clips, out, ",".join(weights or []), None, quiet or as_json)
        print("\n".join(table))
        if as_json:
            print(json.dumps(summary.get("mean", summary)))
        return
    if frames is not None and frames < 2:
        raise InputError(f"--frames {frames}: it is at least 2")
    if drivers < 1 or jobs < 0:
        raise InputError("--drivers goes from 1, --jobs from 0")
    given = {}
    for text in weights or []:
        name, equals, file = text.partition("=")
        if not equals or not name or not file:
            raise InputError(f"--weights {text}: ENGINE=FILE is wanted")
        given[name] = file
    names = tuple(n.strip() for n in engines.split(",") if n.strip())
    if not names:
        raise InputError("--engines: name at least one, or all")
    with progress_bar("comparing", quiet or as_json, "clips") as update:
        report = run(clips, out, names, given, cross, split, frames, drivers, jobs, ray, update)
    for line in lines(report):
        print(line)
    if as_json:
        print(json.dumps({n: {k: v[0] for k, v in row.items()} for n, row in report["intervals"].items()}))
