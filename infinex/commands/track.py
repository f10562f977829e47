"""`infinex track` and `infinex motions`."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from infinex.commands.common import parse_time, piped, progress_bar, report
from infinex.errors import InputError


@piped
def track(
    video: Annotated[Path, typer.Argument(help="A clip of one performer, or a picture; - for standard input.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the .motion.npz goes.")],
    table: Annotated[bool, typer.Option("--csv", help="Also write a table: time, Action Units, pose, gaze.")] = False,
    smooth: Annotated[float, typer.Option(help="Smoothing, 0 (none) to 1.")] = 0.5,
    start: Annotated[Optional[str], typer.Option(help="Where to begin, seconds or m:ss.")] = None,  # noqa: UP045
    end: Annotated[Optional[str], typer.Option(help="Where to end, seconds or m:ss.")] = None,  # noqa: UP045
    driver_face: Annotated[
        str, typer.Option(help="Whose performance: largest, moving, a number from the left, or x,y,width,height.")
    ] = "largest",
    keep_readable: Annotated[
        bool, typer.Option("--keep-readable", help="Use what can be read of a damaged clip.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON in the last line.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Capture a performance: infinex track clip.mp4 -o clip.motion.npz --csv"""
    from infinex.drivers.span import check_span
    from infinex.jobs.track import track as run
    from infinex.media.files import atomic_path, writable_target

    if not output.name.endswith(".motion.npz"):
        raise InputError(f"{output.name}: a performance must end in .motion.npz")
    writable_target(output)
    if not 0 <= smooth <= 1:
        raise InputError(f"--smooth {smooth}: it goes from 0 to 1")
    first, last = parse_time(start, "--start") or 0.0, parse_time(end, "--end")
    check_span(first, last)
    started = time.perf_counter()
    notes: list[str] = []
    with progress_bar("tracking", quiet or as_json) as update:
        motion, lost = run(video, keep_readable, smooth, update, first, last, driver_face, notes)
    motion.save(output)
    if table:
        with atomic_path(output.with_name(output.name.removesuffix(".motion.npz") + ".csv")) as temporary:
            temporary.write_text(motion_table(motion), encoding="utf-8")
    summary = {
        "output": str(output), "frames": len(motion), "duration": round(motion.duration, 3), "fps": motion.fps,
        "seconds": round(time.perf_counter() - started, 3),
        "warnings": notes + [f"no face from {a:.1f} s to {b:.1f} s" for a, b in lost],
    }  # fmt: skip
    report(summary, as_json, f"{output}: {len(motion)} frames, {motion.duration:.1f} s")


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
