"""A filmed person's mouth at rest, as it is in the clip's quiet frames: what a new voice starts from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infinex.drivers.capture import around
from infinex.errors import FaceNotFoundError
from infinex.face import topology as top
from infinex.face.portrait import SourceFace
from infinex.face.pose import fit_pose
from infinex.face.shape import lip_gaps
from infinex.face.tracker import Face, FaceTracker
from infinex.face.units import units_offsets
from infinex.media.video import VideoFrame, VideoReader
from infinex.mesh.mouth import MouthTone
from infinex.motion import part_weights

Array = NDArray[np.float64]
FIRST = 120  # frames at the beginning that are looked at, every second one
GLANCES = 24  # further frames, spread over the rest of a long clip
QUIET = 0.25  # share of the frames, those with the lips closest, that count as rest
LEAST = 5  # frames at least
NEAR = 6.0  # degrees of turn by which frames tell less of each other: landmarks of turned faces differ
NOSE = [1, 2, 98, 327]  # what does not talk, next to the mouth
PURSED = 0.7  # how much a narrow mouth counts against a frame, beside one that is open
CORNERS = [61, 291, 57, 287, 186, 410, 205, 425]  # where a smile shows
SLOW = 0.25  # seconds: what lasts longer is a smile, what is shorter belongs to speech


class QuietMouth:
    """The mouth of one person at rest, under any turn of the head."""

    def __init__(self, faces: Array, angles: Array, tone: MouthTone) -> None:
        """`faces` (N, 478, 3) canonical with the lips closed, `angles` (N, 3) degrees of their heads."""
        self._below = faces - faces[:, NOSE].mean(1, keepdims=True)
        self._angles, self.tone = angles, tone
        self.face: Array = faces.mean(0)  # (478, 3) at rest, all things considered
        self._weight = part_weights(["lips"])[:, None]
        self._smile = units_offsets({"AU12": 1.0})

    @staticmethod
    def of(reader: VideoReader) -> QuietMouth:
        """Look a clip over. Raises FaceNotFoundError where it shows no face."""
        faces: list[Array] = []
        angles: list[Array] = []
        best: tuple[float, NDArray[np.uint8], Array] | None = None
        mean = top.mean_face()
        with FaceTracker() as tracker:
            for frame in _glances(reader):
                seen = tracker(frame.image)
                if seen is None:
                    continue
                pose = fit_pose(mean, seen.landmarks)
                face = pose.to_head(seen.landmarks)
                gap = float(lip_gaps(face)[3:6].mean())
                if best is None or gap < best[0]:
                    best = gap, frame.image, seen.landmarks
                faces.append(face)
                angles.append(pose.angles)
        if best is None:
            raise FaceNotFoundError(f"no face found in {Path(reader.path).name}; use a clip that shows a face clearly")
        gaps = np.array([lip_gaps(f)[3:6].mean() for f in faces])
        wide = np.array([np.linalg.norm(f[61] - f[291]) for f in faces])
        talk = gaps + PURSED * np.maximum(0, np.median(wide) - wide)
        quiet = np.argsort(talk, kind="stable")[: max(LEAST, round(QUIET * len(gaps)))]
        tone = replace(MouthTone.measure(best[1], best[2]), upper=0.0)  # of lips that are closed no teeth show
        return QuietMouth(np.stack(faces)[quiet], np.stack(angles)[quiet], tone)

    def __call__(self, face: SourceFace, smile: float = 0.0) -> Array:
        """What the mouth of a frame's face says, (478, 3) in head coordinates: all that it does away from rest, but
        for a smile, 0..1."""
        own: Array = self._weight * (self._away(face.face, face.pose.angles) - smile * self._smile)
        return own

    def _away(self, face: Array, angles: Array) -> Array:
        apart = ((self._angles - angles) ** 2).sum(1) / NEAR**2
        likely = np.exp(-(apart - apart.min()) / 2)
        rest = np.tensordot(likely / likely.sum(), self._below, 1) + face[NOSE].mean(0)
        return np.asarray(face - rest)

    def smiles(
        self, seen: Iterator[tuple[VideoFrame, Face | None]], fps: float
    ) -> Iterator[tuple[VideoFrame, Face | None, float]]:
        """The frames of a clip, each with how much the person smiles there, 0..1, looking a little ahead."""
        reach = max(1, round(2 * SLOW * fps))
        mean = top.mean_face()
        like = self._smile[CORNERS].ravel()

        def amounts() -> Iterator[tuple[VideoFrame, Face | None, float]]:
            for frame, face in seen:
                amount = 0.0
                if face is not None:
                    pose = fit_pose(mean, face.landmarks)
                    away = self._away(pose.to_head(face.landmarks), pose.angles)[CORNERS].ravel()
                    amount = float(away @ like / (like @ like))
                yield frame, face, amount

        for window, at in around(amounts(), reach):
            near = [(k - at, s) for k, (_, face, s) in enumerate(window) if face is not None]
            weight = [np.exp(-0.5 * (k / (SLOW * fps)) ** 2) for k, _ in near]
            smile = sum(w * s for w, (_, s) in zip(weight, near)) / max(sum(weight), 1e-9)
            yield window[at][0], window[at][1], float(np.clip(smile, 0, 1))


def _glances(reader: VideoReader) -> Iterator[VideoFrame]:
    """Frames to look at: the first ones closely, and some of the rest."""
    for frame in reader:
        if frame.index >= FIRST:
            break
        if frame.index % 2 == 0:
            yield frame
    seen, total = FIRST / float(reader.info.fps), reader.info.duration or 0.0
    if total > seen + 1:
        yield from reader.sample(list(np.linspace(seen, total, GLANCES + 2)[1:-1]))
