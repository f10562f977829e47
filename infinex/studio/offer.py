"""What this installation can do, as the page shows it: units in anatomical groups, emotions, engines, drivers."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from infinex._version import __version__
from infinex.drivers.motion import bundled_motions, load_motion
from infinex.face import units as face_units
from infinex.studio.expression import GAZE, TURN, emotions
from infinex.studio.settings import Settings

# Which group a unit belongs to, by its number in FACS.
GROUPS = (
    ("Brows", (1, 2, 4)),
    ("Eyes", (5, 7, 41, 42, 43, 44, 45, 46)),
    ("Nose and cheeks", (6, 9, 11, 13, 38, 39)),
    ("Lips and smile", (10, 12, 14, 15, 16, 18, 20, 22, 23, 24, 28)),
    ("Mouth and jaw", (17, 25, 26, 27, 29, 30, 31)),
)
TITLES = {
    1: "Inner brow raiser", 2: "Outer brow raiser", 4: "Brow lowerer", 5: "Upper lid raiser", 6: "Cheek raiser",
    7: "Lid tightener", 9: "Nose wrinkler", 10: "Upper lip raiser", 12: "Lip corner puller", 14: "Dimpler",
    15: "Lip corner depressor", 17: "Chin raiser", 20: "Lip stretcher", 23: "Lip tightener", 25: "Lips part",
    26: "Jaw drop", 45: "Blink",
}  # fmt: skip
PLAIN = {
    1: "Raise inner brows", 2: "Raise outer brows", 4: "Frown", 5: "Widen eyes", 6: "Raise cheeks",
    7: "Narrow eyes", 9: "Wrinkle nose", 10: "Raise upper lip", 11: "Deepen smile folds", 12: "Smile",
    13: "Puff cheeks", 14: "Dimples", 15: "Pull corners down", 16: "Lower lip down", 17: "Raise chin", 18: "Pucker",
    20: "Stretch lips", 22: "Funnel lips", 23: "Tighten lips", 24: "Press lips", 25: "Part lips", 26: "Open mouth",
    27: "Open wide", 28: "Suck lips in", 43: "Close eyes", 45: "Blink", 46: "Wink",
}  # fmt: skip
ENGINES = {
    "mesh": "Geometry: the portrait's own pixels, at full resolution",
    "fomm": "First Order Motion Model",
    "ganimation": "GANimation",
}
MOTIONS = {
    "smile": "Smile", "talking": "Talking", "surprise": "Surprise", "nod": "Nod", "wink": "Wink",
    "look-around": "Look around",
}  # fmt: skip


def _number(name: str) -> int:
    return int("".join(c for c in name if c.isdigit()) or 0)


def unit_groups() -> list[dict[str, Any]]:
    """Every unit of the basis in its group: name, plain words, FACS' title, side ("", "L" or "R")."""
    names = face_units.basis().names
    known = getattr(face_units, "UNITS", {})
    groups: list[dict[str, Any]] = [{"title": title, "units": []} for title, _ in GROUPS]
    for name in sorted(names, key=lambda n: (_number(n), n)):
        number = _number(name)
        place = next((i for i, (_, numbers) in enumerate(GROUPS) if number in numbers), len(GROUPS) - 1)
        side = name[-1] if name[-1] in "LR" else ""
        plain = name.rstrip("LR") if side else name
        title = known[plain].title if plain in known else TITLES.get(number, name)
        words = PLAIN.get(number, str(title).capitalize())
        groups[place]["units"].append({"name": name, "number": number, "side": side, "label": words, "title": title})
    return [g for g in groups if g["units"]]


def has(module: str) -> bool:
    """Whether a module of this package is there."""
    try:
        return find_spec(f"infinex.{module}") is not None
    except ModuleNotFoundError:
        return False


def engines() -> list[dict[str, str]]:
    """Engines that `animate` takes here."""
    from infinex.errors import InfinexError
    from infinex.pipeline import Options

    out = []
    for name, words in ENGINES.items():
        try:
            Options(engine=name).check()
        except (InfinexError, ImportError):
            continue
        out.append({"name": name, "label": words})
    return out


def offer(settings: Settings) -> dict[str, Any]:
    """All of it, for the page."""
    from infinex.studio.examples import EXAMPLES

    motions = [
        {"name": name, "label": MOTIONS.get(name, name.replace("-", " ").capitalize()),
         "seconds": round(load_motion(name).duration, 1)}
        for name in bundled_motions()
    ]  # fmt: skip
    order = list(MOTIONS)
    motions.sort(key=lambda m: order.index(str(m["name"])) if m["name"] in order else len(order))
    return {
        "version": __version__,
        "engines": engines(),
        "motions": motions,
        "examples": [{"name": e.name, "label": e.label, "credit": e.credit} for e in EXAMPLES],
        "units": unit_groups(),
        "emotions": emotions(),
        "turn": TURN,
        "gaze": GAZE,
        "text": has("drivers.text"),
        "speech": has("drivers.speech"),
        "limits": {
            "upload": settings.upload, "duration": settings.duration, "text": settings.text,
            "preview": settings.preview, "queue": settings.queue,
        },
    }  # fmt: skip
