"""Training GANimation: samples, steps, schedules, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from infinex.errors import InputError, WeightsError  # noqa: E402
from infinex.systems.ganimation.labels import Row, write_faces  # noqa: E402
from infinex.systems.ganimation.losses import LossWeights, face_window, paired_loss  # noqa: E402
from infinex.systems.ganimation.recipe import RECIPES, GanimationRecipe, samples, task  # noqa: E402

TINY = GanimationRecipe(config="ganimation-tiny", epochs=6, decay_epochs=3, batch_size=2, critic_steps=2, pairs=0.5)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two clips to train on, one still picture with a rendering, and one person held back."""
    rng = np.random.default_rng(0)
    rows = []
    for clip, person, split, count in (("a", "p", "train", 4), ("b", "q", "train", 3), ("c", "r", "test", 3)):
        rows += [
            Row(clip, i, person, split, False, (float(i % 2), 0.0, 0.0), tuple(rng.random(17))) for i in range(count)
        ]
    rows += [Row("s", i, "s", "train", i == 1, (0.0, 0.0, 0.0), tuple(rng.random(17))) for i in range(2)]
    write_faces(tmp_path / "faces", rng.integers(0, 255, (len(rows), 40, 40, 3), dtype=np.uint8), rows)
    return tmp_path


class Plain:
    """Fabric's part in a step."""

    def backward(self, tensor: torch.Tensor) -> None:
        tensor.backward()


def _batch(folder: Path, recipe: GanimationRecipe = TINY, split: str = "train", n: int = 2) -> dict:
    drawn = samples(recipe, folder, split)
    got = [drawn.get(i, np.random.default_rng(i)) for i in range(n)]
    return {k: torch.from_numpy(np.stack([g[k] for g in got])) for k in got[0]}


def test_samples(folder: Path) -> None:
    drawn = samples(TINY, folder, "train")
    assert len(drawn) == 8  # a rendering is never a source
    kinds = set()
    for seed in range(60):
        s = drawn.get(0, np.random.default_rng(seed))
        assert s["image"].shape == s["target"].shape == (3, 32, 32)
        assert s["image"].dtype == np.float32
        assert 0 <= s["wanted"].min() <= s["wanted"].max() <= 1
        kinds.add(bool(s["paired"][0]))
        if s["paired"][0]:
            assert not np.array_equal(s["image"], s["target"])
        again = drawn.get(0, np.random.default_rng(seed))
        assert all(np.array_equal(s[k], again[k]) for k in s)
    assert kinds == {True, False}
    assert len(samples(TINY, folder, "test")) == 3
    with pytest.raises(InputError, match="no faces with units"):
        samples(TINY, folder / "nowhere", "train")


def test_pairs_hold_the_head_alike(folder: Path) -> None:
    drawn = samples(replace(TINY, turn=0.5, pairs=1.0), folder, "train")
    for place in drawn.real:
        partner = drawn._partner(int(place), np.random.default_rng(0))
        if partner is not None:
            assert partner != place
            a, b = drawn.faces.rows[int(place)], drawn.faces.rows[partner]
            assert a.clip == b.clip
            assert abs(a.angles[0] - b.angles[0]) <= 0.5


def test_the_generator_waits_for_the_critic(folder: Path) -> None:
    work = task(TINY)
    batch = _batch(folder)
    before = {n: [p.detach().clone() for p in net.parameters()] for n, net in work.networks.items()}

    def moved(name: str) -> bool:
        return any(not torch.equal(a, b) for a, b in zip(before[name], work.networks[name].parameters()))

    first = work.step(batch, Plain())
    assert moved("critic")
    assert not moved("generator")
    second = work.step(batch, Plain())
    assert moved("generator")
    assert set(first) == set(second)
    assert second["identity"] > 0
    assert first["identity"] == 0  # nothing yet
    assert all(p.grad is None for net in work.networks.values() for p in net.parameters())
    assert all(p.requires_grad for p in work.networks["critic"].parameters())
    # A run that goes on from saved optimisers knows whose turn it is.
    again = task(TINY)
    for name, optimizer in work.optimizers().items():
        again.optimizers()[name].load_state_dict(optimizer.state_dict())
    assert again.updates("critic") == 2


def test_pairs_alone_need_no_critic(folder: Path) -> None:
    recipe = replace(
        TINY, critic_steps=0, pairs=1.0, rate=2e-3, weights=LossWeights(expression=0, identity=0, paired=10)
    )
    work = task(recipe)
    assert set(work.networks) == {"generator"}
    batch = _batch(folder, recipe)
    terms = [work.step(batch, Plain()) for _ in range(12)]
    assert set(terms[0]) == {"attention", "paired", "mask"}
    assert terms[-1]["paired"] < terms[0]["paired"]
    assert set(work.measure(batch)) >= {"mask", "change", "cycle", "pairs", "pairs_static"}


def test_ablations_differ_as_table_2_says() -> None:
    assert not task(RECIPES["ganimation-ablation-no-attention"]).config.attention
    names = task(RECIPES["ganimation-ablation-no-attention-loss"])._names()
    assert "attention" not in names
    assert "attention" in task(RECIPES["ganimation-ablation-full"])._names()


def test_rates_fall_in_the_last_epochs() -> None:
    work = task(TINY)
    schedules = work.schedules if hasattr(work, "schedules") else work.schedulers()
    rates = []
    for _ in range(TINY.epochs):
        rates.append(work.optimizers()["generator"].param_groups[0]["lr"])
        for name, s in schedules.items():
            work.optimizers()[name].step()
            s.step()
    assert rates[:3] == pytest.approx([1e-4] * 3)
    assert rates[3:] == pytest.approx([0.75e-4, 0.5e-4, 0.25e-4])


def test_a_loss_that_is_no_number_touches_nothing(folder: Path) -> None:
    work = task(TINY)
    batch = _batch(folder)
    batch["image"][0] = float("nan")
    before = [p.detach().clone() for p in work.networks["critic"].parameters()]
    with pytest.raises(FloatingPointError, match="critic"):
        work.step(batch, Plain())
    assert all(torch.equal(a, b) for a, b in zip(before, work.networks["critic"].parameters()))


def test_measures_and_panel(folder: Path) -> None:
    work = task(TINY)
    batch = _batch(folder, split="test", n=3)
    figures = work.measure(batch)
    assert 0 <= figures["mask"] <= 1
    assert figures["expression"] >= 0
    assert work.sample_panel(batch).shape == (3 * 32, 5 * 32, 3)


def test_saves_and_begins_with_weights(folder: Path, tmp_path: Path) -> None:
    work, other = task(TINY), task(TINY)
    work.save(tmp_path / "w.safetensors")
    other.load_file(tmp_path / "w.safetensors")
    for name, network in work.networks.items():
        for a, b in zip(network.parameters(), other.networks[name].parameters()):
            assert torch.equal(a, b)
    with pytest.raises(WeightsError, match="does not fit the generator"):
        task(replace(TINY, config="ganimation-64")).load_file(tmp_path / "w.safetensors")


def test_paired_loss_looks_at_the_face() -> None:
    made, target = torch.zeros(2, 3, 32, 32), torch.zeros(2, 3, 32, 32)
    target[:, :, :2, :2] = 1  # a corner: background
    one = torch.ones(2, 1)
    assert paired_loss(made, target, one).item() < 2e-3
    target[:, :, 14:20, 14:20] = 1
    window = face_window(32)
    expected = (target[0, 0] * window).sum() / window.sum()
    assert paired_loss(made, target, one).item() == pytest.approx(expected.item(), rel=1e-4)
    assert paired_loss(made, target, torch.zeros(2, 1)).item() == 0
