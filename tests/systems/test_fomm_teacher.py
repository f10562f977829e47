"""Keypoints from the face tracker, and training by them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from infinex.errors import InputError  # noqa: E402
from infinex.face.topology import mean_face  # noqa: E402
from infinex.systems.fomm.recipe import RECIPES, Augmentation, FommTask, taught_field  # noqa: E402
from infinex.systems.fomm.teacher import UNIT, FaceTeacher, keypoints  # noqa: E402
from infinex.training.data import Clip, ClipPoints, FramePairs, placed  # noqa: E402


def test_the_mean_face_is_its_own_frame() -> None:
    points = keypoints(mean_face()[:, :2] * UNIT)
    assert points.shape == (10, 6)
    assert np.allclose(points[:, 2:], [1, 0, 0, 1], atol=1e-6)
    assert points[0, 0] < 0 < points[1, 0]  # the subject's right eye lies on the left
    assert points[9, 1] == points[:, 1].max()


def test_local_frames_follow_an_affine_map() -> None:
    matrix, shift = np.array([[1.2, -0.4], [0.3, 0.9]]), np.array([0.1, -0.2])
    still = keypoints(mean_face()[:, :2] * UNIT)
    moved = keypoints(mean_face()[:, :2] * UNIT @ matrix.T + shift)
    assert np.allclose(moved[:, :2], still[:, :2] @ matrix.T + shift, atol=1e-6)
    assert np.allclose(moved[:, 2:].reshape(-1, 2, 2), matrix, atol=1e-5)


def test_mirroring_agrees_with_a_mirrored_face() -> None:
    rng = np.random.default_rng(0)
    face = mean_face()[:, :2] * UNIT @ np.array([[1.1, 0.2], [-0.3, 0.9]]).T + rng.normal(size=2) * 0.1
    swap = _mirror_index()
    mirrored = (face * [-1, 1])[swap]
    assert np.allclose(FaceTeacher().mirrored(keypoints(face)), keypoints(mirrored), atol=0.02)


def _mirror_index() -> np.ndarray:
    """Every landmark's counterpart on the other side of the mean face."""
    p = mean_face()
    flipped = p * [-1, 1, 1]
    return np.array([int(np.linalg.norm(p - q, axis=1).argmin()) for q in flipped])


def test_other_counts_are_refused() -> None:
    with pytest.raises(InputError, match="teaches 10 keypoints, this configuration has 4"):
        FaceTeacher(4)


class Counting:
    """Knows every second frame."""

    name = "counting"

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, images: Iterable[np.ndarray]) -> np.ndarray:
        self.asked += 1
        out = [np.full((10, 6), i if i % 2 == 0 else np.nan, np.float32) for i, _ in enumerate(images)]
        return np.stack(out)

    def mirrored(self, points: np.ndarray) -> np.ndarray:
        return -points


def test_what_is_taught_is_kept(tmp_path: Path, write_clip) -> None:  # type: ignore[no-untyped-def]
    frames = [np.full((32, 32, 3), 30 * i, np.uint8) for i in range(8)]
    path = write_clip(frames, "c.mp4")
    clip, teacher = Clip("c", path, "p", "train", 8, 25.0, 32, 32), Counting()
    for _ in range(2):
        known, points = ClipPoints(clip, teacher, tmp_path, 4).known()
        assert known == [0, 4] and points[:, 0, 0].tolist() == [0, 2]
    assert teacher.asked == 1
    (tmp_path / "clips").mkdir()
    path.rename(tmp_path / "clips" / "c.mp4")
    (tmp_path / "manifest.csv").write_text(
        "clip,status,identity,split,frames,fps,width,height\nclips/c.mp4,ok,p,train,8,25,32,32\n"
    )
    pairs = FramePairs(tmp_path, "train", 32, 1, Augmentation(flip=False), teacher=teacher, looks=4)
    sample = pairs.get(0, np.random.default_rng(0))
    assert sample["taught"].shape == (2, 10, 6)
    assert sample["source"].mean() < sample["driving"].mean() or sample["taught"][0, 0, 0] == 2


def test_a_deformation_is_compared_where_the_face_is() -> None:
    from infinex.nn.geometry import coordinate_grid

    still = coordinate_grid(17, 17, torch.zeros(1))[None].repeat(2, 1, 1, 1)
    taught = torch.zeros(2, 2, 10, 6)
    taught[..., :2] = torch.rand(2, 1, 10, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    taught[..., 2], taught[..., 5] = 1, 1
    assert float(taught_field(still, taught)) < 1e-6
    taught[:, 0, :, 0] += 0.2  # the source's keypoints lie further to the right
    apart = float(taught_field(still, taught))
    moved = still.clone()
    moved[..., 0] += 0.2
    assert apart == pytest.approx(0.1 * 50 / 71, rel=1e-3)  # x alone, at 50 of 71 points
    assert float(taught_field(moved, taught)) == pytest.approx(0.1 * 21 / 71, rel=1e-3)  # right but for the rim
    taught[:, 0, :, 2] = 2.0  # and are twice as wide
    assert float(taught_field(moved, taught)) > 0.1 * 21 / 71 + 0.005


class Plain:
    """Fabric on one CPU."""

    def backward(self, tensor: torch.Tensor) -> None:
        tensor.backward()


def test_the_detector_learns_what_it_is_taught() -> None:
    torch.manual_seed(0)
    assert RECIPES["fomm-face-motion"].start_from == "fomm-face-points"
    assert RECIPES["fomm-face-motion"].sizes.keypoints == 10
    generator = torch.Generator().manual_seed(1)
    batch = {k: torch.rand(2, 3, 64, 64, generator=generator) for k in ("source", "driving")}
    batch["taught"] = torch.from_numpy(np.tile(keypoints(mean_face()[:, :2] * UNIT), (2, 2, 1, 1)))
    task = FommTask(RECIPES["fomm-face-points"])
    before = [p.detach().clone() for p in task.networks["generator"].parameters()]
    trace = [task.step(batch, Plain())["taught_value"] for _ in range(12)]
    assert trace[-1] < 0.6 * trace[0]
    assert all(torch.equal(a, b) for a, b in zip(before, task.networks["generator"].parameters()))


def test_the_motion_learns_what_it_is_taught() -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    batch = {k: torch.rand(2, 3, 64, 64, generator=generator) for k in ("source", "driving")}
    taught = np.tile(keypoints(mean_face()[:, :2] * UNIT), (2, 2, 1, 1))
    taught[:, 0, :, :2] += 0.1
    batch["taught"] = torch.from_numpy(taught)
    recipe = RECIPES["fomm-face-motion"]
    task = FommTask(recipe)
    before = {n: p.detach().clone() for n, p in task.networks["generator"].named_parameters()}
    detector = [p.detach().clone() for p in task.networks["detector"].parameters()]
    trace = [task.step(batch, Plain())["taught_field"] for _ in range(12)]
    assert trace[-1] < 0.95 * trace[0]
    moved = {n for n, p in task.networks["generator"].named_parameters() if not torch.equal(before[n], p)}
    assert moved and all(n.startswith("motion.") for n in moved)
    assert all(torch.equal(a, b) for a, b in zip(detector, task.networks["detector"].parameters()))
    assert task.weights().origin == {"picture": "deformed"}
    assert {"taught_field", "perceptual"} <= set(FommTask(replace(recipe, alone="")).step(batch, Plain()))


def test_weights_without_a_generator_show_the_deformed_source() -> None:
    from infinex.systems.fomm.animator import FommAnimator

    torch.manual_seed(0)
    weights = FommTask(RECIPES["fomm-face-motion"]).weights()
    rng = np.random.default_rng(0)
    source, driving = rng.integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)
    engine = FommAnimator.from_weights(weights, motion="absolute")
    out = engine.render(engine.prepare(source), driving)
    assert np.array_equal(out["prediction"], out["deformed"])
    assert out["occlusion"].min() == 255
    weights.origin.clear()
    engine = FommAnimator.from_weights(weights, motion="absolute")
    out = engine.render(engine.prepare(source), driving)
    assert not np.array_equal(out["prediction"], out["deformed"])


def test_keypoints_move_with_the_picture() -> None:
    """Dots drawn at keypoints are found where the keypoints are said to lie after both were moved."""
    rng = np.random.default_rng(3)
    size = 96
    points = np.zeros((1, 3, 6), np.float32)
    points[0, :, :2] = [[-0.3, -0.2], [0.25, 0.1], [0.0, 0.35]]
    points[0, :, 2:] = [1, 0, 0, 1]
    ys, xs = np.mgrid[:size, :size]
    for _ in range(5):
        images = []
        for x, y in points[0, :, :2]:
            u, v = (np.array([x, y]) + 1) / 2 * (size - 1)
            images.append(np.repeat(np.exp(-((xs - u) ** 2 + (ys - v) ** 2) / 8)[None], 3, 0).astype(np.float32))
        a = Augmentation(shift=0.2, zoom=0.3, turn=25)
        moved, there = placed(images, points, a, rng)
        assert there is not None
        for image, (x, y) in zip(moved, there[0, :, :2]):
            weight = image[0] / image[0].sum()
            seen = np.array([(weight * xs).sum(), (weight * ys).sum()]) / (size - 1) * 2 - 1
            assert np.abs(seen - [x, y]).max() < 0.02
        turn = there[0, 0, 2:].reshape(2, 2)
        step = (there[0, 1, :2] - there[0, 0, :2]) - turn @ (points[0, 1, :2] - points[0, 0, :2])
        assert np.abs(step).max() < 1e-5  # the local frame is the derivative of the movement
    still = Augmentation()
    assert placed(images, points, still, rng) == (images, points)
