"""The command line: the list of commands, and what every one of them promises at its end."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

# Our matrices are small: threads that wait for one another cost more than they give, and everything on a busy machine.
# It must be said before NumPy is loaded, which no command does on being imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from infinex._version import __version__
from infinex.commands.animate import animate
from infinex.commands.batch import batch
from infinex.commands.compare import compare
from infinex.commands.doctor import doctor
from infinex.commands.edit import edit
from infinex.commands.evaluate import evaluate
from infinex.commands.fit import fit
from infinex.commands.inspect import inspect
from infinex.commands.prepare import prepare
from infinex.commands.report import report
from infinex.commands.stimuli import stimuli
from infinex.commands.studio import studio
from infinex.commands.study import study
from infinex.commands.track import motions, track
from infinex.commands.train import train
from infinex.commands.voices import voices
from infinex.commands.weights import weights
from infinex.errors import InfinexError, missing_library
from infinex.memory import frugal

COMMANDS = (
    animate,
    batch,
    edit,
    track,
    motions,
    fit,
    prepare,
    train,
    report,
    evaluate,
    compare,
    voices,
    stimuli,
    weights,
    inspect,
    studio,
    study,
    doctor,
)

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Bring a still portrait to life: from a video, a camera or a saved performance.",
)


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


for _command in COMMANDS:
    app.command()(_command)


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
    frugal()
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
    except ImportError as error:
        if (missing := missing_library(error)) is None:
            raise
        print(f"infinex: {missing}", file=sys.stderr)
        code = 2
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
