"""Infinite Expressions: bring a still portrait to life.

    import infinex

    infinex.animate("portrait.jpg", "clip.mp4", "out.mp4")
    infinex.edit("portrait.jpg", "AU12=0.8,AU6=0.5", "smile.png")

The names below are loaded when they are first used, so that `import infinex` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from infinex._version import __version__

if TYPE_CHECKING:
    from infinex.drivers.contract import Drive
    from infinex.drivers.motion import load_motion
    from infinex.drivers.units import parse_timeline, parse_units, timeline_motion
    from infinex.editing import Editor, edit
    from infinex.engine import Source
    from infinex.errors import InfinexError, InputError
    from infinex.jobs.animate import animate, render
    from infinex.jobs.layers import open_layers
    from infinex.jobs.open import open_driver, open_said
    from infinex.jobs.source import load_source
    from infinex.jobs.track import track
    from infinex.motion import Motion, Rest
    from infinex.options import Options

_HOMES = {
    "Drive": "drivers.contract", "Editor": "editing", "InfinexError": "errors", "InputError": "errors",
    "Motion": "motion", "Options": "options", "Rest": "motion", "Source": "engine", "animate": "jobs.animate",
    "edit": "editing", "load_motion": "drivers.motion", "load_source": "jobs.source", "open_driver": "jobs.open",
    "open_layers": "jobs.layers", "open_said": "jobs.open", "parse_timeline": "drivers.units",
    "parse_units": "drivers.units", "render": "jobs.animate", "timeline_motion": "drivers.units", "track": "jobs.track",
}  # fmt: skip

__all__ = ["Drive", "Editor", "InfinexError", "InputError", "Motion", "Options", "Rest", "Source", "__version__",
           "animate", "edit", "load_motion", "load_source", "open_driver", "open_layers", "open_said", "parse_timeline",
           "parse_units", "render", "timeline_motion", "track"]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"infinex.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'infinex' has no attribute {name!r}")
