"""Every shared loss term against its formula."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from infinex.nn.layers import ImagePyramid  # noqa: E402
from infinex.nn.losses import (  # noqa: E402
    ADVERSARIES,
    PyramidPerceptual,
    StructuralPerceptualLoss,
    discriminator_adversarial,
    feature_matching,
    generator_adversarial,
    gradient_penalty,
    reconstruction,
    reversed_gradient,
    structural_similarity,
    triplet,
)

REAL, FAKE = torch.tensor([0.5, 2.0]), torch.tensor([-0.5, 1.5])


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


GENERATOR = {
    "lsgan": (1.5**2 + 0.5**2) / 2,
    "bce": -(math.log(_sigmoid(-0.5)) + math.log(_sigmoid(1.5))) / 2,
    "wgan-gp": -0.5,
    "hinge": -0.5,
}
DISCRIMINATOR = {
    "lsgan": (0.5**2 + 1) / 2 + (0.5**2 + 1.5**2) / 2,
    "bce": -(math.log(_sigmoid(0.5)) + math.log(_sigmoid(2.0))) / 2
    - (math.log(1 - _sigmoid(-0.5)) + math.log(1 - _sigmoid(1.5))) / 2,
    "wgan-gp": 0.5 - 1.25,
    "hinge": (0.5 + 0) / 2 + (0.5 + 2.5) / 2,
}


@pytest.mark.parametrize("kind", ADVERSARIES)
def test_adversarial_formulas(kind: str) -> None:
    assert float(generator_adversarial(FAKE, kind)) == pytest.approx(GENERATOR[kind], rel=1e-5)
    assert float(discriminator_adversarial(REAL, FAKE, kind)) == pytest.approx(DISCRIMINATOR[kind], rel=1e-5)


def test_adversarial_terms_stay_finite_at_extremes_and_know_their_names() -> None:
    far = torch.tensor([-1e4, 1e4])
    for kind in ("bce", "hinge", "lsgan"):
        assert torch.isfinite(generator_adversarial(far, kind))
        assert torch.isfinite(discriminator_adversarial(far, far, kind))
    for call in (
        lambda: generator_adversarial(FAKE, "gan"),
        lambda: discriminator_adversarial(REAL, FAKE, "gan"),
    ):
        with pytest.raises(ValueError, match="lsgan, bce"):
            call()


def test_gradient_penalty_of_a_linear_score() -> None:
    real, fake = torch.rand(3, 2, 4, 4), torch.rand(3, 2, 4, 4)
    slope = torch.randn(2, 4, 4, requires_grad=True)
    term = gradient_penalty(lambda x: (x * slope).sum(dim=(1, 2, 3)), real, fake)
    assert float(term.detach()) == pytest.approx((float(slope.detach().norm()) - 1) ** 2, rel=1e-4)
    term.backward()  # reaches the discriminator's parameters
    assert slope.grad is not None


def test_gradient_penalty_between_and_for_a_flat_score() -> None:
    real, fake = torch.ones(2, 1, 1, 1), torch.zeros(2, 1, 1, 1)
    # The gradient of x² is 2x, at x = 1/4 and 3/4.
    term = gradient_penalty(lambda x: x**2, real, fake, mix=torch.tensor([0.25, 0.75]))
    assert float(term.detach()) == pytest.approx(((0.5 - 1) ** 2 + (1.5 - 1) ** 2) / 2)
    weight = torch.zeros(1, requires_grad=True)
    flat = gradient_penalty(lambda x: (x * weight).sum(), real, fake)
    flat.backward()
    assert torch.isfinite(weight.grad).all()


def test_feature_matching_leaves_the_real_side_alone() -> None:
    real, fake = torch.tensor([1.0, 3.0], requires_grad=True), torch.tensor([0.0, 5.0], requires_grad=True)
    (term,) = feature_matching([real], [fake])
    term.backward()
    assert float(term.detach()) == pytest.approx(1.5)
    assert real.grad is None
    assert fake.grad is not None


def test_reconstruction() -> None:
    a, b = torch.tensor([0.0, 1.0]), torch.tensor([0.5, 0.0])
    assert float(reconstruction(a, b)) == pytest.approx(0.75)
    assert float(reconstruction(a, b, order=2)) == pytest.approx(0.625)


def test_structural_similarity_of_one_window() -> None:
    a, b = torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16)
    pa, pb = a[0, 0, 5:12, 5:12], b[0, 0, 5:12, 5:12]
    ma, mb = pa.mean(), pb.mean()
    va, vb, cov = pa.var(correction=0), pb.var(correction=0), ((pa - ma) * (pb - mb)).mean()
    expected = ((2 * ma * mb + 1e-4) * (2 * cov + 9e-4)) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))
    assert float(structural_similarity(a, b)[0, 0, 8, 8]) == pytest.approx(float(expected), rel=1e-3)


def test_substitute_is_zero_on_equals_and_minds_blur_more_than_brightness() -> None:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 16, 16, generator=generator)
    x = torch.nn.functional.interpolate(coarse, size=64, mode="bilinear")
    x = (x + 0.2 * torch.rand(1, 3, 64, 64, generator=generator)).clamp(0, 1)
    loss = StructuralPerceptualLoss()
    same = loss(x, x)
    assert len(same) == 5
    assert all(float(t) == pytest.approx(0, abs=1e-5) for t in same)
    blur = torch.nn.functional.avg_pool2d(x, 5, stride=1, padding=2)
    # Equal in L1, but one keeps the structure.
    brighter = x + (x - blur).abs().mean()
    assert sum(map(float, loss(blur, x))) > 2 * sum(map(float, loss(brighter, x)))


def test_substitute_has_gradients_and_does_not_depend_on_the_global_seed() -> None:
    torch.manual_seed(1)
    a = StructuralPerceptualLoss()
    torch.manual_seed(2)
    b = StructuralPerceptualLoss()
    assert torch.equal(a.filters2, b.filters2)
    x = torch.rand(1, 3, 16, 16, requires_grad=True)
    sum(a(x, torch.rand(1, 3, 16, 16))).backward()
    assert torch.isfinite(x.grad).all()
    assert not list(a.parameters())


def test_pyramid_sums_scales_and_levels() -> None:
    class Two(torch.nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> list[torch.Tensor]:
            return [(a - b).abs().mean(), (a - b).abs().max()]

    scales = (1.0, 0.5)
    a, b = (ImagePyramid(scales)(torch.rand(1, 3, 16, 16)) for _ in range(2))
    expected = sum(2 * (a[s] - b[s]).abs().mean() + 3 * (a[s] - b[s]).abs().max() for s in scales)
    assert torch.allclose(PyramidPerceptual(Two(), (2, 3), scales)(a, b), expected)


def test_triplet_wants_a_margin_and_the_gate_only_switches() -> None:
    p, n = [torch.tensor(1.0), torch.tensor(2.0)], [torch.tensor(1.2), torch.tensor(3.0)]
    assert float(triplet(p, n, 0.3)) == pytest.approx(0.1)  # the second level is far enough
    assert float(triplet(p, n, 0.3, margin_is_gate=True)) == pytest.approx(-0.2)
    rows = triplet([torch.tensor([1.0, 1.0])], [torch.tensor([1.0, 5.0])], 0.5)
    assert float(rows) == pytest.approx(0.25)  # of two samples one has nothing to learn


def test_reversed_gradient_passes_values_and_turns_slopes() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = reversed_gradient(x, 0.5)
    assert torch.equal(y, x)
    (y * torch.tensor([2.0, 4.0])).sum().backward()
    assert torch.equal(x.grad, torch.tensor([-1.0, -2.0]))
