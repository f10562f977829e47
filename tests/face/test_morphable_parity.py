"""The parametric face does what the published code and formulas do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from infinex.face import retrieval
from infinex.face.morphable import energy
from infinex.face.morphable.light import BANDS, harmonics, shade
from infinex.face.morphable.model import Camera, MorphableFace, euler
from infinex.face.morphable.transfer import Transfer

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def published(parity_dir: Path) -> dict[str, NDArray]:
    with np.load(parity_dir / "morphable_model.npz", allow_pickle=False) as data:
        return {k: data[k] for k in data.files}


@pytest.fixture(scope="module")
def printed(parity_dir: Path) -> dict[str, NDArray]:
    with np.load(parity_dir / "formulas.npz", allow_pickle=False) as data:
        return {k: np.asarray(data[k], np.float64) if data[k].dtype.kind == "f" else data[k] for k in data.files}


def _face(p: dict[str, NDArray]) -> MorphableFace:
    """The published bases in the layout of `BFM_model_front.mat`."""
    bfm = {k.removeprefix("state/bfm/"): v for k, v in p.items() if k.startswith("state/bfm/")}
    from infinex.face.morphable.files import deep3d

    return deep3d(bfm)


def _split(c: NDArray) -> tuple[NDArray, ...]:
    return tuple(np.split(c.astype(np.float64), [80, 144, 224, 227, 254]))


CAMERA = Camera(1015.0, (112.0, 112.0))
GAMMA = np.concatenate([[0.8], np.zeros(BANDS - 1)])


def test_shape_skin_and_normals(published: dict[str, NDArray]) -> None:
    face = _face(published)
    for i, c in enumerate(published["in/coefficients"]):
        identity, expression, skin, angles, light, shift = _split(c)
        shape = face.shape(identity, expression)
        assert np.abs(shape - published["out/shape"][i]).max() < 1e-4
        assert np.abs(face.albedo(skin) - published["out/albedo"][i]).max() < 1e-4
        R = euler(angles)
        assert np.abs(R.T - published["out/rotation"][i]).max() < 1e-5
        own = face.normals(shape)
        assert np.abs(own - published["out/normals"][i]).max() < 1e-4
        normals = own @ R.T
        assert np.abs(harmonics(normals) - published["out/sh_basis"][i]).max() < 1e-4
        colour = shade(face.albedo(skin), normals, light.reshape(3, BANDS) + GAMMA)
        assert np.abs(colour - published["out/color"][i]).max() < 1e-4
        seen = shape @ R.T + shift
        seen[:, 2] = 10 - seen[:, 2]
        assert np.abs(seen - published["out/camera_vertices"][i]).max() < 1e-4
        points = CAMERA.project(seen)
        assert np.abs(points - published["out/image_points"][i]).max() < 2e-3
        marks = points[published["state/bfm/keypoints"].ravel() - 1]
        assert np.abs(marks - published["out/landmarks"][i]).max() < 2e-3


def test_changes_by_every_coefficient(published: dict[str, NDArray]) -> None:
    """The derivatives that a fit follows, against the gradients of the published code."""
    face = _face(published)
    marks = published["state/bfm/keypoints"].ravel() - 1
    for i, c in enumerate(published["in/coefficients"]):
        identity, expression, skin, angles, light, shift = _split(c)
        seen = face.look(identity, expression, face.albedo(skin), euler(angles), shift, light.reshape(3, BANDS) + GAMMA)
        assert np.abs(seen.colour - published["out/color"][i]).max() < 1e-4
        basis = np.concatenate([face.identity, face.expression])
        turned = euler_changes(angles)
        moved = np.zeros((257, len(face.mean), 3))
        moved[:144] = basis @ euler(angles).T
        moved[224:227] = np.einsum("kij,vj->kvi", turned, seen.shape)
        moved[254:] = np.eye(3)[:, None]
        # Landmarks: the published loss is the sum of squares over 68, weighted.
        depth = seen.camera.copy()
        depth[:, 2] = 10 - depth[:, 2]
        moved[..., 2] *= -1
        flow = CAMERA.changes(depth[marks], np.moveaxis(moved[:, marks], 0, 2))
        off = CAMERA.project(depth[marks]) - published["in/landmarks_target"][i]
        weight = np.ones(68)
        weight[28:31] = weight[60:68] = 20
        gradient = 2 * np.einsum("n,nc,nck->k", weight, off, flow) / (68 * 3)
        wanted = published["out/gradient/landmark"][i]
        assert np.abs(gradient - wanted).max() / np.abs(wanted).max() < 1e-3
        change = seen.colour_changes(euler(angles), turned)
        gradient = np.einsum("vc,vck->k", published["in/color_weights"][i], change)
        wanted = published["out/gradient/color"][i]
        assert np.abs(gradient - wanted).max() / np.abs(wanted).max() < 1e-3


def euler_changes(angles: NDArray) -> NDArray:
    """Derivatives (3, 3, 3) of the rotation by its angles, by central differences."""
    out = []
    for k in range(3):
        step = np.eye(3)[k] * 1e-6
        out.append((euler(angles + step) - euler(angles - step)) / 2e-6)
    return np.stack(out)


def test_energy(printed: dict[str, NDArray]) -> None:
    p = {k.split("/")[-1]: v for k, v in printed.items() if "/face2face/" in k}
    colour = energy.colour(p["synthetic"], p["image"])
    marks = energy.landmarks(p["projected"], p["landmarks"], p["confidence"])
    prior = energy.prior(*((p[k], p[f"sigma_{k}"]) for k in ("alpha", "beta", "delta")))
    assert colour == pytest.approx(p["e_col"][0], rel=1e-5)
    assert marks == pytest.approx(p["e_lan"][0], rel=1e-5)
    assert prior == pytest.approx(p["e_reg"][0], rel=1e-5)
    total = energy.COLOUR * colour + energy.LANDMARKS * marks + energy.PRIOR * prior
    assert total == pytest.approx(p["energy"][0], rel=1e-5)
    assert energy.reweights(p["synthetic"] - p["image"]) == pytest.approx(p["irls_weights"], rel=1e-4)


def test_transfer(printed: dict[str, NDArray]) -> None:
    p = {k.split("/")[-1]: v for k, v in printed.items() if "/transfer/" in k}
    transfer = Transfer(p["source_neutral"], p["target_neutral"], p["basis"], p["triangles"])
    posed = p["source_neutral"] + np.tensordot(p["source_coefficients"], p["basis"], 1)
    assert transfer.gradients(posed) == pytest.approx(p["gradients"], abs=1e-4)
    assert np.sort(transfer.system, 0) == pytest.approx(np.sort(p["system"], 0), abs=1e-4)
    assert np.sort(transfer.right_hand_side(posed)) == pytest.approx(np.sort(p["right_hand_side"]), abs=1e-4)
    assert transfer(posed) == pytest.approx(p["target_coefficients"], abs=1e-4)


def test_retrieval(printed: dict[str, NDArray]) -> None:
    p = {k.split("/")[-1]: v for k, v in printed.items() if "/retrieval/" in k}
    d_p = retrieval.pose_distances(p["expression"], p["rotation"], p["expressions"], p["rotations"])
    d_m = retrieval.shape_distances(p["landmarks"], p["landmarks_frames"], p["pairs"])
    assert d_p == pytest.approx(p["d_p"], rel=1e-4)
    assert d_m == pytest.approx(p["d_m"], rel=1e-4)
    assert retrieval.texture_distances(p["lbp"], p["lbp_frames"]) == pytest.approx(p["d_l"], rel=1e-4)
    assert retrieval.colour_weights(d_m) == pytest.approx(p["w_c"], rel=1e-4)
