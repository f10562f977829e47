"""Driving by a video: its face is tracked as it streams by, each shot from its own rest."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, groupby, islice
from pathlib import Path
from threading import Event
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.drivers.capture import Camera, Capture, Sighting, choose_rest
from infinex.drivers.contract import WHOLE, Drive, Driver, Shot
from infinex.drivers.measured import Measured
from infinex.drivers.shots import OTHER, Break, Glimpse, Shots, apart, likeness, thumbnail
from infinex.drivers.whose import SAMPLES, check_driver_face, people, whose
from infinex.errors import FaceNotFoundError, InputError, Note, option
from infinex.face.pose import Pose, fit_pose
from infinex.face.topology import POINTS, mean_face
from infinex.face.tracker import Box, Face, FaceTracker, shared_finder
from infinex.media.grey import Grey
from infinex.media.kept import Arrays, kept
from infinex.media.video import VideoFrame, VideoReader
from infinex.motion import Move

AHEAD = 72  # frames tracked before the first of a shot is rendered
GLANCES = 18  # further frames looked at, spread over the rest of a long clip
SIDE = 1280  # longest side of the frames that tracking and mouth retrieval see
GLANCE_PENALTY = 0.02  # a frame from the tracked stretch serves better as reference
LONG = 0.7  # seconds without a face that are worth a word
EVERY = 6  # frames of a later shot of which one is kept, as its reference may be
SETUPS = 3  # shots that are remembered, in case that the film returns to them
BACK = 0.85  # likeness of a shot to one that was seen before, whose rest it takes
NAMED = 6  # cuts that a note names
ROOM = 0.1  # sizes of a face that are shown around it


def _same_picture(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    """Whether two frames (H, W) differ by no more than an encoder's rounding."""
    if a is b:
        return True
    if a.shape != b.shape or int(cv2.absdiff(a[::24], b[::24]).max()) > 6:  # a few rows tell most others
        return False
    change = cv2.absdiff(a, b)
    return int(change.max()) <= 6 and float(change.mean()) < 0.1


@dataclass
class _Glance:
    """A frame from beyond those that are tracked, small, and the landmarks (478, 3) of its faces, once looked for."""

    frame: VideoFrame
    grey: NDArray[np.uint8]
    faces: list[NDArray[np.float64]] | None = None

    def found(self) -> list[NDArray[np.float64]]:
        """Landmarks of the faces in it."""
        if self.faces is None:
            with shared_finder() as finder:
                placed = [
                    finder.mesh(self.frame.image, b) for b, score in finder.boxes(self.frame.image) if score > 0.5
                ]
            self.faces = [p for p in placed if p is not None]
        return self.faces


@dataclass
class _Seen:
    """What is known of a frame: landmarks (478, 3) or None, its shot, and the stretch of it that is smoothed as one."""

    index: int
    points: NDArray[np.float64] | None
    shot: int = 0
    part: int = 0
    begins: str | None = None


@dataclass
class _Watched:
    """A frame that is measured, with the landmarks (478, 3) that were tracked in it, where it shows the face."""

    frame: VideoFrame | None  # until it is measured, where no more is wanted of it than the face
    points: NDArray[np.float64] | None

    @cached_property
    def close(self) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        """What of it shows the face, (H, W, 3), and where that begins."""
        assert self.points is not None and self.frame is not None
        h, w, _ = self.frame.picture.shape
        lo, hi = self.points[:, :2].min(0), self.points[:, :2].max(0)
        room = ROOM * float((hi - lo).max())
        x0, y0 = (int(v) for v in np.clip(lo - room, 0, [w - 2, h - 2]))
        x1, y1 = (int(v) for v in np.clip(np.ceil(hi + room), [x0 + 2, y0 + 2], [w, h]))
        return self.frame.picture[y0:y1, x0:x1], (x0, y0)


class _Setup:
    """A shot as it is measured: from its own rest."""

    def __init__(self, shot: Shot, grey: Grey, fps: float, smooth: float, flow: bool) -> None:
        """`grey` is the shot's image without its colours, as its frames have theirs."""
        assert shot.image is not None and shot.points is not None  # a film has frames
        self.shot, self.points = shot, shot.points
        unit = fit_pose(mean_face(), shot.points).scale
        self.capture = Capture(shot.rest, unit, fps, smooth)
        self.measured = Measured(shot.image, shot.points, shot.rest, grey) if flow else None
        self.camera = Camera()
        self.ended: tuple[VideoFrame, NDArray[np.float64]] | None = None  # the last frame so far and its landmarks

    @property
    def last(self) -> Glimpse | None:
        """How it looked when it ended."""
        if self.ended is None:
            return None
        frame, points = self.ended
        look = Glimpse(frame.index, thumbnail(frame.grey))
        look.see(points)
        return look


class VideoDriver(Driver):
    """A driving video. Iterating yields one `Drive` for each frame, in constant memory.

    Making one looks the clip over; `settle` then chooses the performer's rest for a portrait. Every later shot
    gets a rest of its own, which comes with its first drive."""

    filmed = True

    def __init__(
        self,
        path: str | Path,
        reference: int | None = None,
        smooth: float = 0.5,
        keep_readable: bool = False,
        box: Box | None = None,
        fps: float | None = None,
        flow: bool = True,
        face: str = "largest",
        start: float = 0.0,
        end: float | None = None,
    ) -> None:
        """`start`, `end`: seconds of the clip, the part that is used.

        `flow`: what landmarks miss of the face, head, shoulders and the mouth's interior is measured, too.

        `face`: whose performance, see `infinex.drivers.whose`; `box`: where a face is that no detector finds."""
        check_driver_face(face)
        self.path = Path(path)
        self.name = self.path.name
        self._box = box
        self.span = start, end
        part: dict[str, Any] = {"start": start, "end": end} if (start, end) != (0.0, None) else {}
        self._reader = VideoReader(path, keep_readable, SIDE, fps, **part)
        self.info = self._reader.info
        self.fps = float(self.info.fps)
        self.frames = self.info.frames
        self.timecode = self.info.timecode
        self.audio = self.path if self.info.has_audio else None
        self.lost: list[tuple[float, float]] = []
        self.cuts: list[float] = []
        self._known: list[NDArray[np.float64] | None] = []
        self._near: Box | None = None
        self._notes: list[str] = []
        self._reference, self._smooth, self._flow = reference, smooth, flow
        self._glanced: dict[int, VideoFrame] = {}  # by their order
        asked = f"{keep_readable} {box} {fps} {face} {start} {end} {reference} {AHEAD} {GLANCES} {SIDE}"
        if self.path.is_file():
            stat = self.path.stat()
            clip = f"{self.path.resolve()} {stat.st_size} {stat.st_mtime_ns} {asked}"
            found = kept("clip", lambda: self._looked_over(face, reference), clip)
        else:
            found = self._looked_over(face, reference)
        self._begun(found, reference)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    @property
    def warnings(self) -> list[str]:  # type: ignore[override]
        """Words about whose performance it is, and about cuts."""
        if not self.cuts:
            return self._notes
        times = ", ".join(f"{t:.1f}" for t in self.cuts[:NAMED])
        more = f" and {len(self.cuts) - NAMED} more" if len(self.cuts) > NAMED else ""
        cut = "cut" if len(self.cuts) == 1 else "cuts"
        return [*self._notes, f"{cut} at {times} s{more} of the driver: each shot is measured from its own rest"]

    def _shrink(self, face: str) -> float:
        """Pixels of the frames that are tracked per pixel of the file; only boxes ask."""
        if "," not in face or max(self.info.width, self.info.height) < SIDE:
            return 1.0
        with VideoReader(self.path) as reader:
            return self.info.width / reader.info.width

    def _beginning(self) -> Iterator[VideoFrame]:
        """A few frames of the first that are looked over."""
        return _first(self._reader)

    def _looked_over(self, face: str, reference: int | None) -> Arrays:
        """What looking the clip over tells, as `_begun` takes it: whose face it is, the first frames tracked, the
        others glanced at."""
        if self._box is None:
            self._near, self._notes = whose(self._beginning(), face, self.name, self._shrink(face))
        places: list[int] = []
        greys: list[NDArray[np.uint8]] = []
        first = 0
        over = False
        glances: Future[list[_Glance]] | None = None
        known: list[NDArray[np.float64] | None] = []

        def note(frame: VideoFrame, points: NDArray[np.float64] | None) -> None:
            nonlocal glances
            known.append(points)
            if frame.index % 24 == 0:
                greys.append(thumbnail(frame.grey))
            if frame.index == reference and points is None:
                raise FaceNotFoundError(f"{option('reference')} {reference}: no face in that frame of {self.path.name}")
            if glances is None and usual:
                glances = beside.submit(self._glances, AHEAD / self.fps, greys, stop)

        # Where it is known how much will be tracked, the others are glanced at meanwhile.
        usual = (self.frames or 0) > AHEAD and (reference is None or reference < AHEAD)
        last, stop = -1, Event()
        looked = self._looked(note)
        with ThreadPoolExecutor(1, "infinex-glances") as beside:
            try:
                for _, seen in looked:
                    last = seen.index
                    if seen.points is not None and not over:
                        if places and seen.shot != first:
                            over = True
                        elif len(places) < AHEAD or reference is not None:
                            first = seen.shot
                            places.append(seen.index)
                    if last + 1 >= AHEAD and (reference is None or reference <= last):
                        break
            finally:
                looked.close()
                if over or not places or last + 1 != AHEAD:
                    stop.set()  # they are of no use
        if reference is not None and reference > last:
            raise InputError(f"{option('reference')} {reference}: {self.path.name} has only {last + 1} frames")
        if not places:
            raise FaceNotFoundError(f"no face found in {self.path.name}; use a clip that shows a face clearly")
        others: list[NDArray[np.float64]] = []
        if not over:
            place = Glimpse(0, greys[0])
            place.see(known[places[-1]])
            if glances is not None and last + 1 == AHEAD:
                beyond = glances.result()
            else:
                beyond = self._glances((last + 1) / self.fps, greys, Event())
            for n, glance in enumerate(beyond):
                if not _like(glance.grey, greys) or not glance.found():
                    continue
                glance.frame.picture.pack()
                self._glanced[n] = glance.frame
                others.append(min(glance.found(), key=lambda p: _away(place, glance.grey, p)))
        nobody = np.full((POINTS, 3), np.nan)
        return (
            np.array([] if self._near is None else self._near, np.float64),
            np.array([n.marked if isinstance(n, Note) else n for n in self._notes], np.str_),
            np.stack([nobody if p is None else p for p in known]),
            np.array(places),
            np.array([first, last]),
            np.array(list(self._glanced), np.int64),
            np.array(others, np.float64).reshape(-1, POINTS, 3),
        )

    def _begun(self, found: Arrays, reference: int | None) -> None:
        """Take over what looking the clip over told, in this run or in an earlier one."""
        near, notes, known, at, (first, last), order, others = found
        self._near = tuple(near.tolist()) if near.size else None
        self._notes = [Note(n) for n in notes.tolist()]
        self._known = [None if np.isnan(p[0, 0]) else p for p in known]
        self._first, self._scouted = int(first), (int(last) + 1) / self.fps
        places = [*at.tolist(), *[-1] * len(order)]
        tracks = [*known[at], *others]
        penalty = [0.0] * len(at) + [GLANCE_PENALTY] * len(order)
        images = {len(at) + i: n for i, n in enumerate(order.tolist())}
        chosen = places.index(reference) if reference in places else None
        self._seen = tracks, places, penalty, images, chosen

    def _beyond(self, seen_for: float) -> Iterator[VideoFrame]:
        """A few frames of the clip beyond the first `seen_for` seconds that are used: also of what is not used of it,
        as a part may begin and end with the mouth open."""
        if self.span == WHOLE:
            total = self.info.duration or 0.0
            if total > seen_for + 1 and round(seen_for * self.fps) >= AHEAD:
                yield from self._reader.sample(list(np.linspace(seen_for, total, GLANCES + 2)[1:-1]))
            return
        with VideoReader(self.path, self._reader.keep_readable, SIDE) as reader:
            begin = self.span[0]
            spared = max(0, AHEAD - round(seen_for * self.fps)) // 3  # a short part leaves time to look at more
            times = np.linspace(0, reader.info.duration or 0.0, GLANCES + spared + 2)[1:-1]
            yield from reader.sample([float(t) for t in times if not begin <= t < begin + seen_for])

    def _glances(self, seen_for: float, greys: list[NDArray[np.uint8]], stop: Event) -> list[_Glance]:
        """Frames beyond the first `seen_for` seconds, until `stop` is set. Faces are looked for in those that are like
        the first shot, as far as its `greys` are known."""
        out = []
        for frame in self._beyond(seen_for):
            if stop.is_set():
                break
            frame.picture.waits = True
            glance = _Glance(frame, thumbnail(frame.grey))
            if _like(glance.grey, list(greys)):
                glance.found()
            frame.picture.pack()
            out.append(glance)
        return out

    def settle(  # type: ignore[override]
        self, near: Pose | None = None, match: NDArray[np.float64] | None = None
    ) -> VideoDriver:
        """Choose the reference frame: near the portrait's pose, or most like its canonical face `match`."""
        tracks, places, penalty, images, chosen = self._seen
        self._aim = near, match
        # Glances are far from one another.
        moments = [p / self.fps if p >= 0 else -60.0 * (i + 1) for i, p in enumerate(places)]
        self.rest, index = choose_rest(tracks, near, match, chosen, penalty, moments)
        self.rest_points = tracks[index]
        self.reference = places[index]
        frame = self._glance(images[index]) if index in images else self._frame(int(self.reference))
        self._rest_grey, self.rest_image = frame.grey, frame.image
        return self

    def _glance(self, order: int) -> VideoFrame:
        """A frame that was glanced at."""
        if order not in self._glanced:
            self._glanced[order] = next(islice(self._beyond(self._scouted), order, None))
        return self._glanced[order]

    def _frame(self, index: int) -> VideoFrame:
        for frame in self._reader:
            if frame.index >= index:
                break
        return frame

    def _looked(
        self,
        note: Callable[[VideoFrame, NDArray[np.float64] | None], None],
        breaks: Callable[[Break], None] | None = None,
    ) -> Generator[tuple[VideoFrame, _Seen], None, None]:
        """All frames, some behind those that are tracked, so that their shots are known.

        What is known already is not tracked again. `note` is given every frame with its landmarks as it is tracked,
        `breaks` every break as it is found."""
        shots = Shots(self.fps)
        held: deque[tuple[VideoFrame, _Seen]] = deque()
        shot = part = 0

        def mark(found: list[Break]) -> None:
            for b in found:
                for _, seen in held:
                    if seen.index in b.mixed:
                        seen.points = None  # two faces at once are none
                    if seen.index == b.index:
                        seen.begins = b.kind
                if breaks is not None:
                    breaks(b)

        def numbered(frame: VideoFrame, seen: _Seen) -> tuple[VideoFrame, _Seen]:
            nonlocal shot, part
            shot += seen.begins == "cut"
            part += seen.begins is not None
            return frame, replace(seen, shot=shot, part=part)

        known = len(self._known)
        before = next((p for p in reversed(self._known) if p is not None), None)
        near = self._near if before is None else Face(before).box
        with FaceTracker(self._box, near) as tracker:
            last_grey: NDArray[np.uint8] | None = None
            last: NDArray[np.float64] | None = None
            for frame in self._reader:
                frame.picture.waits = True
                grey = frame.grey
                anew = shots.picture(frame.index, thumbnail(grey))
                if frame.index < known:
                    points = self._known[frame.index]
                    last_grey = None
                elif last_grey is not None and _same_picture(grey.plane, last_grey):
                    points = last  # a still picture has a still face
                else:
                    face = tracker(frame.picture, anew)
                    points = None if face is None else face.landmarks
                    last_grey, last = grey.plane, points
                held.append((frame, _Seen(frame.index, points)))
                mark(shots.face(points))
                note(frame, points)
                frame.picture.pack()
                while len(held) > shots.reach:
                    yield numbered(*held.popleft())
        mark(shots.close())
        while held:
            yield numbered(*held.popleft())

    def _streamed(self) -> Iterator[tuple[VideoFrame, _Seen]]:
        """Every frame with what is known of it, while `self._coming` holds what is known of those that follow."""
        self._pictures: dict[int, VideoFrame] = {}  # of later shots, one in `EVERY`
        self._wanted: list[int] = []  # first frames of shots that have no rest yet

        def note(frame: VideoFrame, points: object) -> None:
            if frame.index % EVERY == 0 and points is not None:
                self._pictures[frame.index] = frame
            oldest = min([frame.index - 2 * EVERY - reach, *self._wanted])
            for i in [i for i in self._pictures if i < oldest]:
                del self._pictures[i]

        def found(b: Break) -> None:
            if b.kind == "cut":
                self._wanted.append(b.index)

        reach = Shots(self.fps).reach
        looked = self._looked(note, found)
        self._coming: deque[_Seen] = deque()
        frames: deque[VideoFrame] = deque()
        gone: float | None = None
        time = 0.0

        def pull() -> bool:
            item = next(looked, None)
            if item is not None:
                frames.append(item[0])
                self._coming.append(item[1])
            return item is not None

        try:
            while self._coming or pull():
                frame, seen = frames.popleft(), self._coming[0]
                # Frames are large: only where a shot begins are many needed at once, to choose its rest from.
                while (seen.shot != self._shot or seen.points is None) and self._coming[-1].index < seen.index + AHEAD:
                    if not pull():
                        break
                time = frame.time
                if seen.points is None and gone is None:
                    gone = time
                elif seen.points is not None and gone is not None:
                    if time - gone >= LONG:
                        self.lost.append((gone, time))
                    gone = None
                yield frame, seen
                self._coming.popleft()
        finally:
            looked.close()
        if gone is not None and time - gone >= LONG:
            self.lost.append((gone, time))

    def _begin(self, frame: VideoFrame, seen: _Seen) -> tuple[Shot, Grey]:
        """The rest of a later shot, from its first frames, and its picture without colours."""
        mine = [s for s in self._coming if s.shot == seen.shot and s.points is not None][:AHEAD]
        pictures = {**self._pictures, frame.index: frame}
        indices = [s.index for s in mine]
        tracks = [s.points for s in mine if s.points is not None]
        chosen = indices.index(self._reference) if self._reference in indices else None
        penalty = [0.0 if i in pictures else np.inf for i in indices]
        rest, at = choose_rest(tracks, *self._aim, chosen, penalty, [i / self.fps for i in indices])
        shown = pictures.get(indices[at]) or self._frame(indices[at])
        self._wanted = [w for w in self._wanted if w > frame.index]
        grey = shown.grey
        return Shot(rest, shown.image, tracks[at]), grey

    def __iter__(self) -> Iterator[Drive]:
        """Drives, one a frame."""
        assert self.rest_image is not None, "settle() comes first"
        self.lost, self.cuts = [], []
        self._glanced.clear()  # frames are large, and the rest is chosen
        first = Shot(self.rest, self.rest_image, self.rest_points)
        setup = _Setup(first, self._rest_grey, self.fps, self._smooth, self._flow)
        self._shot = self._first
        known: deque[_Setup] = deque(maxlen=SETUPS)
        last: Move | None = None
        for _, group in groupby(self._streamed(), key=lambda item: item[1].part):
            start = None
            for frame, seen in group:
                if seen.points is not None:
                    start = frame, seen
                    break
                # Nobody there yet: what was last is held, or what will be first.
                coming = next((s.points for s in self._coming if s.points is not None), None)
                if last is None and coming is not None:
                    last = setup.capture.move(setup.capture.state(coming), 0.0, False)
                last = last or setup.capture.move(setup.capture.state(setup.points), 0.0, False)
                yield Drive(replace(last, time=frame.index / self.fps, valid=False))
            if start is None:
                continue
            frame, seen = start
            begins: Shot | None = None
            if seen.shot != self._shot:
                known.append(setup)
                look = Glimpse(frame.index, thumbnail(frame.grey))
                look.see(seen.points)
                old = next((s for s in reversed(known) if _returned(s.last, look)), None)
                setup = old or _Setup(*self._begin(frame, seen), self.fps, self._smooth, self._flow)
                setup.camera = Camera()
                self._shot, begins = seen.shot, setup.shot
                self.cuts.append(frame.index / self.fps)
            if setup.measured is not None:
                setup.measured.anew()
            for drive in self._part(setup, chain([start], group), frame.index):
                last = drive.move
                yield replace(drive, begins=begins) if begins is not None else drive
                begins = None

    def _part(self, setup: _Setup, frames: Iterator[tuple[VideoFrame, _Seen]], first: int) -> Iterator[Drive]:
        """Drives of a stretch that is smoothed as one and begins with a face, in frame `first`."""
        measured = setup.measured

        def sightings() -> Iterator[tuple[Sighting, _Watched]]:
            for frame, seen in frames:
                closer = seen.points
                if closer is not None:
                    setup.ended = frame, closer
                    if measured is not None:
                        closer = measured.landmarks(frame.grey, closer)
                yield Sighting(closer), _Watched(frame, seen.points)

        def beyond(
            watched: _Watched, points: NDArray[np.float64], pose: Pose, still: Pose, valid: bool
        ) -> NDArray[np.float64]:
            assert measured is not None and watched.frame is not None
            shown = None
            if valid and watched.points is not None:
                image, (x, y) = watched.close
                shown = image, points - [x, y, 0]
            found = measured.beyond(watched.frame.grey, shown, pose, still)
            if self.closely and (shown is not None or watched.points is None):
                watched.frame = None  # some more wait for those that follow
            return found

        moves = setup.capture.moves(sightings(), None if measured is None else beyond, first, setup.camera)
        for move, _, watched in moves:
            if watched.points is None or not move.valid:
                yield Drive(move)
            elif self.closely:
                image, (x, y) = watched.close
                yield Drive(move, image, watched.points - [x, y, 0])
            else:
                assert watched.frame is not None
                yield Drive(move, watched.frame.image, watched.points)


def _like(grey: NDArray[np.uint8], greys: Sequence[NDArray[np.uint8]]) -> bool:
    """Whether a thumbnail shows what one of some others does."""
    return any(likeness(g, grey) >= OTHER for g in greys)


def _away(place: Glimpse, grey: NDArray[np.uint8], points: NDArray[np.float64]) -> float:
    """How far a face in another frame is from where one was seen."""
    look = Glimpse(-1, grey)
    look.see(points)
    return float(apart(place, look)[0])


def _first(reader: VideoReader) -> Iterator[VideoFrame]:
    step = max(1, AHEAD // SAMPLES)
    for frame in reader:
        if frame.index >= AHEAD:
            return
        if frame.index % step == 0:
            yield frame


def faces_in(path: str | Path, keep_readable: bool = False, start: float = 0.0, end: float | None = None) -> int:
    """How many faces a clip begins with: those that `driver_face` numbers from the left."""
    with VideoReader(path, keep_readable, SIDE, start=start, end=end) as reader:
        return len(people(_first(reader)))


def _returned(last: Glimpse | None, now: Glimpse) -> bool:
    """Whether a shot shows what an earlier one showed when it ended: the same person, framed in the same way."""
    if last is None or last.grey.shape != now.grey.shape or likeness(last.grey, now.grey) < BACK:
        return False
    place, size, shape = apart(last, now)
    return place < 0.5 and size < 0.12 and shape < 0.06
