"""Reading Apple's 52 blendshapes off tracked faces, with a picture of the person at rest to compare with.

A small network sees how the face's picture differs from the one at rest, both laid over the face at rest so that only
expressions differ, more closely at eyes and mouth, and how skin and landmarks moved. It was taught on invented people
whose shapes are known (`tools/teach_blendshapes.py`); its card is `data/BLENDSHAPES.md`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.blendshapes import mirrored
from infinex.face.networks import session
from infinex.face.pose import Pose, fit_pose
from infinex.face.reading import proportions

Array = NDArray[np.float64]
RGB = NDArray[np.uint8]
Pieces = tuple[NDArray, ...]
Look = tuple[Pieces, Array, Array]  # a flat face, how the head is turned, how the skin moved
NETWORK = "blendshape_reader"
SIDE, SPAN, MIDDLE = 224, 2.0, (0.0, -0.12)  # of a face laid flat: pixels and IOD to a side, its middle
GRID = 29  # places to a side at which depth is known
EYE, MOUTH, FACE = (64, 64), (96, 64), (96, 112)  # pixels of the pieces, width and height; the face at half the size
LEVEL = 40.0  # of a picture's differences
BRIGHT = slice(60, 190), slice(60, 164)  # where a flat face is surely face
SOFT = 1.5  # pixels: smoothing of the flow at landmarks
CELL = 4  # pixels of a piece in one of its flow
INPUTS = ("right", "left", "mouth", "face", "right_flow", "left_flow", "mouth_flow", "face_flow", "numbers")
FAINT = 0.1  # below it, noise and what others leak
BLOCK = 32  # frames read at a time


class Flattened:
    """A person's face laid flat: where every pixel of it lies in a picture, whatever the head does, and how its skin
    moved, by dense optical flow from a picture at rest (Kroeger et al., ECCV 2016).

    A face is no plane: one that turns would slide over a plane's picture by more than an expression moves it."""

    def __init__(self, image: RGB, points: Array, rest: Array) -> None:
        """A picture (H, W, 3) at rest, landmarks (478, 3) in it, and the face (478, 3) at rest in head coordinates."""
        places = np.linspace(-SPAN / 2, SPAN / 2, GRID)
        x, y = np.meshgrid(places + MIDDLE[0], places + MIDDLE[1])
        p = rest[: top.SURFACE]
        near = 1 / (((np.stack([x, y], -1)[:, :, None] - p[None, None, :, :2]) ** 2).sum(3) + 6e-3) ** 2
        depth = (near @ p[:, 2]) / near.sum(2)
        step = (GRID - 1) * (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE
        at = np.meshgrid(step, step)
        self._z = cv2.remap(depth.astype(np.float32), *at, cv2.INTER_LINEAR)
        across = SPAN * ((np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE - 0.5)
        self._x, self._y = across[None] + np.float32(MIDDLE[0]), across[:, None] + np.float32(MIDDLE[1])
        self._corners = [
            _corner(rest[top.RIGHT_EYE], EYE, -0.08), _corner(rest[top.LEFT_EYE], EYE, -0.08),
            _corner(rest[top.LIPS_INNER + top.LIPS_OUTER], MOUTH, 0.03),
        ]  # fmt: skip
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._rest = _freed(self.seen(image, fit_pose(rest, points)))
        self._places = (((p[None, :, :2] - MIDDLE) / SPAN + 0.5) * SIDE - 0.5).astype(np.float32)
        self._moved = np.zeros((SIDE, SIDE, 2), np.float32)

    def seen(self, image: RGB, pose: Pose) -> RGB:
        """The face of a picture (H, W, 3) in which the head is at `pose`: (SIDE, SIDE, 3)."""
        step = (pose.scale * pose.rotation).astype(np.float32)
        at = [step[k, 0] * self._x + step[k, 1] * self._y + step[k, 2] * self._z + pose.translation[k] for k in (0, 1)]
        smaller = int(pose.scale * SPAN / SIDE)
        if smaller > 1:  # a large face must not alias
            h, w = image.shape[:2]
            x0, y0 = (int(np.clip(a.min() - smaller, 0, max(0, n - 2 * smaller))) for a, n in zip(at, (w, h)))
            x1, y1 = (int(np.clip(a.max(), c, n)) + 2 * smaller for a, c, n in zip(at, (x0, y0), (w, h)))
            part = image[y0:y1, x0:x1]
            image = cv2.resize(part, None, fx=1 / smaller, fy=1 / smaller, interpolation=cv2.INTER_AREA)
            at = [(a - c + 0.5) / smaller - 0.5 for a, c in zip(at, (x0, y0))]
        x, y = (a.astype(np.float32) for a in at)
        return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE), np.uint8)

    def pieces(self, image: RGB, pose: Pose) -> Pieces:
        """How a picture differs from rest, freed of light: right eye and left, mirrored (64, 64), the mouth's light
        and redness (2, 64, 96) and the whole face at half the size (112, 96); then how the skin of each moved,
        (2, H / 4, W / 4) pixels right and down."""
        rest, rest_red, rest_bright = self._rest
        even, red, bright = _freed(self.seen(image, pose))
        flow = self._moved = self._flow.calc(rest, even, None)  # type: ignore[call-overload]
        right, left, mouth = ((slice(y, y + h), slice(x, x + w)) for x, y, w, h in self._corners)
        light = (even.astype(np.float32) - rest) / LEVEL
        redness = (red * (rest_bright / bright) - rest_red) / LEVEL
        redness -= redness[BRIGHT].mean()  # a film's colours drift
        small = cv2.resize(light, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA)
        edge = (SIDE // 2 - FACE[0]) // 2
        moved = [_coarse(flow[part], CELL) for part in (right, left, mouth)]
        return (light[right], light[left][:, ::-1], np.stack([light[mouth], redness[mouth]]), small[:, edge:-edge],
                moved[0], moved[1][..., ::-1] * np.array([-1, 1], np.float32)[:, None, None], moved[2],
                _coarse(flow[:, 2 * edge : -2 * edge], 2 * CELL))  # fmt: skip

    def skin(self) -> Array:
        """How the skin at every landmark moved in the picture last given to `pieces`: (468, 2) IOD right and down."""
        soft = cv2.GaussianBlur(self._moved, (0, 0), SOFT)
        seen = cv2.remap(soft, self._places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
        return np.asarray(seen[0] * (SPAN / SIDE), np.float64)


def _freed(flat: RGB) -> tuple[NDArray[np.uint8], NDArray[np.float32], float]:
    """Lightness freed of light and contrast, redness of a picture (H, W, 3), (H, W) each, and how bright it is."""
    grey = cv2.cvtColor(flat, cv2.COLOR_RGB2GRAY)
    return _evened(grey), flat[..., 0].astype(np.float32) - flat[..., 1], float(grey[BRIGHT].mean()) + 1


def _evened(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture (H, W) freed of light and contrast."""
    out = grey.astype(np.float32)
    out -= cv2.blur(out, (33, 33))
    spread = np.sqrt(np.maximum(cv2.blur(out * out, (49, 49)), 0))  # sums run on and round below nothing
    return np.clip(128 + 40 * out / (spread + 3), 0, 255).astype(np.uint8)


def _coarse(flow: NDArray[np.float32], cell: int) -> NDArray[np.float32]:
    """Means (2, H / cell, W / cell) of a flow (H, W, 2)."""
    h, w = flow.shape[:2]
    return np.ascontiguousarray(
        cv2.resize(flow, (w // cell, h // cell), interpolation=cv2.INTER_AREA).transpose(2, 0, 1), np.float32
    )


def _corner(points: Array, size: tuple[int, int], lower: float) -> tuple[int, int, int, int]:
    """Where a piece about points (N, 3), so many IOD `lower`, lies in a flat face: x, y, width and height."""
    middle = (points.min(0) + points.max(0))[:2] / 2 + [0, lower]
    place = ((middle - MIDDLE) / SPAN + 0.5) * SIDE - np.array(size) / 2
    x, y = np.clip(np.round(place), 0, SIDE - np.array(size)).astype(int)
    return int(x), int(y), *size


def numbers(offsets: Array, rest: Array, angles: Array) -> Array:
    """What is seen beside the pictures, (T, 1447): displacements of landmarks (T, 478, 3) from rest, the proportions
    of the face at rest (478, 3) and how the head is turned (T, 3), degrees."""
    n = len(offsets)
    own = np.repeat(proportions(rest[None, : top.SURFACE, :2].reshape(1, -1)), n, 0)
    return np.concatenate([np.asarray(offsets).reshape(n, -1) * 10, own, angles / 90], 1)


def swapped(inputs: list[NDArray]) -> list[NDArray]:
    """`INPUTS` of the mirrored face."""
    right, left, mouth, face, right_flow, left_flow, mouth_flow, face_flow, x = inputs
    n, order = len(x), top.mirror()
    irises = np.concatenate([np.arange(473, 478), np.arange(468, 473)])
    # The four rim points of an iris: what is on its right is on its left in the mirror.
    irises = irises[[0, 3, 2, 1, 4, 5, 8, 7, 6, 9]]
    whole = np.concatenate([order[: top.SURFACE], irises])
    a = x[:, : 478 * 3].reshape(n, 478, 3)[:, whole] * np.array([-1, 1, 1], x.dtype)
    rest = x[:, 478 * 3 :].copy()
    rest[:, -3] *= -1
    rest[:, -1] *= -1
    other = np.array([-1, 1], np.float32)[:, None, None]
    flows = [left_flow, right_flow, *(f[..., ::-1] * other for f in (mouth_flow, face_flow))]
    return [left, right, mouth[..., ::-1], face[..., ::-1], *flows, np.concatenate([a.reshape(n, -1), rest], 1)]


def read(inputs: list[NDArray]) -> Array:
    """What the network says (T, 52) of `INPUTS`, of a face and its mirror image alike."""
    return read_and_seen(inputs)[0]


def read_and_seen(inputs: list[NDArray]) -> tuple[Array, Array, Array]:
    """The same, and what the network sees in `INPUTS` before it says what it means, of a face and of its mirror: (T, F)
    each."""
    (said, seen), (said_of_mirror, seen_of_mirror) = _run(inputs), _run(swapped(inputs))
    return np.asarray((said + mirrored(said_of_mirror)) / 2), seen, seen_of_mirror


def _run(inputs: list[NDArray]) -> list[Array]:
    given = dict(zip(INPUTS, map(np.ascontiguousarray, inputs)))
    return [np.asarray(a) for a in session(NETWORK).run(["weights", "seen"], given)]


def settled(found: Array) -> Array:
    """Weights (T, 52) in 0..1 of what the network says, without noise."""
    return np.asarray(np.clip((found - FAINT) / (1 - FAINT), 0, 1))


class PictureReader:
    """Reads pictures of one person, of whom a picture at rest is known; streams. What is read, `said` says."""

    def __init__(self, image: RGB, points: Array, rest: Array) -> None:
        """A picture (H, W, 3) of the person at rest, with landmarks (478, 3) in pixels, and the face (478, 3) at
        rest."""
        self.rest, self._face = rest, Flattened(image, points, rest)
        self._last = self._look(image, fit_pose(rest, points))
        self._waiting: list[tuple[Array, Look]] = []
        self._read: list[Array] = []
        self._zero = self._said([(np.zeros_like(rest), self._last)])  # whoever is at rest shows nothing

    def add(self, image: RGB | None, points: Array | None, offsets: Array) -> None:
        """One more picture; `offsets` (478, 3) are its displacements from rest. A lost face (None) is as it was."""
        if image is not None and points is not None:
            self._last = self._look(image, fit_pose(self.rest, points))
        self._waiting.append((offsets, self._last))
        if len(self._waiting) == BLOCK:
            self._flush()

    def said(self, offsets: Array, inputs: list[NDArray], skin: Array) -> Array:
        """What is read (T, N), of displacements (T, 478, 3), `INPUTS` and how skin moved at landmarks (T, 468, 2)."""
        raise NotImplementedError

    def _look(self, image: RGB, pose: Pose) -> Look:
        return self._face.pieces(image, pose), pose.angles, self._face.skin()

    def _said(self, seen: list[tuple[Array, Look]]) -> Array:
        offsets, looks = zip(*seen)
        pieces, angles, skin = zip(*looks)
        moved = np.stack(offsets)
        x = numbers(moved, self.rest, np.stack(angles)).astype(np.float32)
        inputs = [*(np.stack(p).reshape(len(seen), -1, *p[0].shape[-2:]) for p in zip(*pieces)), x]
        return self.said(moved, inputs, np.stack(skin))

    def _flush(self) -> None:
        if self._waiting:
            self._read.append(self._said(self._waiting) - self._zero)
            self._waiting = []

    def taken(self) -> Array:
        """What was read (T, N) since the last call, less what is read of the person at rest."""
        self._flush()
        read, self._read = self._read, []
        return np.concatenate([np.zeros((0, self._zero.shape[1])), *read])


class ShapeReader(PictureReader):
    """Reads Apple's shapes."""

    def said(self, offsets: Array, inputs: list[NDArray], skin: Array) -> Array:
        """See `PictureReader`."""
        return read(inputs)

    def shapes(self) -> Array:
        """Weights (T, 52) of the pictures added since the last call."""
        return settled(self.taken())
