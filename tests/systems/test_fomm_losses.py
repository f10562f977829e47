"""The training objective term by term."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from infinex.nn.discriminators import Verdict  # noqa: E402
from infinex.nn.geometry import ThinPlateTransform  # noqa: E402
from infinex.systems.fomm.losses import (  # noqa: E402
    FommLosses,
    LossWeights,
    equivariance_jacobian,
    equivariance_value,
)
from infinex.systems.fomm.model import Keypoints  # noqa: E402


def _transform(batch: int = 2) -> ThinPlateTransform:
    return ThinPlateTransform.random(batch, 0.05, 0.01, 5, torch.zeros(1), torch.Generator().manual_seed(3))


def test_equivariant_keypoints_cost_nothing() -> None:
    """A detector that follows the transform has p = T(p') and J = T'(p')·J'."""
    torch.manual_seed(0)
    t = _transform()
    moved = Keypoints(torch.rand(2, 4, 2) - 0.5, torch.eye(2) + 0.2 * torch.randn(2, 4, 2, 2))
    here = Keypoints(t.points(moved.value), t.jacobian(moved.value) @ moved.jacobian)
    assert float(equivariance_value(here, moved, t)) == pytest.approx(0, abs=1e-6)
    assert float(equivariance_jacobian(here, moved, t)) == pytest.approx(0, abs=1e-5)


def test_equivariance_formulas_of_a_pure_affine_map() -> None:
    theta = torch.tensor([[[2.0, 0.0, 0.1], [0.0, 1.0, -0.2]]])
    t = ThinPlateTransform(theta)
    moved = Keypoints(torch.tensor([[[0.5, 0.5]]]), torch.eye(2).reshape(1, 1, 2, 2))
    here = Keypoints(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[[0.5, 0.0], [0.0, 1.0]]]]))
    # T(p') = (1.1, 0.3): differences 0.1 and 0.3.
    assert float(equivariance_value(here, moved, t)) == pytest.approx(0.2)
    # J⁻¹·T' = diag(4, 1): |1 - 4| in one of four entries.
    assert float(equivariance_jacobian(here, moved, t)) == pytest.approx(0.75)


def test_equivariance_of_collapsed_jacobians_is_finite() -> None:
    jacobian = torch.zeros(2, 3, 2, 2, requires_grad=True)
    value = torch.zeros(2, 3, 2, requires_grad=True)
    t = _transform()
    total = sum(FommLosses(None).equivariance(Keypoints(value, jacobian), Keypoints(value, jacobian), t).values())
    total.backward()
    assert torch.isfinite(total)
    assert torch.isfinite(jacobian.grad).all()
    assert torch.isfinite(value.grad).all()


def _verdicts(score: float, feature: float) -> dict[float, Verdict]:
    return {s: Verdict(torch.full((1, 1, 2, 2), score), [torch.full((1, 3), feature)] * 2) for s in (1.0, 0.5)}


def test_terms_are_weighted_and_summed_over_scales() -> None:
    weights = LossWeights(generator_gan=3, discriminator_gan=2, feature_matching=(10, 20))
    losses = FommLosses(None, weights, scales=(1.0, 0.5))
    real, fake = _verdicts(1.0, 2.0), _verdicts(0.25, 1.5)
    terms = losses.generator(real, fake) | losses.discriminator(real, fake)
    assert float(terms["generator_gan"]) == pytest.approx(3 * 2 * 0.75**2)
    assert float(terms["feature_matching"]) == pytest.approx(2 * (10 + 20) * 0.5)
    assert float(terms["discriminator_gan"]) == pytest.approx(2 * 2 * 0.25**2)


def test_perceptual_pyramid_is_optional_and_weighted() -> None:
    class One(torch.nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> list[torch.Tensor]:
            return [(a - b).abs().mean()]

    losses = FommLosses(One(), LossWeights(perceptual=(5,)), scales=(1.0, 0.5))
    a, b = {1.0: torch.ones(1), 0.5: torch.ones(1)}, {1.0: torch.zeros(1), 0.5: torch.full((1,), 0.5)}
    assert float(losses.picture(a, b)["perceptual"]) == pytest.approx(5 * 1.5)
    assert FommLosses(None).picture(a, b) == {}
    assert FommLosses(One(), LossWeights(perceptual=(0.0,))).picture(a, b) == {}


def test_no_adversary_without_its_weight() -> None:
    assert not FommLosses(None, LossWeights(generator_gan=0)).adversarial
    assert FommLosses(None).adversarial


def test_penalty_reaches_the_picture_through_the_pyramid() -> None:
    losses = FommLosses(None, LossWeights(gradient_penalty=10), (1.0, 0.5), "wgan-gp")
    real, fake = (losses.pyramid(torch.rand(2, 3, 16, 16)) for _ in range(2))
    slope = torch.randn(3, 16, 16)

    def discriminate(pyramid: dict) -> dict:
        score = (pyramid[1.0] * slope).sum(dim=(1, 2, 3)).reshape(-1, 1, 1, 1)
        return {1.0: Verdict(score, [])}

    term = losses.penalty(discriminate, real, fake)["gradient_penalty"]
    assert float(term) == pytest.approx(10 * (float(slope.norm()) - 1) ** 2, rel=1e-3)
    assert FommLosses(None).penalty(discriminate, real, fake) == {}
