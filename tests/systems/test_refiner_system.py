"""The refiner's training side."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch.nn import functional as F  # noqa: E402, N812

from infinex.errors import InputError, WeightsError  # noqa: E402
from infinex.mesh.refiner import Look, Network, Patch, _apply  # noqa: E402
from infinex.systems.refiner import weights  # noqa: E402
from infinex.systems.refiner.losses import (  # noqa: E402
    RefinerLossWeights,
    augment,
    flow_error,
    mirrored,
    picture_terms,
    weighted,
)
from infinex.systems.refiner.model import CONFIGS, Refiner, apply, sample  # noqa: E402
from infinex.systems.refiner.pairs import flow_between  # noqa: E402
from infinex.systems.refiner.recipe import RECIPES, PairSamples, RefinerRecipe, held_out_error, task  # noqa: E402
from infinex.systems.refiner.split import held_out  # noqa: E402


class Plain:
    def backward(self, tensor, *args, **kwargs):
        tensor.backward()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pairs of six people: the truth is the frame made darker."""
    rng = np.random.default_rng(0)
    people = [f"p{i}" for i in range(6)]
    (tmp_path / "split.json").write_text(json.dumps({"people": people, "held_out": held_out(people)}))
    for who in people:
        planes = rng.integers(-30, 60, (4, 17, 64, 64), dtype=np.int8)
        truth = np.clip((planes[:, :3] / 63 - 0.3) * 127.5 + 127.5, 0, 255).astype(np.uint8)
        support = np.zeros((4, 64, 64), np.uint8)
        support[:, 16:48, 16:48] = 255
        still = {"flow": np.zeros((4, 2, 64, 64), np.int8), "sure": np.full((4, 64, 64), 255, np.uint8)}
        np.savez(tmp_path / f"{who}__clip.eye.npz", planes=planes, truth=truth, support=support, **still)
    return tmp_path


def test_untrained_it_is_the_mesh_engine_alone() -> None:
    for config in CONFIGS.values():
        planes = torch.randn(2, config.inputs, config.side, config.side)
        out = Refiner(config).eval()(planes)
        assert out.shape == (2, 5 if config.flow else 3, config.side, config.side)
        made = apply(out, planes, torch.ones(2, config.side, config.side))
        assert torch.allclose(made, planes[:, :3], atol=1e-3)


def test_sample_moves_pixels_by_the_flow() -> None:
    image = torch.arange(64.0).reshape(1, 1, 8, 8)
    flow = torch.zeros(1, 2, 8, 8)
    flow[:, 0] = 2
    assert torch.allclose(sample(image, flow)[0, 0, :, :6], image[0, 0, :, 2:], atol=1e-4)


@pytest.mark.parametrize("seen", [[[1, 0, 0], [0, 1, 0]], [[-1, 0, 63], [0, 1, 0]], [[0.8, -0.6, 25], [0.6, 0.8, -13]]])
def test_training_and_work_apply_alike(seen: list[list[float]]) -> None:
    """Upright, in a mirror and tilted."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    part = cv2.GaussianBlur(rng.uniform(0, 255, (64, 64, 3)).astype(np.float32), (0, 0), 3)
    part = np.clip(128 + 6 * (part - 128), 0, 255).astype(np.uint8)
    window = Patch(np.array(seen, np.float64), 64)
    support = np.zeros((64, 64), np.float32)
    support[24:40, 22:42] = 1
    support = cv2.GaussianBlur(support, (0, 0), 3)
    out = (0.1 * cv2.GaussianBlur(rng.normal(size=(64, 64, 5)).astype(np.float32), (0, 0), 4)).transpose(2, 0, 1)
    out[3], out[4] = 2.0, -1.0
    planes = (window.cut(part).transpose(2, 0, 1) / 127.5 - 1).astype(np.float32)
    expected = apply(torch.from_numpy(out)[None], torch.from_numpy(planes)[None], torch.from_numpy(support)[None])
    expected = (expected[0].permute(1, 2, 0).numpy() + 1) * 127.5
    before = window.cut(part)
    _apply(part, Look(window, planes, support), out, 1.0)
    inside = support > 0.5
    apart = np.abs(np.clip(expected, 0, 255) - window.cut(part))[inside].mean()
    assert apart < 0.15 * np.abs(before - window.cut(part))[inside].mean()


def test_losses_count_the_support_only() -> None:
    made, truth = torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)
    truth[..., :32] = 1
    support = torch.zeros(1, 64, 64)
    support[..., 32:] = 1
    assert float(weighted(made - truth, support[:, None])) == 0
    assert float(weighted(made - truth, 1 - support[:, None])) == pytest.approx(1, abs=1e-2)
    terms = picture_terms(made, truth, torch.ones(1, 64, 64), RefinerLossWeights(colour=10, edges=0, coarse=0))
    assert float(terms["colour"]) == pytest.approx(5, abs=1e-2)
    assert float(terms["coarse"]) == 0 and set(terms) == {"colour", "coarse"}
    moved = truth.roll(3, dims=3)
    terms = picture_terms(moved, truth, torch.ones(1, 64, 64), RefinerLossWeights(colour=0, coarse=0, energy=1))
    flat = picture_terms(made, truth, torch.ones(1, 64, 64), RefinerLossWeights(colour=0, coarse=0, energy=1))
    assert float(terms["energy"]) < float(flat["energy"])


def test_flow_counts_where_it_is_sure() -> None:
    flow, wanted = torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 8)
    wanted[..., :4] = 3
    sure = torch.zeros(1, 8, 8)
    sure[..., 4:] = 1
    assert float(flow_error(flow, wanted, sure)) == 0 < float(flow_error(flow, wanted, 1 - sure))


def test_optical_flow_tells_where_the_frame_shows_what_is_true() -> None:
    rng = np.random.default_rng(0)
    frame = cv2.GaussianBlur(rng.uniform(0, 255, (96, 96, 3)).astype(np.float32), (0, 0), 2)
    frame = np.clip(128 + 3 * (frame - frame.mean()), 0, 255)
    truth = np.roll(frame, 3, axis=1)  # shows at x what the frame shows at x - 3
    flow, sure = flow_between(truth, frame)
    assert np.abs(flow[0, 20:-20, 20:-20] + 3).mean() < 0.3 and np.abs(flow[1, 20:-20, 20:-20]).mean() < 0.3
    assert sure[20:-20, 20:-20].mean() > 0.8
    made = sample(torch.from_numpy(frame.transpose(2, 0, 1))[None].float(), torch.from_numpy(flow)[None])
    apart = np.abs(made[0].numpy().transpose(1, 2, 0) - truth)[20:-20, 20:-20].mean()
    assert apart < 0.3 * np.abs(frame - truth)[20:-20, 20:-20].mean()


def test_a_mirror_turns_what_has_a_side() -> None:
    rng = torch.Generator().manual_seed(0)
    batch = {"planes": torch.randn(2, 5, 8, 8, generator=rng), "truth": torch.randn(2, 3, 8, 8, generator=rng),
             "support": torch.rand(2, 8, 8, generator=rng), "flow": torch.randn(2, 2, 8, 8, generator=rng)}  # fmt: skip
    out = mirrored(batch, (4,), torch.tensor([False, True]))
    assert all(torch.equal(out[k][0], batch[k][0]) for k in batch)
    assert torch.equal(out["truth"][1], batch["truth"][1].flip(-1))
    assert torch.equal(out["planes"][1, 4], -batch["planes"][1, 4].flip(-1))
    assert torch.equal(out["planes"][1, 3], batch["planes"][1, 3].flip(-1))
    assert torch.equal(out["flow"][1, 0], -batch["flow"][1, 0].flip(-1))
    # Sampling and mirroring may change places.
    made = sample(out["truth"], out["flow"])
    assert torch.allclose(made[1], sample(batch["truth"], batch["flow"])[1].flip(-1), atol=1e-4)


def test_augmentation_treats_frame_source_and_truth_alike() -> None:
    torch.manual_seed(1)
    image = torch.rand(4, 3, 8, 8) * 0.5
    planes = torch.cat([image, image, torch.randn(4, 2, 8, 8)], 1)
    new, truth = augment(planes, image, 6)
    assert torch.equal(new[:, :3], truth) and torch.equal(new[:, 3:6], truth)
    assert torch.equal(new[:, 6:], planes[:, 6:])
    assert not torch.allclose(truth, image)


def test_it_learns_and_people_are_kept_apart(folder: Path) -> None:
    torch.manual_seed(0)
    recipe = RefinerRecipe(config="eye", batch_size=8, augment=False, repeats=200)
    train, test = (PairSamples(recipe, folder, s) for s in ("train", "test"))
    assert len(train.people) == 5 and len(test.people) == 1
    again = [test.get(3, np.random.default_rng(k))["planes"] for k in range(2)]
    assert torch.equal(*again)
    job = task(recipe)
    before = held_out_error(job.networks["refiner"], test, 16)
    assert before["refined"] == pytest.approx(before["mesh"], rel=1e-4)
    job.networks["refiner"].train()
    rng = np.random.default_rng(0)
    for i in range(12):
        items = [train.get(i * 8 + k, rng) for k in range(8)]
        terms = job.step({k: torch.stack([item[k] for item in items]) for k in items[0]}, Plain())
    assert set(terms) == {"colour", "edges", "coarse", "calm", "flow"}
    after = held_out_error(job.networks["refiner"], test, 16)
    assert after["refined"] < 0.8 * after["mesh"]
    panel = job.sample_panel({k: v[None] for k, v in test.get(0, rng).items()})
    assert panel.shape == (64, 256, 3)


def test_a_folder_without_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pairs"):
        PairSamples(RECIPES["refiner-eye"], tmp_path, "train")


def test_exported_it_answers_alike(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    import onnxruntime

    torch.manual_seed(0)
    network = Refiner(CONFIGS["eye"]).eval()
    torch.nn.init.normal_(network.last.weight, std=0.1)
    weights.export(network, tmp_path / "eye.onnx")
    planes = torch.randn(2, 17, 64, 64)
    (got,) = onnxruntime.InferenceSession(str(tmp_path / "eye.onnx")).run(None, {"planes": planes.numpy()})
    assert np.abs(got - network(planes).detach().numpy()).max() < 1e-4


def test_with_bytes_it_answers_alike(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    tool = Path(__file__).parents[2] / "tools" / "quantise_refiner.py"
    if not tool.is_file():
        pytest.skip("tools/ does not come with the package")
    spec = importlib.util.spec_from_file_location("quantise_refiner", tool)
    assert spec is not None and spec.loader is not None
    tools = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tools)
    torch.manual_seed(0)
    for part, planes in (("eye", 17), ("mouth", 21)):
        network = Refiner(CONFIGS[part])
        torch.nn.init.normal_(network.last.weight, std=0.1)
        with torch.no_grad():  # as after training, no two layers are alike
            for number in network.parameters():
                number += 0.05 * torch.randn_like(number)
        side = network.config.side
        seen = [F.avg_pool2d(torch.randn(1, planes, side, side), 5, 1, 2) * 3 for _ in range(8)]
        network.train()
        for window in seen:  # normalisation comes to have something to do
            network(torch.cat([window, window.flip(0)]))
        network.eval()
        weights.export(network, tmp_path / f"{part}.onnx")
        windows = [window[0].numpy() for window in seen]
        tools.quantise(tmp_path / f"{part}.onnx", windows, tmp_path / f"whole-{part}.onnx")
        plain, whole = Network(tmp_path / f"{part}.onnx"), Network(tmp_path / f"whole-{part}.onnx")
        assert not plain.whole and whole.whole
        want, got = plain(windows[:2]), whole(windows[:2])
        assert want.shape == got.shape == (2, 5, side, side)
        for k in range(5):
            assert np.corrcoef(want[:, k].ravel(), got[:, k].ravel())[0, 1] > 0.98


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match="eye"):
        weights.load(tmp_path / "x.safetensors", "eye")
