"""Many files at once: processes of this machine, or a Ray cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from infinex.errors import InputError, MissingDependencyError, option
from infinex.training.prepare.examining import examine
from infinex.training.prepare.options import PrepareOptions
from infinex.training.prepare.records import MANIFEST_COLUMNS, Job, Outcome

Work = Callable[[Job], Outcome]


class Examination:
    """`examine` with everything but the job; picklable."""

    def __init__(self, out: Path, o: PrepareOptions, embed: bool) -> None:
        self.out, self.o, self.embed = str(out.absolute()), o, embed

    def __call__(self, job: Job) -> Outcome:
        return examine(job, self.out, self.o, self.embed)


def _crashed(job: Job) -> Outcome:
    blank = dict.fromkeys(MANIFEST_COLUMNS, "") | {"file": job.key, "identity": job.identity}
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
        raise MissingDependencyError(f"{option('ray')} needs Ray: pip install ray") from None
    try:
        ray.init(address=None if address == "local" else address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray refuses by many kinds of error
        raise InputError(f"{option('ray')} {address}: {str(error).splitlines()[0]}") from None
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
