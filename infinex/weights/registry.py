"""Every file of weights Infinex knows by name: where it comes from, under which licence, and how to get it.

Weights that come with Infinex lie beside this file. Others are fetched, or added by hand where their authors let
nobody fetch them, into the store: the folder INFINEX_WEIGHTS, else `infinex/weights` in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infinex.errors import InputError, OutputError, WeightsError
from infinex.media.files import atomic_path

HERE = Path(__file__).parent
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Entry:
    """One set of weights."""

    name: str
    system: str  # whose networks these are: the name of an engine or a driver
    origin: str  # who made them, and where they are described
    licence: str
    megabytes: float
    bundled: str = ""  # file beside this one
    url: str = ""  # a direct link, where there is one
    sha256: str = ""  # of the file behind `url`
    otherwise: str = ""  # what to do where nothing can be fetched
    convert: str = ""  # module with `convert(source, target)` from the published form to ours


# One line for each. Sizes of published files are those of the download.
ENTRIES: tuple[Entry, ...] = (
    Entry("vox-256", "fomm", "A. Siarohin et al., first-order-model, vox-cpk.pth.tar",
          "CC BY-NC 4.0 (research only)", 716,
          otherwise="download vox-cpk.pth.tar from the links in the README of github.com/AliaksandrSiarohin/"
                    "first-order-model (a cloud drive, which asks for a click)",
          convert="infinex.systems.fomm.weights"),
    Entry("vox-adv-256", "fomm", "A. Siarohin et al., first-order-model, vox-adv-cpk.pth.tar",
          "CC BY-NC 4.0 (research only)", 716,
          otherwise="download vox-adv-cpk.pth.tar from the links in the README of github.com/AliaksandrSiarohin/"
                    "first-order-model (a cloud drive, which asks for a click)",
          convert="infinex.systems.fomm.weights"),
    Entry("fomm-face", "fomm", "trained here, small; infinex/weights/fomm/README.md", "Apache-2.0", 5.7,
          bundled="fomm/fomm-face.safetensors"),
    Entry("ganimation-80", "ganimation", "trained here, a sketch; infinex/weights/ganimation/README.md",
          "Apache-2.0", 1.8,
          bundled="ganimation/ganimation-80.safetensors"),
    Entry("speech", "speech", "trained here; infinex/weights/speech/README.md", "Apache-2.0", 1.0,
          bundled="speech/speech.onnx"),
    Entry("speech-listener", "speech", "Moonshine AI, tiny English encoder, its first layers; "
          "infinex/weights/speech/README.md", "MIT", 6.5,
          bundled="speech/listener.onnx"),
    Entry("ganimation-celeba", "ganimation", "D. Chen, ganimation_replicate, 30_net_gen.pth of CelebA",
          "see its repository", 34,
          otherwise="download 30_net_gen.pth from the links in the README of github.com/donydchen/ganimation_replicate",
          convert="infinex.systems.ganimation.weights"),
)  # fmt: skip


def store() -> Path:
    """The folder of fetched and added weights."""
    own = os.environ.get("INFINEX_WEIGHTS")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return Path(base or Path.home() / ".cache") / "infinex" / "weights"


def find(name: str) -> Entry:
    """The entry of a name. Raises InputError that names those there are."""
    for entry in ENTRIES:
        if entry.name == name:
            return entry
    raise InputError(f"unknown weights {name!r}; there are {', '.join(e.name for e in ENTRIES)}, or give a file")


def where(entry: Entry) -> Path | None:
    """The file of an entry, if it is here."""
    places = [store() / f"{entry.name}.safetensors", store() / f"{entry.name}.onnx"]
    if entry.bundled:
        places.insert(0, HERE / entry.bundled)
    return next((p for p in places if p.is_file()), None)


def resolve(name: str | Path, system: str) -> Path:
    """The file of weights that a user names: a file, or an entry of `system`.

    Raises WeightsError that says what to do where it is not here, InputError where there is no such name."""
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix or len(path.parts) > 1:
        raise WeightsError(f"{path}: no such file")
    entry = find(str(name))
    if entry.system != system:
        raise WeightsError(f"{name} are weights of {entry.system}, not of {system}")
    found = where(entry)
    if found is None:
        raise WeightsError(f"{name} is not here: {advice(entry)}")
    return found


def advice(entry: Entry) -> str:
    """How to get weights that are not here."""
    if entry.url:
        return f"infinex weights fetch {entry.name}"
    if entry.otherwise:
        return f"{entry.otherwise}, then: infinex weights add {entry.name} FILE"
    return "this installation lacks a file it came with; install Infinex again"


def fetch(name: str, progress: Progress | None = None) -> Path:
    """Download weights into the store, checked by their hash. What is here already is not fetched again.

    Raises WeightsError that says what to do instead."""
    entry = find(name)
    found = where(entry)
    if found is not None:
        return found
    if not entry.url:
        raise WeightsError(f"{name} cannot be fetched: {advice(entry)}")
    target = _place(entry)
    digest, done = hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(entry.url, timeout=30) as answer, atomic_path(target) as temporary:
            total = int(answer.headers.get("Content-Length") or 0) or None
            with temporary.open("wb") as file:
                while part := answer.read(1 << 20):
                    file.write(part)
                    digest.update(part)
                    done += len(part)
                    if progress:
                        progress(done >> 20, total and total >> 20)
            if entry.sha256 and digest.hexdigest() != entry.sha256:
                raise WeightsError(f"what {entry.url} sent is not {name} (its hash differs): try again later")
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise WeightsError(
            f"{name} cannot be fetched ({reason}): download {entry.url} elsewhere, "
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
    if entry.convert:
        module = importlib.import_module(entry.convert)
        module.convert(file, target, config=entry.name)
    elif entry.sha256 and hashlib.sha256(file.read_bytes()).hexdigest() != entry.sha256:
        raise WeightsError(f"{file} is not {name}: its hash differs from that of {entry.url}")
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
    suffix = ".onnx" if entry.url.endswith(".onnx") else ".safetensors"
    return store() / f"{entry.name}{suffix}"
