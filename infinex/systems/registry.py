"""Every file of weights Infinex knows by name: where it comes from, under which licence, and how to get it.

Every system names its own (`SYSTEM.weights`); those that come with Infinex lie in its folder `data`. Others are
fetched, or added by hand where their authors let nobody fetch them, into the store: the folder INFINEX_WEIGHTS, else
`infinex/weights` in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infinex.errors import InputError, OutputError, WeightsError, option
from infinex.media.files import atomic_path, cache_folder
from infinex.spec import Found, Weights, systems

Progress = Callable[[int, int | None], None]
TRAINED = "weights.safetensors"  # in the folder of a training run: its result


@dataclass(frozen=True)
class Entry:
    """One set of weights, and the system whose networks they are."""

    weights: Weights
    system: Found

    @property
    def name(self) -> str:
        """By which a user asks for it."""
        return self.weights.name


def entries() -> tuple[Entry, ...]:
    """All there are, system by system."""
    return tuple(Entry(w, found) for found in systems().values() for w in found.system.weights)


def store() -> Path:
    """The folder of fetched and added weights."""
    own = os.environ.get("INFINEX_WEIGHTS")
    return Path(own) if own else cache_folder() / "weights"


def find(name: str) -> Entry:
    """The entry of a name. Raises InputError that names those there are."""
    known = entries()
    for entry in known:
        if entry.name == name:
            return entry
    raise InputError(f"unknown weights {name!r}; there are {', '.join(e.name for e in known)}, or give a file")


def where(entry: Entry) -> Path | None:
    """The file of an entry, if it is here."""
    places = [store() / f"{entry.name}.safetensors", store() / f"{entry.name}.onnx"]
    if entry.weights.bundled:
        places.insert(0, entry.system.data / entry.weights.bundled)
    return next((p for p in places if p.is_file()), None)


def resolve(name: str | Path, system: str) -> Path:
    """The file of weights that a user names: a file, the folder of a training run, or an entry of `system`.

    Raises WeightsError that says what to do where it is not here, InputError where there is no such name."""
    path = Path(name)
    if path.is_file():
        return path
    trained = path / TRAINED
    if trained.is_file():
        return trained
    if path.is_dir() and (path / "recipe.json").exists():
        raise WeightsError(
            f"{path}: this run has not written its {TRAINED} yet; infinex train --resume goes on with it"
        )
    if path.suffix or len(path.parts) > 1:
        raise WeightsError(f"{path}: a folder without {TRAINED}" if path.is_dir() else f"{path}: no such file")
    entry = find(str(name))
    if entry.system.name != system:
        raise WeightsError(f"{name} are weights of {entry.system.name}, not of {system}")
    found = where(entry)
    if found is None:
        raise WeightsError(f"{name} is not here: {advice(entry)}")
    return found


def trained(name: str | Path, system: str, recipe: str) -> Path:
    """As `resolve`, for a system that comes without weights. Raises WeightsError that says how to train them."""
    if not name:
        raise WeightsError(
            f"the engine {system} comes without weights: infinex train {recipe} {option('data')} DATASET "
            f"{option('out')} RUN makes them, then {option('weights')} RUN"
        )
    return resolve(name, system)


def advice(entry: Entry) -> str:
    """How to get weights that are not here."""
    if entry.weights.url:
        return f"infinex weights fetch {entry.name}"
    if entry.weights.otherwise:
        return f"{entry.weights.otherwise}, then: infinex weights add {entry.name} FILE"
    return "this installation lacks a file it came with; install Infinex again"


def fetch(name: str, progress: Progress | None = None) -> Path:
    """Download weights into the store, checked by their hash. What is here already is not fetched again.

    Raises WeightsError that says what to do instead."""
    entry = find(name)
    found = where(entry)
    if found is not None:
        return found
    if not entry.weights.url:
        raise WeightsError(f"{name} cannot be fetched: {advice(entry)}")
    target = _place(entry)
    digest, done = hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(entry.weights.url, timeout=30) as answer, atomic_path(target) as temporary:
            total = int(answer.headers.get("Content-Length") or 0) or None
            with temporary.open("wb") as file:
                while part := answer.read(1 << 20):
                    file.write(part)
                    digest.update(part)
                    done += len(part)
                    if progress:
                        progress(done >> 20, total and total >> 20)
            if entry.weights.sha256 and digest.hexdigest() != entry.weights.sha256:
                raise WeightsError(f"what {entry.weights.url} sent is not {name} (its hash differs): try again later")
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise WeightsError(
            f"{name} cannot be fetched ({reason}): download {entry.weights.url} elsewhere, "
            f"then: infinex weights add {name} FILE"
        ) from None
    return target


def add(name: str, file: str | Path) -> Path:
    """Take a file into the store, converted to ours where it is in its authors' form.

    Raises WeightsError where it is of another model, damaged, or holds code."""
    entry, file = find(name), Path(file)
    target = _place(entry)
    if not file.exists():
        raise WeightsError(f"{file} does not exist")
    if entry.weights.convert:
        module = entry.system.load(entry.weights.convert, f"reading {name}")
        module.convert(file, target, config=entry.name)
    elif entry.weights.sha256 and hashlib.sha256(file.read_bytes()).hexdigest() != entry.weights.sha256:
        raise WeightsError(f"{file} is not {name}: its hash differs from that of {entry.weights.url}")
    else:
        with atomic_path(target) as temporary:
            temporary.write_bytes(file.read_bytes())
    return target


def _place(entry: Entry) -> Path:
    try:
        store().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{store()} cannot be made: {error.strerror}; set INFINEX_WEIGHTS to another folder"
        ) from None
    suffix = ".onnx" if entry.weights.url.endswith(".onnx") else ".safetensors"
    return store() / f"{entry.name}{suffix}"
