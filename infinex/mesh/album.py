"""More pictures of the same person: mouths (Face2Face, section 7) and shut lids that are seen there are shown instead
of guessed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.engine import Source
from infinex.errors import FaceNotFoundError, InputError, MissingDependencyError, option
from infinex.face import topology as top
from infinex.face.identity import identity, identity_network
from infinex.face.interior import ramp
from infinex.face.pose import Pose, fit_pose
from infinex.face.retrieval import Descriptor, Retrieval, binary_patterns
from infinex.face.shape import eye_openness, lip_gaps
from infinex.face.tracker import FaceTracker, find_faces
from infinex.media.image import SUFFIXES, read_image
from infinex.media.video import VideoReader
from infinex.mesh.raster import drawn
from infinex.mesh.seen import facing, mouth_triangles, sharpness

Image = NDArray[np.uint8]
Array = NDArray[np.float64]

SIDE = 256  # pixels of a face that is kept
MOST = 240  # pictures that are kept, evenly spread
OPEN = 0.02  # IOD of the inner lips' gap from where on a mouth shows its inside
ENOUGH = 0.5  # share of the wanted gap that a picture must show, lest teeth are stretched
OWN = (0.006, 0.018)  # IOD by which lips are elsewhere than the portrait's, from where on and over which others show
SAME = 0.6  # distance of two embeddings up to which dlib takes them for one person
LOOKED_AT = 5  # pictures whose identity is compared
LIPS = np.array(sorted({*top.LIPS_INNER, *top.LIPS_OUTER}))
PAIRS = np.array([[13, 14], [82, 87], [312, 317], [78, 308], [61, 291], [0, 17]])
MIXED = 4  # pictures at most of which a mouth is mixed anew
NEAR = 0.5  # of the nearest one's distance: how much further another counts less by e
STAYS = 0.5  # share of the pictures shown last
FAINT = 0.05  # share under which a picture goes
SHUT = 0.11  # opening of both eyes, widths of them, under which a picture shows shut lids, ...
CLOSING = (0.10, 0.17)  # ... and over which less of them is shown
TURNED = (16.0, 26.0)  # degrees of turning aside over which the far eye comes to lie on the edge of the face
UNCOVERED = (1.15, 1.5)  # times as broad as in the portrait, from where on and over which skin is another picture's
LEAN = (0.15, 0.35)  # how much skin faces whoever looks, over which it is seen at all
LEAST = 0.1  # of the same, under which it makes no difference
SHOWN = (0.4, 0.8)  # times as broad as wanted, over which a picture tells how skin looks
APART = 2.0  # how much less a picture is worth by a distance of one between rotation matrices
FARTHEST = 0.95  # share of the pictures that are turned less towards us, and beyond, than a head may be
FAR_BETTER = 0.04  # worth by which another picture must be better to take its place, ...
COMES = 0.2  # ... and how much of it comes with each frame
FEATURES = np.array(sorted({*top.RIGHT_EYE, *top.LEFT_EYE, *top.LIPS_INNER, *top.LIPS_OUTER}))
WIDE = 8.0  # weight of lips in head units beside a rotation matrix, so that both decide


@dataclass(frozen=True)
class View:
    """A face cut out of a picture: `image` (S, S, 3), as a rule S = SIDE, `points` (478, 3) in its pixels."""

    image: Image
    points: Array


def cut_out(image: Image, points: NDArray, room: float = 1.15) -> View:
    """The face of a picture, upright as it is there, at one size; `room` is the cut's side over the face's."""
    low, high = points[: top.SURFACE, :2].min(0), points[: top.SURFACE, :2].max(0)
    k = SIDE / (room * float((high - low).max()))
    middle = (low + high) / 2
    shift = SIDE / 2 - k * middle
    matrix = np.array([[k, 0, shift[0]], [0, k, shift[1]]])
    if k < 0.5:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.4 / k), np.uint8)
    part = cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    moved = points * k
    moved[:, :2] += shift
    return View(np.asarray(part, np.uint8), moved)


def read_album(path: str | Path, portrait: Source, keep: Callable[[Image, NDArray], View] = cut_out) -> list[View]:
    """The faces in a folder of pictures or in a clip; `keep` makes a view of a picture and the landmarks in it.

    Raises InputError where there is none, or where they are another person's than the `portrait`'s."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{option('album')} {path}: no such folder or clip")
    views = _of_folder(path, keep) if path.is_dir() else _of_clip(path, keep)
    if not views:
        raise FaceNotFoundError(f"no face found in {option('album')} {path.name}; give more pictures of the person")
    check_same_person(views, portrait, path)
    return views


def _of_folder(path: Path, keep: Callable[[Image, NDArray], View]) -> list[View]:
    files = sorted(f for f in path.iterdir() if f.suffix.lower() in SUFFIXES)
    if len(files) > MOST:
        files = [files[i] for i in np.linspace(0, len(files) - 1, MOST).astype(int)]
    out = []
    for file in files:
        image = read_image(file)
        faces = find_faces(image)
        if faces:
            out.append(keep(image, faces[0].landmarks))
    return out


def _of_clip(path: Path, keep: Callable[[Image, NDArray], View]) -> list[View]:
    out: list[tuple[int, View]] = []
    every = 1
    with VideoReader(path) as reader, FaceTracker() as tracker:
        for n, frame in enumerate(reader):
            face = tracker(frame.image)
            if face is None or n % every:
                continue
            out.append((n, keep(frame.image, face.landmarks)))
            if len(out) > MOST:
                every *= 2
                out = [v for v in out if v[0] % every == 0]
    return [v for _, v in out]


def identity_is_checked() -> bool:
    """Whether this installation can tell people apart."""
    try:
        identity_network()
    except MissingDependencyError:
        return False
    return True


def unchecked(album: str) -> list[str]:
    """A note where nobody could make sure that an album is of the portrait's person."""
    if not album or identity_is_checked():
        return []
    return ["nobody checked that the album is of the portrait's person: pip install face_recognition_models dlib-bin"]


def check_same_person(views: Sequence[View], portrait: Source, path: Path) -> None:
    if not identity_is_checked():
        return
    own = identity(portrait.image, portrait.face.landmarks)
    some = [views[i] for i in np.unique(np.linspace(0, len(views) - 1, LOOKED_AT).astype(int))]
    away = [float(np.linalg.norm(identity(v.image, v.points) - own)) for v in some]
    if np.median(away) > SAME:
        raise InputError(f"{option('album')} {path.name} shows somebody else than the portrait")


class Album:
    """The mouths of one person, asked for frame after frame."""

    def __init__(self, views: Sequence[View]) -> None:
        self.faces = np.stack([_head(v.points) for v in views])  # (N, 478, 3), all of them
        self.gaps, self.views = lip_gaps(self.faces)[:, 4], list(views)
        looks = [_mouth(v) for v in self.views]
        described = [_described(v.points, k) for v, k in zip(self.views, looks)]
        self._find = Retrieval(described, looks, _PAIRS)
        self.shut = np.flatnonzero(eye_openness(self.faces).max(1) < SHUT)
        self._turns = np.stack([d.rotation for d in described])
        self._yaws = np.array([Pose(1.0, turn, np.zeros(3)).angles[0] for turn in self._turns])
        self._facing = np.stack([facing(v.points) for v in self.views])
        self._blink: int | None = None
        self._cheek: int | None = None
        self._before: int | None = None
        self._come = 1.0
        self._shares: dict[int, float] = {}

    def begin(self) -> None:
        """Start anew: nothing was shown before."""
        self._find.last, self._shares = None, {}
        self._blink = self._cheek = self._before = None

    def __call__(self, points: NDArray) -> View | None:
        """The mouths that are like that of `points` (478, 3), mixed, as they follow on the last ones; None where none
        of them opens so far."""
        wanted, sought = float(lip_gaps(_head(points))[4]), _described(points, None)
        serve = self._serve(wanted)
        found = self._find(sought)
        if not serve[found]:
            found = int(np.argmin(np.abs(self.gaps - wanted)))
            if not serve[found]:
                self._find.last, self._shares = None, {}
                return None
            self._find.last = found
        away = np.where(serve, self._find.distances(sought), np.inf)
        some = np.argsort(away)[:MIXED]
        some = some[np.isfinite(away[some])]
        share = np.exp(-(away[some] - away[some[0]]) / max(NEAR * away[some[0]], 1e-6))
        new = dict(zip(some.tolist(), (share / share.sum()).tolist()))
        if self._shares and wanted > OPEN:  # lips that meet hide what would be mixed
            last = self._shares
            new = {k: (1 - STAYS) * new.get(k, 0.0) + STAYS * last.get(k, 0.0) for k in {**new, **last}}
            new = {k: v for k, v in new.items() if v > FAINT}
        self._shares = {k: v / sum(new.values()) for k, v in new.items()}
        order = sorted(self._shares, key=lambda k: (k != found, -self._shares[k]))
        return mixed([self.views[k] for k in order], np.array([self._shares[k] for k in order]))

    def lids(self, points: NDArray) -> tuple[View, Array] | None:
        """A picture with shut eyes whose head is turned like that of `points` (478, 3), the same until they open again,
        and how much of both lids is shown, (2,) in 0..1; None where eyes are open, or nobody saw them shut."""
        pose = fit_pose(top.mean_face(), np.asarray(points, np.float64))
        shares = 1 - ramp(eye_openness(pose.to_head(points)), *CLOSING)
        shares *= 1 - ramp(abs(float(pose.angles[0])), *TURNED)
        if not len(self.shut) or shares.max() <= 0:
            self._blink = None
            return None
        if self._blink is None:
            away = ((self._turns[self.shut] - pose.rotation) ** 2).sum((1, 2))
            self._blink = int(self.shut[away.argmin()])
        return self.views[self._blink], shares

    def turns(self, own: Pose) -> float:
        """Radians by which a portrait of the pose `own` may turn towards us, or beyond, and its skin still be seen."""
        yaw = float(own.angles[0])
        beyond = float(np.quantile(np.sign(yaw) * (yaw - self._yaws), FARTHEST))
        return float(np.radians(max(0.0, beyond))) * sharpness(own.scale, self.views[0].points)

    def skin(self, points: NDArray, own: Array) -> list[tuple[View, Array]]:
        """Pictures, one over the other, of skin that `points` (478, 3) turn further to the front than the portrait's,
        which faces whoever looks by `own` (468,); and how much is shown of it at every landmark, (468,) in 0..1.

        It is the same picture until another is far better, which then comes over it little by little."""
        shown = facing(points)
        need = ramp(shown / np.maximum(own, LEAST), *UNCOVERED) * ramp(shown, *LEAN)
        need[FEATURES] = 0.0
        if need.sum() < 1:
            self._cheek = self._before = None
            return []
        pose = fit_pose(top.mean_face(), np.asarray(points, np.float64))
        away = np.linalg.norm(self._turns - pose.rotation, axis=(1, 2))
        tells = ramp(self._facing / np.maximum(shown, LEAST), *SHOWN)  # (N, 468)
        tells *= ramp(self._facing / np.maximum(own, LEAST), *UNCOVERED)
        worth = tells @ need / need.sum() - APART * away
        best = int(worth.argmax())
        if self._cheek is None:
            self._cheek, self._come = best, 1.0
        elif worth[best] > worth[self._cheek] + FAR_BETTER and self._come >= 1:
            self._before, self._cheek, self._come = self._cheek, best, 0.0
        self._come = min(1.0, self._come + COMES)
        if self._come >= 1:
            self._before = None
        some = [(k, share) for k, share in ((self._before, 1.0), (self._cheek, self._come)) if k is not None]
        return [(self.views[k], share * need * tells[k]) for k, share in some]

    def _serve(self, wanted: float) -> NDArray[np.bool_]:
        """Which pictures open far enough for a gap that is wanted, and show no teeth where lips meet."""
        return self.gaps < 2 * OPEN if wanted < OPEN else self.gaps > ENOUGH * wanted


def moved(points: NDArray, own: Array) -> float:
    """How much a mouth does that a portrait's does not, 0..1: landmarks (478, 3), and the portrait's canonical face."""
    away = float(np.linalg.norm((_head(points) - own)[LIPS, :2], axis=1).mean())
    return float(np.clip((away - OWN[0]) / (OWN[1] - OWN[0]), 0, 1))


def _head(points: NDArray) -> Array:
    return fit_pose(top.mean_face(), np.asarray(points, np.float64)).to_head(points)


def _described(points: NDArray, mouth: Image | None) -> Descriptor:
    pose = fit_pose(top.mean_face(), np.asarray(points, np.float64))
    lips = pose.to_head(points)[LIPS, :2]
    lips = lips - lips.mean(0)
    texture = np.zeros(59) if mouth is None else binary_patterns(cv2.cvtColor(mouth, cv2.COLOR_RGB2GRAY))
    return Descriptor(pose.rotation, WIDE * lips.ravel(), WIDE * lips, texture)


_PAIRS = np.searchsorted(LIPS, PAIRS)


def _mouth(view: View) -> Image:
    """The mouth (32, 48, 3), its corners always at the same places."""
    a, b = view.points[61, :2], view.points[291, :2]
    x = (b - a) / 32
    y = np.array([-x[1], x[0]])
    middle = (a + b) / 2
    back = np.column_stack([x, y, middle - 24 * x - 14 * y])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(view.image, back, (48, 32), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def mixed(views: Sequence[View], shares: Array) -> View:
    """Mouths and the skin around them mixed by `shares` (n,), each brought onto the first one's by the mesh."""
    first, tris = views[0], mouth_triangles(2.0)
    p = np.ascontiguousarray(first.points[:, :2])
    low, high = p[tris].min((0, 1)), p[tris].max((0, 1))
    x0, y0 = np.maximum(np.floor(low), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(high) + 1, first.image.shape[1::-1]).astype(int)
    if len(views) < 2 or x1 - x0 < 2 or y1 - y0 < 2:
        return first
    shape = (y1 - y0, x1 - x0)
    here = first.image[y0:y1, x0:x1].astype(np.float32)
    total = shares[0] * here
    for view, share in zip(views[1:], shares[1:]):
        mx, my, covered = drawn(p, view.points[:, :2], tris, x0, y0, shape)
        brought = cv2.remap(view.image, mx, my, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        total += share * np.where(covered[..., None], brought, here)
    image = first.image.copy()
    image[y0:y1, x0:x1] = np.clip(total + 0.5, 0, 255).astype(np.uint8)
    return View(image, first.points)
