"""Learn the small face model that comes along: shape from the exact face, skin from stills.

python tools/build_morphable.py FACE_MODEL STILLS -o infinex/face/data/skin_model.npz

The tracker's 468 points and the middles between them are found on drawings of the exact face (`morphable.places`);
identities are principal shapes of its identities there, expressions are its own. Skin: each still is fitted by its
landmarks, its light by harmonics that are the same for all colours, and the colours without light give a mean and
principal components."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from exact import ExactFace

from infinex.face import topology as top
from infinex.face.morphable import skin as mesh
from infinex.face.morphable.bases import brought
from infinex.face.morphable.files import read_model
from infinex.face.morphable.light import BANDS, harmonics
from infinex.face.morphable.model import MorphableFace
from infinex.face.morphable.solve import FLIP, Frame, Solver
from infinex.face.tracker import find_faces
from infinex.media.files import atomic_path
from infinex.media.image import read_image

IDENTITIES, SKINS = 50, 24
SHADES, SHADE, WIDTH, BROWS = 100, 0.1, 0.15, 0.3  # patches, how strong they are usually, how wide (IOD); of brows
EVEN = 0.8  # brightness of the usual light


def principal(rows: NDArray, count: int) -> NDArray:
    """The first components (count, ...) of rows (n, ...) with mean 0, each times its standard deviation."""
    flat = rows.reshape(len(rows), -1)
    _, s, v = np.linalg.svd(flat, full_matrices=False)
    out = v[:count] * (s[:count] / np.sqrt(len(rows)))[:, None]
    return out.reshape(count, *rows.shape[1:])


def shapes(path: Path) -> MorphableFace:
    """The exact face on our skin mesh."""
    # Painted, since the tracker goes by brows and lips.
    face, _ = brought(read_model(path), ExactFace(path).paint(np.random.default_rng(20)))
    # Weights of identities are independent and N(0, 1): their principal shapes are those of the basis itself.
    basis = principal(face.identity.astype(np.float64) * np.sqrt(len(face.identity)), IDENTITIES)
    return replace(face, identity=basis.astype(np.float32))


def look(solver: Solver, image: NDArray, points: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Colours (V, 3), turned normals (V, 3) and how surely each vertex is seen (V,)."""
    frame = Frame(image, points)
    who, (state,) = solver.bundle([frame], [points], steps=())
    seen = solver.look(who, state)
    camera = frame.camera(who.focal, 1)
    picture = frame.level(1)[0]
    at = camera.project(seen.camera * FLIP)
    import cv2

    colour = cv2.remap(picture, at[:, None, 0].astype(np.float32), at[:, None, 1].astype(np.float32),
                       cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]  # fmt: skip
    toward = -(seen.normals * seen.camera).sum(1) / np.linalg.norm(seen.camera, axis=1)
    return colour.astype(np.float64), seen.normals, np.clip((toward - 0.15) / 0.3, 0, 1)


def lit(colour: NDArray, normals: NDArray, sure: NDArray, mean: NDArray) -> NDArray:
    """Shading (V,) under grey light, 1 on average where the face is seen."""
    ratio = colour.mean(1) / np.maximum(mean.mean(1), 0.05)
    Y = harmonics(normals)
    pull = np.concatenate([[1e-6], np.full(3, 1e-3), np.full(5, 2e-2)])
    w = sure.copy()
    for _ in range(5):
        A = (Y * w[:, None]).T @ Y / w.sum() + np.diag(pull)
        x = np.linalg.solve(A, (Y * w[:, None]).T @ ratio / w.sum())
        off = np.abs(Y @ x - ratio)
        w = sure / (1 + (off / 0.1) ** 2)
    assert len(x) == BANDS
    shade = np.clip(Y @ x, 0.15, None)
    return shade / ((shade * sure).sum() / sure.sum())


def skins(face: MorphableFace, folder: Path) -> tuple[NDArray, NDArray, int]:
    """Mean (V, 3) and components (SKINS, V, 3) of the skin of stills."""
    solver = Solver(face)
    looks = []
    for path in sorted(folder.iterdir()):
        faces = find_faces(read_image(path))
        if faces:
            looks.append(look(solver, read_image(path), faces[0].landmarks))
    other = mesh.mirrored()
    mean = np.full_like(face.mean, 0.6)
    for _ in range(4):
        rows = []
        for colour, normals, sure in looks:
            own = colour / lit(colour, normals, sure, mean)[:, None] / EVEN
            w = np.maximum(sure, 1e-3)[:, None]
            # What is hidden on one side is as it is on the other, what is hidden on both as usual.
            filled = (w * own + 0.5 * w[other] * own[other] * (1 - w) + 1e-3 * mean) / (
                w + 0.5 * w[other] * (1 - w) + 1e-3
            )
            rows.append(np.clip(filled, 0, 1.25))
        mean = np.mean(rows, 0)
        mean = (mean + mean[other]) / 2
    off = np.stack(rows) - mean
    off = np.concatenate([off, off[:, other]])  # a face and its mirror image are as usual as each other
    return mean, principal(off, SKINS), len(looks)


def shades(face: MorphableFace) -> NDArray:
    """What skin has anywhere, over its tone, (1 + SHADES, V): brows, and patches that lie smoothly on the face.

    Broad ones, as light makes them, are left out."""
    away = ((face.mean[:, None] - face.mean[None]) ** 2).sum(2)
    broad, _ = np.linalg.qr(harmonics(face.normals(face.mean)))
    other = np.eye(len(away)) - broad @ broad.T
    size, way = np.linalg.eigh(other @ np.exp(-away / (2 * WIDTH**2)) @ other)
    patches = SHADE * (way[:, ::-1] * np.sqrt(np.maximum(size[::-1], 0)))[:, :SHADES].T
    brows = np.zeros((top.SURFACE, 1))
    brows[[*top.RIGHT_BROW, *top.LEFT_BROW]] = BROWS
    brows = mesh.spread(brows).T
    return np.concatenate([np.where(brows >= BROWS / 2, brows, 0), patches])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("face_model", type=Path)
    parser.add_argument("stills", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    face = shapes(args.face_model)
    mean, components, count = skins(face, args.stills)
    with atomic_path(args.output) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file, title=np.array("Infinex skin model 1"), mean=face.mean.astype(np.float32),
            identity=face.identity.astype(np.float16), expression=face.expression.astype(np.float16),
            names=np.array(face.names), spread=face.spread.astype(np.float32), range=np.array([face.low, face.high]),
            skin=mean.astype(np.float32), reflectance=components.astype(np.float16),
            shades=shades(face).astype(np.float16),
        )  # fmt: skip
    print(f"{args.output}: {count} stills, {args.output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
