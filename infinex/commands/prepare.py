"""`infinex prepare`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from infinex.commands.choices import Json, Quiet
from infinex.commands.common import progress_bar, report


def prepare(
    videos: Annotated[Path, typer.Argument(help="A folder of videos.")],
    dataset: Annotated[Path, typer.Argument(help="The folder of the training set; run again, it goes on.")],
    size: Annotated[int, typer.Option(help="Side of the clips in pixels.")] = 256,
    shortest: Annotated[float, typer.Option(help="Seconds a shot must last.")] = 1.0,
    longest: Annotated[float, typer.Option(help="Seconds after which a shot is cut.")] = 60.0,
    identities: Annotated[
        str, typer.Option(help="folder (names of subfolders), cluster (by face), or a CSV file: path,identity.")
    ] = "auto",
    held_out: Annotated[float, typer.Option(help="Share of the people kept for testing.")] = 0.2,
    layout: Annotated[str, typer.Option(help="plain, or voxceleb with its .txt files.")] = "plain",
    workers: Annotated[int, typer.Option(help="Processes; 0: one per core.")] = 0,
    ray: Annotated[str, typer.Option(help="Address of a Ray cluster, or local.")] = "",
    units: Annotated[
        bool, typer.Option("--units", help="Also cut out faces and measure their Action Units, for ganimation.")
    ] = False,
    openface: Annotated[
        Path | None, typer.Option(help="Take the units from a folder of OpenFace CSV files, one for each clip.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a training set: infinex prepare VIDEOS DATASET"""
    from infinex.training.prepare import PrepareOptions
    from infinex.training.prepare import prepare as run

    options = PrepareOptions(
        size, shortest, longest, identities=identities, held_out=held_out, layout=layout, workers=workers, ray=ray
    )
    with progress_bar("preparing", quiet or as_json, "files") as update:
        summary = run(videos, dataset, options, update)
    lines = [
        f"{summary.output}: {summary.clips} clips of {summary.identities} people, {summary.seconds:.0f} s, "
        f"from {summary.files} files; {summary.train} for training, {summary.test} held back"
    ]
    lines += [f"  {count:6} rejected: {reason}" for reason, count in summary.rejected.items()]
    done = asdict(summary)
    if units or openface is not None:
        from infinex.systems.ganimation.labels import label

        with progress_bar("measuring", quiet or as_json, "clips") as update:
            done["faces"] = label(dataset, openface, progress=update)
        lines.append(f"{dataset / 'faces'}: {done['faces']} faces with their Action Units")
    report(done, as_json, "\n".join(lines))
