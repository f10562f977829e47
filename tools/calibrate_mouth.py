"""Fit the modelled mouth (`infinex.mesh.mouth.Anatomy`) to mouths that really opened.

    python tools/calibrate_mouth.py CLIPS_DIR --manifest MANIFEST.csv [--rounds 4] [--sheet SHEET.png]

Every clip is driven by itself from a frame with closed lips to frames with parted ones; inside the lips the modelled
mouth is compared with the true one, as it is and blurred. Numbers are changed one at a time as long as that helps on
the people the refiner is trained on; the error on the others is printed beside it. Prints the fields to be copied.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track as bar

from infinex.drivers.capture import Capture, choose_rest
from infinex.engine import Drive, Source
from infinex.face import topology as top
from infinex.face.portrait import SourceFace
from infinex.face.pose import fit_pose
from infinex.face.tracker import Face, FaceTracker
from infinex.media.video import VideoReader
from infinex.mesh import mouth
from infinex.mesh.engine import MeshOptions, PreparedFace
from infinex.mesh.layers import polygon_mask
from infinex.mesh.retarget import Target
from infinex.systems.refiner.split import held_out, names_of

OPTIONS = MeshOptions("own", "none", True, refine=False)
FRAMES, EACH = 240, 8  # looked at of a clip, and compared
WIDE, WIDER = 0.05, 0.03  # least opening, and least growth of it, in IOD
STEPS = {"upper_edge": 0.012, "upper_front": 0.02, "tongue_drop": 0.02, "tongue_depth": 0.06, "tooth_lift": 8.0}
SHARE = 0.25  # of a number's size is its first step, where STEPS does not say otherwise
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Opening:
    """One mouth to be filled, and what it really looked like."""

    who: str
    held: bool
    face: SourceFace
    tone: mouth.MouthTone
    empty: Image
    truth: Image
    mask: NDArray[np.float32]
    origin: tuple[int, int]
    target: Target

    def filled(self, anatomy: mouth.Anatomy) -> Image:
        """The picture with the modelled mouth in it."""
        out = self.empty.copy()
        mouth.Mouth(self.face, self.tone, anatomy).draw(out, self.origin, self.target)
        return out

    def error(self, anatomy: mouth.Anatomy) -> float:
        """Mean absolute difference inside the lips, pictures in 0..1, sharp and blurred added."""
        mask = self.mask[..., None]
        apart = (self.filled(anatomy).astype(np.float32) - self.truth) / 255 * mask
        blurred = cv2.GaussianBlur(apart, (0, 0), 0.03 * self.target.pose.scale)
        return float((np.abs(apart).sum() + np.abs(blurred).sum()) / (3 * mask.sum()))


def openings(clip: Path, who: str, held: bool, rng: np.random.Generator) -> list[Opening]:
    """A few mouths of one clip."""
    frames, points = [], []
    with VideoReader(clip) as reader, FaceTracker() as tracker:
        for n, frame in enumerate(reader):
            if n == FRAMES:
                break
            if (face := tracker(frame.image)) is not None:
                frames.append(frame.image)
                points.append(face.landmarks)
    if len(frames) < 10:
        return []
    start, _ = choose_rest(points)
    capture = Capture(start, fit_pose(start.face, points[0]).scale, 25.0)
    lips = np.stack([capture.state(p)[9:].reshape(-1, 3)[[13, 14], 1] for p in points])
    gap = lips[:, 1] - lips[:, 0]
    i = int(np.argsort(gap)[len(gap) // 20])
    wide = np.flatnonzero(gap > max(WIDE, gap[i] + WIDER))
    prepared = PreparedFace(Source(frames[i], Face(points[i])), OPTIONS)
    rest, _ = choose_rest([points[i]], reference=0)
    prepared.begin(rest, None, None)
    mine = Capture(rest, fit_pose(rest.face, points[i]).scale, 25.0)
    x0, y0, x1, y1 = prepared.box
    out = []
    for j in rng.choice(wide, min(EACH, len(wide)), replace=False):
        canvas = frames[i].copy()
        target = prepared.draw(canvas, Drive(mine.move(mine.state(points[j]), 0.0, True))).target
        p = target.points[:, :2]
        lo = np.clip(np.floor(p[top.LIPS_OUTER].min(0)) - 4, [x0, y0], None).astype(int)
        hi = np.clip(np.ceil(p[top.LIPS_OUTER].max(0)) + 4, None, [x1, y1]).astype(int)
        part = (slice(lo[1], hi[1]), slice(lo[0], hi[0]))
        mask = cv2.erode(polygon_mask(*canvas[part].shape[:2], p[top.LIPS_INNER] - lo), np.ones((3, 3)))
        if mask.sum() >= 25:
            out.append(
                Opening(who, held, prepared.face, prepared.tone, canvas[part].copy(), frames[j][part].copy(),
                        mask.astype(np.float32), (int(lo[0]), int(lo[1])), target)
            )  # fmt: skip
    return out


def mean_error(items: Sequence[Opening], anatomy: mouth.Anatomy) -> float:
    """Mean over people."""
    of: dict[str, list[float]] = defaultdict(list)
    for item in items:
        of[item.who].append(item.error(anatomy))
    return float(np.mean([np.mean(v) for v in of.values()]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--manifest", type=Path, help="CSV with the columns path and identity")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--sheet", type=Path, help="PNG: truth, before and after for every person")
    a = parser.parse_args()
    cv2.setNumThreads(1)
    names = names_of(a.manifest)
    clips = sorted(a.clips.glob("*.mp4"))
    held = held_out(sorted({names.get(c.stem, c.stem) for c in clips}))
    rng = np.random.default_rng(0)
    items: list[Opening] = []
    for clip in bar(clips, description="clips"):
        who = names.get(clip.stem, clip.stem)
        items += openings(clip, who, who in held, rng)
    train, test = ([i for i in items if i.held is h] for h in (False, True))
    first = best = mouth.Anatomy()
    error = mean_error(train, best)
    print(f"{len(train)} openings, {len(test)} held out; error {error:.4f}, held out {mean_error(test, best):.4f}")
    steps = {f.name: STEPS.get(f.name, SHARE * abs(getattr(best, f.name))) for f in fields(best)}
    for n in range(a.rounds):
        for name in bar(steps, description=f"round {n + 1}"):
            for sign in (1, -1):
                while (value := getattr(best, name) + sign * steps[name]) >= 0:
                    other = replace(best, **{name: value})
                    if (new := mean_error(train, other)) > error - 1e-5:
                        break
                    best, error = other, new
            steps[name] /= 2
        print(f"error {error:.4f}, held out {mean_error(test, best):.4f}")
    print("\n".join(f"    {k}: float = {v:.3g}" for k, v in asdict(best).items()))
    if a.sheet:
        seen = {i.who: i for i in items}.values()
        rows = [
            np.hstack([cv2.resize(x, (192, 128)) for x in (i.truth, i.filled(first), i.filled(best))]) for i in seen
        ]
        cv2.imwrite(str(a.sheet), np.vstack(rows)[..., ::-1])


if __name__ == "__main__":
    main()
