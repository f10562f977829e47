"""Many jobs: portraits by drivers, in a pool of processes or on a Ray cluster, with a manifest that a killed run goes
on from.

A line of the manifest is written when a job has ended, well or not; a result is there whole or not at all. So
whatever kills a run, the next one does what is missing, once.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from infinex.errors import InfinexError, InputError, MissingDependencyError, option
from infinex.media.files import CLIPS
from infinex.options import Options

MANIFEST = "manifest.jsonl"
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".avif")
TRIES = 2  # for a job whose process was killed
Done = Callable[[int, "int | None"], None]


@dataclass(frozen=True)
class Job:
    """One portrait by one driver. `options` are those of `infinex animate` by their names in `Options`."""

    source: str
    driving: str
    output: str  # within the folder of results
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What tells it from others."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


Do = Callable[[Job, str], dict[str, Any]]


def read_jobs(what: Path, driving: str | None = None) -> list[Job]:
    """The jobs of a `.jsonl` file, whose lines have source, driving, output and options; or every portrait of a
    folder by `driving`. Raises InputError with the line that is wrong."""
    if what.is_dir():
        if not driving:
            raise InputError(f"{what} is a folder of portraits: name what drives them with {option('driver')}")
        found = sorted(p for p in what.iterdir() if p.suffix.lower() in PICTURES)
        if not found:
            raise InputError(f"{what} holds no pictures")
        return _apart([Job(str(p), driving, f"{p.stem}.mp4") for p in found])
    try:
        lines = what.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{what} cannot be read as a list of jobs") from error
    known = {f.name for f in fields(Options)} - {"passes"}  # which would be written beside `--out`
    jobs = []
    for k, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{what.name}, line {k}: not JSON") from error
        if not isinstance(row, dict):
            raise InputError(f"{what.name}, line {k}: an object is wanted, with source, driving and output")
        choices = row.pop("options", {})
        row.setdefault("driving", driving)
        if set(row) - {"source", "driving", "output"} or not isinstance(choices, dict) or not set(choices) <= known:
            wrong = sorted(set(row) - {"source", "driving", "output"}) or sorted(set(choices) - known)
            raise InputError(f"{what.name}, line {k}: unknown {', '.join(map(str, wrong)) or 'options'}")
        if not all(isinstance(row.get(n), str) and row[n] for n in ("source", "driving")):
            raise InputError(f"{what.name}, line {k}: source and driving are wanted")
        base = what.parent
        row["source"], row["driving"] = _beside(base, row["source"]), _beside(base, row["driving"])
        row.setdefault("output", f"{k:05d}.mp4")
        if not isinstance(row["output"], str) or Path(row["output"]).is_absolute() or ".." in Path(row["output"]).parts:
            raise InputError(f"{what.name}, line {k}: the output is a name within {option('out')}")
        jobs.append(Job(**row, options=choices))
    if not jobs:
        raise InputError(f"{what.name} holds no jobs")
    twice = {j.output for j in jobs if sum(i.output == j.output for i in jobs) > 1} if len(jobs) < 5000 else set()
    if twice:
        raise InputError(f"{what.name}: two jobs write {min(twice)}")
    return jobs


def _beside(base: Path, name: str) -> str:
    """A file named in a list lies beside the list, unless its name says where."""
    return str(base / name) if not Path(name).is_absolute() and (base / name).exists() else name


def _apart(jobs: list[Job]) -> list[Job]:
    """Jobs whose outputs differ, where portraits differ by their ending only."""
    seen: dict[str, int] = {}
    out = []
    for j in jobs:
        n = seen[j.output] = seen.get(j.output, 0) + 1
        out.append(j if n == 1 else Job(j.source, j.driving, f"{Path(j.output).stem}-{n}.mp4"))
    return out


def done_before(manifest: Path, out: Path) -> dict[str, dict[str, Any]]:
    """Lines of jobs that ended well and whose result is there, by key; a last line that was cut short is no line.

    Of jobs with other choices that wrote the same file the last one's is there."""
    rows: dict[str, dict[str, Any]] = {}
    if manifest.exists():
        for line in manifest.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict) and row.get("status") == "done" and (out / str(row.get("output"))).is_file():
                rows[str(row.get("output"))] = row
    return {str(row.get("key")): row for row in rows.values()}


def perform(job: Job, out: str) -> dict[str, Any]:
    """Do one job; what came of it. Errors that a user can mend are part of the answer."""
    from infinex.jobs.animate import animate

    began = time.perf_counter()
    row: dict[str, Any] = {"key": job.key, "source": job.source, "driving": job.driving, "output": job.output}
    try:
        target = Path(out) / job.output
        target.parent.mkdir(parents=True, exist_ok=True)
        choices: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in job.options.items()}
        summary = animate(job.source, job.driving, target, Options(**choices))
        row |= {"status": "done", "frames": summary.frames, "notes": summary.warnings}
    except InfinexError as error:
        row |= {"status": "failed", "error": str(error)}
    except Exception as error:  # one job's fault is not the others'
        row |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
    return row | {"seconds": round(time.perf_counter() - began, 3)}


def shared(jobs: list[Job], out: Path) -> list[Job]:
    """The same jobs, with every clip that drives several of them tracked once.

    The motion carries all that a clip's frames tell but wrinkles, and the pixels of the performer's mouth."""
    from infinex.jobs.open import is_clip
    from infinex.jobs.track import track

    often = {d for d in {j.driving for j in jobs} if is_clip(d) and sum(j.driving == d for j in jobs) > 1}
    moved: dict[str, str] = {}
    for d in sorted(often):
        stamp = f"{Path(d).resolve()} {Path(d).stat().st_mtime_ns} {Path(d).stat().st_size}" if Path(d).exists() else d
        path = out / ".drivers" / f"{hashlib.sha256(stamp.encode()).hexdigest()[:16]}.motion.npz"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                track(d, output=path)
            except InfinexError:
                continue  # each of its jobs will say why
        moved[d] = str(path)
    same = {"start", "end", "smooth", "reference", "driver_face", "keep_readable"}
    return [
        Job(j.source, moved[j.driving], j.output, j.options) if j.driving in moved and not same & set(j.options) else j
        for j in jobs
    ]


FILMS = (*CLIPS, ".mpg", ".mpeg", ".gif", *PICTURES)


def captured(job: Job, out: str) -> dict[str, Any]:
    """Track one clip into a take of the format that its options name; what came of it, as of `perform`."""
    from infinex.jobs.export import export

    began = time.perf_counter()
    row: dict[str, Any] = {"key": job.key, "source": job.source, "driving": "", "output": job.output}
    notes: list[str] = []
    try:
        choices = dict(job.options)
        take = export(job.source, Path(out) / job.output, choices.pop("format"), Options(**choices), None, notes)
        row |= {"status": "done", "frames": len(take), "notes": notes}
    except InfinexError as error:
        row |= {"status": "failed", "error": str(error)}
    except Exception as error:  # one clip's fault is not the others'
        row |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
    return row | {"seconds": round(time.perf_counter() - began, 3)}


def capture(
    folder: Path, out: Path, style: str, options: dict[str, Any], workers: int = 0, progress: Done | None = None
) -> dict[str, Any]:
    """Track every clip and picture of a folder into takes in `out`, with a manifest as of `batch`. Raises
    InputError."""
    from infinex.interchange.formats import FORMATS

    if style not in FORMATS:
        raise InputError(f"{option('format')} {style}: of a folder there are {', '.join(FORMATS)}")
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in FILMS)
    if not found:
        raise InputError(f"{folder} holds no clips and no pictures")
    suffix = FORMATS[style].suffix
    alone = {p.stem for p in found if sum(q.stem == p.stem for q in found) == 1}
    names = [(p.stem if p.stem in alone else p.name) + suffix for p in found]
    jobs = [Job(str(p), "", n, {"format": style, **options}) for p, n in zip(found, names)]
    return batch(jobs, out, workers, None, False, progress, captured)


def batch(
    jobs: list[Job],
    out: Path,
    workers: int = 0,
    ray: str | None = None,
    share: bool = True,
    progress: Done | None = None,
    do: Do = perform,
) -> dict[str, Any]:
    """Do all jobs that `out` does not hold yet; what came of them, as in its manifest. `do` does one of them.

    `workers` processes, 0: one for each core; or with `ray` on the cluster at that address, whose machines see the
    same files. Raises InputError and MissingDependencyError."""
    out.mkdir(parents=True, exist_ok=True)
    manifest = out / MANIFEST
    before = done_before(manifest, out)
    asked = {j.key for j in jobs}
    left = [j for j in jobs if j.key not in before]
    keys = {j.output: j.key for j in left}
    ready = shared(left, out) if share else left
    counts = {"jobs": len(jobs), "done": len(asked & set(before)), "failed": 0, "skipped": len(asked & set(before))}
    runner = _on_ray(ready, out, ray, do) if ray is not None else _in_pool(ready, out, workers, do)
    torn = manifest.exists() and manifest.stat().st_size > 0 and not manifest.read_bytes().endswith(b"\n")
    with manifest.open("a", encoding="utf-8") as file:
        if torn:
            file.write("\n")
        for row in runner:
            row["key"] = keys[row["output"]]
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
            counts["done" if row["status"] == "done" else "failed"] += 1
            if progress:
                progress(counts["done"] + counts["failed"], len(jobs))
    return {**counts, "manifest": str(manifest)}


def _killed(job: Job) -> dict[str, Any]:
    return {"key": job.key, "source": job.source, "driving": job.driving, "output": job.output, "status": "failed",
            "error": "its process was killed twice; is there memory enough?", "seconds": 0.0}  # fmt: skip


def _in_pool(jobs: list[Job], out: Path, workers: int, do: Do) -> Iterator[dict[str, Any]]:
    """Rows as they come, of a pool of processes. A killed process's jobs are done again, once, each alone."""
    count = min(workers or os.cpu_count() or 1, max(1, len(jobs)))
    context = multiprocessing.get_context("spawn")
    again: list[Job] = []
    waiting = list(jobs)
    with ProcessPoolExecutor(count, context) as pool:
        running: dict[Future[dict[str, Any]], Job] = {}
        broken = False
        while (waiting and not broken) or running:
            while waiting and not broken and len(running) < 2 * count:
                job = waiting.pop(0)
                try:
                    running[pool.submit(do, job, str(out))] = job
                except BrokenProcessPool:
                    waiting.insert(0, job)
                    broken = True
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for f in finished:
                job = running.pop(f)
                try:
                    yield f.result()
                except BrokenProcessPool:
                    broken = True
                    again.append(job)
    if again:
        for job in again:
            with ProcessPoolExecutor(1, context) as pool:
                try:
                    yield pool.submit(do, job, str(out)).result()
                except BrokenProcessPool:
                    yield _killed(job)
    if waiting:
        yield from _in_pool(waiting, out, workers, do)


def _on_ray(jobs: list[Job], out: Path, address: str, do: Do) -> Iterator[dict[str, Any]]:
    """Rows as they come, of a Ray cluster; what a killed worker had is done again, once."""
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError("to use a cluster run: pip install 'infinex[ray]'") from error
    try:
        ray.init(address=None if address == "local" else address, ignore_reinit_error=True, log_to_driver=False)
    except Exception as error:  # of many kinds, by what does not answer
        raise InputError(f"{option('ray')} {address}: no cluster answers there ({type(error).__name__})") from error
    remote = ray.remote(max_retries=TRIES - 1, num_cpus=1)(do)
    running = {remote.remote(j, str(out.resolve())): j for j in jobs}
    try:
        while running:
            finished, _ = ray.wait(list(running), num_returns=1)
            for ref in finished:
                job = running.pop(ref)
                try:
                    yield ray.get(ref)
                except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError,
                        ray.exceptions.NodeDiedError):  # fmt: skip
                    yield _killed(job)  # as often as it may
                except ray.exceptions.RayError as error:
                    said = str(error).strip().splitlines()[-1][:300]
                    yield _killed(job) | {"error": f"the cluster cannot do it: {said}"}
    finally:
        ray.shutdown()
