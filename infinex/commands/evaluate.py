"""`infinex evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from infinex.commands.choices import Quiet
from infinex.commands.common import progress_bar
from infinex.errors import InputError
from infinex.spec import Found, systems


def tasks() -> dict[str, Found]:
    """Systems that are measured in a way of their own, by the name of what they do."""
    return {found.system.task: found for found in systems().values() if found.system.task}


def by_task(
    task: str, folder: Path, out: Path, weights: str, inception: Path | None, hidden: bool
) -> tuple[dict[str, Any], list[str]]:
    """Measure a system in its own way: the summary, and its table. Raises InputError for an unknown task."""
    others = tasks()
    if task not in others:
        raise InputError(f"--task {task}: it is reenactment, {' or '.join(others)}")
    module = others[task].load(others[task].system.evaluate, f"--task {task}")
    with progress_bar("evaluating", hidden, "samples") as update:
        summary = module.evaluate(folder, out, weights, update, inception)
    return summary, module.lines(summary)


def evaluate(
    clips: Annotated[Path, typer.Argument(help="A prepared folder (its test split), or any folder of clips.")],
    out: Annotated[Path, typer.Option(help="Folder of the report.")],
    engine: Annotated[str, typer.Option(help="What to evaluate; static and mesh stand beside it.")] = "mesh",
    weights: Annotated[str, typer.Option(help="Of the engine: a name or a file; files of language with commas.")] = "",
    cross: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A folder of portraits, driven by other people."),
    ] = None,
    split: Annotated[str, typer.Option(help="Of a prepared folder: test, train or all.")] = "test",
    frames: Annotated[Optional[int], typer.Option(help="At most so many of each clip.")] = None,  # noqa: UP045
    drivers: Annotated[int, typer.Option(help="Clips that drive each portrait of --cross.")] = 2,
    task: Annotated[str, typer.Option(help=f"reenactment, {', '.join(tasks())}.")] = "reenactment",
    lpips: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="LPIPS weights (VGG): measures it too."),
    ] = None,
    inception: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="An Inception network as ONNX: measures FID too."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the means as JSON in the last line.")] = False,
    quiet: Quiet = False,
) -> None:
    """Measure an engine: infinex evaluate DATASET --engine fomm --out REPORT"""
    if frames is not None and frames < 2:
        raise InputError(f"--frames {frames}: it is at least 2")
    if task == "reenactment":
        from infinex.evaluation.reenact import evaluate as run
        from infinex.evaluation.reenact import lines

        with progress_bar("evaluating", quiet or as_json, "clips") as update:
            summary = run(clips, out, engine, weights, cross, split, frames, drivers, update, lpips, inception)
        table = list(lines(summary))
    else:
        if lpips is not None and task in tasks():
            raise InputError(f"--lpips belongs to --task reenactment, not {task}")
        summary, table = by_task(task, clips, out, weights, inception, quiet or as_json)
    for line in table:
        print(line)
    if as_json:
        print(json.dumps(summary.get("mean", summary)))
