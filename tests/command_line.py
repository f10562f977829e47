"""The command line in this process: as users meet it, but for the seconds in which a new one loads what this has."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from infinex import cli


def run(*words: object, where: Path | None = None) -> subprocess.CompletedProcess[str]:
    """What `infinex WORDS` says and returns, begun in the folder `where`."""
    out, err = io.StringIO(), io.StringIO()
    argv, code = ["infinex", *map(str, words)], 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(patch("sys.argv", argv))
        stack.enter_context(patch.object(cli, "_own_stderr", lambda: None))
        stack.enter_context(patch.object(cli, "threads_hang", lambda: False))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        if where is not None:
            stack.enter_context(_inside(where))
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(argv, code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:  # contextlib.chdir is new in Python 3.11
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
