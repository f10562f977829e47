"""Invented people with exactly known expressions: the ICT face model (MIT, USC 2020), drawn on the CPU.

`python tools/exact_face.py MODEL.npz SHEET.png` draws a sheet of them. What is rendered here is truth for readers and
material to teach them: identity, skin, light, camera, glasses, beard, blur and compression all follow from a seed.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from infinex.face.blendshapes import EYE_TURN, NAMES

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]
FACE, HEAD, SOCKET, EYE_SOCKET, GUMS, TEETH, BALLS, BLEND, LASHES, END = (
    0, 9409, 11248, 13294, 14062, 17039, 21451, 24591, 25351, 26719)  # fmt: skip
TONGUE, ROOT = (16312, 17000), 3.4  # where it lies among the gums, and how far it is fixed
NEAR, FAR = 45.0, 110.0  # centimetres from the camera
MIDDLE = np.array([0.0, -1.0, 2.0])  # what the head turns about and the camera looks at
TONES = np.array([[244, 208, 183], [232, 190, 160], [212, 163, 128], [182, 130, 96], [140, 94, 66], [92, 62, 45]])
SCLERA = (228.0, 220.0, 214.0)
PER_CM, WIDE = 24, 22.0  # texture: pixels a centimetre, centimetres to a side


@njit(cache=True, nogil=True)
def _paint(xy: NDArray, depth: NDArray, tris: NDArray, near: NDArray, which: NDArray, weights: NDArray) -> None:
    """Depth-tested triangles: `near` (H, W) distances, `which` (H, W) triangle, `weights` (H, W, 2) barycentric."""
    H, W = near.shape
    for t in range(tris.shape[0]):
        a, b, c = tris[t, 0], tris[t, 1], tris[t, 2]
        ax, ay, bx, by, cx, cy = xy[a, 0], xy[a, 1], xy[b, 0], xy[b, 1], xy[c, 0], xy[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-9:
            continue
        x0, x1 = max(0, int(np.ceil(min(ax, bx, cx)))), min(W - 1, int(np.floor(max(ax, bx, cx))))
        y0, y1 = max(0, int(np.ceil(min(ay, by, cy)))), min(H - 1, int(np.floor(max(ay, by, cy))))
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                v = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
                w = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
                if v < -1e-6 or w < -1e-6 or v + w > 1 + 1e-6:
                    continue
                z = depth[a] + v * (depth[b] - depth[a]) + w * (depth[c] - depth[a])
                if z < near[y, x]:
                    near[y, x] = z
                    which[y, x] = t
                    weights[y, x, 0] = v
                    weights[y, x, 1] = w


@njit(cache=True, nogil=True)
def _normals(p: NDArray, tris: NDArray, out: NDArray) -> None:
    for t in range(tris.shape[0]):
        a, b, c = tris[t, 0], tris[t, 1], tris[t, 2]
        ux, uy, uz = p[b, 0] - p[a, 0], p[b, 1] - p[a, 1], p[b, 2] - p[a, 2]
        vx, vy, vz = p[c, 0] - p[a, 0], p[c, 1] - p[a, 1], p[c, 2] - p[a, 2]
        n = (uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx)
        for k in (a, b, c):
            out[k, 0] += n[0]
            out[k, 1] += n[1]
            out[k, 2] += n[2]


@njit(cache=True, nogil=True, fastmath=True)
def _shade(
    canvas: NDArray, which: NDArray, bary: NDArray, tris: NDArray, normals: NDArray, neutral: NDArray,
    colours: NDArray, kinds: NDArray, texture: NDArray, tips: NDArray, iris: NDArray, light: NDArray, half: NDArray,
    strong: float, ambient: float, shine: float, tint: NDArray,
) -> None:  # fmt: skip
    """Colour the pixels of `canvas` (H, W, 3) that triangles `which` cover: skin by its texture, eyes, all else by
    vertex; lit from one side, with gloss."""
    H, W = which.shape
    side = texture.shape[0]
    c, n, q = np.zeros(3), np.zeros(3), np.zeros(3)
    for y in range(H):
        for x in range(W):
            t = which[y, x]
            if t < 0:
                continue
            i0, i1, i2 = tris[t, 0], tris[t, 1], tris[t, 2]
            w1, w2 = bary[y, x, 0], bary[y, x, 1]
            w0 = 1 - w1 - w2
            for k in range(3):
                n[k] = normals[i0, k] * w0 + normals[i1, k] * w1 + normals[i2, k] * w2
                q[k] = neutral[i0, k] * w0 + neutral[i1, k] * w1 + neutral[i2, k] * w2
                c[k] = colours[i0, k] * w0 + colours[i1, k] * w1 + colours[i2, k] * w2
            long = max(np.sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]), 1e-9)
            if n[2] < 0:
                long = -long
            for k in range(3):
                n[k] /= long
            kind = kinds[i0]
            if kind == 0:
                u = min(max((q[0] + WIDE / 2) * PER_CM, 0.0), side - 1.001)
                v = min(max((WIDE / 2 - q[1]) * PER_CM, 0.0), side - 1.001)
                a, b = int(u), int(v)
                u -= a
                v -= b
                for k in range(3):
                    c[k] = (texture[b, a, k] * (1 - u) + texture[b, a + 1, k] * u) * (1 - v) + (
                        texture[b + 1, a, k] * (1 - u) + texture[b + 1, a + 1, k] * u
                    ) * v
            elif kind == 1:
                e = 1 if q[0] > 0 else 0
                r = np.sqrt((q[0] - tips[e, 0]) ** 2 + (q[1] - tips[e, 1]) ** 2)
                soft = min(max((0.62 - r) / 0.06, 0.0), 1.0)
                dark = min(max((0.26 - r) / 0.05, 0.0), 1.0)
                fade = 0.8 + 0.4 * min(max(r / 0.6, 0.0), 1.0)
                for k in range(3):
                    white = SCLERA[k]
                    white += soft * (iris[k] * fade - white)
                    c[k] = white + dark * (12 - white)
            deep = 1.0
            if kind == 2 and abs(q[0]) < 4:  # a mouth is dark inside
                deep = min(max((q[2] - 3) / 8, 0.1), 1.0)
            dot = n[0] * light[0] + n[1] * light[1] + n[2] * light[2]
            lit = (ambient * (0.8 + 0.2 * n[1]) + strong * max(0.0, dot)) * deep
            dot = max(0.0, n[0] * half[0] + n[1] * half[1] + n[2] * half[2])
            gloss = 255 * 0.8 * dot**60 if kind == 1 else 255 * shine * dot**18
            for k in range(3):
                canvas[y, x, k] = (c[k] * lit + gloss) * tint[k]


class Model:
    """The face model: vertices from identity and expression; y up, z forward, x to the subject's left, centimetres."""

    def __init__(self, path: str | Path) -> None:
        with np.load(path, allow_pickle=False) as data:
            self.neutral = data["neutral"].astype(np.float32)
            polygons = data["polygons"]
            self._identity = data["identity"].astype(np.float32).reshape(len(data["identity"]), -1)
            names = [str(n) for n in data["expression_names"]]
            shapes = data["expression"].astype(np.float32).reshape(len(names), -1)
        quads = polygons[polygons[:, 3] >= 0]
        tris = np.concatenate([polygons[:, :3], quads[:, [0, 2, 3]]])
        shown = (tris < BLEND).all(1) | (tris >= LASHES).all(1)  # no occlusion cards
        self.tris = np.ascontiguousarray(tris[shown].astype(np.int32))
        self._rows = np.zeros((len(NAMES), shapes.shape[1]), np.float32)
        for name, row in zip(names, shapes):
            whole = name.replace("_L", "Left").replace("_R", "Right")
            single = name[:-2] if name[-2:] in ("_L", "_R") else name
            if whole in NAMES:
                self._rows[NAMES.index(whole)] += row
            elif single in NAMES:  # browInnerUp and cheekPuff are one of Apple's, two here
                self._rows[NAMES.index(single)] += row
        self._rows[NAMES.index("tongueOut")] = self._tongue().ravel()
        balls = self.neutral[BALLS:BLEND]
        sides = (balls[balls[:, 0] < 0], balls[balls[:, 0] > 0])
        self.tips = np.stack([b[b[:, 2].argmax()] for b in sides])  # of the eyeballs, the subject's right first

    def _tongue(self) -> NDArray[np.float32]:
        """The tongue put out: the model has a tongue and no such shape, so it is moved forward and down, tip most."""
        tongue = np.arange(*TONGUE)
        p = self.neutral[tongue]
        tongue = tongue[(np.abs(p[:, 0]) < 2.1) & (p[:, 1] > -5.5) & (p[:, 1] < -2.6) & (p[:, 2] > ROOT)]
        p = self.neutral[tongue]
        along = (p[:, 2] - ROOT) / (p[:, 2].max() - ROOT)
        out = np.zeros_like(self.neutral)
        out[tongue, 2] = 4.2 * along**1.5
        out[tongue, 1] = -1.3 * along**3 - 0.3 * along
        self.tongue = tongue
        return out

    def face_of(self, identity: Array) -> NDArray[np.float32]:
        """The face at rest (26719, 3) of identity weights (100,)."""
        return self.neutral + (identity.astype(np.float32) @ self._identity).reshape(-1, 3)

    def moved(self, weights: Array) -> NDArray[np.float32]:
        """Displacements (26719, 3) under shape weights (52,) in the order of `NAMES`."""
        out = np.zeros(self._rows.shape[1], np.float32)
        for k in np.flatnonzero(weights):
            out += np.float32(weights[k]) * self._rows[k]
        return out.reshape(-1, 3)

    def row(self, name: str) -> NDArray[np.float32]:
        """The offsets (26719, 3) of one of Apple's shapes."""
        return self._rows[NAMES.index(name)].reshape(-1, 3)


def _noise(rng: np.random.Generator, size: int, cell: float) -> Array:
    n = max(2, int(size / cell))
    return cv2.resize(rng.standard_normal((n, n)), (size, size), interpolation=cv2.INTER_CUBIC)


@dataclass
class Person:
    """Somebody who does not exist: shape, skin, eyes, hair, light and camera, all of a seed."""

    model: Model
    seed: int
    size: int = 288
    turn: tuple[float, float, float] = field(init=False)  # degrees: yaw, pitch, roll of the pose that counts as rest
    coded: Picture = field(init=False)  # the bytes of the last picture's file

    def __post_init__(self) -> None:
        rng = self._rng = np.random.default_rng([77, self.seed])
        self.identity = np.clip(rng.standard_normal(100) * rng.uniform(0.6, 1.1), -2.5, 2.5)
        self.turn = (rng.normal(0, 10), rng.normal(0, 6), rng.normal(0, 5))
        self.distance = rng.uniform(NEAR, FAR)
        self.height = rng.uniform(22, 36)  # centimetres that the picture shows
        self.tone = (TONES[int(rng.integers(6))] + rng.normal(0, 8, 3)).clip(30, 250)
        self.light = np.array([rng.normal(0, 0.7), rng.normal(0.4, 0.5), 1.0])
        self.light /= np.linalg.norm(self.light)
        self.strong, self.ambient = rng.uniform(0.35, 0.9), rng.uniform(0.35, 0.7)
        self.tint = 1 + rng.normal(0, 0.05, 3)
        self.shine = rng.uniform(0.0, 0.25)
        self.hair = np.array([rng.uniform(15, 150)] * 3) * [1, rng.uniform(0.6, 0.95), rng.uniform(0.4, 0.9)]
        self.hairline = rng.uniform(6.0, 10.5) if rng.random() < 0.8 else 99.0
        self.beard = rng.uniform(0.15, 0.8) if rng.random() < 0.3 else 0.0
        self.glasses = rng.random() < 0.2
        self.lashes = rng.random() < 0.7
        self.iris = np.array([[70, 45, 25], [90, 110, 130], [80, 95, 60], [45, 30, 20]][int(rng.integers(4))])
        self.blur, self.quality, self.grain = rng.uniform(0, 0.9), int(rng.integers(45, 98)), rng.uniform(0, 5)
        self.teeth = np.array([235, 225, 205]) * rng.uniform(0.75, 1.0)
        self._texture = self._skin()
        self._face = self.model.face_of(self.identity)
        back = _noise(rng, self.size, self.size / rng.uniform(2, 9))[..., None] * rng.uniform(0, 50, 3)
        self._back = (back + rng.uniform(20, 230, 3)).clip(0, 255)

    def _skin(self) -> NDArray[np.float32]:
        """Albedo over the front of the neutral face, (528, 528, 3)."""
        rng, n = self._rng, int(WIDE * PER_CM)
        out = np.ones((n, n, 3)) * self.tone
        for cell, much in ((4, 3.0), (10, 4.0), (40, 7.0)):
            out += _noise(rng, n, cell)[..., None] * much * rng.uniform(0.3, 1.3) * [1, 0.9, 0.8]
        for _ in range(int(rng.integers(0, 60))):
            x, y = rng.uniform(0.1, 0.9, 2) * n
            cv2.circle(
                out, (int(x), int(y)), int(rng.integers(1, 3)), (self.tone * rng.uniform(0.6, 0.95)).tolist(), -1
            )
        y, x = np.mgrid[:n, :n] / PER_CM - WIDE / 2
        y = -y
        red = np.exp(-((np.abs(x) - 4.5) ** 2 / 5 + (y + 1.0) ** 2 / 5)) * rng.uniform(0, 14)
        out += red[..., None] * [1, -0.5, -0.4]
        if self.beard:
            chin = ((y < -1.2 - 0.12 * (np.abs(x) - 2) ** 2 * (np.abs(x) < 4)) | ((np.abs(x) > 5.5) & (y < 2.5))) & (
                y > -12
            )
            cover = cv2.GaussianBlur(chin.astype(np.float64), (0, 0), 10) * self.beard
            cover *= (0.75 + 0.25 * _noise(rng, n, 3)).clip(0, 1.2)
            out += cover[..., None] * (self.hair - out)
        lip = np.maximum(
            np.exp(-(((y + 3.55) / 0.55) ** 2) - (x / 2.2) ** 4), np.exp(-(((y + 2.75) / 0.42) ** 2) - (x / 2.1) ** 4)
        )
        out += (lip * rng.uniform(0.25, 0.8))[..., None] * (self.tone * [0.8, 0.5, 0.5] - out)
        thick, above, arch = rng.uniform(0.18, 0.5), rng.uniform(5.2, 5.8), rng.uniform(0.2, 0.7)
        dense = rng.uniform(0.35, 0.95)
        for side in (-1, 1):
            u = (side * x - 1.2) / 3.9
            line = above + arch * np.sin(np.pi * u.clip(0, 1) ** 0.8) - 0.35 * u.clip(0, 1)
            brow = np.exp(-(((y - line) / (thick * (1.15 - 0.7 * u.clip(0, 1)))) ** 4)) * ((u > 0) & (u < 1))
            brow = cv2.GaussianBlur(brow, (0, 0), 2) * (0.8 + 0.3 * _noise(rng, n, 2.5)).clip(0, 1)
            out += (brow * dense)[..., None] * (self.hair * 0.8 - out)
        return out.clip(0, 255).astype(np.float32)

    @cached_property
    def _fixed(self) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
        """Colours (N, 3) of vertices that have no texture, and what every vertex is: 0 skin, 1 eye, 2 else."""
        n = self.model.neutral
        colour = np.tile(self.tone, (END, 1))
        kind = np.zeros(END, np.int8)
        colour[SOCKET:EYE_SOCKET] = [110, 40, 40]
        colour[GUMS:TEETH] = [175, 95, 95]
        colour[self.model.tongue] = [190, 100, 100]
        colour[TEETH:BALLS] = self.teeth
        colour[LASHES:] = self.hair * 0.4
        kind[SOCKET:EYE_SOCKET] = kind[GUMS:BALLS] = kind[LASHES:] = 2
        kind[BALLS:BLEND] = 1
        scalp = (n[:, 1] > self.hairline - 0.35 * np.abs(n[:, 0])) | (
            (n[:, 2] < 3.5) & (n[:, 1] > -4) & (np.abs(n[:, 0]) < 8.0)
        )
        scalp[SOCKET:] = False
        if self.hairline < 90:
            colour[scalp] = self.hair
            kind[scalp] = 2
        return colour.astype(np.float32), kind

    def draw(
        self, weights: Array, turn: tuple[float, float, float] | None = None, noise: int = 0, plain: bool = False
    ) -> tuple[Picture, Array]:
        """A picture (size, size, 3) and the vertices' places in it (N, 3): pixels and centimetres of depth.

        `turn` in degrees beside the person's own; `plain`: no blur, grain or compression."""
        rng = np.random.default_rng([self.seed, noise])
        v = self._face + self.model.moved(weights)
        self._turn_eyes(v, weights)
        yaw, pitch, roll = np.radians(np.array(self.turn) + (turn or (0, 0, 0)))
        R = _about(2, roll) @ _about(0, pitch) @ _about(1, yaw)
        p = (v - MIDDLE) @ R.T
        z = self.distance - p[:, 2]
        focal = self.size / self.height * self.distance
        xy = np.stack([self.size / 2 + focal * p[:, 0] / z, self.size / 2 - focal * p[:, 1] / z], 1)
        s, fine = self.size, 1
        near, which = np.full((s * fine, s * fine), 1e9), np.full((s * fine, s * fine), -1, np.int32)
        bary = np.zeros((s * fine, s * fine, 2))
        tris = self.model.tris if self.lashes else self.model.tris[(self.model.tris < LASHES).all(1)]
        _paint(xy * fine + (fine - 1) / 2, z.astype(np.float64), tris, near, which, bary)
        normals = np.zeros((END, 3), np.float32)
        _normals(p.astype(np.float32), tris, normals)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        canvas = cv2.resize(self._back, (s * fine, s * fine))
        colours, kinds = self._fixed
        half = self.light + np.array([0.0, 0.0, 1.0])
        half /= np.linalg.norm(half)
        _shade(
            canvas, which, bary, tris, normals, self.model.neutral, colours, kinds, self._texture, self.model.tips,
            self.iris.astype(np.float64), self.light, half, self.strong, self.ambient, self.shine, self.tint,
        )  # fmt: skip
        image = cv2.resize(canvas, (s, s), interpolation=cv2.INTER_AREA).clip(0, 255).astype(np.uint8)
        if self.glasses:
            image = self._frames(image, R, focal)
        if not plain:
            if self.blur > 0.3:
                image = cv2.GaussianBlur(image, (0, 0), self.blur)
            image = (image + rng.normal(0, self.grain, image.shape)).clip(0, 255).astype(np.uint8)
            self.coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self.quality])[1]
            image = cv2.imdecode(self.coded, cv2.IMREAD_COLOR)
        return image, np.column_stack([xy, z])

    def _turn_eyes(self, v: NDArray[np.float32], weights: Array) -> None:
        """Turn the eyeballs of vertices `v` in place: the model's own eyeLook shapes move lids only."""
        balls = np.arange(BALLS, BLEND)
        for side, away in (("Left", 1), ("Right", -1)):
            ball = balls[self.model.neutral[balls, 0] * away > 0]
            low, high = v[ball].min(0), v[ball].max(0)
            w = {d: weights[AT[f"eyeLook{d}{side}"]] for d in ("In", "Out", "Up", "Down")}
            across = away * EYE_TURN["Out"] * w["Out"] - away * EYE_TURN["In"] * w["In"]
            up = EYE_TURN["Up"] * w["Up"] - EYE_TURN["Down"] * w["Down"]
            if across or up:
                middle = (low + high) / 2
                R = _about(1, across) @ _about(0, -up)
                v[ball] = (v[ball] - middle) @ R.T.astype(np.float32) + middle

    def _frames(self, image: Picture, R: Array, focal: float) -> Picture:
        a = np.linspace(0, 2 * np.pi, 40)
        for side in (-1, 1):
            ring = np.column_stack([side * 3.3 + 2.5 * np.cos(a), 3.3 + 1.9 * np.sin(a), np.full(40, 11.5)])
            p = (ring - MIDDLE) @ R.T
            z = self.distance - p[:, 2]
            xy = np.column_stack([self.size / 2 + focal * p[:, 0] / z, self.size / 2 - focal * p[:, 1] / z])
            cv2.polylines(
                image, [np.round(xy * 16).astype(np.int32)], True, (self.hair * 0.5).tolist(), 2, cv2.LINE_AA, 4
            )
        return image


GROUPS = {
    "lids": ("eyeBlink", "eyeWide", "eyeSquint"),
    "brows": ("browDown", "browInnerUp", "browOuterUp"),
    "cheeks": ("cheekPuff", "cheekSquint", "noseSneer"),
    "jaw": ("jawOpen", "jawForward", "jawLeft", "jawRight", "mouthClose", "tongueOut"),
    "corners": ("mouthSmile", "mouthFrown", "mouthDimple", "mouthStretch", "mouthPress"),
    "lips": ("mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight", "mouthRollLower", "mouthRollUpper",
             "mouthShrugLower", "mouthShrugUpper", "mouthLowerDown", "mouthUpperUp"),
}  # fmt: skip
AT = {n: k for k, n in enumerate(NAMES)}


def put(weights: Array, name: str, amount: float) -> None:
    """Give a shape its weight, in place, with what it cannot be seen without: an open jaw that lips are closed over, or
    that a tongue passes."""
    weights[AT[name]] = amount
    if name == "mouthClose":
        weights[AT["jawOpen"]] = max(weights[AT["jawOpen"]], amount)
    if name == "tongueOut":
        weights[AT["jawOpen"]] = max(weights[AT["jawOpen"]], 0.2 + 0.25 * amount)


def alone(levels: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0, 0.5)) -> Array:
    """Every shape rising and falling by itself, (52 · levels, 52)."""
    out = np.zeros((len(NAMES), len(levels), len(NAMES)))
    for k, name in enumerate(NAMES):
        for i, level in enumerate(levels):
            put(out[k, i], name, level)
    return out.reshape(-1, len(NAMES))


def mixture(rng: np.random.Generator, single: float = 0.3) -> Array:
    """Weights (52,) of a face as faces are: some parts of it active, mostly on both sides, eyes mostly together; of
    so many as `single` (0..1) one shape alone."""
    w = np.zeros(len(NAMES))
    if rng.random() < single:
        put(w, NAMES[int(rng.integers(len(NAMES)))], float(rng.uniform(0.15, 1)))
        return w
    for group, names in GROUPS.items():
        for _ in range(int(rng.choice(3, p=[0.5, 0.35, 0.15]))):
            stem = names[int(rng.integers(len(names)))]
            amount = float(rng.uniform(0.1, 1)) * (0.8 if group == "lips" else 1)
            if stem in AT:
                put(w, stem, amount)
                continue
            for side in ("Left", "Right"):
                put(w, stem + side, amount * float(np.clip(rng.normal(1, 0.15), 0, 1.2)) * (rng.random() > 0.15))
    if rng.random() < 0.55:
        x, y = np.clip(rng.normal(0, 0.5, 2), -1, 1)
        for side, out in (("Left", x), ("Right", -x)):
            if rng.random() < 0.12:
                out, y = np.clip(rng.normal(0, 0.5, 2), -1, 1)
            w[AT["eyeLookOut" + side]], w[AT["eyeLookIn" + side]] = max(0, out), max(0, -out)
            w[AT["eyeLookUp" + side]], w[AT["eyeLookDown" + side]] = max(0, y), max(0, -y)
    for a, b in (("eyeBlinkLeft", "eyeWideLeft"), ("eyeBlinkRight", "eyeWideRight"), ("jawLeft", "jawRight"),
                 ("mouthLeft", "mouthRight")):  # fmt: skip
        if w[AT[a]] > w[AT[b]]:
            w[AT[b]] = 0
        else:
            w[AT[a]] = 0
    return np.clip(w, 0, 1)


def _about(axis: int, angle: float) -> Array:
    c, s = np.cos(angle), np.sin(angle)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    R = np.eye(3)
    R[i, i] = R[j, j] = c
    R[i, j], R[j, i] = -s, s
    return R


def main() -> None:
    """Draw a sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shapes", nargs="*", default=["jawOpen", "mouthSmileLeft", "eyeBlinkLeft", "tongueOut"])
    o = parser.parse_args()
    model, rows = Model(o.model), []
    for k in range(3):
        person = Person(model, o.seed + k, 400)
        tiles = [person.draw(np.zeros(len(NAMES)))[0]]
        for name in o.shapes:
            w = np.zeros(len(NAMES))
            w[NAMES.index(name)] = 1
            if name == "tongueOut":
                w[NAMES.index("jawOpen")] = 0.5
            tiles.append(person.draw(w)[0])
        rows.append(np.hstack(tiles))
    cv2.imwrite(str(o.sheet), np.vstack(rows)[..., ::-1])


if __name__ == "__main__":
    main()
