"""The face networks at work, by ONNX Runtime: detectors, the mesh, the person's mask and what stands out.

All but the last are MediaPipe's, converted by `tools/convert_faces.py` (the last: `tools/convert_salient.py`); what its
graphs do around them - anchors, rotated windows, landmarks refined at lips and eyes - is done here. All angles are
radians, clockwise on the screen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.errors import MissingDependencyError, WeightsError
from infinex.face.topology import SURFACE

Image = NDArray[np.uint8]
Array = NDArray[np.float64]
Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels


class Frame(Protocol):
    """A picture (H, W, 3) of which a part can be had without the rest."""

    @property
    def shape(self) -> tuple[int, ...]:
        """H, W, 3."""

    @property
    def image(self) -> Image:
        """All of it."""

    def __getitem__(self, part: tuple[slice, slice]) -> Image:
        """Some rows and columns, from one pixel to another inside it."""


def whole(picture: Image | Frame) -> Image:
    """All of a picture."""
    return picture if isinstance(picture, np.ndarray) else picture.image


def session(name: str) -> Any:
    """A network of `infinex/face/data`, one for the process: sessions may be run by several threads at once."""
    return _kept(name, os.getpid())  # a fork has a session, but may have it in the middle of another thread's run


@cache
def _kept(name: str, _process: int) -> Any:
    return opened(name)


def opened(name: str) -> Any:
    """A network of `infinex/face/data`, anew."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(f"finding faces needs onnxruntime ({error}): pip install onnxruntime") from None
    path = Path(str(resources.files("infinex.face").joinpath(f"data/{name}.onnx")))
    if not path.is_file():
        raise WeightsError(f"{path} is missing; install Infinex again")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # small networks: threads cost more than they give
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # networks this small gain nothing by it
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


SOFT = 0.6  # deviation, in pixels of a window, of the blur by which noise and aliasing of small faces are calmed


@dataclass(frozen=True)
class Window:
    """A rectangle of a picture: its middle and sides in pixels, turned by `angle`."""

    x: float
    y: float
    width: float
    height: float
    angle: float = 0.0

    def cut(self, image: Image, size: int, border: int = cv2.BORDER_REPLICATE) -> Image:
        """The window (size, size, 3), sampled bilinearly."""
        rectangle = (self.x, self.y), (self.width, self.height), float(np.degrees(self.angle))
        corners = np.array([[0, size], [0, 0], [size, 0], [size, size]], np.float32)
        # A perspective though an affinity would do: it rounds as the networks' first home does.
        matrix = cv2.getPerspectiveTransform(cv2.boxPoints(rectangle), corners)
        return np.asarray(
            cv2.warpPerspective(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border), np.uint8
        )

    def sampled(self, image: Image | Frame, size: int) -> Image:
        """The window of `cut`, with less noise: of a picture that is halved first as often as pixels would be skipped,
        then blurred by `SOFT` of the window's pixels."""
        n = 1
        while self.width >= 2 * n * size:
            n *= 2
        rectangle = (self.x, self.y), (self.width, self.height), float(np.degrees(self.angle))
        corners, limit = cv2.boxPoints(rectangle), np.array(image.shape[1::-1])
        low = np.clip(np.floor(corners.min(0)).astype(int) - 2 * n, 0, limit)
        count = (np.clip(np.ceil(corners.max(0)).astype(int) + 2 * n, 0, limit) - low) // n
        if not count.all():
            return self.cut(whole(image), size)  # beside the picture
        part = image[low[1] : low[1] + count[1] * n, low[0] : low[0] + count[0] * n]
        while part.shape[1] > count[0]:  # means of two by two pixels take a tenth of the time that others take
            part = cv2.resize(part, (part.shape[1] // 2, part.shape[0] // 2), interpolation=cv2.INTER_AREA)
        wide = self.width / (n * size)  # pixels of the part to one of the window, under 2
        part = cv2.GaussianBlur(part, (5, 5), SOFT * wide, borderType=cv2.BORDER_REPLICATE)
        x, y = (np.array([self.x, self.y]) - low + 0.5) / n - 0.5
        return Window(float(x), float(y), self.width / n, self.height / n, self.angle).cut(part, size)

    def to_picture(self, points: Array) -> Array:
        """Places (N, 3) in a window of side 1 to pixels; depth grows with the width."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        u, v = (points[:, 0] - 0.5) * self.width, (points[:, 1] - 0.5) * self.height
        return np.stack([self.x + u * c - v * s, self.y + u * s + v * c, points[:, 2] * self.width], 1)


# -- detection --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Detection:
    """A face: its box in pixels, its score 0..1, and six places (6, 2): eyes, nose, mouth, ears; right ones first."""

    box: Box
    score: float
    keypoints: Array


def _anchors(size: int, layers: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
    """Middles (N, 2) of anchor boxes in 0..1, for layers of (stride, boxes a cell)."""
    out = []
    for stride, count in layers:
        side = -(-size // stride)
        ys, xs = np.mgrid[:side, :side].astype(np.float32)
        grid = np.stack([(xs + 0.5) / side, (ys + 0.5) / side], -1).reshape(-1, 1, 2)
        out.append(np.repeat(grid, count, axis=1).reshape(-1, 2))
    return np.concatenate(out)


class Detector:
    """BlazeFace (Bazarevsky et al. 2019), for faces near the camera or farther away."""

    MERGED = 0.3  # overlap over which two boxes are of one face

    def __init__(self, far: bool = False, least: float | None = None) -> None:
        """`least` is the score below which nothing is reported."""
        self._session = session("detector-far" if far else "detector-near")
        self.size = 192 if far else 128
        self._least = least if least is not None else 0.6 if far else 0.5
        self._anchors = _anchors(self.size, [(4, 1)] if far else [(8, 2), (16, 6)])

    def __call__(self, image: Image) -> list[Detection]:
        """Faces of an RGB picture (H, W, 3) uint8, best first."""
        h, w = image.shape[:2]
        side = max(h, w)
        window = Window(w / 2, h / 2, side, side).cut(image, self.size, cv2.BORDER_CONSTANT)
        boxes, scores = self._session.run(["boxes", "scores"], {"picture": window[None]})
        raw = np.clip(scores[0, :, 0].astype(np.float64), -100, 100)
        score = 1 / (1 + np.exp(-raw))
        chosen = np.flatnonzero(score >= self._least)
        if not len(chosen):
            return []
        values = boxes[0, chosen].astype(np.float64).reshape(-1, 8, 2) / self.size
        values[:, 0] += self._anchors[chosen]
        values[:, 2:] += self._anchors[chosen, None]
        low, high = values[:, 0] - values[:, 1] / 2, values[:, 0] + values[:, 1] / 2
        found = np.concatenate([low[:, None], high[:, None], values[:, 2:]], 1)  # (N, 8, 2)
        shift = np.array([(side - w) / 2, (side - h) / 2])
        out = []
        for weight, place in _merged(found, score[chosen], self.MERGED):
            place = place * side - shift
            out.append(Detection((*place[0], *place[1]), weight, place[2:]))
        return out


def _merged(found: Array, scores: Array, least: float) -> list[tuple[float, Array]]:
    """Boxes (N, 8, 2) that overlap become their mean, weighted by score; the best score stands for each."""
    left = list(np.argsort(-scores, kind="stable"))
    out = []
    while left:
        best = found[left[0]]
        low = np.maximum(best[0], found[left, 0])
        high = np.minimum(best[1], found[left, 1])
        inner = np.prod(np.maximum(high - low, 0), axis=1)
        area = np.prod(found[left, 1] - found[left, 0], axis=1)
        overlap = inner / np.maximum(area + area[0] - inner, 1e-12)
        same = [i for i, o in zip(left, overlap) if o > least]
        weights = scores[same]
        merged = (found[same] * weights[:, None, None]).sum(0) / weights.sum() if same else best
        out.append((float(scores[left[0]]), merged))
        rest = [i for i, o in zip(left, overlap) if o <= least]
        left = rest if len(rest) < len(left) else []
    return out


# -- the mesh -----------------------------------------------------------------------------------------

MESH_SIZE = 192
SQUARE = 384  # side of the square in which a face is looked for
ROOM = 1.5  # side of the mesh's window over the longer side of a face's box
EYES = 33, 263  # landmarks at the outer corners, which lie level in the window
# Which landmarks the refined lips and eyes are, in the order of the network's outputs.
# fmt: off
LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409, 78, 95, 88, 178, 87, 14,
    317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415, 76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306,
    184, 74, 73, 72, 11, 302, 303, 304, 408, 62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38, 12, 268,
    271, 272, 407,
)
RIGHT_EYE = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173, 130, 25, 110, 24, 23, 22, 26, 112, 243,
    247, 30, 29, 27, 28, 56, 190, 226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189, 35,
    124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245, 156, 70, 63, 105, 66, 107, 55, 193,
)
LEFT_EYE = (
    263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398, 359, 255, 339, 254, 253, 252, 256,
    341, 463, 467, 260, 259, 257, 258, 286, 414, 446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442,
    441, 413, 265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465, 383, 300, 293, 334, 296, 336,
    285, 417,
)
# fmt: on
REFINED = np.array([*LIPS, *RIGHT_EYE, *LEFT_EYE])
SLACK = 0.004  # of a window's side: by so much it lags behind the face that is followed
CALM = 4  # looks at a new face by which its window is found; then it moves no more than it must
LID = np.array([RIGHT_EYE[:16], LEFT_EYE[:16]])  # where irises take their depth from
OUTPUTS = ("mesh", "lips", "left_eye", "right_eye", "left_iris", "right_iris", "presence")


class Mesh:
    """Attention Mesh (Grishchenko et al. 2020): 478 landmarks of the face in a window."""

    def __init__(self, sample: Callable[[Window, Any, int], Image] = Window.sampled) -> None:
        """`sample` cuts a window out of a picture; MediaPipe does as `Window.cut` does."""
        self._session, self._sample = session("mesh"), sample

    def __call__(self, image: Image | Frame, window: Window) -> tuple[Array, float]:
        """Landmarks (478, 3) in pixels of an RGB picture, and how surely a face is there, 0..1."""
        part = self._sample(window, image, MESH_SIZE)
        planes = cv2.dnn.blobFromImage(part, 1 / 255)  # (1, 3, MESH_SIZE, MESH_SIZE)
        mesh, lips, one, other, iris, iris_other, flag = self._session.run(OUTPUTS, {"picture": planes})
        points = np.zeros((SURFACE + 10, 3))
        points[:SURFACE] = mesh.reshape(-1, 3)
        # What the network calls left is on the left of the picture, the subject's right.
        points[REFINED, :2] = np.concatenate([v.ravel() for v in (lips, one, other)]).reshape(-1, 2)
        for first, ids, places in ((SURFACE, LID[0], iris), (SURFACE + 5, LID[1], iris_other)):
            points[first : first + 5, :2] = places.reshape(-1, 2)
            points[first : first + 5, 2] = points[ids, 2].mean()
        presence = 1 / (1 + np.exp(-float(flag.ravel()[0])))
        return window.to_picture(points / MESH_SIZE), presence


def around(low: Array, high: Array, right: Array, left: Array) -> Window:
    """The mesh's window for a box and two places that are to lie level, all (2,) in pixels."""
    step = left - right
    side = ROOM * float((high - low).max())
    x, y = (low + high) / 2
    return Window(float(x), float(y), side, side, float(np.arctan2(step[1], step[0])))


def around_detection(face: Detection) -> Window:
    """Where to look for the mesh of a detected face."""
    box = np.array(face.box)
    return around(box[:2], box[2:], face.keypoints[0], face.keypoints[1])


def around_landmarks(points: Array) -> Window:
    """Where to look next for a mesh (478, 3) that was seen."""
    flat = points[:, :2]
    return around(flat.min(0), flat.max(0), flat[EYES[0]], flat[EYES[1]])


def behind(last: Window, new: Window) -> Window:
    """The window that lags behind a new one by SLACK of its side, and does not move before.

    A network's landmarks depend on its window, which the next frame takes from them: without slack their noise goes
    round and grows, so that even a still picture's landmarks never come to rest."""
    size = new.width / last.width - 1
    turn = (new.angle - last.angle + np.pi) % (2 * np.pi) - np.pi
    away = np.array([(new.x - last.x) / last.width, (new.y - last.y) / last.width, size / 2, turn / 2])
    length = float(np.linalg.norm(away))
    if length <= SLACK:
        return last
    away *= 1 - SLACK / length
    side = last.width * (1 + 2 * float(away[2]))
    x, y = last.x + float(away[0]) * last.width, last.y + float(away[1]) * last.width
    return Window(x, y, side, side, last.angle + 2 * float(away[3]))


class MeshTracker:
    """The mesh of one face in pictures that come one after another: found by the detector, then followed."""

    LEAST = 0.3  # score and presence below which there is no face

    def __init__(self, still: bool, mesh: Mesh | None = None) -> None:
        """`still`: every picture is looked at afresh."""
        self._still = still
        self._near, self._mesh = Detector(least=self.LEAST), mesh or Mesh()
        self._last: Array | None = None
        self._window: Window | None = None  # in which it was seen last
        self._looks = 0

    def landmarks(self, image: Image | Frame, near: Box | None = None) -> Array | None:
        """Landmarks (478, 3) in pixels of an RGB picture, or None where there is no face.

        A face that is not followed yet is looked for in the square `near`, in the whole picture by default."""
        if self._last is None or self._still:
            part, k, corner = (whole(image), 1.0, np.zeros(2)) if near is None else square_of(image, near)
            found = self._near(part)
            if not found:
                return None
            w = around_detection(found[0])
            window = Window(w.x / k + float(corner[0]), w.y / k + float(corner[1]), w.width / k, w.height / k, w.angle)
        else:
            window = around_landmarks(self._last)
            if self._window is not None and self._looks > CALM:
                window = behind(self._window, window)
        points, presence = self._mesh(image, window)
        self._last, self._window, self._looks = points, window, self._looks + 1
        if presence <= self.LEAST:
            self.reset()
        return self._last

    def seen(self, points: Array | None) -> None:
        """Take landmarks (478, 3) of the last picture from elsewhere, or None: the face is lost."""
        self.reset()
        self._last = points

    def reset(self) -> None:
        """Forget the face."""
        self._last, self._window, self._looks = None, None, 0


def square_of(image: Image | Frame, box: Box, side: int = SQUARE, margin: float = 1.0) -> tuple[Image, float, Array]:
    """The square of `margin` times a box, (side, side, 3); its pixels for each of the picture's; its corner."""
    x0, y0, x1, y1 = box
    size = max(x1 - x0, y1 - y0) * margin
    k = side / size
    corner = np.array([(x0 + x1 - size) / 2, (y0 + y1 - size) / 2])
    # Shrink the part that matters first: warpAffine alone would skip pixels of a large photo.
    lo = np.floor(np.clip(corner, 0, None)).astype(int)
    hi = np.ceil(np.minimum(corner + size, image.shape[1::-1])).astype(int)
    part = image[lo[1] : hi[1], lo[0] : hi[0]]
    if part.size == 0:
        return np.zeros((side, side, 3), np.uint8), k, corner
    n = 1 if 2 * k >= 0.9 else int(np.ceil(1 / (2 * k)))
    if n > 1:
        h, w = max(1, part.shape[0] // n), max(1, part.shape[1] // n)
        part = cv2.resize(part[: h * n, : w * n], (w, h), interpolation=cv2.INTER_AREA)
    m = np.hstack([np.eye(2) * k * n, ((lo - corner + (n - 1) / 2) * k)[:, None]])
    window = cv2.warpAffine(part, m, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(window, np.uint8), k, corner


# -- the person ---------------------------------------------------------------------------------------


class Segmenter:
    """MediaPipe's selfie segmentation: where a person is."""

    SIZE = 256
    NAME = "person"
    open = staticmethod(session)

    def __init__(self) -> None:
        self._session = self.open(self.NAME)

    def __call__(self, image: Image) -> NDArray[np.float32]:
        """A soft mask (H, W) in 0..1 of an RGB picture (H, W, 3) uint8."""
        h, w = image.shape[:2]
        window = Window(w / 2, h / 2, w, h).cut(image, self.SIZE, cv2.BORDER_CONSTANT)
        mask = self._session.run(["mask"], {"picture": window[None]})[0][0, ..., 0]
        return np.asarray(cv2.resize(mask, (w, h), interpolation=cv2.INTER_LINEAR), np.float32)


class Salient(Segmenter):
    """U-2-Net's small network: what stands out of a picture, whatever it is (Qin et al. 2020)."""

    SIZE = 320
    NAME = "salient"
    open = staticmethod(opened)  # wanted once for a portrait, it would go on taking 10 MB
