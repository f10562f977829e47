"""Names for results that say what is inside: whose portrait, doing what, in which shape."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infinex.errors import InfinexError
from infinex.studio.scenes import document_of

LONGEST = 80


def slug(text: str, most: int = 40) -> str:
    """Words fit for a file's name everywhere: letters and digits of any script with single dashes."""
    text = unicodedata.normalize("NFC", text).lower()
    text = re.sub(r"[^\w]+", "-", text.replace("_", "-")).strip("-")
    if len(text) > most:
        text = text[:most].rsplit("-", 1)[0] or text[:most]
    return text.strip("-")


def _does(given: Mapping[str, Any]) -> str:
    """What a portrait does, in a few words."""
    if given.get("say"):
        return "says " + re.sub(r"\[[^\]]*\]", " ", given["say"])
    if given.get("layers"):
        try:
            layers = [x for x in document_of(given["layers"])["layers"] if isinstance(x, dict)]
        except InfinexError:
            return "layers"
        said = next((x["say"] for x in layers if isinstance(x.get("say"), str)), None)
        if said is not None:
            return _does({"say": said})
        named = [str(x.get("name") or x.get("motion") or x.get("text") or x.get("kind")) for x in layers[:3]]
        return " ".join(named)
    for key in ("motion", "text", "units"):
        if given.get(key):
            return str(given[key])
    for key in ("driving", "speech"):
        if given.get(key) is not None:
            return "like " + Path(given[key].filename or key).stem
    return "timeline"


def name_of(given: Mapping[str, Any], portrait: str, options: Mapping[str, Any], several: bool = False) -> str:
    """The name of a result, without an ending; where there are `several` of one label it says whose portrait it is."""
    if not portrait and given.get("source") is not None:
        portrait = Path(given["source"].filename or "portrait").stem
    parts = [slug(given.get("label") or _does(given))]
    if several or not given.get("label"):
        parts.insert(0, slug(portrait, 24))
    if options["crop"] != "keep":
        parts.append(options["crop"].replace(":", "x"))
    if options["background"] == "none":
        parts.append("transparent")
    elif options["background"] != "keep":
        parts.append(slug(options["background"].replace("#00b140", "green")))
    return "-".join(p for p in parts if p)[:LONGEST].strip("-") or "infinex"


__all__ = ["name_of", "slug"]
