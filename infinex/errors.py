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
