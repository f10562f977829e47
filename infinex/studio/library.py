"""The portraits visitors have brought: each seen by its owner alone, and removed after a while."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from infinex.engine import Source
from infinex.errors import InputError
from infinex.face import topology as top
from infinex.face.tracker import LOOKING, Face
from infinex.jobs.source import shrunk, unmoved
from infinex.media.image import read_image
from infinex.studio.cost import Length
from infinex.studio.place import read_record, write_record
from infinex.studio.preview import Preview
from infinex.studio.settings import Settings

RECORD = "portrait.json"


@dataclass
class Portrait:
    """A picture and the faces in it, from the left; of a clip one of its frames."""

    id: str
    owner: str
    path: Path
    size: tuple[int, int]
    faces: list[Face]
    box: str | None = None  # where somebody marked the face by hand
    name: str = ""
    created: float = field(default_factory=time.time)
    used: float = field(default_factory=time.time)
    clip: Length | None = None  # how long it is, where it is a clip
    film: str = ""  # the clip's file, beside the picture

    @property
    def source(self) -> Path:
        """The file as it was handed in."""
        return self.path.with_name(self.film) if self.film else self.path

    def save(self) -> None:
        """Write down what was found in the picture, beside it."""
        record = {k: getattr(self, k) for k in ("id", "owner", "size", "box", "name", "created", "used")}
        faces = [{"points": np.round(f.landmarks, 3).tolist(), "score": float(f.score)} for f in self.faces]
        record |= {"file": self.path.name, "faces": faces, "film": self.film}
        record["clip"] = None if self.clip is None else [self.clip.seconds, self.clip.fps]
        write_record(self.path.parent / RECORD, record)

    @staticmethod
    def load(folder: Path) -> Portrait | None:
        """A portrait of an earlier run; None where it cannot be used."""
        r = read_record(folder / RECORD)
        try:
            assert r is not None
            faces = [Face(np.array(f["points"], np.float64), f["score"]) for f in r["faces"]]
            path = folder / Path(r["file"]).name
            if not faces or any(f.landmarks.shape != (top.POINTS, 3) for f in faces) or not path.is_file():
                return None
            film, clip = Path(r.get("film") or "").name, r.get("clip")
            if film and not (folder / film).is_file():
                return None
            return Portrait(r["id"], r["owner"], path, (r["size"][0], r["size"][1]), faces, r["box"], r["name"],
                            r["created"], r["used"], Length(*clip) if film and clip else None, film)  # fmt: skip
        except (AssertionError, KeyError, TypeError, ValueError, IndexError):
            return None

    def as_dict(self) -> dict[str, object]:
        """For the page: outlines in shares of width and height."""
        w, h = self.size
        largest = max(range(len(self.faces)), key=lambda i: self.faces[i].size)
        return {
            "id": self.id,
            "name": self.name,
            "created": round(self.created, 3),
            "width": w,
            "height": h,
            "largest": largest + 1,
            "seconds": None if self.clip is None else round(self.clip.seconds, 3),
            "faces": [
                {
                    "number": i + 1,
                    "outline": [[round(float(x) / w, 4), round(float(y) / h, 4)] for x, y in f.landmarks[top.OVAL, :2]],
                }
                for i, f in enumerate(self.faces)
            ],
        }


class Uploads:
    """Files that were handed in by themselves, seen by their owner alone, until they are old or the studio ends."""

    def __init__(self, keep: float, folder: Path) -> None:
        self._keep, self.folder = keep, folder / "uploads"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._known: OrderedDict[str, tuple[str | None, Path, float]] = OrderedDict()

    def add(self, name: str, owner: str | None, path: Path) -> None:
        """Keep a file in a folder of its name."""
        self._known[name] = owner, path, time.time()

    def get(self, name: str, owner: str | None) -> Path:
        """A file by its name. Raises InputError."""
        who, path, _ = self._known.get(name, (None, self.folder, 0.0))
        if name not in self._known or who not in (None, owner) or not path.is_file():
            raise InputError("this upload is not here any more; send it again")
        return path

    def sweep(self) -> None:
        """Remove what is old."""
        for name in [n for n, (_, _, t) in self._known.items() if time.time() - t > self._keep]:
            self._known.pop(name)
            shutil.rmtree(self.folder / name, ignore_errors=True)


class Library:
    """Portraits by visitor, and the previews that are ready to move."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self.folder = folder / "portraits"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._portraits: OrderedDict[str, Portrait] = OrderedDict()
        self._previews: OrderedDict[tuple[str, tuple[int, ...], int], Preview] = OrderedDict()
        self._lock = threading.Lock()
        found = []
        for one in self.folder.iterdir():
            portrait = Portrait.load(one)
            if portrait is None:
                shutil.rmtree(one, ignore_errors=True)
            else:
                found.append(portrait)
        self._portraits |= {p.id: p for p in sorted(found, key=lambda p: p.created)}

    def new_folder(self) -> Path:
        """A folder for one picture."""
        folder = self.folder / secrets.token_hex(8)
        folder.mkdir()
        return folder

    def add(
        self, owner: str, path: Path, size: tuple[int, int], faces: list[Face], box: str | None = None, name: str = "",
        film: Path | None = None, clip: Length | None = None,
    ) -> Portrait:  # fmt: skip
        """Keep a picture that was looked over; it may be a frame of the `clip` in the file `film` beside it."""
        ordered = sorted(faces, key=lambda f: f.box[0])
        portrait = Portrait(secrets.token_urlsafe(16), owner, path, size, ordered, box, name or (film or path).stem)
        portrait.film, portrait.clip = film.name if film else "", clip
        portrait.save()
        with self._lock:
            self._portraits[portrait.id] = portrait
            mine = [p for p in self._portraits.values() if p.owner == owner]
            for old in mine[: max(0, len(mine) - self._settings.portraits)]:
                self._drop(old)
        return portrait

    def get(self, name: str, owner: str | None) -> Portrait:
        """A portrait by id, if it is this visitor's. Raises InputError."""
        with self._lock:
            portrait = self._portraits.get(name)
            if portrait is None or portrait.owner != owner:
                raise InputError("this portrait is not here any more; choose it again")
            if time.time() - portrait.used > 60:
                portrait.used = time.time()
                portrait.save()
            return portrait

    def of(self, owner: str) -> list[Portrait]:
        """A visitor's, the newest first."""
        with self._lock:
            return sorted((p for p in self._portraits.values() if p.owner == owner), key=lambda p: -p.created)

    def name(self, name: str | None) -> str:
        """What a portrait is called; empty where there is none of this id."""
        with self._lock:
            portrait = self._portraits.get(name or "")
            return "" if portrait is None else portrait.name

    def drop(self, portrait: Portrait) -> None:
        """Remove one."""
        with self._lock:
            self._drop(portrait)

    def face(self, portrait: Portrait, number: int) -> Face:
        """A face by its number from the left. Raises InputError."""
        if not 1 <= number <= len(portrait.faces):
            raise InputError(f"there is no face {number} in this picture")
        return portrait.faces[number - 1]

    def sources(self, portrait: Portrait, numbers: Sequence[int]) -> list[Source]:
        """Its picture with each of these faces; the others are known as those that stay. Raises InputError."""
        faces = [self.face(portrait, n) for n in numbers]
        image = read_image(portrait.path)
        return [Source(image, f, others=unmoved(portrait.faces, faces)) for f in faces]

    def preview(self, portrait: Portrait, numbers: Sequence[int], side: int | None = None) -> Preview:
        """Faces of the portrait by their numbers, its longer side `side` pixels, ready to move; made once and kept
        while it is in use."""
        side = side or self._settings.preview
        key = portrait.id, tuple(numbers), side
        with self._lock:
            if key in self._previews:
                self._previews.move_to_end(key)
                return self._previews[key]
        with LOOKING:
            with self._lock:  # somebody else who waited may have made it
                if key in self._previews:
                    return self._previews[key]
            preview = Preview(dict(zip(numbers, shrunk(self.sources(portrait, numbers), side))))
        with self._lock:
            self._previews[key] = preview
            while len(self._previews) > self._settings.previews:
                self._previews.popitem(last=False)
        return preview

    def sweep(self, wanted: Container[str] = ()) -> None:
        """Remove what nobody has used for a while, unless its id is `wanted`."""
        with self._lock:
            now = time.time()
            for portrait in list(self._portraits.values()):
                if now - portrait.used > self._settings.keep and portrait.id not in wanted:
                    self._drop(portrait)

    def _drop(self, portrait: Portrait) -> None:
        self._portraits.pop(portrait.id, None)
        for key in [k for k in self._previews if k[0] == portrait.id]:
            self._previews.pop(key)
        shutil.rmtree(portrait.path.parent, ignore_errors=True)
