"""Which formats there are, by name and by a file's ending, and which one a file is in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infinex.errors import InputError, option
from infinex.interchange import bvh, cues, gltf, livelink, openface
from infinex.interchange.table import header
from infinex.interchange.take import Take


@dataclass(frozen=True)
class Format:
    """One format: its name, what it is called, the ending of its files, and how it is written."""

    name: str
    title: str
    suffix: str
    write: Callable[[Take, Path], None]
    points: bool = False  # whether it holds landmarks


FORMATS = {
    f.name: f
    for f in (
        Format("livelink", "Live Link Face table", ".csv", livelink.write),
        Format("openface", "OpenFace 2 table", ".csv", openface.write, True),
        Format("gltf", "glTF with morph targets", ".glb", gltf.write),
        Format("vrma", "VRM animation", ".vrma", gltf.write_vrma),
        Format("bvh", "BVH of the head", ".bvh", bvh.write),
        Format("rhubarb", "Rhubarb mouth cues, TSV", ".tsv", cues.write_tsv),
        Format("rhubarb-json", "Rhubarb mouth cues, JSON", ".json", cues.write_json),
        Format("vtt", "mouth cues as WebVTT", ".vtt", cues.write_vtt),
    )
}
READERS: dict[str, Callable[[Path], Take]] = {
    ".glb": gltf.read, ".vrma": gltf.read, ".bvh": bvh.read, ".tsv": cues.read, ".json": cues.read, ".vtt": cues.read,
}  # fmt: skip
TAKES = (".csv", *READERS)


def is_take(path: object) -> bool:
    """Whether a driver is named that is a take in another tool's format."""
    return isinstance(path, (str, Path)) and Path(path).suffix.lower() in TAKES


def chosen(name: str | None, output: Path) -> Format | None:
    """The format that is asked for by name, or by the ending of the output; None for Infinex's own.

    Raises InputError for a name that is none, and an ending that is another's."""
    if name in (None, "motion"):
        if output.name.endswith(".npz"):
            return None
        if name is None:
            by = [f for f in FORMATS.values() if output.name.lower().endswith(f.suffix)]
            if len(by) == 1:
                return by[0]
            if by:
                raise InputError(
                    f"{output.name}: name the format, {option('format')} {' or '.join(f.name for f in by)}"
                )
        endings = ", ".join(sorted({f.suffix for f in FORMATS.values()}))
        raise InputError(f"{output.name}: a performance must end in .motion.npz, or in {endings}")
    if name not in FORMATS:
        raise InputError(f"{option('format')} {name}: there are motion, {', '.join(FORMATS)}")
    found = FORMATS[str(name)]
    if not output.name.lower().endswith(found.suffix):
        raise InputError(f"{output.name}: the format {found.name} ends in {found.suffix}")
    return found


def read(path: str | Path) -> Take:
    """A take from a file in any of the formats. Raises InputError."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    reader = READERS.get(path.suffix.lower())
    if reader is not None:
        return reader(path)
    names = header(path)
    return openface.read(path) if openface.is_openface(names) else livelink.read(path)
