"""Pictures of faces with labels, as StarGAN learns from them, in any of three layouts.

- a folder of `infinex stimuli`: PERSON/EXPRESSION.png; people are held back whole
- a folder for each label, as published for RaFD: `train/LABEL/*` and `test/LABEL/*`, or LABEL/* with every tenth
  held back
- `list_attr_celeba.txt` and its pictures, as published for CelebA: the first 1,999 of its shuffled rows are held back
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.drivers.units import emotion_name
from infinex.errors import FaceNotFoundError, InputError
from infinex.face.tracker import shared_finder
from infinex.media.image import is_image, read_image
from infinex.systems.window import by_head, cut

ATTRIBUTES = "list_attr_celeba.txt"
HELD = 1999  # rows of the published test set
EVERY = 5  # every which person of a folder of stimuli is held back
CROP = 178  # side of the square in the middle of a picture of CelebA
# An upright square around the face: in eye distances, between the root of the nose and the chin, lifted.
SIDE, BETWEEN, LIFT = 2.6, (168, 152), 0.10


@dataclass(frozen=True)
class Labelled:
    """One picture and what it shows."""

    path: Path
    person: str  # empty where nobody knows
    labels: tuple[float, ...]  # (C,) 0 or 1


@dataclass(frozen=True)
class Faces:
    """The pictures of one split."""

    pictures: list[Labelled]
    labels: tuple[str, ...]
    kind: str  # "categories", one of the labels holds, or "binary", each does or not
    framed: bool  # pictures are cut around the middle already, as CelebA's are


def read_faces(folder: str | Path, labels: tuple[str, ...], split: str) -> Faces:
    """The pictures of a folder that have `labels`. Raises InputError where there are none, or a label is missing."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    table = next((p for p in (folder / ATTRIBUTES, folder.parent / ATTRIBUTES) if p.is_file()), None)
    if table is not None:
        return _celeba(folder, table, labels, split)
    pictures = (
        _stimuli(folder, labels, split) if (folder / "stimuli.csv").is_file() else _classes(folder, labels, split)
    )
    return Faces(pictures, labels, "categories", framed=False)


def _one_hot(labels: tuple[str, ...], name: str) -> tuple[float, ...]:
    return tuple(float(n == name) for n in labels)


def _emotion(name: str) -> str:
    """The name of an emotion in the one way it is written here; other names stay as they are."""
    try:
        return emotion_name(name.replace("-", " "))
    except InputError:
        return name


def _stimuli(folder: Path, labels: tuple[str, ...], split: str) -> list[Labelled]:
    people = sorted(p for p in folder.iterdir() if p.is_dir())
    held = [p for k, p in enumerate(people) if k % EVERY == EVERY - 1]
    chosen = held if split == "test" else [p for p in people if p not in held]
    out = [
        Labelled(path, person.name, _one_hot(labels, _emotion(path.stem)))
        for person in chosen
        for path in sorted(person.iterdir())
        if is_image(path) and _emotion(path.stem) in labels
    ]
    missing = [n for k, n in enumerate(labels) if not any(x.labels[k] for x in out)]
    if out and missing and split == "train":
        raise InputError(f"{folder} shows no {missing[0]}: infinex stimuli PORTRAITS -o {folder.name} makes them all")
    if not out and split == "train":
        raise InputError(f"{folder} holds no pictures of {', '.join(labels)}")
    return out


def _classes(folder: Path, labels: tuple[str, ...], split: str) -> list[Labelled]:
    divided = (folder / "train").is_dir()
    root = folder / split if divided else folder
    folders = {_emotion(p.name): p for p in sorted(root.iterdir()) if p.is_dir()} if root.is_dir() else {}
    if missing := [n for n in labels if n not in folders]:
        if split == "test":
            return []
        raise InputError(f"{folder} has no folder for {missing[0]}: a folder of pictures for each label is wanted")
    out = []
    for name in labels:
        paths = sorted(p for p in folders[name].iterdir() if is_image(p))
        if not divided:
            paths = [p for k, p in enumerate(paths) if (k % 10 == 9) == (split == "test")]
        out += [Labelled(p, "", _one_hot(labels, name)) for p in paths]
    if not out and split == "train":
        raise InputError(f"{folder} holds no pictures")
    return out


def _celeba(folder: Path, table: Path, labels: tuple[str, ...], split: str) -> Faces:
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
        names = lines[1].split()
        rows = [line.split() for line in lines[2:] if line.strip()]
        if missing := [n for n in labels if n not in names]:
            raise InputError(f"{table} knows no {missing[0]}; it has {', '.join(names[:6])} ...")
        columns = [1 + names.index(n) for n in labels]
        random.Random(1234).shuffle(rows)
        rows = rows[:HELD] if split == "test" else rows[HELD:]
        out = [Labelled(folder / r[0], "", tuple(float(r[c] == "1") for c in columns)) for r in rows]
    except (OSError, UnicodeDecodeError, IndexError):
        raise InputError(f"{table} is damaged") from None
    out = [x for x in out if x.path.is_file()]
    if not out and split == "train":
        raise InputError(f"{folder} holds none of the pictures that {table.name} names")
    return Faces(out, labels, "binary", framed=True)


def crop(image: NDArray[np.uint8], landmarks: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """The upright square (size, size, 3) around a face that the network sees, by landmarks (478, 3)."""
    return cut(image, by_head(landmarks, size, SIDE, BETWEEN, LIFT), size)


def load(picture: Labelled, framed: bool, size: int) -> NDArray[np.uint8] | None:
    """The face of a picture (size, size, 3), or None where there is none. Raises InputError for no picture."""
    image = read_image(picture.path)
    if framed:
        h, w = image.shape[:2]
        side = min(CROP, h, w)
        y, x = (h - side) // 2, (w - side) // 2
        return np.asarray(cv2.resize(image[y : y + side, x : x + side], (size, size), interpolation=cv2.INTER_LINEAR))
    try:
        with shared_finder() as finder:
            found = finder.find(image)
    except FaceNotFoundError:
        return None
    return crop(image, found[0].landmarks, size) if found else None
