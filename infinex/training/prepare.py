"""From raw videos to a training set: checked, cut to one face, split by identity, with a reason for every refusal.

    DATASET/manifest.csv    one row per clip or refused file
    DATASET/clips/          square clips around one face, one fixed crop per shot, sound kept
    DATASET/.prepare.sqlite what is done already; a run that was killed goes on from there

A file is examined by one worker, in two passes over its frames, and its outcome is written in one transaction after
its clips: no file is lost or counted twice. Memory holds the files under way and one row per identity.

Checks, in the order of the paper: FFprobe's verdict, successive frames that are identical (mean squared error), then
what training needs: a length, one face, no cut inside a clip.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import logging
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error
import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.errors import InfinexError, InputError, MissingDependencyError, OutputError
from infinex.face.tracker import FaceFinder
from infinex.media.audio import iter_audio, write_wav
from infinex.media.files import atomic_path, writable_target
from infinex.media.sink import open_sink
from infinex.media.video import VideoReader, open_container, picture_stream
from infinex.training.data import MANIFEST, resized

Progress = Callable[[int, int | None], None]
Box = tuple[float, float, float, float]  # x0, y0, x1, y1

IDENTICAL = 0.02  # mean squared error, grey levels of 0..255, below which two frames are the same picture
IDENTICAL_SHARE = 0.6  # of a file's frames that repeat the one before: it is corrupt
CUT_CHANGE, CUT_COLOURS = 14.0, 0.85  # mean grey change and histogram overlap at a cut between shots
LOOKS = 4.0  # per second, for faces
MISSING, CROWDED = 0.34, 0.25  # shares of the looks with no face, and with a second one, that refuse a shot
SECOND = 0.45  # size of another face, of the main one's, that counts
SAME_PERSON = 0.50  # distance of embeddings; the network was trained for 0.6 on single photographs
COLUMNS = ["file", "clip", "split", "identity", "status", "reason", "start", "seconds", "frames", "fps", "width",
           "height", "audio", "box"]  # fmt: skip


@dataclass(frozen=True)
class PrepareOptions:
    """Choices of one preparation; see `infinex prepare --help`."""

    size: int = 256
    shortest: float = 1.0  # seconds
    longest: float = 60.0  # seconds; longer shots become several clips
    enlarge: float = 1.55  # of the union of the face boxes
    smallest: float = 0.2  # of a face's box, of the clip's size, in source pixels
    quality: int = 17  # the encoder's constant rate factor
    held_out: float = 0.2  # share of the identities in the test split
    identities: str = "auto"  # folder, cluster, or a CSV file; auto: folder where there are folders, else cluster
    layout: str = "plain"  # or voxceleb
    workers: int = 0  # 0: one per core
    ray: str = ""  # address of a Ray cluster; "local" starts one here

    def check(self) -> None:
        """Raise InputError for a choice that does not exist."""
        if not 32 <= self.size <= 2048 or self.size % 2:
            raise InputError(f"--size {self.size}: an even number from 32 to 2048")
        if not 0 < self.shortest <= self.longest:
            raise InputError(f"--shortest {self.shortest}: it is above 0 and at most --longest {self.longest}")
        if not 0 <= self.held_out < 1:
            raise InputError(f"--held-out {self.held_out}: it goes from 0 to below 1")
        if self.layout not in ("plain", "voxceleb"):
            raise InputError(f"--layout {self.layout}: it is plain or voxceleb")
        if self.identities not in ("auto", "folder", "cluster") and not Path(self.identities).is_file():
            raise InputError(f"--identities {self.identities}: folder, cluster, or a CSV file with path and identity")


class Job(NamedTuple):
    """One file to examine, or one stretch of it that an annotation marks."""

    key: str  # unique, and in the order of the manifest
    path: str
    name: str  # of its clips
    identity: str  # "" if it is not known beforehand
    stretch: tuple[float, float, Box] | None  # seconds, and a box in fractions of the picture


@dataclass
class Outcome:
    """What became of a job."""

    key: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    embeddings: list[list[float]] = field(default_factory=list)  # one per row that is ok


@dataclass
class Look:
    """What is known of a shot."""

    first: int  # frame
    last: int  # one behind the end
    boxes: list[Box] = field(default_factory=list)
    looks: int = 0
    crowded: int = 0


class Refused(Exception):  # noqa: N818  (no error of ours: an answer)
    """Why a file is not used."""


# -- one file --------------------------------------------------------------------------------------


def verdict(path: Path) -> None:
    """Protection, FFprobe's exit code where the program is here, and what PyAV's demuxing says. Raises Refused."""
    if path.stat().st_size == 0:
        raise Refused("empty")
    if _has_protection(path):  # before FFprobe, which may call such a file corrupt
        raise Refused("encrypted")
    program = shutil.which("ffprobe")
    if program:
        command = [program, "-v", "error", "-show_entries", "stream=codec_type", "-of", "csv=p=0", f"file:{path}"]
        try:
            done = subprocess.run(command, capture_output=True, timeout=120, stdin=subprocess.DEVNULL, text=True)
        except subprocess.TimeoutExpired:
            raise Refused("corrupt: ffprobe does not come to an end") from None
        if done.returncode:
            raise Refused("corrupt: ffprobe cannot read it")
    try:
        with contextlib.closing(open_container(path)) as container:
            stream = picture_stream(container)
            if stream is None:
                kinds = {s.type for s in container.streams}
                raise Refused("no pictures, only sound" if kinds == {"audio"} else "no pictures that can be decoded")
            tags = {str(getattr(s.codec_context, "codec_tag", "")) for s in container.streams if s.codec_context}
            if tags & {"encv", "enca", "drmi", "drms"}:
                raise Refused("encrypted")
    except (av.error.FFmpegError, OSError, ValueError):
        raise Refused("corrupt: not a video that can be read") from None


def _has_protection(path: Path) -> bool:
    """Whether an MP4's sample entries say that its samples are encrypted (boxes encv, sinf and schm)."""
    with path.open("rb") as file:
        head = file.read(1 << 20)
        file.seek(max(0, path.stat().st_size - (1 << 20)))
        tail = file.read(1 << 20)
    return any(b"encv" in part and b"schm" in part for part in (head, tail))


def _histogram(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    counts = cv2.calcHist([image], [0, 1, 2], None, [6, 6, 6], [0, 256] * 3).ravel()
    return counts / max(1.0, float(counts.sum()))


def scan(path: Path, finder: FaceFinder | None) -> tuple[list[Look], VideoReader, int]:
    """Shots of a file and the faces in them; the reader, and the number of frames. Raises Refused.

    Without a finder there is no looking for faces."""
    try:
        reader = VideoReader(path)
    except InfinexError as error:
        raise Refused(_plain(error, path)) from None
    every = max(1, round(float(reader.info.fps) / LOOKS))
    shots = [Look(0, 0)]
    before: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]] | None = None
    same = count = 0
    brightest = 0.0
    try:
        for frame in reader:
            small = cv2.resize(frame.image, (64, 64), interpolation=cv2.INTER_AREA)
            # Repeated frames are looked for at full resolution, cuts in a thumbnail.
            grey = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
            brightest = max(brightest, float(small.max()))
            colours = _histogram(small)
            thumb = cv2.resize(grey, (64, 64), interpolation=cv2.INTER_AREA)
            if before is not None:
                same += float(np.square(grey - before[0]).mean()) < IDENTICAL
                change = float(np.abs(thumb - before[1]).mean())
                if change > CUT_CHANGE and float(np.minimum(colours, before[2]).sum()) < CUT_COLOURS:
                    shots.append(Look(count, count))
            before = grey, thumb, colours
            shot = shots[-1]
            if finder is not None and (count - shot.first) % every == 0:
                _look(finder, frame.image, shot)
            count += 1
            shot.last = count
    except InfinexError as error:
        raise Refused(_plain(error, path)) from None
    if count > 1 and same >= IDENTICAL_SHARE * (count - 1):
        raise Refused(f"corrupt: {same} of {count - 1} successive frames are identical")
    if brightest < 16:
        raise Refused("black")
    return shots, reader, count


def _plain(error: Exception, path: Path) -> str:
    """An error's text as a reason, without the file's name."""
    text = str(error).removeprefix(path.name).removeprefix(str(path)).strip(" :")
    text = text.split(";")[0]
    return text if text.startswith(("empty", "no ")) else f"corrupt: {text}"


def _look(finder: FaceFinder, image: NDArray[np.uint8], shot: Look) -> None:
    shot.looks += 1
    found = [b for b, score in finder.boxes(image) if score >= 0.5]
    if not found:
        return
    found.sort(key=lambda b: (b[0] - b[2]) * (b[3] - b[1]))
    points = finder.mesh(image, found[0])
    if points is None:
        return
    lo, hi = points[:468, :2].min(0), points[:468, :2].max(0)
    shot.boxes.append((float(lo[0]), float(lo[1]), float(hi[0]), float(hi[1])))
    sizes = [b[2] - b[0] for b in found]
    shot.crowded += len(sizes) > 1 and max(sizes[1:]) > SECOND * sizes[0]


def square_crop(boxes: Sequence[Box], width: int, height: int, enlarge: float) -> tuple[int, int, int]:
    """x, y and side of the square around the union of `boxes`, enlarged, inside a picture as far as it goes."""
    union = np.array(boxes)
    x0, y0 = union[:, :2].min(0)
    x1, y1 = union[:, 2:].max(0)
    side = min(enlarge * max(x1 - x0, y1 - y0), width, height)
    side = max(2, round(side))
    x = round(np.clip((x0 + x1 - side) / 2, 0, width - side))
    y = round(np.clip((y0 + y1 - side) / 2, 0, height - side))
    return int(x), int(y), int(side)


def _pieces(first: int, last: int, longest: int) -> list[tuple[int, int]]:
    count = -(-(last - first) // max(1, longest))
    edges = np.linspace(first, last, count + 1).round().astype(int)
    return [(int(a), int(b)) for a, b in pairwise(edges)]


def _cut_sound(path: Path, start: float, seconds: float, target: Path) -> None:
    """A stretch of a file's sound as 16-bit WAV, for a clip that does not begin where its file does."""
    rate = 44100

    def stretch() -> Iterator[NDArray[np.float32]]:
        skip, left = round(start * rate), round(seconds * rate)
        for part in iter_audio(path, rate):
            if skip >= len(part):
                skip -= len(part)
                continue
            piece = part[skip : skip + left]
            skip, left = 0, left - len(piece)
            yield piece
            if left <= 0:
                break

    write_wav(target, stretch(), rate)


def _write(
    reader: VideoReader, clips: list[tuple[Path, int, int, tuple[int, int, int]]], o: PrepareOptions
) -> list[list[NDArray[np.uint8]]]:
    """Write several clips in one pass; a few frames of each for the embedding."""
    shown: list[list[NDArray[np.uint8]]] = [[] for _ in clips]
    fps = reader.info.fps
    frames = iter(reader)
    frame = next(frames)
    for (target, first, last, (x, y, side)), keep in zip(clips, shown):
        while frame.index < first:
            frame = next(frames)
        with tempfile.TemporaryDirectory() as folder:
            audio: Path | None = None
            if reader.info.has_audio:
                audio = reader.path
                if first > 0 or reader.info.frames is None or last < reader.info.frames - 1:
                    audio = Path(folder) / "sound.wav"
                    _cut_sound(reader.path, first / float(fps), (last - first) / float(fps), audio)
                    audio = audio if audio.stat().st_size > 100 else None
            with open_sink(target, (o.size, o.size), fps, audio, quality=o.quality) as sink:
                wanted = set(np.linspace(first, last - 1, 5).astype(int)[1:-1].tolist())
                while True:
                    part = resized(np.ascontiguousarray(frame.image[y : y + side, x : x + side]), o.size)
                    sink.write(part)
                    if frame.index in wanted:
                        keep.append(part)
                    if frame.index == last - 1:
                        break
                    frame = next(frames)
    return shown


def _embedding(finder: FaceFinder, images: list[NDArray[np.uint8]]) -> list[float]:
    """Mean identity embedding of a few frames; empty where none can be made."""
    from infinex.face.identity import identity

    found = []
    for image in images:
        boxes = finder.boxes(image)
        points = finder.mesh(image, boxes[0][0]) if boxes else None
        if points is not None:
            found.append(identity(image, points))
    return np.mean(found, axis=0).tolist() if found else []


_finder: FaceFinder | None = None  # one per worker: loading it takes longer than a short clip


def _shared_finder() -> FaceFinder:
    global _finder
    if _finder is None:
        _finder = FaceFinder()
    return _finder


def examine(job: Job, out: str, o: PrepareOptions, embed: bool) -> Outcome:
    """Check one file and write its clips. The same job always gives the same clips under the same names."""
    cv2.setNumThreads(1)
    path, target = Path(job.path), Path(out)
    outcome = Outcome(job.key)
    blank: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {"file": job.key, "identity": job.identity}
    try:
        try:
            if not path.is_file():
                raise Refused("the video is missing")
            verdict(path)
            finder = _shared_finder() if job.stretch is None or embed else None
            shots, reader, _count = scan(path, finder if job.stretch is None else None)
        except OSError as error:
            raise Refused(f"cannot be read: {error.strerror or error}") from None
        with reader:
            info, fps = reader.info, float(reader.info.fps)
            if job.stretch is not None:
                start, end, box = job.stretch
                scaled = tuple(v * s for v, s in zip(box, (info.width, info.height) * 2))
                last = min(shots[-1].last, round(end * fps))
                shots = [Look(round(start * fps), last, [scaled], 1)]  # type: ignore[list-item]
            chosen: list[tuple[Path, int, int, tuple[int, int, int]]] = []
            rows = []
            for shot in shots:
                row = blank | {"start": round(shot.first / fps, 3), "seconds": round((shot.last - shot.first) / fps, 3)}
                if reason := _unfit(shot, fps, o):
                    rows.append(row | {"status": "rejected", "reason": reason})
                    continue
                for first, last in _pieces(shot.first, shot.last, int(o.longest * fps)):
                    crop = square_crop(shot.boxes, info.width, info.height, o.enlarge)
                    name = f"clips/{job.name}_{len(chosen):02d}.mp4"
                    chosen.append((target / name, first, last, crop))
                    rows.append(
                        blank
                        | {
                            "clip": name, "status": "ok", "start": round(first / fps, 3),
                            "seconds": round((last - first) / fps, 3), "frames": last - first, "fps": f"{fps:g}",
                            "width": o.size, "height": o.size, "audio": int(info.has_audio),
                            "box": " ".join(map(str, crop)),
                        }
                    )  # fmt: skip
            if all(r["status"] != "ok" for r in rows) and len({r["reason"] for r in rows}) == 1:
                raise Refused(rows[0]["reason"])
            frames = _write(reader, chosen, o)
            if embed:
                assert finder is not None
                outcome.embeddings = [_embedding(finder, images) for images in frames]
            outcome.rows = rows
    except Refused as refusal:
        outcome.rows = [blank | {"status": "rejected", "reason": str(refusal)}]
    return outcome


def _unfit(shot: Look, fps: float, o: PrepareOptions) -> str:
    """Why a shot is of no use; empty if it is."""
    if (shot.last - shot.first) / fps < o.shortest:
        return "too short" if shot.first == 0 else "too short between cuts"
    if not shot.boxes or 1 - len(shot.boxes) / shot.looks > MISSING:
        return "no face"
    if shot.crowded / shot.looks > CROWDED:
        return "several faces"
    if np.median([max(b[2] - b[0], b[3] - b[1]) for b in shot.boxes]) < o.smallest * o.size:
        return "face too small"
    return ""


# -- many files ------------------------------------------------------------------------------------


def clip_name(relative: str) -> str:
    """A file's path as a name for its clips, different for different paths."""
    stem = relative[:-4] if relative.lower().endswith(".mp4") else relative
    name = re.sub(r"[^A-Za-z0-9._-]", "_", stem.replace("/", "--"))
    if name != stem.replace("/", "--") or "--" in stem or name.startswith("."):
        name = f"{name.lstrip('.')}-{hashlib.sha1(relative.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"
    return name[-180:]


def _walk(folder: Path) -> Iterator[Path]:
    """Files below a folder in a fixed order, without hidden ones."""
    try:
        entries = sorted(os.scandir(folder), key=lambda e: e.name)
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}") from None
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(Path(entry.path))
        elif entry.is_file():
            yield Path(entry.path)


def plain_jobs(videos: Path, known: Callable[[str], str]) -> Iterator[Job]:
    """One job per file of a folder."""
    for path in _walk(videos):
        relative = path.relative_to(videos).as_posix()
        yield Job(relative, str(path), clip_name(relative), known(relative), None)


def read_annotation(path: Path) -> tuple[str, str, tuple[float, float], list[Box], bool]:
    """VoxCeleb's text file of one utterance: identity, video, seconds from and to, boxes, and whether they are
    fractions of the picture (VoxCeleb2) or pixels (VoxCeleb1). Frames count from 0 at 25 a second.

    Raises Refused where it is none."""
    head: dict[str, str] = {}
    frames: list[int] = []
    boxes: list[Box] = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            if ":" in line:
                key, _, value = line.partition(":")
                head[key.strip().lower()] = value.strip()
            elif re.match(r"\s*\d+\s", line):
                number, x, y, w, h = (float(v) for v in line.split()[:5])
                frames.append(int(number))
                boxes.append((x, y, x + w, y + h))
        if not frames:
            raise ValueError
        identity, reference = head["identity"], head["reference"]
    except (ValueError, KeyError, OSError):
        raise Refused("an annotation that cannot be read") from None
    fractions = max(max(b) for b in boxes) <= 2.0
    return identity, reference, (frames[0] / 25, (frames[-1] + 1) / 25), boxes, fractions


def voxceleb_jobs(folder: Path) -> Iterator[Job | Outcome]:
    """The jobs of a VoxCeleb folder: utterances below id*/ as they are, and those that .txt files mark in videos
    named by their reference."""
    videos: dict[str, Path] = {}
    texts = []
    for path in _walk(folder):
        relative = path.relative_to(folder).as_posix()
        identity = next((p for p in relative.split("/") if re.fullmatch(r"id\d{4,}", p)), "")
        if path.suffix == ".txt":
            texts.append((relative, path))
        elif identity:
            yield Job(relative, str(path), clip_name(relative), identity, None)
        else:
            videos[path.stem] = path
    for relative, path in texts:
        try:
            identity, reference, (start, end), boxes, fractions = read_annotation(path)
            video = videos.get(reference)
            if video is None:
                raise Refused(f"the video {reference} is missing")
            union = np.array(boxes)
            box = (*union[:, :2].min(0).tolist(), *union[:, 2:].max(0).tolist())
            if not fractions:
                with VideoReader(video) as reader:
                    w, h = reader.info.width, reader.info.height
                box = (box[0] / w, box[1] / h, box[2] / w, box[3] / h)
            yield Job(relative, str(video), clip_name(relative), identity, (start, end, box))
        except (Refused, InfinexError) as reason:
            blank = dict.fromkeys(COLUMNS, "")
            yield Outcome(relative, [blank | {"file": relative, "status": "rejected", "reason": str(reason)}])


class Ledger:
    """What is done, on disk; every outcome is one transaction."""

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(path)
            self._db.execute("create table if not exists done (key text primary key, stamp text, outcome text)")
            self._db.execute("create table if not exists about (name text primary key, value text)")
            self._db.commit()
        except sqlite3.DatabaseError as error:
            raise InputError(f"{path} is damaged ({error}); remove it to begin again") from None

    def settings(self, value: dict[str, Any]) -> None:
        """Remember the choices that shape clips. Raises InputError where the folder was begun with others."""
        text = json.dumps(value, sort_keys=True)
        row = self._db.execute("select value from about where name = 'settings'").fetchone()
        if row and row[0] != text:
            before = json.loads(row[0])
            what = next(k for k in value if before.get(k) != value[k])
            raise InputError(f"this folder was begun with {what} {before.get(what)}: finish so, or name another folder")
        with self._db:
            self._db.execute("insert or ignore into about values ('settings', ?)", (text,))

    def has(self, key: str, stamp: str) -> bool:
        """Whether this state of a file was examined."""
        row = self._db.execute("select stamp from done where key = ?", (key,)).fetchone()
        return row is not None and row[0] == stamp

    def add(self, outcome: Outcome, stamp: str) -> None:
        """Remember an outcome. Raises OutputError where it cannot be written."""
        try:
            with self._db:
                values = (outcome.key, stamp, json.dumps(asdict(outcome)))
                self._db.execute("insert or replace into done values (?, ?, ?)", values)
        except sqlite3.OperationalError as error:
            raise OutputError(f"the outcome cannot be written: {error}") from None

    def outcomes(self) -> Iterator[Outcome]:
        """All of them, by key."""
        for (text,) in self._db.execute("select outcome from done order by key"):
            yield Outcome(**json.loads(text))

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _stamp(job: Job) -> str:
    with contextlib.suppress(OSError):
        state = Path(job.path).stat()
        return f"{state.st_size} {state.st_mtime_ns}"
    return "missing"


Work = Callable[[Job], Outcome]


class _Call:
    """`examine` with everything but the job; picklable."""

    def __init__(self, out: Path, o: PrepareOptions, embed: bool) -> None:
        self.out, self.o, self.embed = str(out.absolute()), o, embed

    def __call__(self, job: Job) -> Outcome:
        return examine(job, self.out, self.o, self.embed)


def _crashed(job: Job) -> Outcome:
    blank = dict.fromkeys(COLUMNS, "") | {"file": job.key, "identity": job.identity}
    return Outcome(job.key, [blank | {"status": "rejected", "reason": "corrupt: it crashes the decoder"}])


def local_pool(jobs: Iterator[Job], work: Work, workers: int) -> Iterator[tuple[Job, Outcome]]:
    """Outcomes as they come, a bounded number of jobs under way. A file that kills its worker is refused."""
    import multiprocessing

    context = multiprocessing.get_context("spawn")  # no worker inherits threads of the face networks

    def alone(job: Job) -> Outcome:
        with ProcessPoolExecutor(1, context) as pool:
            try:
                return pool.submit(work, job).result()
            except BrokenProcessPool:
                return _crashed(job)

    pool = ProcessPoolExecutor(workers, context)
    under_way: dict[Future[Outcome], Job] = {}
    jobs = iter(jobs)
    try:
        while True:
            while len(under_way) < 3 * workers and (job := next(jobs, None)) is not None:
                under_way[pool.submit(work, job)] = job
            if not under_way:
                return
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            broken = False
            for future in done:
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    broken = True
                    continue
                yield under_way.pop(future), outcome
            if broken:  # which of them did it, only a worker of its own can tell
                pool.shutdown(wait=True, cancel_futures=True)
                for job in list(under_way.values()):
                    yield job, alone(job)
                under_way.clear()
                pool = ProcessPoolExecutor(workers, context)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def ray_pool(jobs: Iterator[Job], work: Work, address: str) -> Iterator[tuple[Job, Outcome]]:
    """The same on a Ray cluster whose machines share the folders."""
    try:
        import ray
    except ImportError:
        raise MissingDependencyError("--ray needs Ray: pip install ray") from None
    try:
        ray.init(address=None if address == "local" else address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray refuses by many kinds of error
        raise InputError(f"--ray {address}: {str(error).splitlines()[0]}") from None
    try:
        remote: Any = ray.remote(max_retries=1)(lambda job: work(job))
        limit = max(2, 3 * int(ray.cluster_resources().get("CPU", 1)))
        under_way: dict[Any, Job] = {}
        jobs = iter(jobs)
        while True:
            while len(under_way) < limit and (job := next(jobs, None)) is not None:
                under_way[remote.remote(job)] = job
            if not under_way:
                return
            done, _ = ray.wait(list(under_way), num_returns=1)
            for reference in done:
                job = under_way.pop(reference)
                try:
                    yield job, ray.get(reference)
                except ray.exceptions.WorkerCrashedError:
                    yield job, _crashed(job)
    finally:
        ray.shutdown()


# -- identities ------------------------------------------------------------------------------------


def read_identities(path: Path) -> Callable[[str], str]:
    """Identities of a CSV file with the columns path and identity; paths match from their ends."""
    table: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                table[row["path"].strip().replace("\\", "/")] = row["identity"].strip()
    except (KeyError, AttributeError, UnicodeDecodeError, csv.Error):
        raise InputError(f"{path}: a CSV file with the columns path and identity is wanted") from None
    names: dict[str, str | None] = {}
    for key, identity in table.items():
        name = key.rpartition("/")[2]
        names[name] = identity if names.get(name, identity) == identity else None  # None: two people's files

    def known(relative: str) -> str:
        identity = table.get(relative) or names.get(relative.rpartition("/")[2])
        return identity or ""

    return known


class People:
    """Groups embeddings by person, one centre each: a clip joins the nearest centre within `SAME_PERSON`."""

    def __init__(self) -> None:
        self._centres = np.zeros((0, 128))
        self._counts: list[int] = []

    def __call__(self, embedding: list[float]) -> str:
        e = np.array(embedding)
        if len(self._counts):
            distance = np.linalg.norm(self._centres[: len(self._counts)] - e, axis=1)
            best = int(distance.argmin())
            if distance[best] < SAME_PERSON:
                n = self._counts[best]
                self._centres[best] = (self._centres[best] * n + e) / (n + 1)
                self._counts[best] = n + 1
                return f"person-{best:05d}"
        if len(self._counts) == len(self._centres):
            self._centres = np.vstack([self._centres, np.zeros((max(64, len(self._centres)), len(e)))])
        self._centres[len(self._counts)] = e
        self._counts.append(1)
        return f"person-{len(self._counts) - 1:05d}"


def _named(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """Rows with identities: those known, else by clustering in the order of the files."""
    people = People()
    for outcome in ledger.outcomes():
        embeddings = iter(outcome.embeddings)
        for row in outcome.rows:
            if row["status"] == "ok":
                embedding = next(embeddings, [])
                if not row["identity"]:
                    # A clip nobody can tell apart stands for itself.
                    row["identity"] = people(embedding) if embedding else f"clip-{Path(row['clip']).stem}"
            yield row


def held_out(identities: set[str], share: float) -> set[str]:
    """Who is in the test split: those whose names hash lowest, so that it does not depend on the order of files."""
    ordered = sorted(identities, key=lambda i: hashlib.sha1(i.encode("utf-8", "surrogateescape")).hexdigest())
    count = round(share * len(ordered))
    if share > 0 and len(ordered) > 1:
        count = min(max(1, count), len(ordered) - 1)
    return set(ordered[:count])


# -- the whole -------------------------------------------------------------------------------------


@dataclass
class PrepareSummary:
    """What a preparation came to."""

    output: str
    files: int
    clips: int
    seconds: float  # of usable film
    identities: int
    train: int  # clips
    test: int
    rejected: dict[str, int]  # by reason
    warnings: list[str]


def prepare(
    videos: str | Path, dataset: str | Path, options: PrepareOptions | None = None, progress: Progress | None = None
) -> PrepareSummary:
    """Make a training set of every video below a folder; run again, it goes on where it stopped.

    Raises InfinexError for what the user can mend, among it a folder without a usable clip."""
    o = options or PrepareOptions()
    o.check()
    videos, dataset = Path(videos), Path(dataset)
    if not videos.is_dir():
        raise InputError(f"{videos}: a folder of videos is wanted")
    if dataset.exists() and not dataset.is_dir():
        raise OutputError(f"{dataset} is a file; a folder is wanted")
    if dataset.resolve() == videos.resolve() or videos.resolve() in dataset.resolve().parents:
        raise OutputError("the data set must lie outside the folder of videos")
    if not dataset.is_dir():
        writable_target(dataset, folder=True)
    elif any(dataset.iterdir()) and not (dataset / ".prepare.sqlite").is_file():
        raise OutputError(f"{dataset} exists and is no data set of infinex prepare")
    known, embed = _identities(videos, o)
    (dataset / "clips").mkdir(parents=True, exist_ok=True)
    for left in (dataset / "clips").glob(".*.part*"):  # of a run that was killed
        left.unlink(missing_ok=True)
    ledger = Ledger(dataset / ".prepare.sqlite")
    try:
        shaping = ("size", "shortest", "longest", "enlarge", "smallest", "quality", "layout")
        ledger.settings({k: getattr(o, k) for k in shaping} | {"videos": str(videos.resolve()), "embedded": embed})
        seen = [0, 0]  # files found, files done

        def pending() -> Iterator[Job]:
            found = voxceleb_jobs(videos) if o.layout == "voxceleb" else plain_jobs(videos, known)
            for job in found:
                seen[0] += 1
                if isinstance(job, Outcome):
                    ledger.add(job, "")
                    seen[1] += 1
                elif ledger.has(job.key, _stamp(job)):
                    seen[1] += 1
                else:
                    yield job

        work = _Call(dataset, o, embed)
        pool = ray_pool(pending(), work, o.ray) if o.ray else local_pool(pending(), work, o.workers or _cores())
        with contextlib.closing(pool) as outcomes:  # type: ignore[type-var]
            for job, outcome in outcomes:
                ledger.add(outcome, _stamp(job))
                seen[1] += 1
                if progress:
                    progress(seen[1], max(seen))
        if not seen[0]:
            raise InputError(f"{videos} holds no file")
        return _finish(dataset, ledger, o)
    finally:
        ledger.close()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _identities(videos: Path, o: PrepareOptions) -> tuple[Callable[[str], str], bool]:
    """How a file's identity is known beforehand, and whether embeddings are needed for the others."""
    if o.layout == "voxceleb":
        return (lambda relative: ""), False
    folders = any(e.is_dir() and not e.name.startswith(".") for e in os.scandir(videos))
    kind = o.identities
    if kind == "auto":
        kind = "folder" if folders else "cluster"
    if kind == "folder":
        return (lambda relative: relative.partition("/")[0] if "/" in relative else Path(relative).stem), False
    known = (lambda relative: "") if kind == "cluster" else read_identities(Path(o.identities))
    if kind != "cluster":
        unknown = next((p for p in _walk(videos) if not known(p.relative_to(videos).as_posix())), None)
        if unknown is None:
            return known, False
    from infinex.face.identity import identity_network

    try:
        identity_network()
    except MissingDependencyError:
        raise MissingDependencyError(
            "telling people apart needs: pip install face_recognition_models dlib-bin "
            "(or name them: --identities folder, or a CSV file that has every file)"
        ) from None
    return known, True


def _finish(dataset: Path, ledger: Ledger, o: PrepareOptions) -> PrepareSummary:
    """Write the manifest; two passes over the ledger, so that only names of people are held."""
    everyone = {row["identity"] for row in _named(ledger) if row["status"] == "ok"}
    test = held_out(everyone, o.held_out)
    reasons: Counter[str] = Counter()
    last, count, splits, film = "", 0, Counter[str](), 0.0
    with (
        atomic_path(dataset / MANIFEST) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        for row in _named(ledger):
            count += row["file"] != last  # rows of one file follow each other
            last = row["file"]
            if row["status"] == "ok":
                row["split"] = "test" if row["identity"] in test else "train"
                splits[row["split"]] += 1
                film += float(row["seconds"])
            else:
                reasons[re.sub(r"\d[\d.]*", "N", row["reason"].partition(":")[0])] += 1
            table.writerow(row)
    warnings = []
    if len(everyone) == 1 and o.held_out > 0:
        warnings.append("there is one person only: nobody can be held back")
    summary = PrepareSummary(
        str(dataset), count, sum(splits.values()), round(film, 1), len(everyone), splits["train"], splits["test"],
        dict(reasons.most_common()), warnings,
    )  # fmt: skip
    if not summary.clips:
        why = ", ".join(f"{k} {v}" for k, v in reasons.most_common(4))
        raise InputError(f"no usable clip in {count} files: {why}; {dataset / MANIFEST} has a reason for each")
    return summary
