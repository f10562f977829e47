"""What X2Face's bottleneck is taught: the head's angles in frames, and the sound beside them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.face.pose import fit_pose, to_vector
from infinex.face.topology import mean_face
from infinex.media.audio import has_audio, read_audio
from infinex.media.files import atomic_path
from infinex.systems.speech.listener import RATE, STEPS, default_listener
from infinex.training.data import ClipFrames, beside, cache_folder, read_clips, to_chw

Array = NDArray[np.float32]


def angles_of(rotation: NDArray[np.floating]) -> Array:
    """Roll, pitch and yaw, radians, of a rotation vector (3,): those about z, x and y."""
    return np.asarray(rotation, np.float32)[[2, 0, 1]]


class PoseTeacher:
    """See `infinex.training.data.Teacher`: one row of roll, pitch, yaw and three zeros for each frame."""

    name = "pose"

    def __call__(self, images: Iterable[NDArray[np.uint8]]) -> Array:
        """Rows (T, 1, 6) of successive frames; NaN where no face is seen."""
        from infinex.face.tracker import FaceTracker

        out = []
        with FaceTracker() as tracker:
            for image in images:
                face, row = tracker(image), np.full((1, 6), np.nan, np.float32)
                if face is not None:
                    row[0] = 0
                    row[0, :3] = angles_of(to_vector(fit_pose(mean_face(), face.landmarks).rotation))
                out.append(row)
        return np.stack(out) if out else np.zeros((0, 1, 6), np.float32)

    def mirrored(self, points: Array) -> Array:
        """Roll and yaw turn round."""
        return points * np.array([-1, 1, -1, 1, 1, 1], np.float32)


def heard_in(sound: Array, times: NDArray[np.floating]) -> Array:
    """What the listener of `systems.speech` hears at `times`, seconds, of a recording (N,) at 16 kHz: (T, HIDDEN)."""
    rows = default_listener()(sound)[: max(1, len(sound) * STEPS // RATE)]
    at = np.clip(np.round(np.asarray(times) * STEPS).astype(int), 0, len(rows) - 1)
    return np.asarray(rows[at], np.float32)


class HeardPairs:
    """`source`, `driving` (3, S, S): two frames of a clip with sound; `source_heard`, `driving_heard` (HIDDEN,)."""

    def __init__(self, folder: str | Path, split: str, size: int, repeats: int = 1) -> None:
        """Raises InputError where no clip has sound."""
        folder = Path(folder)
        self.clips = [c for c in read_clips(folder, split) if has_audio(c.path)]
        if not self.clips:
            raise InputError(f"{folder}: no clip of the split {split} has sound")
        self.cache = cache_folder(folder, read_clips(folder), size, 8.0)
        self.frames = [ClipFrames(c, size, self.cache) for c in self.clips]
        self.repeats = repeats
        self._heard: dict[int, Array] = {}

    def __len__(self) -> int:
        return len(self.clips) * self.repeats

    def _rows(self, index: int) -> Array:
        """One row a frame, kept beside the decoded frames where there is room."""
        if index not in self._heard:
            clip = self.clips[index]
            path = beside(self.cache, clip, "heard.npy")
            if path is None or not path.is_file():
                rows = heard_in(read_audio(clip.path, RATE), np.arange(clip.frames) / clip.fps)
                if path is not None:
                    with atomic_path(path) as temporary, temporary.open("wb") as file:
                        np.save(file, rows, allow_pickle=False)
            else:
                rows = np.load(path, allow_pickle=False)
            self._heard[index] = rows
        return self._heard[index]

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """See `infinex.training.data.Samples`."""
        index %= len(self.clips)
        frames, rows = self.frames[index], self._rows(index)
        i, j = (int(v) for v in rng.choice(len(frames), 2, replace=len(frames) < 2))
        source, driving = (to_chw(image) for image in frames[[i, j]])
        return {"source": source, "driving": driving, "source_heard": rows[i], "driving_heard": rows[j]}
