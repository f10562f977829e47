"""A person made up for the tests of systems that are taught one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.morphable.bases import own_model
from infinex.face.morphable.light import ambient
from infinex.face.morphable.model import Camera, euler
from infinex.face.morphable.person import Person
from infinex.face.morphable.solve import FLIP, Solver, State, Who
from infinex.face.morphable.surface import rasterise
from infinex.systems.oneperson import PERSON

SIDE = 112


def person(frames: int = 12, side: int = SIDE) -> Person:
    """Somebody who turns the head and opens the mouth, as a fit would know them."""
    face, rng = own_model(), np.random.default_rng(5)
    # Skin without patches, which are finer than these pictures.
    who = Who(rng.normal(0, 0.5, len(face.identity)), rng.normal(0, 0.5, 24), 3.1 * side)
    light = 0.8 * ambient() + np.array([0, -0.1, 0.1, -0.2, 0, 0, 0, 0, 0])
    states, points = [], np.zeros((frames, top.POINTS, 3), np.float32)
    jaw, blink = face.names.index("jawOpen"), face.names.index("eyeBlink_L")
    for t in range(frames):
        expression = np.zeros(len(face.names))
        expression[jaw], expression[blink] = 0.5 - 0.5 * np.cos(t), 0.3 * (t % 3)
        state = State(euler(np.radians([2.0, 8 * np.sin(t / 2), 1.0])), np.array([0.0, 0.0, -9.0]), expression, light)
        seen = Solver(face).look(who, state).camera * FLIP
        flat = Camera(who.focal, (side / 2 - 0.5, side / 2 - 0.5)).project(seen)
        points[t, : top.SURFACE, :2] = flat[: top.SURFACE]
        points[t, : top.SURFACE, 2] = (seen[: top.SURFACE, 2] - 9) * who.focal / 9
        for ring, iris in ((top.RIGHT_EYE, top.RIGHT_IRIS), (top.LEFT_EYE, top.LEFT_IRIS)):
            points[t, iris] = points[t, ring].mean(0)
        states.append(state)
    return Person(face, who, states, points, np.ones(frames, bool), np.full(frames, 0.02), (side, side), 25.0)


def picture(known: Person, t: int) -> NDArray[np.uint8]:
    """A frame: the face over a blue wall."""
    side = known.size[0]
    look = known.look(known.states[t])
    flat = known.points[t, : top.SURFACE, :2]
    seen = look.camera * FLIP
    flat = Camera(known.who.focal, (side / 2 - 0.5, side / 2 - 0.5)).project(seen)
    ids, weights = rasterise(flat, seen[:, 2], known.face.triangles, (side, side))
    out = np.full((side, side, 3), (40, 60, 120), np.uint8)
    at = ids >= 0
    colour = np.einsum("nk,nkc->nc", weights[at], look.colour[known.face.triangles[ids[at]]])
    out[at] = np.clip(colour * 255, 0, 255).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(out, (0, 0), 0.6), np.uint8)


def clip_and_fit(folder: Path, frames: int = 12) -> tuple[Path, Path]:
    """A clip of that person, and what a fit of it would have found."""
    from infinex.media.sink import open_sink

    known = person(frames)
    clip, fitted = folder / "person.mp4", folder / PERSON
    with open_sink(clip, known.size, 25) as sink:
        for t in range(frames):
            sink.write(picture(known, t))
    known.save(fitted)
    return clip, fitted
