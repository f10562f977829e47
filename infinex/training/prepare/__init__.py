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
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from infinex.errors import InputError, OutputError
from infinex.media.files import writable_target
from infinex.training.prepare.cutting import square_crop
from infinex.training.prepare.examining import examine
from infinex.training.prepare.files import clip_name, plain_jobs, voxceleb_jobs
from infinex.training.prepare.ledger import Ledger, stamp_of
from infinex.training.prepare.looking import scan, verdict
from infinex.training.prepare.manifest import PrepareSummary, write_manifest
from infinex.training.prepare.options import PrepareOptions
from infinex.training.prepare.people import People, held_out, known_identities, read_identities
from infinex.training.prepare.pools import Examination, local_pool, ray_pool
from infinex.training.prepare.records import MANIFEST_COLUMNS, Job, Outcome, Refused, Stretch

__all__ = [
    "MANIFEST_COLUMNS", "Job", "Ledger", "Outcome", "People", "PrepareOptions", "PrepareSummary", "Refused", "Stretch",
    "clip_name", "examine", "held_out", "local_pool", "plain_jobs", "prepare", "ray_pool", "read_identities", "scan",
    "square_crop", "verdict", "voxceleb_jobs",
]  # fmt: skip
Progress = Callable[[int, int | None], None]


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
    known, embed = known_identities(videos, o)
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
                elif ledger.has(job.key, stamp_of(job)):
                    seen[1] += 1
                else:
                    yield job

        work = Examination(dataset, o, embed)
        pool = ray_pool(pending(), work, o.ray) if o.ray else local_pool(pending(), work, o.workers or _cores())
        with contextlib.closing(pool) as outcomes:  # type: ignore[type-var]
            for job, outcome in outcomes:
                ledger.add(outcome, stamp_of(job))
                seen[1] += 1
                if progress:
                    progress(seen[1], max(seen))
        if not seen[0]:
            raise InputError(f"{videos} holds no file")
        return write_manifest(dataset, ledger, o)
    finally:
        ledger.close()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
