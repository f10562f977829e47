"""The face models there are to fit with: ours, and those of others brought to our skin mesh."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.face import topology as top
from infinex.face.morphable import skin as mesh
from infinex.face.morphable.files import Raw, read_model
from infinex.face.morphable.model import MorphableFace
from infinex.face.morphable.places import Places, drawn, find_places
from infinex.face.pose import similarity
from infinex.face.tracker import find_faces

Array = NDArray[np.floating]
OWN = "skin_model.npz"
# What somebody who names such a file must have agreed to; none of it comes along.
LICENCES = {
    "Basel 2009": "non-commercial, by registration at the University of Basel",
    "Basel 2017": "non-commercial, by registration at the University of Basel",
    "Basel 2009 with expressions": "non-commercial, by registration at the University of Basel",
    "FLAME": "research by registration at the MPI for Intelligent Systems; FLAME 2023 Open: CC BY 4.0",
    "ICT-FaceKit": "MIT, USC Institute for Creative Technologies",
}


def read_own(data: dict[str, Any]) -> MorphableFace:
    """A model in our own layout. Raises InputError where it is another one's."""
    try:
        shades = data["shades"].astype(np.float32)[..., None] * data["skin"].mean(0)  # of the usual tone
        out = MorphableFace(
            data["mean"].astype(np.float64), data["identity"].astype(np.float32), data["expression"].astype(np.float32),
            data["skin"].astype(np.float64), np.concatenate([data["reflectance"], shades], dtype=np.float32),
            mesh.triangles(),
            data["spread"].astype(np.float64), float(data["range"][0]), float(data["range"][1]),
            tuple(str(n) for n in data["names"]), title=str(data["title"]),
        )  # fmt: skip
    except KeyError as error:
        raise InputError(f"this is no face model of ours: it lacks {error}") from None
    V = top.SURFACE + len(mesh.midpoints())
    if any(a.shape[-2:] != (V, 3) for a in (out.mean, out.identity, out.expression, out.skin, out.reflectance)):
        raise InputError(f"this face model has another topology: {V} vertices are wanted")
    return out


@cache
def own_model() -> MorphableFace:
    """The small model that comes along; its card is beside it."""
    path = resources.files("infinex.face").joinpath(f"data/{OWN}")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
        return read_own(dict(data))


def face_model(path: str | Path | None = None) -> MorphableFace:
    """The model in a file on our skin mesh, or our own. Raises InputError, FaceNotFoundError."""
    if path is None:
        return own_model()
    raw = read_model(path)
    out, _ = brought(raw)
    ours = own_model()
    if raw.reflectance is None:  # it tells nothing of colours
        out = replace(out, skin=ours.skin, reflectance=ours.reflectance)
    if not len(raw.expression):
        out = replace(
            out, expression=ours.expression, spread=ours.spread, low=ours.low, high=ours.high, names=ours.names
        )
    return out


def brought(raw: Raw, colour: Array | None = None) -> tuple[MorphableFace, Places]:
    """A model on our skin mesh, in head units (outer eye corners one apart), and where our vertices lie on it.

    `colour` (V, 3) is what it is drawn in for the tracker, by which brows and lips are found where they are seen."""
    if colour is None:
        colour = np.full_like(raw.mean, 0.65) if raw.skin is None else np.clip(raw.skin, 0, 1)
    places = find_places(raw.mean, _opened(raw, colour), raw.triangles, colour, raw.solid, raw.title)
    mean = places.of(raw.mean)
    target = top.mean_face()[: top.SURFACE] * [1, -1, -1]
    pose = similarity(mean[: top.SURFACE], target)

    def turned(basis: Array) -> NDArray[np.float32]:
        return np.asarray(places.of(basis) @ (pose.scale * pose.rotation.T), np.float32)

    none = np.zeros((0, len(mean), 3), np.float32)
    return MorphableFace(
        pose.to_image(mean), turned(raw.identity), turned(raw.expression),
        np.full_like(mean, 0.65) if raw.skin is None else places.of(raw.skin),
        none if raw.reflectance is None else places.of(raw.reflectance).astype(np.float32),
        mesh.triangles(), raw.spread, raw.low, raw.high, raw.names, title=raw.title,
    ), places  # fmt: skip


def _opened(raw: Raw, colour: Array) -> NDArray[np.float64]:
    """The mean face with its mouth open, by the expression that opens it; as it is where there is none."""
    if "jawOpen" in raw.names:
        at = raw.names.index("jawOpen")
        return raw.mean + (1.0 if np.isinf(raw.high) else 0.6) * raw.expression[at]

    best, most = raw.mean, 0.0
    for k in range(min(6, len(raw.expression))):
        for way in (-2.0, 2.0):
            shape = raw.mean + way * raw.spread[k] * raw.expression[k]
            faces = find_faces(drawn(shape, raw.triangles, colour, (0, 0))[0])
            if not faces:
                continue
            p = faces[0].landmarks
            gap = float(np.linalg.norm(p[13] - p[14]) / np.linalg.norm(p[33] - p[263]))
            if gap > most:
                best, most = shape, gap
    return np.asarray(best)
