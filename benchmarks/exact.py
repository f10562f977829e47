"""A face whose pose, expression and light are known exactly: the public ICT face model, painted and rendered here.

Shared by what learns from such faces (tools/build_morphable.py) and what is measured on them (benchmarks/fit.py)."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face.morphable.model import Camera
from infinex.face.morphable.surface import normals, rasterise, rings

Array = NDArray[np.floating]
FACE, NECK = 9409, 11248
SCLERA_IRIS = (21451, 24591)
SHOWN = ((0, 11248), (11248, 17039), (17039, 21451), (21451, 24591))  # skin, mouth, teeth, eyeballs


class ExactFace:
    """The model: `neutral` (V, 3) in centimetres, x to the subject's left, y up, z forward; `names` of expressions."""

    def __init__(self, path: str | Path) -> None:
        with np.load(path, allow_pickle=False) as data:
            self.neutral = data["neutral"].astype(np.float64)
            self.identity = data["identity"].astype(np.float32)
            self.expression = data["expression"].astype(np.float32)
            self.names = tuple(str(n) for n in data["expression_names"])
            quads = data["polygons"]
            corner, coordinates = data["polygon_uv"], data["uv"]
        self.uv = np.zeros((len(self.neutral), 2))
        self.uv[quads[quads >= 0]] = coordinates[corner[quads >= 0]]
        four = quads[:, 3] >= 0
        triangles = np.concatenate([quads[:, :3], quads[four][:, [0, 2, 3]]]).astype(np.int32)
        shown = np.zeros(len(self.neutral), bool)
        for a, b in SHOWN:
            shown[a:b] = True
        self.triangles = np.ascontiguousarray(triangles[shown[triangles].all(1)])
        self.around = rings(self.triangles, len(self.neutral))
        self.skin = np.arange(len(self.neutral)) < NECK
        self.eyes = self._eyes()

    def _eyes(self) -> list[NDArray[np.int64]]:
        where = np.arange(*SCLERA_IRIS)
        left = self.neutral[where, 0] > 0
        return [where[~left], where[left]]

    def shape(self, identity: Array, expression: Array) -> NDArray[np.float64]:
        """Vertices of weights (100,) and (57,)."""
        out = self.neutral + np.tensordot(identity, self.identity[: len(identity)], 1)
        return out + np.tensordot(expression, self.expression, 1)

    def paint(self, random: np.random.Generator) -> NDArray[np.float64]:
        """Colours (V, 3) in 0..1 of nobody: skin with blotches, lips, brows, eyes, teeth, a dark mouth."""
        V = len(self.neutral)
        tone = np.array([0.78, 0.58, 0.47]) ** random.uniform(0.7, 2.2)
        out = np.tile(tone, (V, 1))
        soft = np.zeros((V, 3))
        for width in (3.0, 1.2, 0.5):
            centres = random.uniform(-9, 9, (60, 3)) + np.array([0, 0, 6])
            away = np.linalg.norm(self.neutral[:, None] - centres[None], axis=2)
            soft += np.exp(-((away / width) ** 2)) @ random.normal(0, 0.03, (60, 3))
        out *= 1 + soft
        lips = sum(
            np.linalg.norm(self.expression[self.names.index(n)], axis=1) for n in ("mouthRollLower", "mouthRollUpper")
        )
        lips = np.clip((lips - 0.75) / 0.2, 0, 1)[:, None] * self.skin[:, None]
        out = out * (1 - lips) + lips * tone * [0.85, 0.5, 0.5]
        brow = np.zeros(V)
        for eye in self.eyes:
            x, y, _ = self.neutral[eye].mean(0)
            u = (self.neutral[:, 0] - x) / 2.1
            v = (self.neutral[:, 1] - y - 2.0 + 0.5 * u**2) / 0.38
            brow = np.maximum(brow, np.clip(1.6 - u**4 - v**2, 0, 1) * (self.neutral[:, 2] > 5))
        dark = np.array([0.25, 0.18, 0.14]) * random.uniform(0.5, 1.2)
        out = out * (1 - brow[:, None]) + brow[:, None] * dark
        out[11248:17039] = [0.35, 0.13, 0.12]
        out[17039:21451] = [0.9, 0.87, 0.8]
        iris = random.uniform(0.15, 0.5, 3)
        for eye in self.eyes:
            p = self.neutral[eye]
            axis = p[np.argmax(p[:, 2])]
            away = np.linalg.norm((p - axis)[:, :2], axis=1)
            out[eye] = np.where(
                (away < 0.32)[:, None], 0.05, np.where((away < 0.68)[:, None], iris, [0.86, 0.84, 0.82])
            )
        return np.clip(out, 0, 1)

    def render(
        self, shape: Array, colour: Array, rotation: Array, shift: Array, camera: Camera, size: tuple[int, int],
        light: Array, ambient: float, behind: Array | None = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:  # fmt: skip
        """The picture (H, W, 3) under a light from `light` (3,), a unit vector with published axes, and which triangle
        every pixel of a picture twice as large shows."""
        turned = shape @ rotation.T + shift
        n = normals(shape, self.triangles, self.around) @ rotation.T
        lit = colour * (ambient + (1 - ambient) * 1.25 * np.clip(n @ light, 0, None))[:, None]
        seen = turned * [1, -1, -1]
        H, W = size
        points = 2 * camera.project(seen) + 0.5
        ids, weights = rasterise(points, seen[:, 2], self.triangles, (2 * H, 2 * W), both=True)
        out = np.full((2 * H, 2 * W, 3), 0.35) if behind is None else behind.copy()
        at = ids >= 0
        out[at] = np.einsum("nk,nkc->nc", weights[at], lit[self.triangles[ids[at]]])
        small = cv2.resize(out.astype(np.float32), (W, H), interpolation=cv2.INTER_AREA)
        return np.clip(small * 255 + 0.5, 0, 255).astype(np.uint8), ids
