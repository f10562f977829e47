"""The landmark transformer: the printed formulas, what a decomposition must keep, and the one that comes along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infinex.drivers.motion import load_motion
from infinex.face import topology as top
from infinex.face.landmark_transformer import (
    LandmarkTransformer,
    decompose,
    groups,
    landmark_transformer,
    learn,
    mirrored,
    moments,
    principal,
)
from infinex.face.morphable.bases import own_model
from infinex.face.portrait import SourceFace
from infinex.face.pose import fit_pose
from infinex.mesh.retarget import Retarget
from infinex.motion import Move, Rest


@pytest.fixture(scope="module")
def formulas(parity_dir: Path) -> Mapping[str, np.ndarray]:
    path = parity_dir / "formulas.npz"
    if not path.is_file():
        pytest.skip(f"no {path.name} in {parity_dir}: set INFINEX_PARITY_DIR")
    with np.load(path, allow_pickle=False) as data:
        return {k: v.astype(np.float64) for k, v in data.items() if k.split("/")[1:2] == ["landmarks"]}


@pytest.mark.parity
def test_the_printed_decomposition(formulas: Mapping[str, np.ndarray]) -> None:
    tracks = list(formulas["in/landmarks/normalised"])
    mean, identity, expression = decompose(tracks)
    assert np.allclose(mean, formulas["out/landmarks/mean"], atol=1e-6)
    assert np.allclose(identity, formulas["out/landmarks/identity"], atol=1e-6)
    assert np.allclose(expression, formulas["out/landmarks/expression"], atol=1e-6)
    assert np.allclose(mean + identity[1] + expression[0], formulas["out/landmarks/driver0_on_target1"], atol=1e-6)


@pytest.mark.parity
def test_the_printed_directions(formulas: Mapping[str, np.ndarray]) -> None:
    mean, _, expression = decompose(list(formulas["in/landmarks/normalised"]))
    directions, sizes = principal(expression, 5)
    assert np.allclose(sizes, formulas["out/landmarks/pca_singular_values"], rtol=1e-5)
    flat = np.stack(expression).reshape(*np.shape(expression)[:2], -1)
    kept = (flat @ directions.T @ directions).reshape(formulas["out/landmarks/pca_projection_5"].shape)
    assert np.allclose(kept, formulas["out/landmarks/pca_projection_5"], atol=1e-6)
    # With its own directions a transformer whose reader looks along them finds the same.
    model = LandmarkTransformer(mean, directions, directions.T)
    assert np.allclose(model.changed(np.stack(expression)), kept, atol=1e-9)


def performance() -> np.ndarray:
    """Faces (T, 478, 3) of a real performance on the mean face."""
    return top.mean_face() + load_motion("surprise").offsets.astype(np.float64)


def somebody(seed: int = 0) -> np.ndarray:
    """A face of other proportions, as the face model has them."""
    amounts = np.random.default_rng(seed).normal(size=20)
    out = top.mean_face().copy()
    out[: top.SURFACE] += np.einsum("k,kpc->pc", amounts, own_model().identity[:20, : top.SURFACE]) * [1, -1, -1]
    return fit_pose(top.mean_face(), out).to_head(out)


def test_a_face_driven_by_itself_is_itself() -> None:
    model, face = landmark_transformer(), somebody() + performance()[40] - top.mean_face()
    for strength in (1.0, 1.5):
        assert np.allclose(model.transfer(face, face, strength), face, atol=1e-12)
        identity, expression = model.split(face, strength)
        assert np.allclose(model.mean + identity + expression, face, atol=1e-12)


def test_the_target_stays_who_they_are_and_does_what_the_driver_does() -> None:
    model, driver, target = landmark_transformer(), somebody(1), somebody(2)
    does = performance() - top.mean_face()
    made = model.transfer(driver + does, target)
    # Who: of the difference between both people hardly anything comes along.
    still = model.transfer(driver, target)
    assert np.linalg.norm(still - target) < 0.5 * np.linalg.norm(driver - target)
    # What: the mouth opens as the driver's does.
    gap = (made[:, 14] - made[:, 13])[:, 1]
    theirs = (does[:, 14] - does[:, 13])[:, 1]
    assert np.ptp(theirs) > 0.05 and np.corrcoef(gap, theirs)[0, 1] > 0.95


def test_pictures_of_one_person_are_averaged() -> None:
    model, target = landmark_transformer(), somebody(3)
    faces = target + (performance() - top.mean_face())[10:60:10]
    assert np.allclose(model.identity(faces), np.mean([model.split(f)[0] for f in faces], 0))


def test_groups_are_soft_and_whole() -> None:
    g = groups()
    assert g.shape == (3, 478) and np.allclose(g.sum(0), 1) and g.min() >= 0
    assert g[0, 13] == 1 and g[1, 159] > 0.9 and g[2, 10] > 0.9
    face = np.random.default_rng(0).random((478, 3))
    assert np.array_equal(mirrored(mirrored(face)), face)


def test_it_learns_what_varies_in_people_and_what_in_time() -> None:
    rng = np.random.default_rng(0)
    jaw = np.zeros((478, 3))
    jaw[:, 1] = groups()[0] * np.clip(top.mean_face()[:, 1], 0, None)
    people = [top.mean_face() + s * np.array([1, 0, 0]) * top.mean_face() for s in (-0.1, -0.03, 0.04, 0.09)]
    tracks = [p + 0.1 * rng.random((30, 1, 1)) * jaw for p in people]
    model = learn(moments(tracks), (2, 1, 1), np.zeros((0, 478, 3)), 0.0, 0.001)
    opened = model.expression(model.mean + 0.1 * jaw)
    assert np.linalg.norm(opened - 0.1 * jaw) < 0.1 * np.linalg.norm(0.1 * jaw)
    wider = 0.1 * np.array([1, 0, 0]) * top.mean_face()
    assert np.linalg.norm(model.expression(model.mean + wider)) < 0.1 * np.linalg.norm(wider)


def test_who_performs_is_judged_once() -> None:
    model, rest, target = landmark_transformer(), somebody(8), somebody(9)
    offsets = (performance() - top.mean_face())[30:50]
    made = model.performed(rest, offsets, target)
    assert np.allclose(made - made[0], model.changed(offsets - offsets[0]), atol=1e-9)
    assert np.allclose(model.performed(target, 0 * offsets, target), target)
    lost = np.linalg.norm(model.changed(offsets) - offsets) / np.linalg.norm(offsets)
    assert lost < 0.5  # what is no expression in that performance, and what the basis lacks


def moved(offsets: np.ndarray) -> Move:
    """An instant with the head still."""
    return Move(0.0, np.zeros(3), np.zeros(3), 1.0, offsets, np.zeros(2))


@pytest.mark.parametrize("proportions", ["auto", "scaled", "plain", "landmark-transformer"])
def test_a_move_equal_to_rest_is_the_source(proportions: str) -> None:
    source = SourceFace(somebody(4) * 50 + 100)
    rest = replace(Rest.neutral(), face=somebody(5))
    assert Retarget(source, rest, False, proportions)(moved(np.zeros((478, 3)))).still  # type: ignore[arg-type]


def test_absolute_landmarks_are_the_performers_or_the_expression_alone() -> None:
    wide, narrow = top.mean_face() * [1.12, 1, 1], top.mean_face() * [0.88, 1, 1]
    source, performer = SourceFace(wide * 50 + 100), fit_pose(top.mean_face(), narrow).to_head(narrow)
    rest, move = replace(Rest.neutral(), face=performer), moved((performance() - top.mean_face())[40])
    width = {}
    for proportions in ("scaled", "plain", "landmark-transformer"):
        face = Retarget(source, rest, True, proportions)(move).face  # type: ignore[arg-type]
        width[proportions] = float(face[454, 0] - face[234, 0])
    mine, theirs = (float(f[454, 0] - f[234, 0]) for f in (source.face, performer))
    assert abs(mine - theirs) > 0.1
    assert abs(width["plain"] - theirs) < 0.3 * abs(mine - theirs)
    assert abs(width["landmark-transformer"] - mine) < 0.5 * abs(mine - theirs)
