"""Examining one file: from its frames to its clips, or to the reason why there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from infinex.face.tracker import FaceFinder
from infinex.training.prepare.cutting import embedding_of, pieces, square_crop, write_clips
from infinex.training.prepare.looking import scan, verdict
from infinex.training.prepare.options import PrepareOptions
from infinex.training.prepare.records import MANIFEST_COLUMNS, Job, Outcome, Refused, Stretch

MISSING, CROWDED = 0.34, 0.25  # shares of the looks with no face, and with a second one, that refuse a shot
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
    blank: dict[str, Any] = dict.fromkeys(MANIFEST_COLUMNS, "") | {"file": job.key, "identity": job.identity}
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
                shots = [Stretch(round(start * fps), last, [scaled], 1)]  # type: ignore[list-item]
            chosen: list[tuple[Path, int, int, tuple[int, int, int]]] = []
            rows = []
            for shot in shots:
                row = blank | {"start": round(shot.first / fps, 3), "seconds": round((shot.last - shot.first) / fps, 3)}
                if reason := unfit(shot, fps, o):
                    rows.append(row | {"status": "rejected", "reason": reason})
                    continue
                for first, last in pieces(shot.first, shot.last, int(o.longest * fps)):
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
            frames = write_clips(reader, chosen, o)
            if embed:
                assert finder is not None
                outcome.embeddings = [embedding_of(finder, images) for images in frames]
            outcome.rows = rows
    except Refused as refusal:
        outcome.rows = [blank | {"status": "rejected", "reason": str(refusal)}]
    return outcome


def unfit(shot: Stretch, fps: float, o: PrepareOptions) -> str:
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
