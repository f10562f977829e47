"""Projects: what a visitor works on, checked as it comes in, and as one file to take along."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from infinex.errors import InputError
from infinex.studio.checks import safe_name
from infinex.studio.scenes import ASSET, assets_of
from infinex.studio.settings import Settings

FORMAT = 1
KEYS = ("name", "portrait", "layers", "export", "page")
EXPORT = ("format", "crop", "background", "fps", "size")
BYTES = {"layers": 256 << 10, "page": 100 << 10, "export": 4 << 10}
MEMBERS = 64  # of a project's file
RECORD = "project.json"


def checked(data: Any) -> dict[str, Any]:
    """What a project holds, from JSON. Raises InputError for anything else."""
    if not isinstance(data, dict):
        raise InputError("a project is an object")
    unknown = next((k for k in data if k not in KEYS), None)
    if unknown is not None:
        raise InputError(f"a project has no {str(unknown)[:40]!r}; it has {', '.join(KEYS)}")
    name = data.get("name", "")
    if not isinstance(name, str) or not name.strip() or len(name) > 80:
        raise InputError("name is a text of 1 to 80 characters")
    portrait = data.get("portrait")
    if portrait is not None and (not isinstance(portrait, str) or len(portrait) > 64):
        raise InputError("portrait is the id of one")
    out: dict[str, Any] = {"portrait": portrait}
    for key, most in BYTES.items():
        value = data.get(key)
        if value is None:
            out[key] = None if key == "layers" else {}
            continue
        if not isinstance(value, dict) or len(json.dumps(value)) > most:
            raise InputError(f"{key} is an object of at most {most >> 10} KB")
        out[key] = value
    unknown = next((k for k in out["export"] if k not in EXPORT), None)
    if unknown is not None:
        raise InputError(f"export has no {str(unknown)[:40]!r}; it has {', '.join(EXPORT)}")
    return {"name": " ".join(name.split()), **out}


def names_in(data: Mapping[str, Any]) -> Iterator[str]:
    """The ids of the portrait and the performances that a project uses."""
    if data.get("portrait"):
        yield str(data["portrait"])
    yield from assets_of(data.get("layers"))


def write_project(
    path: Path,
    project: Mapping[str, Any],
    portrait: tuple[Path, str | None] | None,
    assets: Mapping[str, tuple[Path, str]],
) -> Path:
    """A project as one zip: `project.json`, the portrait (and where its face was marked by hand) and the performances
    that its layers name (files and names), by their numbers. Gives the path back."""
    numbers = {name: str(i + 1) for i, name in enumerate(assets)}
    layers = project.get("layers")
    if layers is not None:
        kept = []
        for item in layers.get("layers", ()) if isinstance(layers.get("layers"), list) else ():
            if isinstance(item, dict) and str(item.get(ASSET)) in numbers:
                item = item | {ASSET: numbers[str(item[ASSET])]}
            kept.append(item)
        layers = layers | {"layers": kept}
    record: dict[str, Any] = {k: project.get(k) for k in KEYS} | {"infinex": FORMAT, "layers": layers, "portrait": None}
    files: dict[str, Path] = {}
    if portrait is not None:
        name = "portrait/" + safe_name(portrait[0].name, "portrait")
        files[name] = portrait[0]
        record["portrait"] = {"file": name, "box": portrait[1]}
    record["performances"] = {}
    for name, (file, label) in assets.items():
        inside = f"performances/{numbers[name]}-{safe_name(file.name, 'performance')}"
        files[inside] = file
        record["performances"][numbers[name]] = {"file": inside, "name": label}
    temporary = path.with_name(f".{path.name}.part")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(RECORD, json.dumps(record, indent=1))
            for inside, file in files.items():
                archive.write(file, inside, zipfile.ZIP_STORED)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


class Unpacked:
    """A project's file, taken apart into a folder; every number in it is checked, nothing is run or unpickled."""

    def __init__(self, path: Path, folder: Path, settings: Settings) -> None:
        """Raises InputError for what is no project's file, or too large."""
        bad = InputError(f"{path.name} is not a project's file")
        try:
            with zipfile.ZipFile(path) as archive:
                members = {m.filename: m for m in archive.infolist()}
                if len(members) > MEMBERS or sum(m.file_size for m in members.values()) > 2 * settings.upload:
                    raise InputError(f"{path.name} is too large, unpacked")
                if RECORD not in members or members[RECORD].file_size > 1 << 20:
                    raise bad
                record = json.loads(_read(archive, members[RECORD], 1 << 20))
                if not isinstance(record, dict) or not isinstance(record.get("infinex"), int):
                    raise bad
                if record["infinex"] > FORMAT:
                    raise InputError(f"{path.name} is from a newer Infinex; update Infinex")
                known = (*KEYS, "infinex", "performances")
                if any(k not in known for k in record):
                    raise bad

                def place(named: Any, kind: str) -> Path:
                    return _unpacked(archive, members, named, kind, folder)

                portrait, performances = record.pop("portrait", None), record.pop("performances", None) or {}
                self.portrait = self.box = None
                if portrait is not None:
                    self.portrait, self.box = place(portrait["file"], "portrait"), portrait.get("box")
                    if self.box is not None and not isinstance(self.box, str):
                        raise bad
                self.performances = {
                    str(k): (place(v["file"], "performances"), str(v.get("name", ""))[:80])
                    for k, v in performances.items()
                }
        except InputError:
            raise
        except Exception:  # archives can be damaged in every way there is
            raise bad from None
        record.pop("infinex")
        self.data = checked(record)

    def renamed(self, ids: Mapping[str, str]) -> dict[str, Any]:
        """What the project holds, with the ids that its performances have now."""
        layers = self.data["layers"]
        if layers is not None and isinstance(layers.get("layers"), list):
            listed = [
                i | {ASSET: ids[str(i[ASSET])]} if isinstance(i, dict) and str(i.get(ASSET)) in ids else i
                for i in layers["layers"]
            ]
            layers = layers | {"layers": listed}
        return self.data | {"layers": layers}


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    with archive.open(member) as file:
        return file.read(most + 1)[:most]


def _unpacked(
    archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], named: Any, kind: str, folder: Path
) -> Path:
    """One file out of the archive, under its own cleaned name, no longer than it says."""
    if not isinstance(named, str) or not re.fullmatch(rf"{kind}/[^/\\]{{1,120}}", named) or named not in members:
        raise ValueError(named)
    path = folder / kind / safe_name(named.split("/", 1)[1], kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    left = members[named].file_size
    with archive.open(members[named]) as file, path.open("wb") as out:
        while left > 0 and (block := file.read(min(left, 1 << 20))):
            left -= len(block)
            out.write(block)
    return path


__all__ = ["Unpacked", "checked", "names_in", "write_project"]
