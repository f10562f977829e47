"""`infinex study`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infinex.commands.choices import Browser, Port
from infinex.commands.studio import LOOPBACK, asked_token, check_installed, serve
from infinex.errors import InputError


def study(
    folder_a: Annotated[Path, typer.Argument(metavar="DIR_A", help="Videos made one way.")],
    folder_b: Annotated[Path, typer.Argument(metavar="DIR_B", help="Videos of the same names, made another way.")],
    output: Annotated[Path, typer.Option("-o", "--out", help="Answers, CSV; one that exists is taken up.")] = Path(
        "study.csv"
    ),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Port = 7861,
    token: Annotated[
        str | None, typer.Option(help="Ask every rater for this token; `new` makes one.", envvar="INFINEX_TOKEN")
    ] = None,
    browser: Browser = True,
    show: Annotated[bool, typer.Option("--results", help="Print the results so far and end.")] = False,
) -> None:
    """Let people judge two sets of videos blind: infinex study engine-a/ engine-b/

    Videos of the same name are shown side by side in random order; NAME.txt beside one holds its words."""
    from infinex.evaluation.study import Study, pairs_of, table

    if show and not output.exists():
        raise InputError(f"{output}: no such file; nobody has answered yet")
    one = Study(pairs_of(folder_a, folder_b), output)
    if not show:
        check_installed()
        from infinex.studio.settings import Settings
        from infinex.studio.study_app import create_study_app

        token = asked_token(token, host)
        app, place = create_study_app(one, Settings(token=token, loopback=host in LOOPBACK))
        print(f"{len(one.pairs)} pairs; answers go to {output}", flush=True)
        serve(app, host, port, token, browser, place)
    print(table(one.results()))
