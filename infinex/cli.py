"""The command line: thin, one typed function per command."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from infinex._version import __version__
from infinex.errors import InfinexError, InputError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Bring a still portrait to life: from a video, a camera or a saved performance.",
)


class Mouth(str, Enum):
    """Where the inside of the mouth comes from."""

    driver = "driver"
    own = "own"


class Wrinkles(str, Enum):
    """Whose wrinkles are shown."""

    driver = "driver"
    none = "none"


@contextmanager
def _progress(label: str, quiet: bool) -> Iterator[Callable[[int, int | None], None] | None]:
    """A bar with speed and time left on stderr, where that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[speed]:.1f} frames/s"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None, speed=0.0)
        start = [0.0]

        def update(done: int, total: int | None) -> None:
            start[0] = start[0] or time.perf_counter()
            speed = (done - 1) / max(1e-3, time.perf_counter() - start[0])
            bar.update(task, completed=done, total=max(total, done) if total else None, speed=speed)

        yield update


def _box(text: str | None) -> tuple[float, float, float, float] | None:
    if text is None:
        return None
    try:
        x, y, w, h = (float(v) for v in text.split(","))
    except ValueError:
        raise InputError(f"--box {text}: four numbers x,y,width,height are wanted") from None
    return x, y, w, h


def _report(summary: dict[str, Any], as_json: bool, text: str) -> None:
    for warning in summary.get("warnings", []):
        print(f"infinex: note: {warning}", file=sys.stderr)
    print(json.dumps(summary) if as_json else text)


def _version(show: bool) -> None:
    if show:
        print(f"infinex {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def animate(
    source: Annotated[Path, typer.Argument(help="Portrait: a picture, or a video whose own head motion stays.")],
    driving: Annotated[
        Optional[str],  # noqa: UP045  (typer reads this on Python 3.10)
        typer.Argument(help="Driver: a video, a picture, a .motion.npz file, or camera:0."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help=".mp4, .webm, .gif, .apng, or a folder for PNG frames."),
    ] = None,
    motion: Annotated[
        Optional[str], typer.Option(help="A bundled performance by name (see `infinex motions`), or a file.")  # noqa: UP045
    ] = None,
    engine: Annotated[str, typer.Option(help="What renders: mesh.")] = "mesh",
    face: Annotated[str, typer.Option(help="largest, all, or a number from the left.")] = "largest",
    box: Annotated[str | None, typer.Option(help="x,y,width,height of the face where none is found.")] = None,
    parts: Annotated[
        str, typer.Option(help="What to carry over, of pose,lips,eyes,brows,gaze.")
    ] = "pose,lips,eyes,brows,gaze",
    strength: Annotated[float, typer.Option(help="How strongly, 0 to 3.")] = 1.0,
    absolute: Annotated[
        bool, typer.Option("--absolute", help="Take the driver's pose as it is, not its change.")
    ] = False,
    reference: Annotated[
        int | None,
        typer.Option(help="Frame of the driver that counts as rest, from 0; else the best is chosen."),
    ] = None,
    smooth: Annotated[float, typer.Option(help="Smoothing, 0 (none) to 1.")] = 0.5,
    mouth: Annotated[
        Mouth, typer.Option(help="Inside of the mouth: the driver's, or the portrait's own, modelled.")
    ] = Mouth.driver,
    wrinkles: Annotated[Wrinkles, typer.Option(help="Carry over the driver's wrinkles, or none.")] = Wrinkles.driver,
    panel: Annotated[bool, typer.Option("--panel", help="Write source, driving, occlusion map and result.")] = False,
    audio: Annotated[str, typer.Option(help="keep (the driver's sound), none, or a file.")] = "keep",
    fps: Annotated[Optional[float], typer.Option(help="Frame rate; else the driver's.")] = None,  # noqa: UP045
    size: Annotated[int | None, typer.Option(help="Longer side of the result in pixels; else the source's.")] = None,
    keep_readable: Annotated[
        bool, typer.Option("--keep-readable", help="Use what can be read of a damaged driver.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON in the last line.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Animate a portrait: infinex animate photo.jpg clip.mp4 -o out.mp4"""
    from infinex.pipeline import Options
    from infinex.pipeline import animate as run

    if (driving is None) == (motion is None):
        raise InputError("name one driver: a file or camera:0 after the source, or --motion")
    options = Options(
        engine, face, tuple(p.strip() for p in parts.split(",") if p.strip()), strength, absolute, reference,
        smooth, mouth.value, wrinkles.value, _box(box), size, fps, audio, panel, keep_readable,
    )  # fmt: skip
    if driving is not None and driving.startswith("camera:"):
        from infinex.drivers.camera import run_live

        summary = run_live(source, driving, output, options)
        _report(summary.as_dict(), as_json, f"{summary.frames} frames at {summary.fps:.1f} frames/s")
        return
    if output is None:
        raise InputError("name the output with -o, for example -o out.mp4")
    with _progress("animating", quiet or as_json) as update:
        summary = run(source, motion or driving or "", output, options, update)
    _report(
        summary.as_dict(),
        as_json,
        f"{summary.output}: {summary.frames} frames, {summary.duration:.1f} s, "
        f"{summary.width}x{summary.height}, made at {summary.fps:.1f} frames/s",
    )


@app.command()
def track(
    video: Annotated[Path, typer.Argument(help="A clip of one performer.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the .motion.npz goes.")],
    table: Annotated[bool, typer.Option("--csv", help="Also write a table: time, Action Units, pose, gaze.")] = False,
    smooth: Annotated[float, typer.Option(help="Smoothing, 0 (none) to 1.")] = 0.5,
    keep_readable: Annotated[
        bool, typer.Option("--keep-readable", help="Use what can be read of a damaged clip.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a summary as JSON in the last line.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Capture a performance: infinex track clip.mp4 -o clip.motion.npz --csv"""
    from infinex.media.files import atomic_path, writable_target
    from infinex.pipeline import track as run

    if not output.name.endswith(".motion.npz"):
        raise InputError(f"{output.name}: a performance must end in .motion.npz")
    writable_target(output)
    if not 0 <= smooth <= 1:
        raise InputError(f"--smooth {smooth}: it goes from 0 to 1")
    started = time.perf_counter()
    with _progress("tracking", quiet or as_json) as update:
        motion, lost = run(video, keep_readable, smooth, update)
    motion.save(output)
    if table:
        with atomic_path(output.with_name(output.name.removesuffix(".motion.npz") + ".csv")) as temporary:
            temporary.write_text(motion_table(motion), encoding="utf-8")
    summary = {
        "output": str(output), "frames": len(motion), "duration": round(motion.duration, 3), "fps": motion.fps,
        "seconds": round(time.perf_counter() - started, 3),
        "warnings": [f"no face from {a:.1f} s to {b:.1f} s" for a, b in lost],
    }  # fmt: skip
    _report(summary, as_json, f"{output}: {len(motion)} frames, {motion.duration:.1f} s")


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


@app.command()
def motions() -> None:
    """List the performances that come with Infinex."""
    from infinex.drivers.motion import bundled_motions
    from infinex.motion import Motion

    for name, path in bundled_motions().items():
        motion = Motion.load(path)
        print(f"{name:14} {motion.duration:5.1f} s at {motion.fps:g} frames/s")


@app.command()
def doctor() -> None:
    """Check this installation: versions, libraries, models, a short self-test."""
    from infinex.doctor import examine

    if not examine():
        raise InfinexError("something is missing; see above")


def _own_stderr() -> None:
    """Keep stderr for our own words: native libraries write log lines straight to file descriptor 2."""
    if os.environ.get("INFINEX_DEBUG"):
        return
    try:
        keep = os.dup(2)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)
        sys.stderr = os.fdopen(keep, "w", buffering=1, encoding=sys.stderr.encoding or "utf-8", errors="replace")
    except (OSError, AttributeError):
        pass


def main() -> None:
    """Entry point: one line and exit code 2 for what the user can mend, 130 for Ctrl-C."""
    _own_stderr()
    code = 0
    try:
        result = app(standalone_mode=False)
        if isinstance(result, int):  # newer releases of Typer turn Ctrl-C into its exit code themselves
            code = result
        if code == 130:
            raise KeyboardInterrupt
    except InfinexError as error:
        print(f"infinex: {error}", file=sys.stderr)
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        print("infinex: stopped", file=sys.stderr)
        code = 130
    except typer.Exit as done:
        code = done.exit_code
    except MemoryError:
        print("infinex: not enough memory; try a smaller --size", file=sys.stderr)
        code = 2
    except Exception as error:
        if not hasattr(error, "format_message") and type(error).__module__.split(".")[0] not in (
            "click",
            "typer",
        ):
            raise
        text = error.format_message() if hasattr(error, "format_message") else str(error)
        if text:
            print(f"infinex: {text}", file=sys.stderr)
        code = 2
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code) if threads_hang() else sys.exit(code)


def threads_hang() -> bool:
    """Whether some thread outlived its work, so that a plain exit would wait for it."""
    import threading

    return any(t is not threading.main_thread() and not t.daemon for t in threading.enumerate())


if __name__ == "__main__":
    main()
