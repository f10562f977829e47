"""`infinex track` and `infinex motions`."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from infinex.commands.choices import DriverFace, End, Json, Quiet, Smooth, Start
from infinex.commands.common import parse_time, piped, progress_bar, report
from infinex.errors import InputError

NAMES = ("livelink", "openface", "gltf", "vrma", "bvh", "rhubarb", "rhubarb-json", "vtt")


@piped
def track(
    video: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(
            help="A clip of one performer, a picture, a performance, a take, a voice; camera:0 with --send; -."
        ),
    ] = None,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("-o", "--output", help="Where it goes: .motion.npz, or what --format asks for."),
    ] = None,
    style: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--format", help=f"motion, {', '.join(NAMES)}; else by the output's ending."),
    ] = None,
    text: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Instead of a clip: what a face does, in English, for --format."),
    ] = None,
    units: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Instead of a clip: Action Units or a timeline of them, for --format."),
    ] = None,
    to: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--send", help="Send it there as it happens: livelink://host:11111, vmc://host:39539, vts://host:8001."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Of a folder of clips: how many at once; 0: one for each core.")] = 0,
    table: Annotated[bool, typer.Option("--csv", help="Also write a table: time, Action Units, pose, gaze.")] = False,
    smooth: Smooth = 0.5,
    start: Start = None,
    end: End = None,
    driver_face: DriverFace = "largest",
    keep_readable: Annotated[
        bool, typer.Option("--keep-readable", help="Use what can be read of a damaged clip.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Capture a performance: infinex track clip.mp4 -o clip.motion.npz --csv"""
    from infinex.drivers.span import check_span
    from infinex.interchange.formats import chosen
    from infinex.jobs.export import is_filmed
    from infinex.jobs.track import track as run
    from infinex.media.files import atomic_path, writable_target

    if to is not None:
        if output is not None or style is not None or table:
            raise InputError("--send goes without -o, --format and --csv: it writes no file")
        _send(video, text, units, to, smooth, parse_time(start, "--start") or 0.0, parse_time(end, "--end"), as_json)
        return
    if video is not None and output is not None and Path(video).is_dir() and not output.suffix:
        if table or jobs < 0 or start or end or style is None:
            raise InputError(
                "a folder of clips wants --format, and --jobs from 0; --csv, --start and --end do not go with it"
            )
        _capture(Path(video), output, style, smooth, driver_face, keep_readable, jobs, as_json, quiet)
        return
    if output is None:
        raise InputError("name the output with -o, for example -o clip.motion.npz")
    if sum(d is not None for d in (video, text, units)) != 1:
        raise InputError("name one performance: a clip, --text or --units")
    found = chosen(style, output)
    if found is None and not output.name.endswith(".motion.npz"):
        raise InputError(f"{output.name}: a performance must end in .motion.npz")
    writable_target(output)
    if not 0 <= smooth <= 1:
        raise InputError(f"--smooth {smooth}: it goes from 0 to 1")
    first, last = parse_time(start, "--start") or 0.0, parse_time(end, "--end")
    check_span(first, last)
    if found is not None:
        if table:
            raise InputError("--csv goes with a .motion.npz; --format openface writes a table of Action Units")
        _export(video, text, units, output, found.name, smooth, first, last, driver_face, keep_readable, as_json, quiet)
        return
    if video is None or not is_filmed(video):
        raise InputError("into a .motion.npz goes what a clip or a picture shows; for the rest name a --format")
    started = time.perf_counter()
    notes: list[str] = []
    with progress_bar("tracking", quiet or as_json) as update:
        motion, lost = run(video, keep_readable, smooth, update, first, last, driver_face, notes, output=output)
    if table:
        with atomic_path(output.with_name(output.name.removesuffix(".motion.npz") + ".csv")) as temporary:
            temporary.write_text(motion_table(motion), encoding="utf-8")
    summary = {
        "output": str(output), "frames": len(motion), "duration": round(motion.duration, 3), "fps": motion.fps,
        "seconds": round(time.perf_counter() - started, 3),
        "warnings": notes + [f"no face from {a:.1f} s to {b:.1f} s" for a, b in lost],
    }  # fmt: skip
    report(summary, as_json, f"{output}: {len(motion)} frames, {motion.duration:.1f} s")


def _source(video: str | None, text: str | None, units: str | None) -> Any:
    """What drives: a name, or a driver of a text or of units."""
    from infinex.drivers.text import open_text
    from infinex.jobs.open import open_units

    if sum(d is not None for d in (video, text, units)) != 1:
        raise InputError("name one performance: a clip, --text or --units")
    return open_text(text) if text is not None else open_units(units) if units is not None else video


def _send(
    video: str | None, text: str | None, units: str | None, to: str, smooth: float, first: float, last: float | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Send a performance to another program."""
    from infinex.jobs.send import send
    from infinex.options import Options

    done = send(_source(video, text, units), to, Options(start=first, end=last, smooth=smooth))
    summary = {"to": to, "frames": done.frames, "seconds": done.seconds, "warnings": done.warnings}
    report(summary, as_json, f"{to}: {done.frames} frames in {done.seconds:.1f} s")


def _capture(
    folder: Path, out: Path, style: str, smooth: float, driver_face: str, keep_readable: bool, jobs: int, as_json: bool,
    quiet: bool,
) -> None:  # fmt: skip
    """Track every clip of a folder."""
    from infinex.jobs.batch import capture

    started = time.perf_counter()
    choices = {"smooth": smooth, "driver_face": driver_face, "keep_readable": keep_readable}
    with progress_bar("tracking", quiet or as_json, "clips") as update:
        summary = capture(folder, out, style, choices, jobs, update)
    summary["seconds"] = round(time.perf_counter() - started, 3)
    report(summary, as_json, f"{summary['manifest']}: {summary['done']} done, {summary['failed']} failed")


def _export(
    video: str | None, text: str | None, units: str | None, output: Path, style: str, smooth: float, first: float,
    last: float | None, driver_face: str, keep_readable: bool, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Write a take in another tool's format."""
    from infinex.jobs.export import export
    from infinex.media.files import same_file
    from infinex.options import Options

    started = time.perf_counter()
    notes: list[str] = []
    source = _source(video, text, units)
    if video is not None and same_file(video, output):
        raise InputError(f"the output {output} would overwrite an input")
    o = Options(start=first, end=last, smooth=smooth, keep_readable=keep_readable, driver_face=driver_face)
    with progress_bar("tracking", quiet or as_json) as update:
        take = export(source, output, style, o, update, notes)
    seconds = len(take) / take.fps
    summary = {
        "output": str(output), "format": style, "frames": len(take), "duration": round(seconds, 3), "fps": take.fps,
        "seconds": round(time.perf_counter() - started, 3), "warnings": notes,
    }  # fmt: skip
    report(summary, as_json, f"{output}: {len(take)} frames, {seconds:.1f} s")


def motion_table(motion: Any) -> str:
    """A motion as CSV: time in seconds, Action Units 0..1, yaw, pitch, roll and gaze in degrees."""
    import numpy as np

    from infinex.face.pose import Pose, to_matrix

    names = motion.unit_names
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["frame", "time", "valid", *names, "yaw", "pitch", "roll", "gaze_right", "gaze_down"])
    for i in range(len(motion)):
        angles = Pose(1.0, to_matrix(motion.rotation[i]), np.zeros(3)).angles
        gaze = np.degrees(motion.gaze[i])
        units = motion.units[i] if motion.units is not None else []
        writer.writerow(
            [i, f"{i / motion.fps:.4f}", int(motion.valid[i])]
            + [f"{v:.3f}" for v in units]
            + [f"{v:.2f}" for v in (*angles, *gaze)]
        )
    return out.getvalue()


def motions() -> None:
    """List the performances that come with Infinex."""
    from infinex.drivers.motion import bundled_motions
    from infinex.motion import Motion

    for name, path in bundled_motions().items():
        motion = Motion.load(path)
        print(f"{name:14} {motion.duration:5.1f} s at {motion.fps:g} frames/s")
