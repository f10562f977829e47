"""`infinex train`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer

from infinex.commands.choices import Json, Quiet
from infinex.commands.common import progress_bar, report
from infinex.errors import InputError, MissingDependencyError


def train(
    recipe: Annotated[Optional[str], typer.Argument(help="A recipe by name; none lists them.")] = None,  # noqa: UP045
    data: Annotated[Optional[Path], typer.Option(help="A folder made by infinex prepare.")] = None,  # noqa: UP045
    person: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="One person's pictures, in a folder or a clip, in place of --data: the recipe learns her."),
    ] = None,
    out: Annotated[Optional[Path], typer.Option(help="Folder of the run.")] = None,  # noqa: UP045
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    settings: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", help="key=value of the recipe or the trainer, such as max_steps=20; repeatable."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a recipe: infinex train fomm-tiny --data DATASET --out RUN --set max_steps=200"""
    try:
        from infinex.training.recipes import all_recipes
        from infinex.training.trainer import train as run
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"training needs {error.name}: pip install 'infinex[train]'") from None

    if recipe is None:
        if resume or out is not None or data is not None or person is not None or settings:
            raise InputError("name the recipe first, as in infinex train fomm-tiny --out RUN; alone it lists them")
        for name, entry in sorted(all_recipes().items()):
            print(f"{name:20} {(type(entry.recipe).__doc__ or '').splitlines()[0]}")
        return
    if out is None:
        raise InputError("name the folder of the run with --out")
    if person is not None:
        if data is not None:
            raise InputError("--person and --data: name one of them")
        if f"{recipe}-person" not in all_recipes():
            raise InputError(f"--person: {recipe} learns no single person; latent-pose does")
        recipe, data = f"{recipe}-person", person
    with progress_bar("training", quiet or as_json, "steps") as update:
        result = run(
            recipe, data, out, settings or [], resume, update,
            lambda text: print(f"infinex: note: {text}", file=sys.stderr),
        )  # fmt: skip
    summary = asdict(result) | {"warnings": []}
    terms = ", ".join(f"{k} {v:.4g}" for k, v in result.terms.items())
    report(summary, as_json, f"{result.run}: step {result.step} after {result.seconds:.0f} s; {terms}")
