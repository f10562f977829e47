"""Add people to a set of faces with Action Units: stills, and each still under expressions drawn by the mesh engine.

    python tools/widen_faces.py DATASET STILLS_DIR WIDER [--number 149] [--each 10] [--seed 0]

DATASET is a folder of `infinex prepare --units`; WIDER gets its faces, every still, and `--each` drawn faces for every
still (`made`: they may be aimed at, but never pass for photographs). Intensities come from faces of both kinds, every
other one with two units pushed further. Stills that look alike count as one person; every sixth person is held back,
and whoever looks like somebody held back in DATASET is too.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track as bar

from infinex.engine import Drive, Source
from infinex.face.identity import identity
from infinex.face.pose import fit_pose
from infinex.face.topology import mean_face
from infinex.face.tracker import Face, FaceFinder
from infinex.face.units import basis
from infinex.media.image import read_image
from infinex.mesh.engine import MeshOptions, PreparedFace
from infinex.motion import Move, Rest
from infinex.systems.ganimation.crop import crop_matrix, cut
from infinex.systems.ganimation.engine import still_units
from infinex.systems.ganimation.labels import UNITS, Row, read_faces, write_faces

SAME_PERSON = 0.58  # distance of two embeddings
HELD = 6  # every which person of the stills is held back
Array = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("stills", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--number", type=int, default=1000, help="stills at the most")
    parser.add_argument("--each", type=int, default=10, help="drawn faces for every still")
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    cv2.setNumThreads(1)
    rng = np.random.default_rng(a.seed)
    base = read_faces(a.dataset)
    size = base.frames.shape[1]

    found: list[tuple[Path, Array, Array]] = []  # picture, landmarks, embedding
    finder = FaceFinder()
    for path in bar(sorted(p for p in a.stills.iterdir() if p.is_file())[: a.number], description="stills"):
        image = read_image(path)
        faces = finder.find(image)
        if faces:
            found.append((path, faces[0].landmarks, identity(image, faces[0].landmarks)))
    finder.close()
    split = splits([f[2] for f in found], held_back(base.frames, base.of("test")))

    own = np.stack([still_units(points) for _, points, _ in found])
    wanted = np.concatenate([own, base.units[base.of("train")]])
    frames: list[NDArray[np.uint8]] = []
    rows: list[Row] = []
    for k, (path, points, _) in enumerate(bar(found, description="drawn")):
        image = read_image(path)
        matrix = crop_matrix(points, size)
        yaw, pitch, roll = (float(v) for v in fit_pose(mean_face(), points).angles)
        who, part = split[k]
        for n, (picture, units) in enumerate(drawn(image, points, own[k], wanted, a.each, rng)):
            frames.append(cut(picture, matrix, size))
            rows.append(Row(f"still-{path.name}", n, who, part, n > 0, (yaw, pitch, roll), tuple(map(float, units))))
    write_faces(a.out / "faces", _both(base.frames, frames), [*base.rows, *rows])
    print(f"{a.out}: {len(base.rows)} faces of clips, {len(found)} stills, {len(rows) - len(found)} drawn")


def drawn(
    image: NDArray[np.uint8], points: Array, own: Array, wanted: Array, each: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.uint8], Array]]:
    """The picture itself and its units, then `each` pictures of the same face under other ones."""
    yield image, own
    face = PreparedFace(Source(image, Face(points)), MeshOptions(wrinkles="none", layers="flat"))
    face.begin(Rest.neutral(), None, None)
    zero = np.zeros(3)
    for n in range(each):
        units = wanted[rng.integers(len(wanted))].copy()
        if n % 2:
            units[rng.choice(len(UNITS), 2, replace=False)] = rng.uniform(0.3, 1, 2)
        canvas = image.copy()
        offsets = _offsets(units) - _offsets(own)
        face.draw(canvas, Drive(Move(0.0, zero, zero, 1.0, offsets, np.zeros(2))))
        yield canvas, units


def _offsets(units: Array) -> Array:
    b = basis()
    amounts = np.zeros(len(b.names))
    for unit, value in zip(UNITS, units):
        number = int(unit[2:])
        amounts[[int(n[2:].rstrip("LR")) == number for n in b.names]] = value
    return b.offsets(amounts)


def held_back(frames: NDArray[np.uint8], places: NDArray[np.int64]) -> list[Array]:
    """Embeddings of a few faces of people held back; a crop shows enough of a face for that."""
    finder, out = FaceFinder(), []
    for i in places[:: max(1, len(places) // 200)]:
        image = cv2.copyMakeBorder(np.asarray(frames[i]), 64, 64, 64, 64, cv2.BORDER_REPLICATE)
        if faces := finder.find(image):
            out.append(identity(image, faces[0].landmarks))
    finder.close()
    return out


def splits(embeddings: list[Array], strangers: list[Array]) -> list[tuple[str, str]]:
    """Person and split of every still."""
    e = np.stack(embeddings)
    person = np.arange(len(e))
    for i, j in zip(*np.where(np.linalg.norm(e[:, None] - e[None], axis=2) < SAME_PERSON)):
        person[person == person[j]] = person[i]
    order = sorted(set(person))
    held = set(order[::HELD])
    for i in range(len(e)):
        if strangers and min(np.linalg.norm(e[i] - s) for s in strangers) < SAME_PERSON:
            held.add(person[i])
    return [(f"still-{p}", "test" if p in held else "train") for p in person]


def _both(first: NDArray[np.uint8], second: list[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    yield from first
    yield from second


if __name__ == "__main__":
    main()
