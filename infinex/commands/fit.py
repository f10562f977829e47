"""`infinex fit`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Optional

import typer

from infinex.commands.choices import End, Json, Quiet, Start
from infinex.commands.common import parse_time, progress_bar, report
from infinex.errors import InputError


def fit(
    source: Annotated[Path, typer.Argument(help="A clip or a picture of one person.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the .npz goes.")],
    face_model: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A face model that you have a licence for: Basel .mat or .h5, FLAME or ICT-FaceKit .npz."),
    ] = None,
    start: Start = None,
    end: End = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit a parametric face to one person: infinex fit clip.mp4 -o person.npz"""
    from infinex.drivers.span import check_span
    from infinex.jobs.fit import fit as run
    from infinex.media.files import writable_target

    if output.suffix != ".npz":
        raise InputError(f"{output.name}: a fitted person must end in .npz")
    writable_target(output)
    first, last = parse_time(start, "--start") or 0.0, parse_time(end, "--end")
    check_span(first, last)
    started = time.perf_counter()
    with progress_bar("fitting", quiet or as_json) as update:
        person = run(source, output, face_model, first, last, update)
    lost = int((~person.valid).sum())
    difference = float(person.energy[person.valid].mean())
    summary = {
        "output": str(output), "frames": len(person), "fps": person.fps, "model": person.face.title,
        "difference": round(difference, 4),
        "seconds": round(time.perf_counter() - started, 3),
        "warnings": [f"no face in {lost} frames"] if lost else [],
    }  # fmt: skip
    report(summary, as_json, f"{output}: {len(person)} frames; colours differ by {100 * difference:.1f} %")
