"""What the handlers of every route share: the queue, the library, the threads, and who asks."""

from __future__ import annotations

import asyncio
import functools
import secrets
import shutil
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fastapi import Request, UploadFile, WebSocket
from starlette.exceptions import HTTPException

from infinex.errors import InputError
from infinex.media.image import header_size, is_image
from infinex.studio import calls, checks, scenes
from infinex.studio.checks import friendly, safe_name
from infinex.studio.forms import Animation, Made
from infinex.studio.gate import Rate
from infinex.studio.jobs import Job, Queue
from infinex.studio.library import Library, Portrait, Uploads
from infinex.studio.offer import Engines
from infinex.studio.place import Place
from infinex.studio.projects import names_in
from infinex.studio.repeats import Repeats
from infinex.studio.settings import Settings
from infinex.studio.shelf import Kept, Shelf
from infinex.studio.studies import Studies
from infinex.studio.worker import CAPTIONS

T = TypeVar("T")
GONE = "There is no such animation; it may have been removed after its time."
HERE = 0.5  # seconds between looks whether a client is still there
SMALL = 4_000_000  # pixels, and bytes, of a picture that is looked over in a moment
FORESEEN = 15.0  # seconds for which a clip is read that nobody asked for yet
HOST = 8  # visitors' rates that one address may use up, since anybody can call a session their own


class Busy(HTTPException):
    """Come again later."""

    def __init__(self, seconds: float, detail: str) -> None:
        super().__init__(429, detail, {"Retry-After": str(max(1, round(seconds)))})


@dataclass
class Places:
    """How many pages are served at once, and how many may be."""

    most: int
    taken: int = 0


class Studio:
    """What the handlers share."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.here = secrets.token_hex(6)  # names this run of the server
        self.place = Place(settings.folder, settings.space)
        self.folder = self.place.folder
        self.queue = Queue(settings, self.folder)
        self.library = Library(settings, self.folder)
        self.shelves = {
            what: Shelf(self.folder / f"{what}s", what, settings.keep, settings.shelf)
            for what in ("performance", "expression", "project")
        }
        self.uploads = Uploads(settings.keep, self.folder)
        self.repeats = Repeats(settings.keep, self.folder / "repeats.jsonl")
        self.performances = scenes.Performances()
        self.closing = threading.Event()
        self.queue.on_end = self._ended
        self.verdicts = checks.Verdicts()
        self.rate, self.hosts = Rate(settings.rate), Rate(HOST * settings.rate)
        self.engines = Engines()
        self.looking = ThreadPoolExecutor(4, thread_name_prefix="infinex-look")
        self.glancing = ThreadPoolExecutor(
            2, thread_name_prefix="infinex-glance"
        )  # small files wait behind no large one
        self.making = ThreadPoolExecutor(2, thread_name_prefix="infinex-make")  # other formats of results
        self.drawing = ThreadPoolExecutor(settings.previews + settings.lives, thread_name_prefix="infinex-draw")
        self.visits = {"previews": Places(settings.previews), "lives": Places(settings.lives)}

    def _ended(self, job: Job) -> None:
        """Tell whoever asked to be told."""
        if job.callback is not None and job.state != "interrupted":
            calls.tell(job.callback, self.view(job).model_dump())

    def close(self) -> None:
        """Stop all work; what is not to last is removed."""
        self.closing.set()
        self.queue.close()
        for pool in (self.looking, self.glancing, self.making):
            pool.shutdown(wait=False, cancel_futures=True)
        self.drawing.shutdown(wait=False, cancel_futures=True)
        self.place.close()

    def sweep(self) -> None:
        """Remove what nobody has used for a while; of what is too much the oldest results."""
        used: set[str] = set()
        for project in self.shelves["project"].all():
            used |= set(names_in(project.data))
        self.library.sweep(used)
        self.uploads.sweep()
        for what, shelf in self.shelves.items():
            shelf.sweep(used if what == "performance" else set())
        self.place.count()
        while self.place.over() > 0:
            oldest = self.queue.oldest()
            if oldest is None:
                break
            self.queue.remove(oldest)
            self.place.count()

    def foresee(self, path: Path) -> checks.Watch | None:
        """Begin to read a clip that is handed in while pages are open: one of them will show it at once. Whoever keeps
        it not says so to the watch that is returned."""
        if not self.visits["previews"].taken or path.suffix.lower() == ".npz" or is_image(path):
            return None
        watch = checks.Watch(self.settings.look)
        asyncio.get_running_loop().call_later(FORESEEN, watch.gone.set)
        self.looking.submit(self.performances.foresee, path, self.settings, watch)
        return watch

    async def look(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run a check in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.looking, functools.partial(work, *args))

    async def look_at(self, path: Path, work: Callable[..., Any], *args: Any) -> Any:
        """Run a check of a file in a thread: a small picture's at once, whatever else is looked at."""
        pool = self.glancing if small_picture(path) else self.looking
        return await asyncio.get_running_loop().run_in_executor(pool, functools.partial(work, *args))

    async def make(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run the making of another format in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.making, functools.partial(work, *args))

    async def draw(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run drawing in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.drawing, functools.partial(work, *args))

    def counted(self, request: Request) -> None:
        """Count a request that costs work. Raises Busy."""
        host = request.client.host if request.client else "?"
        wait = self.rate.wait(request.state.session or host) or self.hosts.wait(host)
        if wait:
            raise Busy(wait, f"That was a lot at once; please wait {wait:.0f} seconds.")

    async def keep_file(self, upload: UploadFile, folder: Path, fallback: str) -> Path:
        """Write an upload under its own, cleaned name. Raises InputError for an empty one."""
        path = folder / safe_name(upload.filename, fallback)
        self.place.check(upload.size or 0)
        folder.mkdir(parents=True, exist_ok=True)

        def copy() -> int:
            with path.open("wb") as out:
                shutil.copyfileobj(upload.file, out, 1 << 20)
            return path.stat().st_size

        if not await self.look(copy):
            raise InputError(f"{path.name} is empty")
        return path

    def view(self, job: Job) -> Animation:
        """A job as the API shows it."""
        made = None
        if job.state == "done" and job.summary:
            s = job.summary
            # Videos have even sides; pictures, and animations of pictures, any.
            sides = [s[k] + (s[k] % 2 if job.format in ("mp4", "webm", "mov") else 0) for k in ("width", "height")]
            made = Made(
                format=job.format, frames=s["frames"], duration=s["duration"],
                fps=round(s["frames"] / max(1e-6, s["duration"]), 3), width=sides[0], height=sides[1],
                faces=s["faces"], engine=s["engine"], bytes=job.output.stat().st_size if job.output.exists() else 0,
                captions=(job.folder / CAPTIONS).exists(),
                warnings=[friendly(w, job.folder) for w in s["warnings"]],
            )  # fmt: skip
        left = job.seconds_left
        return Animation(
            id=job.id, state=job.state, progress=round(job.progress, 4), position=self.queue.position(job),
            seconds_left=None if left is None else round(left, 1), message=job.message, label=job.label,
            created=round(job.created, 3), kind=job.kind, name=job.name, portrait=job.portrait, batch=job.batch,
            result=made,
        )  # fmt: skip


def small_picture(path: Path) -> bool:
    """Whether a file is a picture that is looked over in a moment, by what its header says."""
    size = header_size(path)
    return size is not None and size[0] * size[1] <= SMALL and path.stat().st_size <= SMALL


def studio_of(request: Request | WebSocket) -> Studio:
    studio: Studio = request.app.state.studio
    return studio


async def while_there(request: Request, watch: checks.Watch, work: Coroutine[Any, Any, T]) -> T:
    """Do `work`, and tell its `watch` as soon as the client has gone."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=HERE)
            if not task.done() and not watch.gone.is_set() and await request.is_disconnected():
                watch.gone.set()
    except BaseException:
        watch.gone.set()
        task.cancel()
        raise
    return await task


def job_of(request: Request, name: str) -> Job:
    job = studio_of(request).queue.get(name, request.state.session)
    if job is None:
        raise HTTPException(404, GONE)
    return job


def visitor_of(request: Request | WebSocket) -> str:
    session: str | None = request.state.session
    if session is None:
        raise HTTPException(
            403, "Open the studio's page first, or name a session of your own in the header X-Infinex-Session."
        )
    return session


def portrait_of(request: Request | WebSocket, name: str) -> Portrait:
    return studio_of(request).library.get(name, visitor_of(request))


def kept_of(request: Request | WebSocket, what: str, name: str) -> Kept:
    """A visitor's performance, expression or project. Raises HTTPException."""
    return studio_of(request).shelves[what].get(name, visitor_of(request))


def studies_of(request: Request) -> Studies:
    studies: Studies = request.app.state.studies
    return studies
