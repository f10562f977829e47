"""Face models that users have a licence for, read from their authors' files; nothing is unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError, MissingDependencyError, option
from infinex.face.morphable.model import MorphableFace
from infinex.face.morphable.surface import Indices
from infinex.media.files import readable_file

Array = NDArray[np.floating]

IDENTITY, EXPRESSION, SKIN = 80, 76, 80  # weights of the published systems; files may have more
USUAL = 0.175  # how widely weights of blendshapes vary; those of the eyes' turns hardly show on lids
KNOWN = "Basel 2009 (.mat), Basel 2017 (.h5), FLAME (.npz) or ICT-FaceKit (.npz)"


@dataclass(frozen=True)
class Raw:
    """A model as its file has it: V vertices in its own units, x to the subject's left, y up, z forward.

    `solid` (V,) are vertices of skin; `reflectance` None: the file tells nothing of colours."""

    title: str
    mean: NDArray[np.float64]
    triangles: Indices
    identity: NDArray[np.float32]  # (K, V, 3)
    expression: NDArray[np.float32]  # (E, V, 3)
    spread: NDArray[np.float64]  # (E,)
    solid: NDArray[np.bool_]
    skin: NDArray[np.float64] | None = None  # (V, 3) RGB in 0..1
    reflectance: NDArray[np.float32] | None = None  # (B, V, 3)
    names: tuple[str, ...] = ()
    low: float = -np.inf
    high: float = np.inf


def read_model(path: str | Path) -> Raw:
    """The model in a file. Raises InputError for one that is none, or needs unpickling."""
    path = readable_file(path)
    kind = path.suffix.lower()
    if kind in (".pkl", ".pickle"):
        raise InputError(
            f"{path.name} is a pickle, which may hold code and is not read: where you trust it, save its arrays "
            "v_template, shapedirs, f, J_regressor, weights by numpy.savez and name the .npz"
        )
    try:
        data = {".npz": _npz, ".mat": _mat, ".h5": _h5}.get(kind, _unknown)(path)
    except (InputError, MissingDependencyError):
        raise
    except Exception as error:  # damaged files are reported in every way there is
        raise InputError(f"{path.name} cannot be read as a face model; it is {KNOWN}") from error
    for mark, read in (
        ("meanshape", _deep3d), ("shapeMU", _basel_2009), ("shape/model/mean", _basel_2017), ("v_template", _flame),
        ("neutral", _ict),
    ):  # fmt: skip
        if mark in data:
            try:
                return read(data)
            except (KeyError, ValueError, IndexError) as error:
                raise InputError(
                    f"{path.name} is a face model of another topology than its kind has ({error}); "
                    "take the file of its authors"
                ) from None
    raise InputError(f"{path.name} holds no face model that is known; it is {KNOWN}")


def _unknown(path: Path) -> dict[str, Any]:
    raise InputError(f"{option('face_model')} {path.name}: it is {KNOWN}")


def _npz(path: Path) -> dict[str, Any]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
        return {k: data[k] for k in data.files}


def _mat(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat

    return {k: v for k, v in loadmat(path).items() if isinstance(v, np.ndarray) and v.dtype.kind in "fiub"}


def _h5(path: Path) -> dict[str, Any]:
    try:
        import h5py
    except ImportError:
        raise MissingDependencyError("reading Basel 2017 needs h5py: pip install h5py") from None
    out: dict[str, Any] = {}
    most = {"shape": IDENTITY, "expression": EXPRESSION, "color": SKIN}
    with h5py.File(path, "r") as file:
        for part, count in most.items():
            if f"{part}/model" not in file:
                continue
            out[f"{part}/model/mean"] = file[f"{part}/model/mean"][:]
            out[f"{part}/model/pcaBasis"] = file[f"{part}/model/pcaBasis"][:, :count]
            out[f"{part}/model/pcaVariance"] = file[f"{part}/model/pcaVariance"][:count]
        for name in ("shape/representer/cells", "expression/representer/cells"):
            if name in file:
                out["cells"] = file[name][:]
    return out


def _basis(flat: Array, scale: Any, most: int) -> NDArray[np.float32]:
    """(3 V, K) to (K, V, 3), each column times its scale."""
    flat = np.asarray(flat, np.float32)[:, :most] * np.asarray(scale, np.float32).ravel()[:most]
    return np.ascontiguousarray(np.moveaxis(flat.reshape(len(flat) // 3, 3, -1), 2, 0))


def deep3d(data: Mapping[str, Any]) -> MorphableFace:
    """`BFM_model_front.mat` of Deep3DFaceRecon as it is, with the lists of triangles that its authors' normals use."""
    raw = _deep3d(data)
    ring = np.asarray(data["point_buf"], np.int64) - 1
    ring = np.where(ring >= len(raw.triangles), -1, ring)
    assert raw.skin is not None and raw.reflectance is not None
    return MorphableFace(
        raw.mean, raw.identity, raw.expression, raw.skin, raw.reflectance, raw.triangles, raw.spread,
        ring=np.ascontiguousarray(ring, np.int32), title=raw.title,
    )  # fmt: skip


def _deep3d(data: Mapping[str, Any]) -> Raw:
    mean = np.asarray(data["meanshape"], np.float64).reshape(-1, 3)
    expression = _basis(data["exBase"], 1, EXPRESSION)
    return Raw(
        "Basel 2009 with expressions", mean - mean.mean(0), np.asarray(data["tri"], np.int32).reshape(-1, 3) - 1,
        _basis(data["idBase"], 1, IDENTITY), expression, np.ones(len(expression)),
        np.ones(len(mean), bool), np.asarray(data["meantex"], np.float64).reshape(-1, 3) / 255,
        _basis(data["texBase"], 1 / 255, SKIN),
    )  # fmt: skip


def _basel_2009(data: Mapping[str, Any]) -> Raw:
    mean = np.asarray(data["shapeMU"], np.float64).reshape(-1, 3)
    # Its triangles run clockwise. It has no expressions of its own; ours take their place.
    triangles = np.asarray(data["tl"], np.int32).reshape(-1, 3)[:, ::-1] - 1
    return Raw(
        "Basel 2009", mean, np.ascontiguousarray(triangles), _basis(data["shapePC"], data["shapeEV"], IDENTITY),
        np.zeros((0, len(mean), 3), np.float32), np.zeros(0), np.ones(len(mean), bool),
        np.asarray(data["texMU"], np.float64).reshape(-1, 3) / 255,
        _basis(data["texPC"], np.asarray(data["texEV"], np.float64) / 255, SKIN),
    )  # fmt: skip


def _basel_2017(data: Mapping[str, Any]) -> Raw:
    mean = np.asarray(data["shape/model/mean"], np.float64).reshape(-1, 3)
    rest = np.asarray(data["expression/model/mean"], np.float64).reshape(-1, 3)
    cells = np.asarray(data["cells"], np.int32)
    triangles = cells.T if cells.shape[0] == 3 else cells

    def part(name: str, most: int, scale: float = 1.0) -> NDArray[np.float32]:
        return _basis(data[f"{name}/model/pcaBasis"], scale * np.sqrt(data[f"{name}/model/pcaVariance"]), most)

    expression = part("expression", EXPRESSION)
    return Raw(
        "Basel 2017", mean + rest, np.ascontiguousarray(triangles), part("shape", IDENTITY), expression,
        np.ones(len(expression)), np.ones(len(mean), bool),
        np.asarray(data["color/model/mean"], np.float64).reshape(-1, 3), part("color", SKIN),
    )  # fmt: skip


FLAME_SHAPES, FLAME_JAW, FLAME_EYES = 300, 2, 3931  # of its shapedirs; its joint; its eyeballs come last


def _flame(data: Mapping[str, Any]) -> Raw:
    mean = np.asarray(data["v_template"], np.float64)
    moves = np.moveaxis(np.asarray(data["shapedirs"], np.float32), 2, 0)
    if len(mean) != 5023 or moves.shape[1:] != mean.shape:
        raise ValueError(f"{len(mean)} vertices where FLAME has 5023")
    shapes = FLAME_SHAPES if len(moves) > FLAME_SHAPES else len(moves) - 50
    # The jaw is a joint: for small turns what it does is linear, down, to the left and about its length.
    joint = np.asarray(data["J_regressor"], np.float64)[FLAME_JAW] @ mean
    held = np.asarray(data["weights"], np.float64)[:, FLAME_JAW, None]
    jaw = np.stack([held * np.cross(axis, mean - joint) for axis in np.eye(3) * 0.2])
    expression = np.concatenate([jaw.astype(np.float32), moves[shapes : shapes + EXPRESSION - 3]])
    solid = np.arange(len(mean)) < FLAME_EYES
    return Raw(
        "FLAME", mean, np.asarray(data["f"], np.int32), moves[:IDENTITY], expression, np.ones(len(expression)), solid,
        names=("jawOpen", "jawYaw", "jawRoll", *(f"expression{i}" for i in range(len(expression) - 3))),
    )  # fmt: skip


def _ict(data: Mapping[str, Any]) -> Raw:
    mean = np.asarray(data["neutral"], np.float64)
    identity, expression = np.asarray(data["identity"], np.float32), np.asarray(data["expression"], np.float32)
    if len(mean) != 26719 or identity.shape[1:] != mean.shape or expression.shape[1:] != mean.shape:
        raise ValueError(f"{len(mean)} vertices where ICT-FaceKit has 26719")
    quads = np.asarray(data["polygons"])
    four = quads[quads[:, 3] >= 0]
    triangles = np.concatenate([quads[:, :3], four[:, [0, 2, 3]]]).astype(np.int32)
    solid = np.arange(len(mean)) < 6706  # the face without ears
    shown = (np.arange(len(mean)) < 24591)[triangles].all(1)  # without fluid and lashes
    names = [str(n) for n in data["expression_names"]]
    keep = [i for i, n in enumerate(names) if not n.startswith("PupilDilate")]
    return Raw(
        "ICT-FaceKit", mean, np.ascontiguousarray(triangles[shown]), identity, expression[keep],
        np.array([0.08 if names[i].startswith("eyeLook") else USUAL for i in keep]), solid,
        names=tuple(names[i] for i in keep), low=0.0, high=1.0,
    )  # fmt: skip
