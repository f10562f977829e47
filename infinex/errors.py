"""What a user can cause. The command line turns each of these into one line and exit code 2."""

from __future__ import annotations

import re
from collections.abc import Callable

_OPTION = re.compile("\ue000([a-z_]+)\ue001")  # no keyboard has these, so no file's name is taken for one


def option(name: str) -> str:
    """Where an error's text names an option, such as `driver_face`; whoever shows the error writes it in his own form.

    Raises ValueError for a name that cannot be one."""
    mark = f"\ue000{name}\ue001"
    if not _OPTION.fullmatch(mark):
        raise ValueError(f"{name!r} is no option's name")
    return mark


def dashed(name: str) -> str:
    """An option as the command line has it: --driver-face."""
    return "--" + name.replace("_", "-")


def undashed(name: str) -> str:
    """An option as a page speaks of it: driver-face."""
    return name.replace("_", "-")


def _spelt(text: str, form: Callable[[str], str]) -> str:
    """A text with every option in it written by `form`."""
    return _OPTION.sub(lambda found: form(found[1]), text)


class Note(str):
    """A word to the user that is no error and may name options by `option(...)`, as the command line writes them."""

    def __new__(cls, text: str) -> Note:
        """`text` as it is made, with its options marked."""
        note = super().__new__(cls, _spelt(text, dashed))
        note._marked = text
        return note

    _marked: str

    @property
    def marked(self) -> str:
        """What it was made of."""
        return self._marked

    def words(self, form: Callable[[str], str] = undashed) -> str:
        """The text with every option written by `form`."""
        return _spelt(self._marked, form)


class InfinexError(Exception):
    """Base of every error that is the user's to solve; its text says what was wrong and what to do.

    The text may name options by `option(...)`; `advice` is what follows it where there is a command line."""

    def __init__(self, text: str = "", *, advice: str = "") -> None:
        super().__init__(str(text))
        self.advice = advice

    def __str__(self) -> str:
        return self.words(dashed, self.advice)

    @property
    def options(self) -> tuple[str, ...]:
        """The names of the options that the text is about, in its order."""
        return tuple(dict.fromkeys(_OPTION.findall(self.args[0])))

    def words(self, form: Callable[[str], str] = undashed, advice: str = "") -> str:
        """The text with every option written by `form`, and `advice` behind it."""
        return _spelt(self.args[0] + advice, form)

    def replaced(self, old: str, new: str) -> InfinexError:
        """The same error with other words for `old`."""
        return type(self)(self.args[0].replace(old, new), advice=self.advice.replace(old, new))


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
