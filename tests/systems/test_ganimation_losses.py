"""Every loss of GANimation against its formula."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from infinex.systems.ganimation import losses as L  # noqa: E402, N812
from infinex.systems.ganimation.model import CONFIGS, Critic, Edit, GanimationConfig, Generator, Verdict  # noqa: E402

TINY = CONFIGS["ganimation-tiny"]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(1)


def test_total_variation_is_a_sum_of_squares() -> None:
    mask = torch.rand(2, 1, 4, 5)
    total = 0.0
    for a in mask[:, 0].numpy():
        total += sum((a[i + 1, j] - a[i, j]) ** 2 for i in range(3) for j in range(5))
        total += sum((a[i, j + 1] - a[i, j]) ** 2 for i in range(4) for j in range(4))
    assert float(L.total_variation(mask)) == pytest.approx(total / 2, rel=1e-5)
    assert float(L.total_variation(torch.full((1, 1, 8, 8), 0.3))) == 0


def test_attention_loss() -> None:
    mask = torch.rand(2, 1, 8, 8)
    expected = 1e-4 * float(L.total_variation(mask)) + float(mask.mean())
    assert float(L.attention_loss(mask)) == pytest.approx(expected, rel=1e-6)
    assert float(L.attention_loss(torch.ones(1, 1, 8, 8))) == 1  # a mask that keeps everything costs most
    assert float(L.attention_loss(torch.zeros(1, 1, 8, 8))) == 0


def test_expression_loss_and_its_published_weight() -> None:
    a, b = torch.rand(3, 17), torch.rand(3, 17)
    assert float(L.expression_loss(a, b)) == pytest.approx(float(np.mean((a.numpy() - b.numpy()) ** 2)), rel=1e-5)
    assert L.LossWeights().expression_of(25) == 160


def _edit(image: torch.Tensor, attention: torch.Tensor) -> Edit:
    return Edit(image, image, attention)


def test_generator_terms() -> None:
    w = L.LossWeights()
    image, there, back = (torch.rand(4, 3, 8, 8) * 2 - 1 for _ in range(3))
    masks = torch.rand(2, 4, 1, 8, 8)
    verdict, wanted = Verdict(torch.randn(4, 2, 2), torch.rand(4, 17)), torch.rand(4, 17)
    terms = L.generator_terms(w, _edit(there, masks[0]), _edit(back, masks[1]), image, verdict, wanted)
    assert float(terms["generator_gan"]) == pytest.approx(-float(verdict.score.mean()), rel=1e-5)
    expected = 1000 * float((verdict.units - wanted).square().mean())
    assert float(terms["expression"]) == pytest.approx(expected, rel=1e-5)
    assert float(terms["identity"]) == pytest.approx(10 * float((back - image).abs().mean()), rel=1e-5)
    for name, mask in (("attention", masks[0]), ("attention_back", masks[1])):
        tv = float(mask.diff(dim=2).square().sum() + mask.diff(dim=3).square().sum()) / 4
        assert float(terms[name]) == pytest.approx(0.1 * float(mask.mean()) + 1e-5 * tv, rel=1e-4)
    bare = L.generator_terms(
        L.LossWeights(attention=0), _edit(there, masks[0]), _edit(back, masks[1]), image, verdict, wanted
    )
    assert set(bare) == {"generator_gan", "expression", "identity"}


def test_critic_terms() -> None:
    critic = Critic(TINY)
    image, made = torch.rand(2, 3, 32, 32) * 2 - 1, (torch.rand(2, 3, 32, 32) * 2 - 1).requires_grad_()
    units, mix = torch.rand(2, 17), torch.tensor([0.25, 0.75])
    terms = L.critic_terms(L.LossWeights(), critic, image, made, units, mix)
    real, fake = critic(image), critic(made)
    assert terms["critic_gan"].item() == pytest.approx((fake.score.mean() - real.score.mean()).item(), abs=1e-6)
    assert terms["critic_expression"].item() == pytest.approx(
        2000 * (real.units - units).square().mean().item(), rel=1e-5
    )
    between = (mix.reshape(2, 1, 1, 1) * image + (1 - mix.reshape(2, 1, 1, 1)) * made).detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).score.sum(), between)
    expected = 10 * float(((slope.flatten(1).norm(dim=1) - 1) ** 2).mean())
    assert terms["critic_penalty"].item() == pytest.approx(expected, rel=1e-4)
    sum(terms.values()).backward()
    assert made.grad is None  # the critic's step leaves the generator alone
    assert all(p.grad is not None for p in critic.parameters())


def test_fusing_keeps_what_attention_keeps() -> None:
    generator = Generator(TINY)
    image, units = torch.rand(2, 3, 32, 32) * 2 - 1, torch.rand(2, 17)
    edit = generator(image, units)
    a = edit.attention
    assert torch.allclose(edit.image, (1 - a) * edit.color + a * image)
    assert a.min().item() >= 0
    assert a.max().item() <= 1
    assert not torch.equal(generator(image, 1 - units).image, edit.image)
    bare = Generator(GanimationConfig(32, 17, 8, 1, 8, 4, attention=False))(image, units)
    assert torch.equal(bare.image, bare.color)
    assert float(bare.attention.abs().max()) == 0


def test_sizes_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="multiple"):
        GanimationConfig(size=100)
