"""What warping cannot show: small networks correct the mouth, the eyes and the head's outline.

Each looks at a square window of the frame, cut at a size of its own whatever the portrait's: the mesh
engine's frame, the source, masks and a few numbers about the pose. Nothing of the driver's pixels enters.
It returns a residual in RGB that is enlarged and added inside its support, so the texture stays sharp.
The same functions build the inputs for training (`infinex.systems.refiner`) and at work.
"""

from __future__ import annotations

import base64
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import hypot
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.interior import KINDS, painted, ramp
from infinex.face.portrait import EYES, SourceFace
from infinex.face.pose import Pose
from infinex.mesh.kernel import CUBIC, about_window, correct, corrections, folded, unfolded
from infinex.mesh.layers import COARSE, Layers, polygon_mask
from infinex.mesh.mouth import roundness
from infinex.mesh.retarget import Target
from infinex.mesh.warp import Flow

Image = NDArray[np.uint8]
Planes = NDArray[np.float32]
Known = dict[str, Any]  # what a portrait's looks have in common from frame to frame, filled by them
MODELS = Path(__file__).with_name("data")
BROWS = (top.RIGHT_BROW, top.LEFT_BROW)
PARTS = ("head", "eye", "mouth")  # in the order they are refined
GENTLE = 0.4  # strength where the face has no colour
MODELLED, TINT = 0.35, 0.25  # of its answer for the mouth, and of its colours: the model has those of the portrait
WIDE_TOLD = 0.3  # share by which it holds back before a wide open mouth that it was told about
SHUT = (0.25, 0.6)  # of an eye's own opening, over which the eyes' network begins to move lids
PAINTED = 0.3  # of its answer for lids that are shut
EYE_TINT = 0.25  # of its answer's colours for eyes: they would be veiled in a blue that no portrait has
WIDENED, LIFTED = (1.15, 1.4), (0.005, 0.03)  # openings, and IOD that a brow rose, over which it fades out
FAR_GAZE = 0.5  # radians; the eyes' network fades out towards it
LARGEST = 110.0  # of a residual, in grey levels
SEEN = 0.02  # share of a correction below which it is left out


@dataclass(frozen=True)
class Patch:
    """A square of a picture seen at `side` by `side` pixels; `matrix` (2, 3) takes its pixels to the picture's."""

    matrix: NDArray[np.float64]
    side: int

    @staticmethod
    def around(centre: NDArray, axis: NDArray, reach: float, side: int, mirrored: bool = False) -> Patch:
        """`reach` pixels wide around `centre`, its x axis along `axis` (2,) or against it."""
        (x, y), (p, q) = (np.asarray(v, np.float64).tolist() for v in (centre, axis))
        size, half = reach / side / max(hypot(p, q), 1e-6), (side - 1) / 2
        p, q = size * p, size * q
        a, b = (-p, -q) if mirrored else (p, q)
        return Patch(np.array([[a, -q, x - half * (a - q)], [b, p, y - half * (b + p)]]), side)

    @property
    def pixel(self) -> float:
        """Picture pixels that one window pixel spans."""
        return float(np.hypot(self.matrix[0, 0], self.matrix[1, 0]))

    def cut(self, image: NDArray) -> Planes:
        """The window of an image (H, W[, C]) as float32; its border pixels stand for what is outside."""
        matrix = self.matrix
        shrink = min(1.0, 1.5 / self.pixel)
        if shrink < 0.75:  # warping alone would skip pixels of a large photo
            x0, y0, x1, y1 = self.box(image.shape)
            image = cv2.resize(image[y0:y1, x0:x1], None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
            matrix = matrix * shrink
            matrix[:, 2] -= np.array([x0, y0]) * shrink - (shrink - 1) / 2
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        out = cv2.warpAffine(image, matrix, (self.side, self.side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return out.astype(np.float32)

    def box(self, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        """Bounding box x0, y0, x1, y1 in a picture of `shape`, never empty."""
        s = self.side - 0.5
        corners = np.array([[-0.5, -0.5, 1], [s, -0.5, 1], [-0.5, s, 1], [s, s, 1]]) @ self.matrix.T
        lo = np.clip(np.floor(corners.min(0)) - 1, 0, np.array(shape[1::-1]) - 4).astype(int)
        hi = np.clip(np.ceil(corners.max(0)) + 2, lo + 4, shape[1::-1]).astype(int)
        return int(lo[0]), int(lo[1]), int(hi[0]), int(hi[1])

    def of(self, points: NDArray) -> NDArray[np.float64]:
        """Picture points (N, 2) in window pixels."""
        (a, b, x), (c, d, y) = self.matrix
        p = points[:, :2] - [x, y]
        return np.stack([d * p[:, 0] - b * p[:, 1], a * p[:, 1] - c * p[:, 0]], 1) / (a * d - b * c)

    def enlarged(self, planes: Planes, box: tuple[int, int, int, int]) -> Planes:
        """Planes (side, side, C), zero at their rim, over a `box` of the picture."""
        x0, y0, x1, y1 = box
        matrix = self.matrix.copy()
        matrix[:, 2] -= [x0, y0]
        return cv2.warpAffine(planes, matrix, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)


@dataclass(frozen=True)
class Look:
    """What one network sees of one frame."""

    window: Patch
    planes: Planes  # (C, side, side), about -1..1; the first three are the frame
    support: Planes  # (side, side) in 0..1: where it may change something
    trust: float = 1.0  # 0..1: how much of the answer is shown ...
    steer: float = 1.0  # ... how much of its correction of the dense motion ...
    tint: float = 1.0  # ... and how much of its colours

    @property
    def visible(self) -> float:
        """The most that it may change anything, 0..1."""
        return self.trust * float(self.support.max())


class Network:
    """One network, run by ONNX Runtime: with numbers of 32 bits from end to end, or with bytes.

    A file with bytes says in its property `bytes` what they are (tools/quantise_refiner.py): the `scale` and `zero` of
    its windows, and of each plane of an answer the number of each byte, a `table`, and the `source`, which plane of the
    bytes it is looked up in. There, two by two pixels are one with four times the planes, last axis first."""

    def __init__(self, file: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # tracking and encoding keep the other cores busy
        options.log_severity_level = 4
        options.enable_cpu_mem_arena = False  # networks this small gain nothing by it
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        properties = self._session.get_modelmeta().custom_metadata_map
        self.whole = "bytes" in properties
        if self.whole:
            said = json.loads(properties["bytes"])
            table = np.frombuffer(base64.b64decode(said["table"]), "<f4").astype(np.float32)
            self._scale, self._zero = np.float32(float.fromhex(said["scale"])), np.float32(said["zero"])
            self._source, self._table = np.array(said["source"], np.int64), table.reshape(-1, 256)

    def __call__(self, windows: Sequence[Planes]) -> Planes:
        """The answers (n, P, s, s) to windows (C, s, s)."""
        if not self.whole:
            return np.asarray(self._session.run(None, {"planes": np.stack(windows)})[0])
        (count, side, _), n = windows[0].shape, len(windows)
        whole = np.empty((n, 4 * count, side // 2, side // 2), np.uint8)
        for window, bytes_ in zip(windows, whole):
            folded(window, self._scale, self._zero, bytes_)
        (seen,) = self._session.run(None, {"planes": whole})
        out = np.empty((n, len(self._source), side, side), np.float32)
        for bytes_, answer in zip(seen, out):
            unfolded(bytes_, self._source, self._table, answer)
        return out


class Refiner:
    """The networks, and what they change."""

    def __init__(self, folder: Path = MODELS) -> None:
        """`folder` holds `refiner-{mouth,eye,head}.onnx`; a part without a file is left as the mesh has it."""
        files = {part: folder / f"refiner-{part}.onnx" for part in PARTS}
        self._networks: dict[str, Callable[[Sequence[Planes]], Planes]] = {
            part: Network(file) for part, file in files.items() if file.is_file()
        }

    def __call__(self, part: Image, looks: dict[str, Look], colour: float = 1.0) -> None:
        """Refine a frame in place, by what was seen of it. `colour` in 0..1 is the portrait's, see `colour_of`.

        An answer that is not finite is left out, with a warning."""
        for kind, network in self._networks.items():
            seen = [look for name, look in looks.items() if name.startswith(kind) and look.visible > SEEN]
            if not seen:
                continue
            answer = network([look.planes for look in seen])
            if not np.isfinite(answer).all():
                warnings.warn(
                    f"the refiner's answer for the {kind} is not finite; the plain warp is shown", stacklevel=2
                )
                continue
            for look, out in zip(seen, answer):
                _apply(part, look, out, colour)


def colour_of(image: Image, points: NDArray) -> float:
    """How colourful a face is: 0 for stone and grey photographs, 1 for skin. `points` (478, 2) in `image`."""
    h, w = image.shape[:2]
    inside = polygon_mask(h, w, points[top.OVAL]) > 0.5
    if not inside.any():
        return 0.0
    spread = np.ptp(image[inside].astype(np.int16), axis=1)
    return float(np.clip((np.median(spread) - 6) / 24, 0, 1))


def _apply(part: Image, look: Look, out: Planes, colour: float) -> None:
    """The networks know skin: where `colour` is less they stay gentle, and bring no colour of their own."""
    matrix = look.window.matrix
    planes = np.empty((*out.shape[1:], len(out)), np.float32)
    a, b, c, d = corrections(
        out, look.support, look.trust, look.steer, min(colour, look.tint), GENTLE, LARGEST, matrix, planes
    )
    if c <= a:
        return
    h, w = part.shape[:2]
    corners = np.array([[x, y, 1] for x in (a - 1, c) for y in (b - 1, d)]) @ matrix.T
    x0, y0 = np.clip(np.floor(corners.min(0)), 0, [w - 1, h - 1]).astype(int)
    x1, y1 = np.clip(np.ceil(corners.max(0)) + 1, [x0 + 1, y0 + 1], [w, h]).astype(int)
    picture = cv2.cvtColor(part[y0:y1, x0:x1], cv2.COLOR_RGB2RGBA)
    correct(picture, int(x0), int(y0), planes, cv2.invertAffineTransform(matrix), CUBIC, part)


@cache
def refiner() -> Refiner:
    """The networks that come with the package."""
    return Refiner()


def _axis(pose: Pose) -> NDArray[np.float64]:
    return pose.rotation[:2, 0]


def _rgb(image: Planes) -> Planes:
    return image.transpose(2, 0, 1) * np.float32(1 / 127.5) - np.float32(1)


def _planes(side: int, *parts: Any) -> Planes:
    """Stack images (3, s, s), masks (s, s) and numbers into (C, s, s)."""
    sizes = [1 if np.ndim(p) < 3 else len(p) for p in parts]
    out = np.empty((sum(sizes), side, side), np.float32)
    first = 0
    for p, n in zip(parts, sizes):
        out[first : first + n] = p
        first += n
    return out


def _kept(known: Known | None, name: str, made: Callable[[], Any]) -> Any:
    """What does not change from frame to frame, made once."""
    if known is None:
        return made()
    if name not in known:
        known[name] = made()
    return known[name]


def _turns(face: SourceFace, target: Target) -> list[float]:
    """Yaw and pitch of the source and their change, in units of 30 degrees; positive to the left and upwards."""
    a, b = face.pose.angles, target.pose.angles
    return [float(v) / 30 for v in (-a[0], -a[1], a[0] - b[0], a[1] - b[1])]


def mouth_shown(face: SourceFace, target: Target) -> tuple[float, float]:
    """How much of the mouth's correction may show, 0..1, and how far it is trusted."""
    # Shut lips have no inside; and where nothing moved, the source itself is right.
    moved = float(np.abs(target.face[top.LIPS_INNER] - face.face[top.LIPS_INNER]).max())
    alive = ramp(float(target.gap[4]), 0.010, 0.030) * ramp(moved, 0.0, 0.03)
    # What a wide open mouth shows is else anybody's guess, and the mean of all guesses is pale: the model stands alone.
    trust = MODELLED * (1 - (WIDE_TOLD if target.interior is not None else 1.0) * roundness(target))
    return alive, trust


def eye_shown(face: SourceFace, target: Target, k: int) -> tuple[float, float, float]:
    """The same of eye `k`, and how much of what it moves counts."""
    openness, (right, down) = float(target.openness[k]), target.gaze.tolist()
    moved = abs(openness - 1) + abs(right) + abs(down) + target.turn
    alive = ramp(moved, 0.02, 0.07)  # eyes that hardly move are right as they are
    # Eyes turned further than almost any it has learned from are better left to the warp.
    trust = ramp(FAR_GAZE - hypot(right, down), 0.0, 0.2)
    # A tracker calls eyes shut before they are, and the network learned to leave them open a little: lids shall meet.
    steer = ramp(openness, *SHUT)
    rise = float((face.face[BROWS[k], 1] - target.face[BROWS[k], 1]).mean())
    trust *= (1 - ramp(openness, *WIDENED)) * (1 - ramp(rise, *LIFTED))
    trust *= PAINTED + (1 - PAINTED) * steer  # lids that come down are painted, as it has not seen them
    return alive, trust, steer


def look_at_mouth(
    part: Image, image: Image, origin: tuple[int, int], face: SourceFace, target: Target, kept: Known | None = None
) -> Look:
    """The mouth: frame `part` and source `image`, both with their corner at `origin`."""
    side, reach = 96, 0.9
    o = np.array(origin, np.float64)
    P = target.points[:, :2] - o
    w = Patch.around(P[top.LIPS_INNER].mean(0), _axis(target.pose), reach * target.pose.scale, side)
    open_, lips = (polygon_mask(side, side, w.of(P[ring])) for ring in (top.LIPS_INNER, top.LIPS_OUTER))

    def before() -> tuple[Planes, Planes]:
        ring = face.points[top.LIPS_INNER, :2] - o
        s = Patch.around(ring.mean(0), _axis(face.pose), reach * face.pose.scale, side)
        return _rgb(s.cut(image)), polygon_mask(side, side, s.of(ring))

    source = _kept(kept, "mouth", before)
    wide = [float(np.linalg.norm(f[61] - f[291])) for f in (face.face, target.face)]
    drop = float(target.face[152, 1] - face.face[152, 1])
    numbers = [
        4 * float(target.gap[4]),
        4 * float(max(face.gaps[4], 0)),
        2 * wide[0] - 1.2,
        2 * wide[1] - 1.2,
        4 * drop,
    ]
    # How light and dark the performer's mouth was and where, and that this is known at all.
    known = target.interior is not None
    shown = np.zeros((KINDS, side, side)) if target.interior is None else painted(target.interior, open_)
    planes = _planes(
        side, _rgb(w.cut(part)), source[0], open_, lips, source[1], *numbers, *_turns(face, target), shown, known
    )
    grown = cv2.dilate(open_, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))
    alive, trust = mouth_shown(face, target)
    return Look(w, planes, _rimless(cv2.GaussianBlur(grown, (0, 0), 1.5) * alive), trust, tint=TINT)


def look_at_eye(
    part: Image, image: Image, origin: tuple[int, int], face: SourceFace, target: Target, k: int,
    kept: Known | None = None,
) -> Look:  # fmt: skip
    """Eye `k` (0 the portrait's right); the left one is seen in a mirror, so that one network serves both."""
    side, reach = 64, 0.62
    o = np.array(origin, np.float64)
    upper, lower = EYES[k]
    ring = upper + lower[-2:0:-1]
    iris = (top.RIGHT_IRIS, top.LEFT_IRIS)[k]

    def window(points: NDArray, pose: Pose) -> Patch:
        middle = (points[[upper[0], upper[-1]], :2] - o).mean(0)
        return Patch.around(middle, _axis(pose), reach * pose.scale, side, k == 1)

    def before() -> tuple[Planes, Planes, Planes]:
        s = window(face.points, face.pose)
        own, disc = (polygon_mask(side, side, s.of(face.points[r, :2] - o)) for r in (ring, iris[1:]))
        return _rgb(s.cut(image)), own, disc

    w = window(target.points, target.pose)
    lids = polygon_mask(side, side, w.of(target.points[ring, :2] - o))
    source, own, disc = _kept(kept, f"eye-{k}", before)
    gaze = target.gaze * [1 if k == 0 else -1, 1]
    turns = np.array(_turns(face, target)) * [1 if k == 0 else -1, 1, 1 if k == 0 else -1, 1]
    numbers = [float(target.openness[k]) - 1, 3 * float(face.openness[k]) - 1, 3 * gaze[0], 3 * gaze[1]]
    planes = _planes(side, _rgb(w.cut(part)), source, lids, own, disc, *numbers, *turns)
    alive, trust, steer = eye_shown(face, target, k)
    grown = cv2.dilate(lids, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (15, 13)))
    return Look(w, planes, _rimless(cv2.GaussianBlur(grown, (0, 0), 3.0) * alive), trust, steer, EYE_TINT)


def look_at_head(
    part: Image, layers: Layers, flow: Flow, face: SourceFace, target: Target,
    origin: tuple[int, int], kept: Known | None = None,
) -> Look:  # fmt: skip
    """Head, hair and what turning uncovers: coarse, anchored where the source's face is."""
    side, reach = 128, 4.2
    o = np.array(origin, np.float64)
    P, S = target.points[:, :2] - o, face.points[:, :2] - o
    unit = face.pose.scale
    w = Patch.around(S[: top.SURFACE].mean(0) - [0, 0.2 * unit], np.array([1.0, 0.0]), reach * unit, side)
    stretch = np.log2(np.clip(np.abs(flow.area) / np.maximum(_source_area(flow), 1e-3), 1 / 8, 8)) / 3
    seen = np.empty((6, side, side), np.float32)
    coarse = layers.moved(*flow.maps(COARSE, (COARSE // 2, COARSE // 2)))
    left, upper = w.matrix[:, 2]
    about_window(
        flow.ids, flow.affine, stretch, *flow.corner, layers.alpha, layers.near, coarse, COARSE, w.pixel, left, upper,
        unit, seen,
    )  # fmt: skip

    def before() -> tuple[Planes, Planes, Planes, Planes]:
        h, width = flow.ids.shape
        x, y = (start + w.pixel * np.arange(side) for start in (left, upper))
        there = ((x >= 0) & (x <= width - 1)) & ((y >= 0) & (y <= h - 1))[:, None]
        inside = cv2.erode(there.astype(np.float32), np.ones((5, 5), np.uint8))
        was = polygon_mask(side, side, w.of(S[top.OVAL]))
        return _rgb(w.cut(layers.image)), was, there.astype(np.float32), cv2.GaussianBlur(inside, (0, 0), 1.5)

    source, was, there, inside = _kept(kept, "head", before)
    oval, mouth = (polygon_mask(side, side, w.of(P[ring])) for ring in (top.OVAL, top.LIPS_INNER))
    planes = _planes(side, _rgb(w.cut(part)), source, seen[:5], there, oval, was, mouth, *_turns(face, target))
    moved = cv2.GaussianBlur(cv2.dilate(seen[5], np.ones((3, 3), np.uint8)), (0, 0), 2.0)
    # Background that a turn uncovers is left to the fill: seven people held out say that the network guesses worse.
    person = np.clip(2 * seen[3], 0, 1)
    return Look(w, planes, _rimless(moved * inside * (1 - mouth) * person))


def _source_area(flow: Flow) -> NDArray[np.float64]:
    """Twice the area of each triangle in the source: the target's times the affine's determinant."""
    a = flow.affine
    return np.abs(flow.area * (a[:, 0] * a[:, 4] - a[:, 1] * a[:, 3]))


def _rimless(support: Planes) -> Planes:
    support = support.astype(np.float32)
    support[[0, -1]] = support[:, [0, -1]] = 0
    return support
