"""Takes to write and read."""

from __future__ import annotations

import numpy as np

from infinex.face import blendshapes as shapes
from infinex.interchange.take import Take


def take(frames: int = 40, fps: float = 25.0, seed: int = 0) -> Take:
    """A take in which everything moves."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0, 0.7, (frames, 52))
    eyes = np.repeat(rng.uniform(-0.3, 0.3, (frames, 1, 2)), 2, 1)
    weights[:, shapes.EYES] = shapes.look(eyes)
    return Take(fps, weights, rng.uniform(-0.5, 0.5, (frames, 3)), eyes, np.ones(frames, bool), start=36000.0)
