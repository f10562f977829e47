"""Recipes and the training step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from infinex.errors import WeightsError  # noqa: E402
from infinex.nn.losses import ADVERSARIES  # noqa: E402
from infinex.systems.fomm.losses import LossWeights  # noqa: E402
from infinex.systems.fomm.model import CONFIGS, FommConfig  # noqa: E402
from infinex.systems.fomm.recipe import RECIPES, FommRecipe, FommTask  # noqa: E402
from infinex.systems.fomm.weights import FommWeights  # noqa: E402

SMALL = FommConfig(size=32, keypoints=3, detector_width=8, detector_max=16, detector_levels=2, motion_width=8,
                   motion_max=16, motion_levels=2, generator_width=8, generator_max=16, generator_blocks=1,
                   critic_width=8, critic_max=16, critic_blocks=2)  # fmt: skip


class Plain:
    """Fabric on one CPU."""

    def backward(self, tensor: torch.Tensor) -> None:
        tensor.backward()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, "small", SMALL)
    torch.manual_seed(0)


def _recipe(**changes: object) -> FommRecipe:
    return replace(FommRecipe(config="small", scales=(1.0, 0.5), batch_size=2), **changes)


def _batch(count: int = 2) -> dict:
    generator = torch.Generator().manual_seed(5)
    return {k: torch.rand(count, 3, 64, 64, generator=generator) for k in ("source", "driving")}


def test_author_trains_without_and_then_with_an_adversary() -> None:
    first, second = RECIPES["vox-256"], RECIPES["vox-adv-256"]
    assert (first.weights.generator_gan, second.weights.generator_gan) == (0, 1)
    assert second.start_from == "vox-256"
    assert (first.epochs, first.milestones, first.batch_size) == (100, (60, 90), 40)
    assert (second.epochs, second.milestones, second.batch_size) == (150, (), 36)
    for recipe in RECIPES.values():
        assert recipe.config in CONFIGS
        assert set(recipe.sizes.critic_scales) <= set(recipe.scales)


@pytest.mark.parametrize("adversary", ADVERSARIES)
@pytest.mark.parametrize("spectral", [False, True])
def test_one_step_moves_every_network(adversary: str, spectral: bool) -> None:
    task = FommTask(_recipe(adversary=adversary, spectral=spectral))
    before = {n: [p.detach().clone() for p in net.parameters()] for n, net in task.networks.items()}
    terms = task.step(_batch(), Plain())
    expected = {"perceptual", "equivariance_value", "equivariance_jacobian", "generator_gan",
                "feature_matching", "discriminator_gan"}  # fmt: skip
    assert set(terms) == expected | ({"gradient_penalty"} if adversary == "wgan-gp" else set())
    assert all(np.isfinite(v) for v in terms.values())
    for name, net in task.networks.items():
        moved = [not torch.equal(a, b) for a, b in zip(before[name], net.parameters())]
        assert sum(moved) > 0.8 * len(moved), name  # the bias of a Wasserstein score cancels out
        assert all(p.grad is None for p in net.parameters())


def test_without_an_adversary_there_is_no_discriminator() -> None:
    task = FommTask(_recipe(weights=LossWeights(generator_gan=0)))
    assert set(task.networks) == set(task.optimizers()) == {"generator", "detector"}
    assert "discriminator_gan" not in task.step(_batch(), Plain())


def test_losses_fall_on_one_pair() -> None:
    task = FommTask(_recipe(weights=LossWeights(generator_gan=0), rate_generator=2e-3, rate_detector=2e-3))
    coarse = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    smooth = torch.nn.functional.interpolate(coarse, size=64, mode="bilinear")
    batch = {"source": smooth[:1], "driving": smooth[1:]}
    traces = [task.step(batch, Plain())["perceptual"] for _ in range(25)]
    assert traces[-1] < 0.8 * traces[0]


def test_a_seed_gives_the_same_steps() -> None:
    def trace() -> list:
        torch.manual_seed(3)
        task = FommTask(_recipe())
        return [task.step(_batch(), Plain()) for _ in range(2)]

    assert trace() == trace()


def test_accumulation_weighs_parts_by_their_size() -> None:
    """With statistics fixed, three pairs in two uneven parts make the gradient of three at once."""
    gradients = []
    for accumulate in (1, 2):
        torch.manual_seed(1)
        weights = LossWeights(generator_gan=0, equivariance_value=0, equivariance_jacobian=0)
        task = FommTask(_recipe(accumulate=accumulate, weights=weights))
        for net in task.networks.values():
            net.eval()
        seen: list[torch.Tensor] = []
        parameters = task.networks["generator"].last.weight
        task.optimizers()["generator"].step = lambda s=seen, p=parameters: s.append(p.grad.clone())
        task.step(_batch(3), Plain())
        gradients.append(seen[0])
    assert torch.allclose(*gradients, atol=1e-5)


def test_not_a_number_stops_before_anything_moves() -> None:
    task = FommTask(_recipe())
    before = [p.detach().clone() for p in task.networks["generator"].parameters()]
    batch = _batch()
    batch["driving"][0, 0, 0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match="perceptual"):
        task.step(batch, Plain())
    assert all(torch.equal(a, b) for a, b in zip(before, task.networks["generator"].parameters()))


def test_gradients_can_be_clipped() -> None:
    task = FommTask(_recipe(clip_gradient=1e-3))
    norms: list[float] = []
    for name in ("generator", "detector"):
        net, optimizer = task.networks[name], task.optimizers()[name]
        optimizer.step = lambda n=net: norms.append(
            float(torch.stack([p.grad.norm() for p in n.parameters() if p.grad is not None]).norm())
        )
    task.step(_batch(), Plain())
    assert max(norms) <= 1.01e-3


def test_schedules_drop_at_milestones() -> None:
    task = FommTask(_recipe(milestones=(1,)))
    schedule, optimizer = task.schedulers()["detector"], task.optimizers()["detector"]
    assert optimizer.param_groups[0]["betas"] == (0.5, 0.999)
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(2e-5)


def test_panel_has_five_columns_and_leaves_the_networks_training() -> None:
    task = FommTask(_recipe())
    panel = task.sample_panel(_batch())
    assert panel.shape == (2 * 64, 5 * 64, 3)
    assert panel.dtype == np.uint8
    assert task.networks["generator"].training
    assert panel[:, 128:192].std() < panel[:, :64].std()  # the occlusion map is smooth, noise is not


def test_weights_go_out_and_in() -> None:
    a, b = FommTask(_recipe()), FommTask(_recipe())
    b.begin(a.weights())
    assert all(
        torch.equal(p, q) for p, q in zip(a.networks["detector"].parameters(), b.networks["detector"].parameters())
    )
    # The second stage starts with its own discriminator.
    other = a.weights()
    other.networks["discriminator"] = {"odd": torch.zeros(1)}
    b.begin(other)
    bad = FommWeights(SMALL, {"generator": {"odd": torch.zeros(1)}}, "other")
    with pytest.raises(WeightsError, match=r"other\) does not fit the generator"):
        b.begin(bad)


def test_discriminator_scales_must_be_in_the_pyramid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, "small", replace(SMALL, critic_scales=(0.25,)))
    with pytest.raises(ValueError, match="scales"):
        FommTask(_recipe())
