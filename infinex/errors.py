"""What a user can cause. The command line turns each of these into one line and exit code 2."""

from __future__ import annotations


class InfinexError(Exception):
    """Base of every error that is the user's to solve; its text says what was wrong and what to do."""


class InputError(InfinexError):
    """A file, value or combination of options that cannot be used."""


class FaceNotFoundError(InputError):
    """No usable face in a picture or a clip."""


class OutputError(InfinexError):
    """The result cannot be written: no permission, no space, an unknown format."""


class MissingDependencyError(InfinexError):
    """An optional package or a system library is missing; the text names the command that installs it."""


class WeightsError(InfinexError):
    """Weights are missing, truncated, of another model or of an unsafe kind."""


def missing_library(error: ImportError) -> str | None:
    """What to do where a library of the system is missing, and not a Python package; None otherwise."""
    text = str(error)
    if ".so" not in text:
        return None
    if "libGL." in text:
        return (
            "OpenCV needs the system library libGL: install it (Debian, Ubuntu: apt-get install libgl1), or run: "
            "pip install --force-reinstall --no-deps opencv-contrib-python-headless"
        )
    if "libgthread" in text or "libglib" in text:
        return "OpenCV needs the system library GLib: install it (Debian, Ubuntu: apt-get install libglib2.0-0)"
    return f"a library of the system is missing: {text.splitlines()[0]}; install the package that holds it"
