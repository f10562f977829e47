"""What is known of the person who is moved: who they are, and how their mouth looks in all that was seen of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.errors import FaceNotFoundError, InputError, option
from infinex.face import topology as top
from infinex.face.morphable.bases import own_model
from infinex.face.morphable.person import Person
from infinex.face.morphable.solve import Frame, Solver, State, Who
from infinex.face.pose import fit_pose
from infinex.face.retrieval import Descriptor, Retrieval, binary_patterns
from infinex.face.shape import lip_gaps
from infinex.face.tracker import find_faces
from infinex.jobs.fit import fit
from infinex.media.image import SUFFIXES, read_image
from infinex.media.video import VideoReader
from infinex.mesh.album import SIDE, View, cut_out
from infinex.mesh.layers import polygon_mask
from infinex.mesh.raster import drawn

Array = NDArray[np.float64]
RGB = NDArray[np.uint8]

MOST = 240  # mouths that are kept, evenly spread
PICTURES = 40  # of a folder that are looked at
KEYS = 6  # of them that tell who it is
OPEN = 0.02  # inter-ocular distances between the lips from where on a mouth shows its inside
LIPS = np.array(sorted({*top.LIPS_INNER, *top.LIPS_OUTER}))
PAIRS = np.searchsorted(LIPS, np.array([[13, 14], [82, 87], [312, 317], [78, 308], [61, 291], [0, 17]]))
MOUTH = ("jaw", "mouth", "cheek", "tongue", "nose")  # how expressions begin that show at the mouth
EYES = "eye"  # ... and at the eyes
STRIP = np.array(top.strip(top.LIPS_INNER_UPPER, top.LIPS_INNER_LOWER), np.int64)


def gap(points: NDArray) -> float:
    """How far lips are apart in the middle, in inter-ocular distances, of points (478, 3)."""
    head = fit_pose(top.mean_face(), np.asarray(points, np.float64)).to_head(points)
    return float(lip_gaps(head)[4])


def lips_of(points: NDArray, size: float) -> Array:
    """Lips (L, 2) from their middle, in sizes of the face."""
    lips = np.asarray(points, np.float64)[LIPS, :2]
    return np.asarray((lips - lips.mean(0)) / size)


@dataclass(frozen=True)
class Mouth:
    """One mouth that was seen: the face around it, and the state the face was in."""

    view: View
    state: State
    gap: float


class Mouths:
    """The person's mouths, asked for frame after frame, as they follow on one another."""

    def __init__(self, mouths: list[Mouth], names: tuple[str, ...]) -> None:
        self.mouths = [m for m in mouths if m.gap > OPEN]
        self._at = np.array([i for i, n in enumerate(names) if n.startswith(MOUTH)], int)
        self._find: Retrieval | None = None
        self._last: View | None = None
        if self.mouths:
            looks = [_cut(m.view) for m in self.mouths]
            described = [
                self.described(m.state, m.view.points, binary_patterns(cv2.cvtColor(k, cv2.COLOR_RGB2GRAY)))
                for m, k in zip(self.mouths, looks)
            ]
            self._find = Retrieval(described, looks, PAIRS)

    def described(self, state: State, points: NDArray, texture: Array | None = None) -> Descriptor:
        """The published descriptor: rotation, expression, landmarks and local binary patterns."""
        size = float(np.ptp(np.asarray(points)[: top.SURFACE, :2], axis=0).max())
        blank = np.zeros(59) if texture is None else texture
        return Descriptor(state.rotation, state.expression[self._at], lips_of(points, size), blank)

    def forget(self) -> None:
        """Nothing was shown before."""
        self._last = None
        if self._find is not None:
            self._find.last = None

    def __call__(self, state: State, points: NDArray, wanted: float) -> View | None:
        """The mouth for a `state` whose points are (478, 3), open by `wanted`; None where it shows no inside, or nobody
        ever saw it open."""
        if self._find is None or wanted < OPEN:
            self.forget()
            return None
        view = self.mouths[self._find(self.described(state, points))].view
        self._last = view if self._last is None else blended(self._last, view)
        return self._last


def blended(last: View, new: View) -> View:
    """Half of the mouth that was shown before, brought onto the new one by its lips and then by optical flow."""
    p = new.points[:, :2]
    inner = p[top.LIPS_INNER]
    x0, y0 = np.maximum(np.floor(inner.min(0)) - 2, 0).astype(int)
    x1, y1 = np.minimum(np.ceil(inner.max(0)) + 3, SIDE).astype(int)
    if x1 - x0 < 12 or y1 - y0 < 12:
        return new
    shape = (y1 - y0, x1 - x0)
    mx, my, covered = drawn(p, last.points[:, :2], STRIP, x0, y0, shape)
    here = new.image[y0:y1, x0:x1]
    before = np.where(covered[..., None], cv2.remap(last.image, mx, my, cv2.INTER_LINEAR), here)
    # Of one size, since OpenCV's flow needs pictures larger than a mouth that hardly opens.
    size = (96, 64)
    one, other = (cv2.resize(cv2.cvtColor(k, cv2.COLOR_RGB2GRAY), size) for k in (here, np.asarray(before, np.uint8)))
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(one, other, None)
    flow = cv2.resize(flow, shape[::-1]) * np.array([shape[1] / size[0], shape[0] / size[1]], np.float32)
    i, j = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    before = cv2.remap(
        np.asarray(before, np.uint8),
        j + flow[..., 0],
        i + flow[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    share = 0.5 * polygon_mask(*shape, inner - [x0, y0])[..., None]
    image = new.image.copy()
    image[y0:y1, x0:x1] = np.clip(here * (1 - share) + before * share + 0.5, 0, 255).astype(np.uint8)
    return View(image, new.points)


def _cut(view: View) -> RGB:
    """The mouth (32, 48, 3), its corners always at the same places."""
    a, b = view.points[61, :2], view.points[291, :2]
    x = (b - a) / 32
    y = np.array([-x[1], x[0]])
    back = np.column_stack([x, y, (a + b) / 2 - 24 * x - 14 * y])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(view.image, back, (48, 32), flags=flags, borderMode=cv2.BORDER_REPLICATE))


class Target:
    """The person who is moved."""

    def __init__(self, person: Person, views: dict[int, View]) -> None:
        """`person` as fitted, `views` of some of its frames."""
        self.person, self.names = person, person.face.names
        self.solver = Solver(person.face)
        self.views = list(views.values())
        self.mouths = Mouths(
            [Mouth(v, person.states[t], gap(person.points[t])) for t, v in views.items()], self.names
        )  # fmt: skip
        shown = [person.states[t].expression for t in np.flatnonzero(person.valid).tolist()]
        # How the face looks that does least: what a performer does is laid on this one.
        self.calm = min(shown, key=lambda e: float((e / self.solver.spread).sum()))
        self._points = person.points

    def state(self, image: RGB, points: NDArray) -> State:
        """The person in a picture: as fitted where it is one of theirs, else by a fit of its own."""
        if image.shape[1::-1] == self.person.size:
            off = np.abs(self._points - np.asarray(points, np.float32)).mean((1, 2))
            if off.min() < 0.1:
                return self.person.states[int(off.argmin())]
        points = np.asarray(points, np.float64)
        return self.solver.again(Frame(image, points), points, self.who(image))[0]

    def who(self, image: RGB) -> Who:
        """Who it is, before the camera of a picture of another size."""
        who = self.person.who
        k = image.shape[1] / self.person.size[0]
        return Who(who.identity, who.skin, who.focal * k, who.detail)


def learned(album: Path) -> Target:
    """A person from a clip or a folder of pictures. Raises InputError where it is none, or shows two people."""
    if not album.exists():
        raise InputError(f"{option('album')} {album}: no such folder or clip")
    return _of_folder(album) if album.is_dir() else _of_clip(album)


def _of_clip(path: Path) -> Target:
    return of_person(fit(path), path)


def of_person(person: Person, path: Path) -> Target:
    """The same from the fit of a clip."""
    shown = np.flatnonzero(person.valid)
    kept = set(shown[np.linspace(0, len(shown) - 1, min(MOST, len(shown))).astype(int)].tolist())
    views = {}
    with VideoReader(path) as reader:
        for t, frame in enumerate(reader):
            if t in kept:
                views[t] = cut_out(frame.image, person.points[t].astype(np.float64))
    return Target(person, views)


def _of_folder(path: Path) -> Target:
    files = sorted(f for f in path.iterdir() if f.suffix.lower() in SUFFIXES)
    if len(files) > PICTURES:
        files = [files[i] for i in np.linspace(0, len(files) - 1, PICTURES).astype(int)]
    frames: list[Frame] = []
    points: list[NDArray] = []
    views: dict[int, View] = {}
    size = 0, 0
    for file in files:
        image = read_image(file)
        faces = find_faces(image)
        if faces:
            size = size if size != (0, 0) else (image.shape[1], image.shape[0])
            views[len(frames)] = cut_out(image, faces[0].landmarks)
            frames.append(Frame(image, faces[0].landmarks))
            points.append(faces[0].landmarks)
    if not frames:
        raise FaceNotFoundError(f"no face found in {option('album')} {path.name}; give more pictures of the person")
    solver = Solver(own_model())
    pick = np.unique(np.linspace(0, len(frames) - 1, KEYS).astype(int))
    who, _ = solver.bundle([frames[i] for i in pick], [points[i] for i in pick])
    fitted = [solver.again(f, p, Who(who.identity, who.skin, who.focal * f.shape[1] / size[0], who.detail))
              for f, p in zip(frames, points)]  # fmt: skip
    n = len(frames)
    person = Person(solver.face, who, [s for s, _ in fitted], np.stack(points).astype(np.float32), np.ones(n, bool),
                    np.array([e for _, e in fitted]), size, 25.0)  # fmt: skip
    return Target(person, views)
