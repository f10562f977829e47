"""The engine: motion modes, batches, references, refusals, equality with the plain network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from infinex.errors import InputError  # noqa: E402
from infinex.systems.fomm.animator import FommAnimator, best_frame, hull_area, movement_scale  # noqa: E402
from infinex.systems.fomm.model import CONFIGS, FommConfig, FommModel, Keypoints  # noqa: E402
from infinex.systems.fomm.weights import LAYOUT, FommWeights  # noqa: E402

# Wide enough for the minimal filtering to be used.
WIDE = FommConfig(size=64, keypoints=4, detector_width=8, detector_max=16, detector_levels=2, motion_width=8,
                  motion_max=16, motion_levels=2, generator_width=16, generator_max=64,
                  generator_blocks=2)  # fmt: skip


@pytest.fixture(scope="module")
def model() -> FommModel:
    """Random, but with sharp keypoints and moving Jacobians, as a trained one has."""
    torch.manual_seed(0)
    model = FommModel(WIDE)
    torch.nn.init.normal_(model.detector.jacobian.weight, std=0.02)
    model.detector.heatmap.weight.data *= 10
    model.generator.motion.mask.weight.data *= 5
    for m in model.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(m.running_mean, std=0.2)
            torch.nn.init.uniform_(m.running_var, 0.5, 2)
    return model.eval()


def _frames(count: int, seed: int = 0) -> np.ndarray:
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(coarse, size=64, mode="bicubic").clamp(0, 1)
    return (smooth.permute(0, 2, 3, 1) * 255).round().byte().numpy()


def _tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None] / 255


def test_absolute_motion_equals_the_plain_network(model: FommModel) -> None:
    source, driving = _frames(1, 1)[0], _frames(5, 2)
    engine = FommAnimator(model, motion="absolute", batch=2)
    out = engine.render(engine.prepare(source), driving)
    assert out["prediction"].shape == out["deformed"].shape == (5, 64, 64, 3)
    assert out["occlusion"].shape == (5, 16, 16)
    assert out["keypoints"].shape == (5, 4, 2)
    for i, frame in enumerate(driving):
        with torch.no_grad():
            plain = model(_tensor(source), _tensor(frame))
        exact = plain.prediction[0].permute(1, 2, 0).numpy() * 255
        assert np.abs(out["prediction"][i] - exact).max() < 1  # rounding included
        deformed = plain.deformed[0].permute(1, 2, 0).numpy() * 255
        assert np.abs(out["deformed"][i] - deformed).max() < 1


def test_batches_make_no_difference(model: FommModel) -> None:
    source, driving = _frames(1, 1)[0], _frames(5, 2)
    results = []
    for batch in (1, 3, 8):
        engine = FommAnimator(model, batch=batch)
        results.append(engine.render(engine.prepare(source), driving)["prediction"].astype(int))
    assert max(np.abs(r - results[0]).max() for r in results) <= 1


def test_relative_motion_starts_at_the_source(model: FommModel) -> None:
    source, driving = _frames(1, 1)[0], _frames(3, 2)
    engine = FommAnimator(model)
    prepared = engine.prepare(source)
    out = engine.render(prepared, driving)
    assert np.allclose(out["keypoints"][0], prepared.keypoints.value[0].numpy(), atol=1e-5)
    assert not np.allclose(out["keypoints"][1], out["keypoints"][0], atol=1e-3)
    # Later calls count from the same frame.
    again = engine.render(prepared, driving[1])
    assert np.allclose(again["keypoints"][0], out["keypoints"][1], atol=1e-5)
    # Another reference may be chosen.
    engine.begin(prepared, driving[2])
    assert np.allclose(
        engine.render(prepared, driving[2])["keypoints"][0], prepared.keypoints.value[0].numpy(), atol=1e-5
    )


def test_scale_is_adapted_on_request(model: FommModel) -> None:
    source, driving = _frames(1, 1)[0], _frames(2, 2)
    moves = []
    for adapt in (True, False):
        engine = FommAnimator(model, adapt_scale=adapt)
        prepared = engine.prepare(source)
        out = engine.render(prepared, driving)["keypoints"]
        moves.append(out[1] - out[0])
        assert (prepared.scale != 1) == adapt
    scale = movement_scale(prepared.keypoints, prepared.reference)
    assert np.allclose(moves[0], scale * moves[1], atol=1e-5)


def test_streaming_is_lazy_and_the_same(model: FommModel) -> None:
    source, driving = _frames(1, 1)[0], _frames(5, 2)
    engine = FommAnimator(model, batch=2)
    taken = []

    def frames() -> object:
        for i, frame in enumerate(driving):
            taken.append(i)
            yield frame

    stream = engine.stream(engine.prepare(source), frames())
    first = next(stream)
    assert taken == [0, 1]
    whole = np.stack([first, *stream])
    again = engine.render(engine.prepare(source), driving)["prediction"]
    assert np.abs(whole.astype(int) - again).max() <= 1


def test_two_portraits_do_not_disturb_each_other(model: FommModel) -> None:
    engine = FommAnimator(model, motion="absolute")
    a, b = (engine.prepare(s) for s in _frames(2, 4))
    driving = _frames(2, 2)
    alone = engine.render(a, driving)["prediction"]
    engine.render(b, driving)
    assert np.array_equal(engine.render(a, driving)["prediction"], alone)


def test_from_a_weights_file(model: FommModel, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    networks = {"detector": model.detector.state_dict(), "generator": model.generator.state_dict()}
    LAYOUT.save(tmp_path / "w.safetensors", FommWeights(WIDE, networks))
    engine = FommAnimator.from_weights(tmp_path / "w.safetensors", motion="absolute")
    source, driving = _frames(1, 1)[0], _frames(1, 2)
    same = FommAnimator(model, motion="absolute")
    expected = same.render(same.prepare(source), driving)["prediction"]
    assert np.array_equal(engine.render(engine.prepare(source), driving)["prediction"], expected)


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 4), (60, 64, 3), (0, 64, 3)])
def test_pictures_of_other_shapes_are_refused(model: FommModel, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="64×64×3"):
        FommAnimator(model).prepare(np.zeros(shape, np.uint8))
    with pytest.raises(InputError, match="float64"):
        FommAnimator(model).prepare(np.zeros((64, 64, 3)))


def test_hull_area() -> None:
    rng = np.random.default_rng(0)
    inside = rng.uniform(0, 2, (50, 2)) * [1, 0.5]
    assert hull_area(np.vstack([inside, [[0, 0], [2, 0], [2, 1], [0, 1]]])) == pytest.approx(2)
    assert hull_area(np.array([[0.0, 0], [1, 1], [2, 2]])) == 0
    assert hull_area(np.zeros((5, 2))) == 0
    spatial = pytest.importorskip("scipy.spatial")
    for _ in range(20):
        points = rng.normal(size=(10, 2)).astype(np.float32)
        assert hull_area(points) == pytest.approx(spatial.ConvexHull(points).volume, rel=1e-5)


def test_scale_of_degenerate_keypoints_is_one() -> None:
    flat = Keypoints(torch.zeros(1, 4, 2), torch.zeros(1, 4, 2, 2))
    square = Keypoints(torch.tensor([[[0.0, 0], [1, 0], [1, 1], [0, 1]]]), flat.jacobian)
    assert movement_scale(square, flat) == movement_scale(flat, square) == 1
    assert movement_scale(square, Keypoints(square.value * 2, flat.jacobian)) == pytest.approx(0.5)


def test_best_frame_ignores_place_and_size_and_frames_without_a_face() -> None:
    rng = np.random.default_rng(1)
    source = rng.normal(size=(68, 2))
    driving = source + rng.normal(size=(6, 68, 2)) * 0.3
    driving[4] = source * 3 + [100, -20] + rng.normal(size=(68, 2)) * 0.01
    driving[0] = np.nan
    assert best_frame(source, driving) == 4
    with pytest.raises(InputError, match="no frame"):
        best_frame(source, np.full((2, 68, 2), np.nan))


def test_tiny_runs_at_its_size() -> None:
    engine = FommAnimator(FommModel(CONFIGS["fomm-tiny"]).eval())
    picture = np.zeros((128, 128, 3), np.uint8)
    assert engine.render(engine.prepare(picture), picture)["prediction"].shape == (1, 128, 128, 3)
