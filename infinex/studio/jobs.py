"""The queue: bounded, first come first served, one worker process for every group of cores."""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import multiprocessing
import os
import secrets
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from infinex.studio.checks import friendly
from infinex.studio.cost import Pace, Work
from infinex.studio.place import read_record, write_record
from infinex.studio.settings import Settings
from infinex.studio.worker import Task, work

State = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
ENDED = ("done", "failed", "cancelled", "interrupted")
RECORD = "job.json"
HERE = "{here}"  # stands for a job's folder in its record
INTERRUPTED = "The studio ended while this was being made; it can be made again."
LEFT = "Nobody waited for this any more, so it was stopped."
STARTING = 600.0  # seconds a worker may take to start; one that died is seen at once
log = logging.getLogger("infinex.studio")


class QueueFullError(Exception):
    """No more jobs are taken just now."""


@dataclass
class Job:
    """One animation, from the moment it is handed in until its files are removed."""

    id: str
    owner: str | None  # the visitor's session; None: whoever knows the id
    folder: Path
    format: str = "mp4"
    label: str = ""
    kind: str = ""  # of its driver
    name: str = ""  # says what is inside, fit for a file
    portrait: str | None = None  # the id of one of the library
    batch: str | None = None
    clear: bool = False  # its result is transparent
    shared: str = ""  # the secret of a link to its result
    callback: str | None = None  # the address that is told of its end
    created: float = field(default_factory=time.time)
    task: Task | None = None
    work: Work | None = None
    state: State = "queued"
    done: int = 0
    total: int | None = None
    message: str | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    started: float | None = None
    first: float | None = None  # when its first frame was done
    ended: float | None = None
    seen: float = field(default_factory=time.monotonic)  # when its visitor last asked for it
    lock: threading.Lock = field(default_factory=threading.Lock)  # of the making of other formats
    changes: int = 0  # grows with everything that a visitor sees of it

    @property
    def progress(self) -> float:
        """0..1."""
        if self.state == "done":
            return 1.0
        return min(0.99, self.done / self.total) if self.total else 0.0

    @property
    def seconds_left(self) -> float | None:
        """An estimate from the speed so far; None where nothing can be said."""
        if self.state != "running" or self.first is None or not self.total or self.done < 3:
            return None
        speed = (self.done - 1) / max(1e-3, time.time() - self.first)
        return max(0.0, (self.total - self.done) / speed)

    def save(self) -> None:
        """Write it down, so that it is found after a restart."""
        record: dict[str, Any] = {k: getattr(self, k) for k in KEPT}
        record["task"] = (
            None
            if self.task is None
            else json.loads(json.dumps(asdict(self.task)).replace(json.dumps(str(self.folder))[1:-1], HERE))
        )
        record["work"] = None if self.work is None else asdict(self.work)
        write_record(self.folder / RECORD, record)

    @staticmethod
    def load(folder: Path) -> Job | None:
        """A job of an earlier run; None where it cannot be used."""
        record = read_record(folder / RECORD)
        if record is None or not all(k in record for k in (*KEPT, "task", "work")):
            return None
        try:
            job = Job(folder=folder, **{k: record[k] for k in KEPT})
            if record["task"] is not None:
                here = json.dumps(str(folder))[1:-1]
                job.task = Task(**json.loads(json.dumps(record["task"]).replace(HERE, here)))
            job.work = None if record["work"] is None else Work(**record["work"])
        except (TypeError, ValueError):
            return None
        if job.state not in ENDED:
            job.state, job.message, job.ended = "interrupted", INTERRUPTED, time.time()
            job.save()
        return job if job.state in ("done", "interrupted") and (job.state != "done" or job.output.exists()) else None

    @property
    def output(self) -> Path:
        """The file that the job makes."""
        return self.folder / ("result.png.zip" if self.format == "png" else f"result.{self.format}")


KEPT = ("id", "owner", "format", "label", "kind", "name", "portrait", "batch", "clear", "shared", "callback", "created",
        "state", "message", "summary", "ended")  # fmt: skip


class _Worker:
    """A process that does one task at a time."""

    def __init__(self, cores: list[int], folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # it shares its cores with other workers
        self.process = context.Process(target=work, args=(theirs, cores, str(folder)), daemon=True)
        self.process.start()
        theirs.close()
        self.ready = False

    def alive(self) -> bool:
        return self.process.is_alive()

    def stop(self) -> None:
        """End the process, at once."""
        with contextlib.suppress(OSError):
            self.pipe.close()
        if self.process.is_alive():
            self.process.kill()
        self.process.join(timeout=10)


class Queue:
    """Jobs in order. Every method may be called from any thread."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.pace = Pace()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self.on_end: Callable[[Job], None] | None = None  # told of every job that has ended
        self._restore()
        self._waiting: list[Job] = []
        self._reserved = 0
        self._changed = threading.Condition(threading.RLock())
        self._closed = False
        self._cancel: dict[str, str] = {}  # jobs to be stopped, and why
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        groups = [cores[i :: settings.workers] for i in range(settings.workers)] if settings.workers > 1 else [[]]
        self._threads = [
            threading.Thread(target=self._serve, args=(group, _Worker), daemon=True, name="infinex-job")
            for group in groups
        ]
        self._threads.append(threading.Thread(target=self._sweep, daemon=True, name="infinex-sweep"))
        for thread in self._threads:
            thread.start()

    def _restore(self) -> None:
        """Find the jobs of an earlier run."""
        folder = self.folder / "jobs"
        found = []
        for one in folder.iterdir() if folder.is_dir() else ():
            job = Job.load(one)
            if job is None:
                shutil.rmtree(one, ignore_errors=True)
            else:
                found.append(job)
        for job in sorted(found, key=lambda j: j.created):
            self._jobs[job.id] = job

    # -- from outside -----------------------------------------------------------------------------

    def _places(self) -> int:
        """How many places of the queue are taken; a batch takes one. Under the lock."""
        return len({j.batch or j.id for j in self._waiting}) + self._reserved

    @contextlib.contextmanager
    def reserved(self) -> Any:
        """Hold a place while a visitor's files are looked over. Raises QueueFullError."""
        with self._changed:
            if self._places() >= self.settings.queue:
                raise QueueFullError
            self._reserved += 1
        try:
            yield
        finally:
            with self._changed:
                self._reserved -= 1

    def new(self, owner: str | None) -> Job:
        """A job with a folder of its own, not yet in the queue."""
        name = secrets.token_urlsafe(16)
        folder = self.folder / "jobs" / secrets.token_hex(8)
        folder.mkdir(parents=True)
        return Job(name, owner, folder)

    def discard(self, job: Job) -> None:
        """Remove the files of a job that was never handed in."""
        shutil.rmtree(job.folder, ignore_errors=True)

    def submit(self, job: Job) -> None:
        """Hand a job in."""
        job.save()
        with self._changed:
            self._jobs[job.id] = job
            self._waiting.append(job)
            self._changed.notify_all()

    def again(self, job: Job) -> bool:
        """Queue a job that was interrupted once more; whether that could be done. Raises QueueFullError."""
        with self._changed:
            if job.state != "interrupted" or job.task is None:
                return False
            if self._places() >= self.settings.queue:
                raise QueueFullError
            job.state, job.message, job.ended, job.done, job.total, job.first = "queued", None, None, 0, None, None
            job.seen = time.monotonic()
            job.changes += 1
            self._waiting.append(job)
            self._changed.notify_all()
        job.save()
        return True

    def oldest(self) -> Job | None:
        """The job that ended first, of those whose files are there."""
        with self._changed:
            return min((j for j in self._jobs.values() if j.state in ENDED), key=lambda j: j.ended or 0, default=None)

    def by_link(self, secret: str) -> Job | None:
        """The finished job that a link leads to."""
        with self._changed:
            found = (
                j for j in self._jobs.values() if j.shared and hmac.compare_digest(j.shared.encode(), secret.encode())
            )
            return next((j for j in found if j.state == "done"), None)

    def all_of(self, batch: str, owner: str | None) -> list[Job]:
        """The jobs of a batch, if they are this visitor's, in their order."""
        with self._changed:
            mine = [j for j in self._jobs.values() if j.batch == batch and j.owner in (None, owner)]
            for job in mine:
                job.seen = time.monotonic()
            return mine

    def get(self, name: str, owner: str | None) -> Job | None:
        """A job by its id, if it is this visitor's."""
        with self._changed:
            job = self._jobs.get(name)
            if job is None or job.owner not in (None, owner):
                return None
            job.seen = time.monotonic()
            return job

    def of(self, owner: str) -> list[Job]:
        """A visitor's jobs, newest first."""
        with self._changed:
            mine = [j for j in reversed(self._jobs.values()) if j.owner == owner]
            for job in mine:
                job.seen = time.monotonic()
            return mine

    def position(self, job: Job) -> int:
        """How many jobs are before it in the queue, itself included; 0 once it runs."""
        with self._changed:
            return self._waiting.index(job) + 1 if job in self._waiting else 0

    def remove(self, job: Job) -> None:
        """Stop a job that has not ended; forget one that has."""
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
                self._end(job, "cancelled", "Cancelled.")
            elif job.state == "running":
                self._cancel[job.id] = "Cancelled."
                self._changed.notify_all()
                while job.state == "running" and not self._closed:
                    self._changed.wait(0.5)
            else:
                self._jobs.pop(job.id, None)
        if job.state != "running":
            shutil.rmtree(job.folder, ignore_errors=True)

    def close(self) -> None:
        """Stop everything and remove every file."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=15)
        if self.settings.folder is None:
            shutil.rmtree(self.folder / "jobs", ignore_errors=True)

    # -- inside -----------------------------------------------------------------------------------

    def _end(self, job: Job, state: State, message: str | None = None) -> None:
        """Under the lock."""
        job.message, job.ended = message, time.time()
        job.state = state
        job.changes += 1
        if state != "interrupted":
            job.task = None
        self._cancel.pop(job.id, None)
        if job.folder.exists():
            with contextlib.suppress(OSError):  # of a full disk: it is there until the studio ends
                job.save()
        if self.on_end is not None:
            self.on_end(job)
        self._changed.notify_all()

    def _serve(self, cores: list[int], process: type[_Worker]) -> None:
        worker: _Worker | None = None
        try:
            while True:
                if worker is None or not worker.alive():
                    worker = process(cores, self.folder)
                with self._changed:
                    while not self._waiting and not self._closed:
                        self._changed.wait()
                    if self._closed:
                        return
                    job = self._waiting.pop(0)
                    job.state, job.started = "running", time.time()
                    job.changes += 1
                    self._changed.notify_all()
                if not worker.alive():  # it ended while it had nothing to do
                    worker.stop()
                    worker = process(cores, self.folder)
                if not self._run(worker, job):
                    worker = None
        finally:
            if worker is not None:
                worker.stop()

    def _run(self, worker: _Worker, job: Job) -> bool:
        """Do one job; whether the worker can go on."""
        state: State = "failed"
        message: str | None = "The work on this was interrupted; please try again."
        good = False
        try:
            sent = False
            while True:
                if worker.ready and not sent:
                    worker.pipe.send(job.task)
                    sent = True
                if worker.pipe.poll(0.05):
                    word = worker.pipe.recv()
                    if word[0] == "ready":
                        worker.ready = True
                    elif word[0] == "progress":
                        job.first = job.first or time.time()
                        job.total, job.done = word[2], word[1]
                        job.changes += 1
                    else:
                        good = True
                        state, message = self._outcome(job, word)
                        break
                with self._changed:
                    if job.id in self._cancel:
                        state, message = "cancelled", self._cancel[job.id]
                        break
                    if self._closed:
                        state, message = "interrupted", INTERRUPTED
                        break
                spent = time.time() - (job.started or 0)
                if spent > self.settings.job:
                    message = "This took too long and was stopped; try a shorter clip or a smaller size."
                    break
                if not worker.ready and spent > STARTING:
                    message = "This machine is too busy to begin; please try again."
                    break
                if not worker.alive() and not worker.pipe.poll(0):
                    log.error("a worker ended with code %s", worker.process.exitcode)
                    break
        except (EOFError, OSError) as error:
            log.error("a worker was lost: %s", error)
        if not good:
            worker.stop()
        with self._changed:
            if state == "done" and job.id in self._cancel:  # asked for in its last moment
                state, message = "cancelled", self._cancel[job.id]
        if state not in ("done", "interrupted"):
            shutil.rmtree(job.folder, ignore_errors=True)
        with self._changed:  # who waits for the end finds the work stopped and its files gone
            self._end(job, state, message)
        return good

    def _left(self) -> list[Job]:
        """Stop the jobs whose page has asked no more; those that were still waiting. Under the lock.

        A job without a session belongs to whoever knows its id: a client may well come back for it later."""
        late = time.monotonic() - self.settings.absent
        for job in [j for j in self._jobs.values() if j.state == "running" and j.owner is not None and j.seen < late]:
            self._cancel.setdefault(job.id, LEFT)
        waiting = [j for j in self._waiting if j.owner is not None and j.seen < late]
        for job in waiting:
            self._waiting.remove(job)
            self._end(job, "cancelled", LEFT)
        return waiting

    def _outcome(self, job: Job, word: tuple[Any, ...]) -> tuple[State, str | None]:
        if word[0] == "done":
            job.summary = word[1]
            if job.work is not None and job.started is not None:
                self.pace.learn(job.work, time.time() - job.started)
            for name in ("source", "driving", "speech", "files"):  # what was handed in is not needed any more
                shutil.rmtree(job.folder / name, ignore_errors=True)
            return "done", None
        if word[0] == "failed":
            return "failed", friendly(word[1], job.folder)
        log.error("job failed: %s", word[1])
        return "failed", "Something went wrong here, not with your files. The studio's log says what."

    def _sweep(self) -> None:
        """Remove what has been kept long enough, and stop what nobody waits for."""
        step = min(20.0, max(0.2, min(self.settings.keep, self.settings.absent) / 4))
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed, step)
                if self._closed:
                    return
                now = time.time()
                ended = [j for j in self._jobs.values() if j.state in ENDED]
                old = [j for j in ended if now - (j.ended or now) > self.settings.keep]
                rest = [j for j in ended if j not in old]
                old += rest[: max(0, len(rest) - self.settings.jobs)]
                for job in old:
                    self._jobs.pop(job.id, None)
                old += self._left()
            for job in old:
                shutil.rmtree(job.folder, ignore_errors=True)
