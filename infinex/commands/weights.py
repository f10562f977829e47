"""`infinex weights`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from infinex.commands.choices import Quiet
from infinex.commands.common import progress_bar
from infinex.errors import InputError


def weights(
    action: Annotated[str, typer.Argument(help="list, fetch NAME, add NAME FILE, or where NAME.")] = "list",
    name: Annotated[Optional[str], typer.Argument(help="One of infinex weights list.")] = None,  # noqa: UP045
    file: Annotated[Optional[Path], typer.Argument(help="A file to add.")] = None,  # noqa: UP045
    quiet: Quiet = False,
) -> None:
    """Weights of the engines: infinex weights list | fetch NAME | add NAME FILE | where NAME"""
    from infinex.systems import registry

    if action == "list":
        for entry in registry.entries():
            found, known = registry.where(entry), entry.weights
            state = "comes with Infinex" if found and known.bundled else "here" if found else registry.advice(entry)
            print(f"{known.name:17} {entry.system.name:10} {known.megabytes:7.1f} MB  {known.licence}")
            print(f"{'':17} {known.origin}\n{'':17} {state}")
        return
    if action not in ("fetch", "add", "where"):
        raise InputError(f"infinex weights {action}: it is list, fetch, add or where")
    if name is None:
        if action != "where":
            raise InputError(f"infinex weights {action}: name the weights; infinex weights list shows them")
        print(registry.store())
        return
    if action == "where":
        entry = registry.find(name)
        print(registry.resolve(name, entry.system.name))
    elif action == "fetch":
        with progress_bar("fetching", quiet, "MB") as update:
            print(registry.fetch(name, update))
    elif file is None:
        raise InputError(f"infinex weights add {name}: name the file as well")
    else:
        print(registry.add(name, file))
