"""Reading Apple's 52 blendshapes off tracked faces, with a picture of the person at rest to compare with.

A small network sees how landmarks and skin moved from rest, and small pictures of both eyes and of the mouth, then
and now. It was
taught on invented people whose shapes are known (`tools/teach_blendshapes.py`); its card is `data/BLENDSHAPES.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.blendshapes import NAMES, mirrored
from infinex.face.pose import fit_pose
from infinex.face.reading import proportions
from infinex.face.skin import CENTRE, SIZE, SPAN, Skin, face_view

Array = NDArray[np.float64]
Pixels = NDArray[np.float32]
RGB = NDArray[np.uint8]
EYE, MOUTH = ((40, 28), (0.40, 0.28)), ((48, 40), (0.78, 0.65))  # pixels and IOD, width and height
FAINT = 0.03  # below it, noise
BLOCK = 32  # frames read at a time


def plan(points: Array) -> list[NDArray[np.float32]]:
    """Where the small pictures lie in a `face_view`, of a face at rest (478, 3): right eye, left eye, mouth.

    The left eye is mirrored, so that both run from the outer to the inner corner."""
    out = []
    for ids, ((w, h), (across, down)), flip in (
        (top.RIGHT_EYE, EYE, 1.0), (top.LEFT_EYE, EYE, -1.0), (top.LIPS_INNER + top.LIPS_OUTER, MOUTH, 1.0),
    ):  # fmt: skip
        middle = ((points[ids, :2].mean(0) - CENTRE) / SPAN + 0.5) * SIZE - 0.5
        kx, ky = flip * across * SIZE / SPAN / w, down * SIZE / SPAN / h
        out.append(np.array([[kx, 0, middle[0] - kx * (w - 1) / 2], [0, ky, middle[1] - ky * (h - 1) / 2]], np.float32))
    return out


def cut(view: NDArray[np.uint8], where: list[NDArray[np.float32]]) -> list[Pixels]:
    """The small pictures of a `face_view`: (28, 40) of each eye and (40, 48) of the mouth."""
    sizes = (EYE[0], EYE[0], MOUTH[0])
    return [
        cv2.warpAffine(
            view, m, s, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        ).astype(np.float32)
        for m, s in zip(where, sizes)
    ]


def levelled(now: list[Pixels], rest: list[Pixels]) -> list[Pixels]:
    """Small pictures now and at rest, (2, H, W) each, at the light and contrast of rest."""
    return [
        np.stack([(n - r.mean()) / (r.std() + 8), (r - r.mean()) / (r.std() + 8)]).astype(np.float32)
        for n, r in zip(now, rest)
    ]


def numbers(offsets: Array, skin: Array, rest: Array, angles: Array) -> Array:
    """What is seen beside the pictures, (T, 2383): displacements of landmarks (T, 478, 3) and skin (T, 468, 2), the
    proportions of the face at rest (478, 3) and how the head is turned (T, 3), degrees."""
    n = len(offsets)
    own = np.repeat(proportions(rest[None, : top.SURFACE, :2].reshape(1, -1)), n, 0)
    return np.concatenate([np.asarray(offsets).reshape(n, -1), np.asarray(skin).reshape(n, -1), own, angles / 90], 1)


@dataclass(frozen=True)
class Network:
    """The reader's weights; see `tools/teach_blendshapes.py` for how they come about."""

    parts: dict[str, Array]

    def __call__(self, x: Array, pictures: list[Pixels]) -> Array:
        """Weights (T, 52) of `numbers` (T, F) and small pictures (T, 2, H, W): right eye, left eye, mouth."""
        p = self.parts
        seen = [(x - p["middle"]) @ p["look"]]
        for name, picture in zip(("eye", "eye", "mouth"), pictures):
            seen.append((looked_at(picture) - p[f"{name}_middle"]) @ p[f"{name}_look"])
        out = np.concatenate(seen, 1)
        for k in (0, 1):
            out = out @ p[f"hidden{k}_w"] + p[f"hidden{k}_b"]
            out = out / (1 + np.exp(-np.clip(out, -60, 60)))  # SiLU
        return np.asarray(out @ p["out_w"] + p["out_b"])


def looked_at(pictures: Pixels) -> Pixels:
    """Small pictures now and at rest (T, 2, H, W) as rows: how they are, and how they differ."""
    now, rest = pictures[:, 0], pictures[:, 1]
    return np.concatenate([now.reshape(len(now), -1), (now - rest).reshape(len(now), -1)], 1)


@cache
def network() -> Network:
    """The reader that comes along."""
    path = resources.files("infinex.face").joinpath("data/blendshape_reader.npz")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
        if tuple(str(n) for n in data["names"]) != NAMES:
            raise ValueError("blendshape_reader.npz was made for other shapes; run tools/teach_blendshapes.py train")
        return Network({k: data[k].astype(np.float32) for k in data.files if k != "names"})


def swapped(x: Array) -> Array:
    """`numbers` (T, F) of the mirrored face."""
    n, order = len(x), top.mirror()
    irises = np.concatenate([np.arange(473, 478), np.arange(468, 473)])
    # The four rim points of an iris: what is on its right is on its left in the mirror.
    irises = irises[[0, 3, 2, 1, 4, 5, 8, 7, 6, 9]]
    whole = np.concatenate([order[: top.SURFACE], irises])
    a = x[:, : 478 * 3].reshape(n, 478, 3)[:, whole] * [-1, 1, 1]
    b = x[:, 478 * 3 : 478 * 3 + 936].reshape(n, 468, 2)[:, order[: top.SURFACE]] * [-1, 1]
    rest = x[:, 478 * 3 + 936 :].copy()
    rest[:, -3] *= -1
    rest[:, -1] *= -1
    return np.concatenate([a.reshape(n, -1), b.reshape(n, -1), rest], 1)


def read(net: Network, x: Array, pictures: list[Pixels]) -> Array:
    """Weights (T, 52) in 0..1, of a face and its mirror image alike."""
    right, left, mouth = pictures
    there = net(x, pictures)
    back = net(swapped(x), [left, right, mouth[..., ::-1]])
    found = (there + mirrored(back)) / 2
    return np.clip((found - FAINT) / (1 - FAINT), 0, 1)


class ShapeReader:
    """Reads shapes off pictures of one person, of whom a picture at rest is known; streams."""

    def __init__(self, image: RGB, points: Array, rest: Array) -> None:
        """A picture (H, W, 3) of the person at rest, with landmarks (478, 3) in pixels, and the face (478, 3) at
        rest."""
        self._rest = rest
        view = face_view(image, fit_pose(rest, points))
        self._skin, self._where = Skin(view, rest), plan(rest)
        self._plain = cut(view, self._where)
        self._last = np.zeros((top.SURFACE, 2)), self._plain, np.zeros(3)
        self._waiting: list[tuple[Array, Array, list[Pixels], Array]] = []
        self._read: list[Array] = []

    def add(self, image: RGB | None, points: Array | None, offsets: Array) -> None:
        """One more picture; `offsets` (478, 3) are its displacements from rest. A lost face (None) is as it was."""
        if image is not None and points is not None:
            pose = fit_pose(self._rest, points)
            view = face_view(image, pose)
            self._last = self._skin.moved(view), cut(view, self._where), pose.angles
        moved, pictures, angles = self._last
        self._waiting.append((offsets, moved, pictures, angles))
        if len(self._waiting) == BLOCK:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        offsets, moved, pictures, angles = zip(*self._waiting)
        x = numbers(np.stack(offsets), np.stack(moved), self._rest, np.stack(angles))
        small = [np.stack(s) for s in zip(*(levelled(p, self._plain) for p in pictures))]
        self._read.append(read(network(), x, small))
        self._waiting = []

    def shapes(self) -> Array:
        """Weights (T, 52) of the pictures added since the last call."""
        self._flush()
        read, self._read = self._read, []
        return np.concatenate([np.zeros((0, len(NAMES))), *read])
