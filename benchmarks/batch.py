"""Throughput and memory of `infinex batch`: portraits by one clip, with the clip tracked once and for each.

    python benchmarks/batch.py PORTRAITS CLIP [--count 6] [--seconds 2] [--size 256] [--jobs 1 2] [--ray local]

Every line is a run of its own: jobs at once, whether the clip is tracked once, seconds and CPU seconds a job, frames a
second of all together, and the most memory that all of its processes had at a time (proportional set size, sampled).
Seconds are those of the clock on whatever else the machine does; CPU is not.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from infinex.jobs.batch import PICTURES
from infinex.media.sink import open_sink
from infinex.media.video import VideoReader


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue  # it has just ended
        parents.setdefault(parent, []).append(int(stat.parent.name))
    out = [pid]
    for p in out:
        out += parents.get(p, [])
    return out


def memory(pid: int) -> float:
    """MB that a process and its children have, what they share counted once."""
    total = 0
    for p in family(pid):
        try:
            rows = Path(f"/proc/{p}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(r.split()[1]) for r in rows if r.startswith("Pss:"))
    return total / 1e3


def run(jobs: Path, folder: Path, more: list[str]) -> dict[str, Any]:
    """One call of `infinex batch`."""
    before, began, most = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), 0.0
    call = [sys.executable, "-m", "infinex.cli", "batch", str(jobs), "--out", str(folder), "--json", *more]
    with (folder.parent / "said").open("w+") as said:
        process = subprocess.Popen(call, stdout=said)
        while process.poll() is None:
            most = max(most, memory(process.pid))
            time.sleep(0.2)
        seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        said.seek(0)
        done = json.load(said)
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    return {
        "how": " ".join(more), "done": done["done"], "failed": done["failed"],
        "seconds_a_job": round(seconds / len(rows), 2),
        "cpu_a_job": round((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / len(rows), 2),
        "fps": round(sum(r.get("frames", 0) for r in rows) / seconds, 1), "mb": round(most),
    }  # fmt: skip


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=2.0, help="of the clip")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--ray")
    parser.add_argument("--out", type=Path)
    o = parser.parse_args()
    found = sorted(p for p in o.portraits.iterdir() if p.suffix.lower() in PICTURES)[: o.count]
    if not found:
        raise SystemExit(f"{o.portraits} holds no pictures")
    report = []
    with TemporaryDirectory() as temporary:
        clip = Path(temporary) / "clip.mp4"  # cut, so that all of it is tracked once
        with VideoReader(o.clip, end=o.seconds) as reader:
            info = reader.info
            with open_sink(clip, (info.width, info.height), info.fps, quality=12) as sink:
                for frame in reader:
                    sink.write(frame.image)
        rows = [{"source": str(p.resolve()), "driving": str(clip), "output": f"{k}.mp4", "options": {"size": o.size}}
                for k, p in enumerate(found)]  # fmt: skip
        jobs = Path(temporary) / "jobs.jsonl"
        jobs.write_text("".join(json.dumps(r) + "\n" for r in rows))
        ways = [[*way, "--jobs", str(n)] for n in o.jobs for way in ([], ["--no-share"])]
        for k, way in enumerate([*ways, *([["--ray", o.ray]] if o.ray else [])]):
            report.append(run(jobs, Path(temporary) / f"out{k}", way))
            print(*(f"{name} {value}" for name, value in report[-1].items()), sep="  ", flush=True)
    if o.out:
        o.out.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
