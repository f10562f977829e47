"""The portraits visitors have brought: each seen by its owner alone, and removed after a while."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from infinex.errors import InputError
from infinex.face import topology as top
from infinex.face.tracker import LOOKING, Face
from infinex.media.image import read_image
from infinex.studio.preview import Preview, shrunk
from infinex.studio.settings import Settings


@dataclass
class Portrait:
    """A picture and the faces in it, from the left."""

    id: str
    owner: str
    path: Path
    size: tuple[int, int]
    faces: list[Face]
    box: str | None = None  # where somebody marked the face by hand
    used: float = field(default_factory=time.time)

    def as_dict(self) -> dict[str, object]:
        """For the page: outlines in shares of width and height."""
        w, h = self.size
        largest = max(range(len(self.faces)), key=lambda i: self.faces[i].size)
        return {
            "id": self.id,
            "width": w,
            "height": h,
            "largest": largest + 1,
            "faces": [
                {
                    "number": i + 1,
                    "outline": [[round(float(x) / w, 4), round(float(y) / h, 4)] for x, y in f.landmarks[top.OVAL, :2]],
                }
                for i, f in enumerate(self.faces)
            ],
        }


class Library:
    """Portraits by visitor, and the previews that are ready to move."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self.folder = folder / "portraits"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._portraits: OrderedDict[str, Portrait] = OrderedDict()
        self._previews: OrderedDict[tuple[str, int], Preview] = OrderedDict()
        self._lock = threading.Lock()

    def new_folder(self) -> Path:
        """A folder for one picture."""
        folder = self.folder / secrets.token_hex(8)
        folder.mkdir()
        return folder

    def add(self, owner: str, path: Path, size: tuple[int, int], faces: list[Face], box: str | None = None) -> Portrait:
        """Keep a picture that was looked over."""
        ordered = sorted(faces, key=lambda f: f.box[0])
        portrait = Portrait(secrets.token_urlsafe(16), owner, path, size, ordered, box)
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
            portrait.used = time.time()
            return portrait

    def face(self, portrait: Portrait, number: int) -> Face:
        """A face by its number from the left. Raises InputError."""
        if not 1 <= number <= len(portrait.faces):
            raise InputError(f"there is no face {number} in this picture")
        return portrait.faces[number - 1]

    def preview(self, portrait: Portrait, number: int) -> Preview:
        """The portrait, small and ready to move; made once and kept while it is in use."""
        face = self.face(portrait, number)
        key = portrait.id, number
        with self._lock:
            if key in self._previews:
                self._previews.move_to_end(key)
                return self._previews[key]
        source = shrunk(read_image(portrait.path), face, self._settings.preview)
        with LOOKING:
            preview = Preview(source)
        with self._lock:
            self._previews[key] = preview
            while len(self._previews) > 2 * self._settings.previews:
                self._previews.popitem(last=False)
        return preview

    def sweep(self) -> None:
        """Remove what nobody has used for a while."""
        with self._lock:
            now = time.time()
            for portrait in list(self._portraits.values()):
                if now - portrait.used > self._settings.keep:
                    self._drop(portrait)

    def _drop(self, portrait: Portrait) -> None:
        self._portraits.pop(portrait.id, None)
        for key in [k for k in self._previews if k[0] == portrait.id]:
            self._previews.pop(key)
        shutil.rmtree(portrait.path.parent, ignore_errors=True)
