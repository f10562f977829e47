"""Finding faces in pictures and following one through a clip.

The mesh sees a small window around the face, so the cost does not depend on the size of the picture.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.errors import FaceNotFoundError, InputError, option
from infinex.face.networks import Box, Detector, Frame, Image, MeshTracker, Segmenter, square_of, whole
from infinex.face.topology import LEFT_EYE, OVAL, RIGHT_EYE, SURFACE

MARGIN = 2.2  # side over face size of the square in which a face is looked for
DETECT_SIDE = 1280  # longest side of the picture the detector sees
WARM_UP = 4  # times a face is seen again after a restart; one more moves points by 0.04 px in 256 (after two: 0.14)
MIN_SCORE = 0.75  # detector score below which a mesh is not believed
LEAP = 0.10  # IOD that a head may go from one frame to the next without being looked at anew
CHECK = 12  # frames after which it is made sure that the face is still the same
UNLIKE, ALIKE = 0.35, 0.55  # share of a head's colours under which it is another's; from which it is the same one's
REACH, BESIDE = 1.0, 0.5  # sizes of a face within which it is taken up again; beyond which by its colours only
PATIENCE = 40  # looks for a lost face before anybody's is taken
MIN_FACE = 40.0  # pixels from brow to chin below which no expression can be seen


@dataclass(frozen=True)
class Face:
    """A tracked face: 478 landmarks in pixels (x right, y down, z away from the viewer, same scale)."""

    landmarks: NDArray[np.float64]
    score: float = 1.0

    @property
    def box(self) -> Box:
        """Tight box around the surface points."""
        (x0, y0), (x1, y1) = self.landmarks[:SURFACE, :2].min(0), self.landmarks[:SURFACE, :2].max(0)
        return float(x0), float(y0), float(x1), float(y1)

    @property
    def size(self) -> float:
        """Longer side of the box in pixels."""
        x0, y0, x1, y1 = self.box
        return max(x1 - x0, y1 - y0)


@cache
def segmenter() -> Segmenter:
    """The one person segmenter of this process."""
    return Segmenter()


def _square(box: Box) -> Box:
    """The window in which a tracker looks for the face of `box`."""
    x0, y0, x1, y1 = box
    half = max(x1 - x0, y1 - y0) * MARGIN / 2
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    return cx - half, cy - half, cx + half, cy + half


def _to_picture(points: NDArray, k: float, corner: NDArray) -> NDArray[np.float64]:
    out = points / k
    out[:, :2] += corner
    return out


def _overlap(a: Box, b: Box) -> float:
    """Intersection over the smaller box."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / max(1e-6, min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])))


def _plausible(points: NDArray) -> bool:
    """Whether the mesh has the proportions of a face: no needle, eyes apart and inside the oval."""
    p = points[:, :2]
    if not np.isfinite(points).all():
        return False
    oval = p[OVAL].astype(np.float32)
    area = cv2.contourArea(oval)
    size = float(max(np.ptp(p[:SURFACE, 0]), np.ptp(p[:SURFACE, 1])))
    eyes = np.hypot(*(p[RIGHT_EYE].mean(0) - p[LEFT_EYE].mean(0)))
    inside = cv2.pointPolygonTest(oval, tuple(map(float, p[4])), True) > -0.25 * size
    return bool(size > 0 and area > 0.2 * size * size and eyes > 0.12 * size and inside)


class FaceFinder:
    """Finds every face of a picture: small ones by tiles, lying ones by turning the picture.

    It remembers nothing of the pictures before: any number of threads may use one."""

    def __init__(self) -> None:
        self._near, self._far = Detector(far=False), Detector(far=True)
        self._mesh = MeshTracker(still=True)

    def close(self) -> None:
        """Nothing to do: the networks are the process's."""

    def __enter__(self) -> FaceFinder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def boxes(self, image: Image) -> list[tuple[Box, float]]:
        """Face boxes with scores, best first, without overlaps."""
        h, w = image.shape[:2]
        k = min(1.0, DETECT_SIDE / max(h, w))
        small = image if k == 1.0 else cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
        found = self._scan(small)
        if not any(score >= MIN_SCORE for _, score in found):
            found += self._tiles(small)
        found = [((b[0] / k, b[1] / k, b[2] / k, b[3] / k), s) for b, s in found]
        out: list[tuple[Box, float]] = []
        for box, score in sorted(found, key=lambda f: -f[1]):
            if all(_overlap(box, other) < 0.4 for other, _ in out):
                out.append((box, score))
        return out

    def _scan(self, image: Image) -> list[tuple[Box, float]]:
        """Both detectors on the picture and on a padded copy: close-ups fill more than they expect."""
        h, w = image.shape[:2]
        pad = int(0.35 * max(h, w))
        padded = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
        out = [(face.box, face.score) for face in self._near(image) + self._far(image)]
        for face in self._near(padded):
            x0, y0, x1, y1 = face.box
            out.append(((x0 - pad, y0 - pad, x1 - pad, y1 - pad), face.score))
        return out

    def _tiles(self, image: Image) -> list[tuple[Box, float]]:
        h, w = image.shape[:2]
        out = []
        for part in (0.6, 0.35):
            side = int(min(h, w) * part)
            if side < 96:
                break
            for y in range(0, h - side + 1, max(1, side // 2)):
                for x in range(0, w - side + 1, max(1, side // 2)):
                    for face in self._near(image[y : y + side, x : x + side]):
                        x0, y0, x1, y1 = face.box
                        out.append(((x0 + x, y0 + y, x1 + x, y1 + y), face.score))
            if any(s >= MIN_SCORE for _, s in out):
                break
        return out

    def mesh(self, image: Image, box: Box) -> NDArray[np.float64] | None:
        """Landmarks of the face in `box`, placed twice: the second time on a window centred by the first."""
        window, k, corner = square_of(image, box, margin=2.0)
        points = self._mesh.landmarks(window)
        if points is None:
            return None
        points = _to_picture(points, k, corner)
        window, k, corner = square_of(image, Face(points).box, side=512, margin=2.0)
        again = self._mesh.landmarks(window)
        return points if again is None else _to_picture(again, k, corner)

    def settled(self, image: Image, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """The landmarks as a tracker that has followed the face for a while sees them.

        A first look differs by about a pixel in 256, which would stay in every frame driven from it."""
        tracker, near = MeshTracker(still=False), _square(Face(points).box)
        looks = [tracker.landmarks(image, near) for _ in range(1 + WARM_UP)]
        last = looks[-1]
        return last if last is not None and _plausible(last) else points

    def believed(self, image: Image, points: NDArray) -> float:
        """Detector score of the face under a mesh, seen alone and upright at a good size; 0..1."""
        face = Face(points)
        best = 0.0
        for margin in (1.6, 2.2, 3.0):
            window, k, corner = square_of(image, face.box, side=256, margin=margin)
            centre = (points[:SURFACE, :2].mean(0) - corner) * k
            for seen in self._near(window):
                x0, y0, x1, y1 = seen.box
                if x0 < centre[0] < x1 and y0 < centre[1] < y1:
                    best = max(best, seen.score)
        return best

    def find(self, image: Image) -> list[Face]:
        """Every believable face of an RGB picture (H, W, 3), largest first; empty if there is none."""
        for turns in (0, 1, 3, 2):
            turned = np.ascontiguousarray(np.rot90(image, turns))
            faces: list[Face] = []
            for box, score in self.boxes(turned):
                points = self.mesh(turned, box)
                if points is None or not _plausible(points):
                    continue
                score = max(score if turns == 0 else 0.0, self.believed(turned, points))
                points = self.settled(turned, points) if score >= MIN_SCORE else points
                face = Face(_turn_back(points, turns, (image.shape[0], image.shape[1])), score)
                if score >= MIN_SCORE and all(_overlap(face.box, f.box) < 0.5 for f in faces):
                    faces.append(face)
            if faces:
                return sorted(faces, key=lambda f: -f.size)
        return []

    def in_box(self, image: Image, box: Box) -> Face:
        """The face in a box given by hand, believed whatever its score.

        Raises FaceNotFoundError where no mesh can be placed."""
        for margin in (1.0, 1.3, 0.75):
            cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
            hw, hh = (box[2] - box[0]) / 2 * margin, (box[3] - box[1]) / 2 * margin
            points = self.mesh(image, (cx - hw, cy - hh, cx + hw, cy + hh))
            if points is not None:
                return Face(self.settled(image, points), 0.0)
        raise FaceNotFoundError(f"no face can be placed in the given {option('box')}; move it or make it larger")


def _turn_back(points: NDArray, turns: int, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Landmarks of np.rot90(image, turns) back to the picture of `shape` (H, W)."""
    h, w = shape
    out = points.copy()
    x, y = points[:, 0], points[:, 1]
    if turns == 1:
        out[:, 0], out[:, 1] = w - 1 - y, x
    elif turns == 2:
        out[:, 0], out[:, 1] = w - 1 - x, h - 1 - y
    elif turns == 3:
        out[:, 0], out[:, 1] = y, h - 1 - x
    return out


LOOKING = threading.RLock()  # held while a portrait is made ready, which takes much memory: one at a time


@cache
def _finder() -> FaceFinder:
    return FaceFinder()


@contextlib.contextmanager
def shared_finder() -> Iterator[FaceFinder]:
    """The one finder of this process; several threads may use it at once."""
    yield _finder()


def find_faces(image: Image) -> list[Face]:
    """Every face of an RGB picture (H, W, 3) uint8, largest first."""
    with shared_finder() as finder:
        return finder.find(image)


def choose(faces: Sequence[Face], which: str | int, name: str) -> list[Face]:
    """Pick faces by `largest`, `all` or a number from 1 (left to right).

    Raises FaceNotFoundError where there is none, InputError for a number that does not exist."""
    if not faces:
        raise FaceNotFoundError(
            f"no face found in {name}; use a clearer or larger face",
            advice=f", or mark it with {option('box')} x,y,width,height",
        )
    faces = [f for f in faces if f.size >= MIN_FACE]
    if not faces:
        raise FaceNotFoundError(f"the face in {name} is too small; at least {MIN_FACE:.0f} pixels are needed")
    if which == "largest":
        return [faces[0]]
    ordered = sorted(faces, key=lambda f: f.box[0])
    if which == "all":
        return ordered
    if isinstance(which, int) or which.isdigit():
        number = int(which)
        if 1 <= number <= len(ordered):
            return [ordered[number - 1]]
    raise InputError(
        f"{option('face')} {which}: {name} has {len(ordered)} face(s); use largest, all or 1 to {len(ordered)}"
    )


def _tone(image: Image | Frame, box: Box) -> NDArray[np.float32]:
    """What colours a head shows: a histogram (216,) that sums to 1."""
    part, _, _ = square_of(image, box, side=48, margin=1.15)
    h = cv2.calcHist([part], [0, 1, 2], None, [6, 6, 6], [0, 256, 0, 256, 0, 256]).ravel()
    return (h / max(float(h.sum()), 1.0)).astype(np.float32)


def _centre(box: Box) -> NDArray[np.float64]:
    return np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])


def _size(box: Box) -> float:
    return max(box[2] - box[0], box[3] - box[1])


class FaceTracker:
    """Follows one face through the frames of a clip: the largest at first, or the one in a box.

    A face that leaps from one frame to the next is looked at anew in the same frame. One that was lost is taken up
    again where it was or by its colours, and left to nobody else who comes by."""

    def __init__(self, box: Box | None = None, near: Box | None = None) -> None:
        """`box` marks a face that no detector finds; `near` is where the wanted one is or will be."""
        self._mesh = MeshTracker(still=False)
        self._finder = FaceFinder()
        self._given, self._near = box, near
        self._window: Box | None = None
        self._misses = 0
        self._fresh = True
        self._last: Face | None = None
        self._looks: NDArray[np.float32] | None = None  # the colours of the head that is followed
        self._count = 0
        self._strict = 0  # looks in which nobody else is taken for it

    def close(self) -> None:
        """Forget the face."""
        self._mesh.reset()

    def __enter__(self) -> FaceTracker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, image: Image | Frame, anew: bool = False) -> Face | None:
        """The face in an RGB frame (H, W, 3) uint8, or None where it cannot be seen.

        `anew`: the frame shows something else than the last one, which says nothing of where the face is."""
        if anew:
            self._window, self._misses = None, 0
            self._restart()
        if self._window is None and not self._search(image, anew):
            self._last = None if anew else self._last
            return None
        face = self._look(image)
        if face is None:
            self._window = None
            self._restart()
            # A face that jumped is found at once; one that is gone is looked for less and less often.
            face = self._look(image) if self._search(image) else None
        elif self._leapt(face):
            # The network looks where the face was: what it sees of one that is elsewhere is half a guess.
            face = self._again(image, face)
            if face is not None and self._like(image, face) < ALIKE:  # somebody else came before it
                face, self._strict = None, PATIENCE
        if face is None or not _plausible(face.landmarks):
            self._window = None
            self._restart()
            return None
        if not self._is_mine(image, face):
            return None
        self._misses = 0
        self._last = face
        self._window = _square(face.box)
        return face

    def _look(self, image: Image | Frame) -> Face | None:
        assert self._window is not None
        points = self._mesh.landmarks(image, self._window)
        if self._fresh:
            # The network cuts its window by the last landmarks; at first it has only a detector's rough box.
            for _ in range(WARM_UP):
                points = self._mesh.landmarks(image, self._window) if points is not None else None
            self._fresh = points is None
        return None if points is None else Face(points)

    def _leapt(self, face: Face) -> bool:
        """Whether the face went further since the last frame than heads go."""
        if self._last is None or self._misses:
            return False
        p, q = face.landmarks, self._last.landmarks
        unit = float(np.linalg.norm(q[33] - q[263]))
        away = (p - q)[:SURFACE, :2]
        squared = (away * away).sum(1)
        return float(np.partition(squared, len(squared) // 2)[len(squared) // 2]) > (LEAP * unit) ** 2

    def _again(self, image: Image | Frame, face: Face) -> Face | None:
        """Find a face that leapt by the detector, twice: the second time in a window that is centred on it."""
        self._window = _square(face.box)
        self._restart()
        found = self._look(image)
        if found is not None and _plausible(found.landmarks):
            self._window = _square(found.box)
            self._restart()
            found = self._look(image)
        if found is not None:
            return found
        self._window = None
        self._restart()
        return self._look(image) if self._search(image) else None

    def _like(self, image: Image | Frame, face: Face) -> float:
        """Share of the colours of the head that is followed; 1 where nothing is known of them."""
        return 1.0 if self._looks is None else float(np.minimum(_tone(image, face.box), self._looks).sum())

    def _is_mine(self, image: Image | Frame, face: Face) -> bool:
        """Whether the face is still the one that was followed; if that one is elsewhere, it is gone back to."""
        self._count += 1
        if self._given is not None or self._count % CHECK not in (0, 1):
            return True
        looks = _tone(image, face.box)
        if self._looks is None:
            self._looks = looks
        like = float(np.minimum(looks, self._looks).sum())
        share = 0.2
        if like < UNLIKE:
            window, self._strict = self._window, 1
            if self._search(image):
                return False
            self._window, self._strict, share = window, 0, 0.5  # alone: it is the light that changed
            self._restart()
        self._looks = (1 - share) * self._looks + share * looks
        return True

    def _restart(self) -> None:
        self._mesh.reset()
        self._fresh = True

    def _search(self, image: Image | Frame, anew: bool = False) -> bool:
        self._misses += 1
        self._strict = 0 if anew else max(0, self._strict - (self._misses > 1))
        if self._misses > 8 and self._misses % 8:
            return False
        if self._given is not None:
            self._window = _square(self._given)
            return True
        found: list[Face] = []
        for box, score in self._finder.boxes(whole(image)):
            if score < 0.5:
                continue
            points = self._finder.mesh(whole(image), box)
            if points is None or not _plausible(points) or self._finder.believed(whole(image), points) < 0.5:
                continue
            found.append(Face(points))
        face = self._chosen(image, found, anew)
        if face is None:
            return False
        self._window = _square(face.box)
        self._restart()
        return True

    def _chosen(self, image: Image | Frame, found: list[Face], anew: bool) -> Face | None:
        """Which of the faces in a picture is meant."""
        if not found:
            return None
        if self._last is None and self._looks is None:
            if self._near is None:
                return max(found, key=lambda f: f.size)
            place, size = _centre(self._near), _size(self._near)
            face = min(found, key=lambda f: float(np.linalg.norm(_centre(f.box) - place)))
            return face if np.linalg.norm(_centre(face.box) - place) < REACH * size else None
        known = self._looks
        likes = [0.0 if known is None else self._like(image, f) for f in found]
        if self._strict and max(likes) < ALIKE:
            return None
        if anew or self._last is None:  # another picture: the same person, if there, else whoever is seen best
            best = int(np.argmax(likes))
            return found[best] if likes[best] > ALIKE else max(found, key=lambda f: f.size)
        place, size = _centre(self._last.box), self._last.size
        away = [float(np.linalg.norm(_centre(f.box) - place)) / size for f in found]
        best = int(np.argmax([k + np.exp(-((d / REACH) ** 2)) for k, d in zip(likes, away)]))
        if self._misses < PATIENCE and away[best] > BESIDE and likes[best] < ALIKE:
            return None
        return found[best]
