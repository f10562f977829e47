"""A second process of this program, started before it is known what it shall do: to import takes half a second."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

ROOM = 1 << 20  # bytes that wait in a pipe, where that can be chosen: of the usual 65536 hardly one picture's worth

_waiting: dict[str, subprocess.Popen[bytes]] = {}


def worthwhile() -> bool:
    """Whether this machine can do two things at once, and Python be started anew."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores > 1 and bool(sys.executable) and not getattr(sys, "frozen", False)


def make_ready(module: str) -> None:
    """Start a process that will be taken, and ends with this one otherwise."""
    if worthwhile() and module not in _waiting:
        _waiting[module] = _begun(module)


def taken(module: str) -> subprocess.Popen[bytes]:
    """A process that runs `serve` of a module, with its standard input and output: the one that waits, or a new one."""
    process = _waiting.pop(module, None)
    return _begun(module) if process is None or process.poll() is not None else process


def _begun(module: str) -> subprocess.Popen[bytes]:
    # Modules are looked for where this process looks for them, never where it happens to be started; Ctrl-C is meant
    # for this process, which ends the other one.
    words = f"import sys; sys.path[:] = {[p for p in sys.path if isinstance(p, str)]!r}; "
    words += "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    words += f"from {module} import serve; serve()"
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", words], stdin=pipe, stdout=pipe)
    with contextlib.suppress(ImportError, AttributeError, OSError):  # not every system has it, nor allows as much
        import fcntl

        for end in (process.stdin, process.stdout):
            fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, ROOM)  # type: ignore[arg-type]
    return process
