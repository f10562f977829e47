"""`infinex edit`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Optional

import typer

from infinex.commands.choices import Album, Background, BoxText, Exaggerate, Json, Mark, Neutral, OpenEyes, Quiet, Sign
from infinex.commands.common import parse_box, progress_bar, report
from infinex.errors import InputError


def edit(
    photo: Annotated[Path, typer.Argument(help="Portrait: a picture.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="A picture; for a timeline .mp4, .webm, .gif, .apng or a folder.")
    ],
    units: Annotated[
        Optional[str],  # noqa: UP045  (typer reads this on Python 3.10)
        typer.Option(help='Action Units: "AU12=0.8,AU6L=0.5", or a timeline "0s: ; 1s: AU12=1; 2s: AU12=.2".'),
    ] = None,
    emotion: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help='happy, sad, angry, surprised, afraid, disgusted, contemptuous, "happily surprised", ...'),
    ] = None,
    text: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help='In English: "she smiles with raised brows"; of a picture, its strongest moment.'),
    ] = None,
    strength: Annotated[float, typer.Option(help="How strong the emotion is, 0 to 1.")] = 1.0,
    grid: Annotated[
        bool, typer.Option("--grid", help="0, 1/3, 2/3 and all of it side by side; of two units every combination.")
    ] = False,
    neutral: Neutral = False,
    open_eyes: OpenEyes = False,
    no_shading: Annotated[bool, typer.Option("--no-shading", help="Do not deepen furrows.")] = False,
    exaggerate: Exaggerate = False,
    face: Annotated[str, typer.Option(help="largest, all, or a number from the left.")] = "largest",
    box: BoxText = None,
    background: Background = "keep",
    album: Album = "",
    mark: Mark = False,
    sign: Sign = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Give a portrait an expression: infinex edit photo.jpg --units "AU12=0.8,AU6=0.5" -o out.png"""
    from infinex.drivers.units import Keyframe, is_timeline, parse_timeline, timeline_motion
    from infinex.editing import edit as run
    from infinex.editing import expression
    from infinex.media.image import SUFFIXES

    if units is None and emotion is None and text is None and not neutral and not open_eyes:
        raise InputError(
            'say which expression: --units "AU12=0.8", --emotion happy, --text "she smiles", --neutral, or --open-eyes'
        )
    if text is not None and (units is not None or emotion is not None):
        raise InputError("--text says it all: leave out --units and --emotion")
    notes: list[str] = []
    if text is not None:
        from infinex.drivers.text import open_text
        from infinex.drivers.timeline import TimelineDriver

        spoken = open_text(text)
        assert isinstance(spoken, TimelineDriver)
        notes, at_height = spoken.notes, spoken.timeline.height()
    started = time.perf_counter()
    where = parse_box(box)
    if output.suffix.lower() in SUFFIXES:
        wanted = expression(units, emotion, strength, exaggerate) if text is None else at_height
        image = run(
            photo, wanted, output, grid=grid, shading=not no_shading, exaggerate=exaggerate,
            face=face, box=where, mark=mark, sign=sign, background=background, notes=notes,
            neutral=neutral, album=album, open_eyes=open_eyes,
        )  # fmt: skip
        summary = {
            "output": str(output), "units": wanted, "width": image.shape[1], "height": image.shape[0],
            "seconds": round(time.perf_counter() - started, 3), "engine": "mesh", "warnings": notes,
        }  # fmt: skip
        report(summary, as_json, f"{output}: {image.shape[1]}x{image.shape[0]}")
        return
    if grid:
        raise InputError(f"--grid makes a picture; {output.name} must end in {', '.join(SUFFIXES)}")
    from infinex.jobs.animate import animate
    from infinex.options import Options

    options = Options(
        face=face,
        box=where,
        mark=mark,
        sign=sign,
        wrinkles="none" if no_shading else "driver",
        background=background,
        neutral=neutral,
        album=album,
        open_eyes=open_eyes,
    )
    if text is not None:
        with progress_bar("animating", quiet or as_json) as update:
            done = animate(photo, spoken, output, options, update)
        done.warnings += notes
        report(done.as_dict(), as_json, f"{done.output}: {done.frames} frames, {done.duration:.1f} s")
        return
    over = expression(None, emotion, strength, exaggerate)
    keys = parse_timeline(units or "", exaggerate)
    if units is None or not is_timeline(units):
        both = expression(units, emotion, strength, exaggerate)
        keys = [Keyframe(k.time, both if k.time else {}) for k in keys]
    elif over:
        raise InputError("a timeline names its own emotions, as in 1s: happy=0.8; leave out --emotion")
    with progress_bar("animating", quiet or as_json) as update:
        done = animate(photo, timeline_motion(keys), output, options, update)
    report(done.as_dict(), as_json, f"{done.output}: {done.frames} frames, {done.duration:.1f} s")
