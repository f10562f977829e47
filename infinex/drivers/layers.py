"""A scene of layers as people write it down, in JSON: performances, voices, words, expressions, turns of the head."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from infinex.drivers.expression import TURNS, Expression, read_keyframes
from infinex.drivers.units import LONGEST
from infinex.drivers.whose import check_driver_face
from infinex.errors import InfinexError, InputError, option
from infinex.motion import DEFAULT_PARTS, part_weights

VERSION = 1
MOST, BYTES = 32, 256 << 10  # layers of a scene, and the size of its document
HOURS = 10 * 3600.0
FADE = 0.25  # seconds over which a layer comes and goes within a scene
KINDS = {  # what a layer may come from, and what else it knows beside what every layer does
    "performance": (("file", "motion"), ("driver_face", "reference", "smooth", "sound", "volume", "combine")),
    "voice": (("file", "say"), ("voice", "voice_speed", "voice_pitch", "still", "volume")),
    "words": (("text",), ("still", "combine")),
    "expression": (("keyframes", "units"), ("combine",)),
    "head": (("keyframes",), ("combine",)),
}
COMMON = ("at", "start", "end", "length", "speed", "loop", "hold", "strength", "parts", "fade_in", "fade_out", "off",
          "name", "face")  # fmt: skip
FACES = 99  # numbers that a face of a group may have
NUMBERS: dict[str, tuple[float, float]] = {
    "at": (0, HOURS), "start": (0, HOURS), "end": (0, HOURS), "length": (0.04, HOURS), "speed": (0.1, 10),
    "strength": (0, 3), "fade_in": (0, 60), "fade_out": (0, 60), "volume": (0, 2), "smooth": (0, 1),
    "voice_speed": (0.5, 2), "voice_pitch": (-12, 12),
}  # fmt: skip
WORDS = {"file": 4096, "motion": 64, "say": 2000, "voice": 64, "text": 2000, "units": 4000, "name": 80,
         "driver_face": 80}  # fmt: skip
SWITCHES = ("loop", "hold", "still", "sound", "off")


@dataclass(frozen=True)
class Layer:
    """One layer: what it comes from, which part of that, and when and how it shows; times in seconds."""

    kind: str
    file: str | None = None
    motion: str | None = None  # of a bundled performance
    say: str | None = None
    text: str | None = None
    units: str | None = None
    keyframes: tuple[tuple[float, Expression], ...] | None = None
    at: float = 0.0  # when it begins
    start: float = 0.0  # the part of its own time that is used
    end: float | None = None
    length: float | None = None  # how long it is there; repeated for so long where it is a loop
    speed: float = 1.0
    loop: bool = False
    hold: bool = False  # its last instant stays
    strength: float = 1.0
    parts: tuple[str, ...] = DEFAULT_PARTS
    combine: str = "add"  # onto what lies below, or replace it
    fade_in: float | None = None  # None: FADE, unless it begins with the scene
    fade_out: float | None = None
    volume: float = 1.0
    sound: bool | None = None  # whether a clip is heard; None: where no voice is there
    still: bool = False
    voice: str = ""
    voice_speed: float = 1.0
    voice_pitch: float = 0.0
    driver_face: str = "largest"
    reference: int | None = None
    smooth: float = 0.5
    name: str = ""
    face: int | None = None  # of a group, from the left, which alone it moves; None: whoever is animated

    @property
    def stands(self) -> bool:
        """Whether it is one setting, which stands for as long as the layer is there."""
        return self.keyframes is not None and len(self.keyframes) == 1

    @property
    def plain(self) -> bool:
        """Whether it shows what it comes from as that is, from its beginning to its end."""
        same = Layer(
            self.kind, file=self.file, motion=self.motion, start=self.start, end=self.end, combine=self.combine,
            driver_face=self.driver_face, reference=self.reference, smooth=self.smooth, name=self.name,
            face=self.face,
        )  # fmt: skip
        return self.kind == "performance" and self == same


@dataclass(frozen=True)
class Scene:
    """Layers from the bottom to the top; `names` says of each what errors call it."""

    layers: tuple[Layer, ...]
    names: tuple[str, ...]
    fps: float | None = None
    duration: float | None = None  # seconds; None: until the last layer ends

    @property
    def faces(self) -> tuple[int, ...]:
        """Faces of a group that layers of their own move, by number; none where all layers move whoever is animated."""
        return tuple(sorted({layer.face for layer in self.layers if layer.face is not None}))

    def moved(self, chosen: Iterable[int]) -> tuple[int, ...]:
        """Faces that move where these are `chosen` to be animated."""
        shared = any(layer.face is None for layer in self.layers)
        return tuple(sorted({*self.faces, *(chosen if shared else ())}))

    def check_faces(self, count: int) -> None:
        """Raise InputError where a layer moves a face that a portrait with `count` of them has not."""
        for layer, name in zip(self.layers, self.names):
            if layer.face is not None and layer.face > count:
                raise InputError(f"{name}: face {layer.face}: the portrait has {count} face{'s' * (count != 1)}")


def read_scene(data: Any) -> Scene:
    """A scene from a document, a file's path or what was read from JSON. Raises InputError in one line."""
    if isinstance(data, Path):
        data = load_document(data)
    if not isinstance(data, Mapping) or not isinstance(data.get("layers"), list):
        raise InputError('layers: an object such as {"version": 1, "layers": [{"kind": "performance", ...}]} is wanted')
    _known(data, ("version", "fps", "duration", "layers"), "layers")
    version = data.get("version", VERSION)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise InputError("layers: version is a whole number")
    if version > VERSION:
        raise InputError(f"layers: version {version} is from a newer Infinex; update Infinex")
    listed = data["layers"]
    if not 0 < len(listed) <= MOST:
        raise InputError(f"layers: a scene has between 1 and {MOST} layers, not {len(listed)}")
    fps = _number(data, "fps", 1, 120, "layers")
    duration = _number(data, "duration", 0.04, HOURS, "layers")
    out, names = [], []
    for i, item in enumerate(listed):
        kind = item.get("kind") if isinstance(item, Mapping) else None
        name = f"layer {i + 1}" + (f" ({kind})" if kind in KINDS else "")
        try:
            layer = _layer(item, name)
        except InputError as error:
            raise named(error, name) from None
        if not item.get("off", False):
            out.append(layer)
            names.append(name)
    if not out:
        raise InputError("layers: every layer is off")
    return Scene(tuple(out), tuple(names), fps, duration)


def load_document(path: Path) -> Any:
    """What a JSON file holds. Raises InputError."""
    if not path.is_file():
        raise InputError(f"{option('layers')} {path}: no such file")
    if path.stat().st_size > BYTES:
        raise InputError(f"{path.name} is larger than {BYTES >> 10} KB, the limit of a scene")
    return parse_document(path.read_bytes(), path.name)


def parse_document(text: str | bytes, name: str = "layers") -> Any:
    """JSON of a scene. Raises InputError."""
    if len(text) > BYTES:
        raise InputError(f"{name} is larger than {BYTES >> 10} KB, the limit of a scene")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{name} is not JSON that can be read") from None


def named(error: InfinexError, name: str) -> InputError:
    """An error of a layer that says which one it is."""
    text = str(error.args[0])
    return InputError(text if text.startswith(name) else f"{name}: {text}")


def _layer(item: Any, name: str) -> Layer:
    if not isinstance(item, Mapping) or item.get("kind") not in KINDS:
        raise InputError(f"a layer is an object with a kind, one of {', '.join(KINDS)}")
    kind = item["kind"]
    sources, further = KINDS[kind]
    _known(item, ("kind", *sources, *further, *COMMON), name)
    given = [s for s in sources if item.get(s) is not None]
    if len(given) != 1:
        raise InputError(f"it comes from one of {', '.join(sources)}" + ("; there are several" if given else ""))
    values: dict[str, Any] = {k: _number(item, k, *NUMBERS[k], "") for k in NUMBERS}
    values |= {k: _text(item, k, WORDS[k]) for k in WORDS}
    for k in SWITCHES:
        if k in item and not isinstance(item[k], bool):
            raise InputError(f"{k} is true or false")
        values[k] = item.get(k)
    values["combine"] = item.get("combine") or ("replace" if kind == "performance" else "add")
    if values["combine"] not in ("add", "replace"):
        raise InputError("combine is add or replace")
    values["parts"] = _parts(item, ("pose", "gaze") if kind == "head" else DEFAULT_PARTS)
    if values["driver_face"] is not None:
        check_driver_face(values["driver_face"])
    reference = item.get("reference")
    if reference is not None and (isinstance(reference, bool) or not isinstance(reference, int) or reference < 0):
        raise InputError("reference is a frame's number, from 0")
    values["reference"] = reference
    face = item.get("face")
    if face is not None and (isinstance(face, bool) or not isinstance(face, int) or not 1 <= face <= FACES):
        raise InputError("face is the number of a face of the portrait, counted from the left")
    values["face"] = face
    if item.get("keyframes") is not None:
        values["keyframes"] = _keyframes(item["keyframes"], kind)
    layer = Layer(kind, **{f.name: values[f.name] for f in fields(Layer) if values.get(f.name) is not None})
    if layer.end is not None and layer.end <= layer.start:
        raise InputError(f"end {layer.end:g}: it must come after start {layer.start:g}")
    return layer


def _keyframes(data: Any, kind: str) -> tuple[tuple[float, Expression], ...]:
    if isinstance(data, list):
        allowed = ("time", *TURNS) if kind == "head" else ("time", "units", *TURNS)
        for key in data:
            if isinstance(key, Mapping):
                _known(key, allowed, "keyframes")
    keys = sorted(read_keyframes(data, LONGEST), key=lambda k: k[0])
    if any(b[0] <= a[0] for a, b in itertools.pairwise(keys)):
        raise InputError("two keyframes are at the same time")
    return tuple(keys)


def _known(data: Mapping[Any, Any], allowed: tuple[str, ...], name: str) -> None:
    unknown = next((k for k in data if k not in allowed), None)
    if unknown is not None:
        raise InputError(f"{name}: {str(unknown)[:40]!r} is not known here; there are {', '.join(allowed)}")


def _number(data: Mapping[str, Any], key: str, low: float, high: float, name: str) -> float | None:
    value = data.get(key)
    if value is None:
        return None
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not low <= value <= high:
        raise InputError(f"{name + ': ' if name else ''}{key} is a number from {low:g} to {high:g}")
    return float(value)


def _text(data: Mapping[str, Any], key: str, most: int) -> str | None:
    value = data.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > most or (not value.strip() and key not in ("name", "voice")):
        raise InputError(f"{key} is a text of at most {most} characters")
    return value


def _parts(item: Mapping[str, Any], usual: tuple[str, ...]) -> tuple[str, ...]:
    parts = item.get("parts")
    if parts is None:
        return usual
    if not isinstance(parts, list) or not parts or not all(isinstance(p, str) for p in parts):
        raise InputError('parts is a list such as ["lips", "brows"]')
    part_weights(parts)
    return tuple(parts)
