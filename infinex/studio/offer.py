"""What this installation can do, as the page shows it: units in anatomical groups, emotions, engines, drivers."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from infinex._version import __version__
from infinex.drivers.expression import GAZE, NAMES, TURN, UNITS, emotions
from infinex.drivers.layers import KINDS, MOST
from infinex.drivers.motion import bundled_motions, load_motion
from infinex.errors import InfinexError
from infinex.options import CROPS
from infinex.spec import with_engines
from infinex.studio.settings import Settings
from infinex.voices.choice import installed
from infinex.voices.espeak import Espeak

# Which group a unit belongs to, by its number in FACS.
GROUPS = (
    ("Brows", (1, 2, 4)),
    ("Eyes", (5, 7, 41, 42, 43, 44, 45, 46)),
    ("Nose and cheeks", (6, 9, 11, 13, 38, 39)),
    ("Lips and smile", (10, 12, 14, 15, 16, 18, 20, 22, 23, 24, 28)),
    ("Mouth and jaw", (17, 25, 26, 27, 29, 30, 31)),
)
PLAIN = {
    1: "Raise inner brows", 2: "Raise outer brows", 4: "Frown", 5: "Widen eyes", 6: "Raise cheeks",
    7: "Narrow eyes", 9: "Wrinkle nose", 10: "Raise upper lip", 11: "Deepen smile folds", 12: "Smile",
    13: "Puff cheeks", 14: "Dimples", 15: "Pull corners down", 16: "Lower lip down", 17: "Raise chin", 18: "Pucker",
    20: "Stretch lips", 22: "Funnel lips", 23: "Tighten lips", 24: "Press lips", 25: "Part lips", 26: "Open mouth",
    27: "Open wide", 28: "Suck lips in", 43: "Close eyes", 45: "Blink", 46: "Wink",
}  # fmt: skip
MOTIONS = {
    "smile": "Smile", "talking": "Talking", "surprise": "Surprise", "nod": "Nod", "wink": "Wink",
    "look-around": "Look around",
}  # fmt: skip


FORMATS = [
    {"name": "mp4", "label": "MP4 video", "alpha": False, "sound": True},
    {"name": "webm", "label": "WebM video", "alpha": True, "sound": True},
    {"name": "mov", "label": "MOV; transparent as ProRes 4444", "alpha": True, "sound": True},
    {"name": "gif", "label": "GIF", "alpha": True, "sound": False},
    {"name": "apng", "label": "Animated PNG", "alpha": True, "sound": False},
    {"name": "png", "label": "PNG frames, a zip", "alpha": True, "sound": False},
]


def _number(name: str) -> int:
    return int("".join(c for c in name if c.isdigit()) or 0)


def unit_groups() -> list[dict[str, Any]]:
    """Every unit of the face in its group: name, plain words, FACS' title, muscle, side ("", "L" or "R")."""
    groups: list[dict[str, Any]] = [{"title": title, "units": []} for title, _ in GROUPS]
    for name in sorted(NAMES, key=lambda n: (_number(n), n)):
        number = _number(name)
        place = next((i for i, (_, numbers) in enumerate(GROUPS) if number in numbers), len(GROUPS) - 1)
        side = name[-1] if name[-1] in "LR" else ""
        unit = UNITS[name.removesuffix(side)]
        groups[place]["units"].append(
            {"name": name, "number": number, "side": side, "label": PLAIN.get(number, unit.title.capitalize()),
             "title": unit.title.capitalize(), "muscle": unit.muscle}
        )  # fmt: skip
    return [g for g in groups if g["units"]]


def has(module: str) -> bool:
    """Whether a module of this package is there."""
    try:
        return find_spec(f"infinex.{module}") is not None
    except ModuleNotFoundError:
        return False


# Names that open without weights of the user's are printed as they are found.
TRY = """
import sys
from infinex.engine import load_engine
for name in sys.argv[1:]:
    try:
        load_engine(name)
    except Exception:
        continue
    print(name, flush=True)
"""
LIMIT = 180.0  # seconds


class Engines:
    """Engines that work here. Others than the mesh are tried in one process of their own, behind the scenes: they
    may lack weights or packages, and what they load should not stay in this one."""

    def __init__(self) -> None:
        self._labels = {name: found.system.label for name, found in with_engines().items()}
        self._names = ["mesh"]
        self._done = threading.Event()
        threading.Thread(target=self._try, daemon=True, name="infinex-engines").start()

    def _try(self) -> None:
        names = [n for n in self._labels if n != "mesh"]
        try:
            with subprocess.Popen(
                [sys.executable, "-c", TRY, *names], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            ) as trying:
                assert trying.stdout is not None
                limit = threading.Timer(LIMIT, trying.kill)
                limit.start()
                try:
                    self._names += [n for n in map(str.strip, trying.stdout) if n in names]
                finally:
                    limit.cancel()
        except (OSError, subprocess.SubprocessError):
            pass
        self._done.set()

    def known(self, name: str) -> bool:
        """Whether an engine works; waits for the answer where it is not known yet."""
        if name not in self._names and name in self._labels:
            self._done.wait(200)
        return name in self._names

    def __iter__(self) -> Iterator[dict[str, str]]:
        for name in list(self._names):
            yield {"name": name, "label": self._labels[name]}


@cache
def speaks() -> bool:
    """Whether a voice can drive here."""
    if not has("systems.speech.driver"):
        return False
    try:
        import_module("infinex.systems.speech.driver").default_model()
    except Exception:  # whatever it lacks, it cannot be offered
        return False
    return True


@cache
def voices() -> list[dict[str, str]]:
    """Who can say a text: names, and what the page calls them; empty where no voice is installed."""
    try:
        with Espeak() as espeak:
            languages = espeak.voices()
    except (InfinexError, OSError):
        return []
    own = [{"name": n, "label": n.replace("_", " ").replace("-", " ")} for n in installed()]
    return own + [{"name": f"espeak:{c}", "label": n} for c, n in sorted(languages.items(), key=lambda v: v[1])]


@cache
def _motions() -> list[dict[str, Any]]:
    """The bundled performances, with their lengths."""
    known = bundled_motions()
    order = [*(n for n in MOTIONS if n in known), *(n for n in known if n not in MOTIONS)]
    return [
        {"name": n, "label": MOTIONS.get(n, n.replace("-", " ").capitalize()),
         "seconds": round(load_motion(n).duration, 1)}
        for n in order
    ]  # fmt: skip


def offer(settings: Settings, engines: Engines) -> dict[str, Any]:
    """All of it, for the page."""
    from infinex.studio.examples import EXAMPLES

    return {
        "version": __version__,
        "engines": list(engines),
        "motions": _motions(),
        "examples": [{"name": e.name, "label": e.label, "credit": e.credit} for e in EXAMPLES],
        "units": unit_groups(),
        "emotions": emotions(),
        "turn": TURN,
        "gaze": GAZE,
        "text": has("drivers.text"),
        "speech": speaks(),
        "voices": voices() if speaks() else [],
        "limits": {
            "upload": settings.upload, "duration": settings.duration, "text": settings.text,
            "preview": settings.preview, "sharpest": settings.sharpest, "queue": settings.queue,
        },
        "crops": list(CROPS),
        "formats": FORMATS,
        "layers": {"kinds": list(KINDS), "most": MOST},
        "keep": settings.keep,
    }  # fmt: skip
