"""Loss terms that more than one system uses: adversarial, feature matching, reconstruction, perceptual."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn

from infinex.nn.layers import ImagePyramid

Adversary = Literal["lsgan", "bce", "wgan-gp", "hinge"]
ADVERSARIES: tuple[str, ...] = get_args(Adversary)


def generator_adversarial(fake: Tensor, kind: Adversary = "lsgan") -> Tensor:
    """How far the scores `fake` of generated pictures are from fooling the discriminator; a scalar.

    lsgan    mean (1 - D)²                    Mao et al. 2017
    bce      mean -log sigmoid(D)             Goodfellow et al. 2014, non-saturating
    wgan-gp  mean -D                          Gulrajani et al. 2017
    hinge    mean -D                          Lim and Ye 2017
    """
    if kind == "lsgan":
        return ((1 - fake) ** 2).mean()
    if kind == "bce":
        return F.softplus(-fake).mean()
    if kind in ("wgan-gp", "hinge"):
        return -fake.mean()
    raise ValueError(f"unknown adversarial loss {kind!r}; known: {', '.join(ADVERSARIES)}")


def discriminator_adversarial(real: Tensor, fake: Tensor, kind: Adversary = "lsgan") -> Tensor:
    """How badly the discriminator tells the scores `real` from `fake`; a scalar.

    lsgan    mean (1 - D(x))² + mean D(x')²
    bce      mean -log sigmoid(D(x)) + mean -log(1 - sigmoid(D(x')))
    wgan-gp  mean D(x') - mean D(x); the penalty is `gradient_penalty`
    hinge    mean max(0, 1 - D(x)) + mean max(0, 1 + D(x'))
    """
    if kind == "lsgan":
        return ((1 - real) ** 2).mean() + (fake**2).mean()
    if kind == "bce":
        # softplus keeps the logarithms finite where a sigmoid has rounded to 0 or 1.
        return F.softplus(-real).mean() + F.softplus(fake).mean()
    if kind == "wgan-gp":
        return fake.mean() - real.mean()
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    raise ValueError(f"unknown adversarial loss {kind!r}; known: {', '.join(ADVERSARIES)}")


def bare(network: nn.Module) -> nn.Module:
    """The network itself where a trainer has wrapped it.

    Gradients of gradients are taken outside a trainer's rules, which watch every backward pass, and in the
    precision of the weights: half precision loses them."""
    inner = getattr(network, "module", network)
    return inner if isinstance(inner, nn.Module) else network


def gradient_penalty(
    score: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor | None = None
) -> Tensor:
    """mean (‖∂D/∂x‖₂ - 1)² at random points x between `real` and `fake` (B, C, H, W), a scalar.

    `mix` (B,) in 0..1 is the share of `real`, uniform if not given. Whatever `score` returns for a picture
    is summed before the gradient is taken.
    """
    if mix is None:
        mix = torch.rand(real.shape[0], device=real.device)
    share = mix.reshape(-1, 1, 1, 1).to(real.dtype)
    between = (share * real.detach() + (1 - share) * fake.detach()).requires_grad_(True)
    (slope,) = torch.autograd.grad(score(between).sum(), between, create_graph=True)
    # The square root has no derivative at 0, where a dead discriminator would sit.
    norm = (slope.flatten(1).float().square().sum(1) + 1e-12).sqrt()
    return ((norm - 1) ** 2).mean()


def feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor], both: bool = False) -> list[Tensor]:
    """Mean absolute difference of the discriminator's features, one scalar per block (Wang et al. 2018).

    With `both` the real ones are moved by it too, where they depend on something that learns."""
    return [((r if both else r.detach()) - f).abs().mean() for r, f in zip(real, fake, strict=True)]


def reconstruction(prediction: Tensor, target: Tensor, order: Literal[1, 2] = 1) -> Tensor:
    """Mean absolute (1) or squared (2) error, a scalar."""
    difference = prediction - target
    return difference.abs().mean() if order == 1 else difference.square().mean()


def triplet(
    positive: Sequence[Tensor], negative: Sequence[Tensor], margin: float, margin_is_gate: bool = False
) -> Tensor:
    """Σ over levels of max(0, margin + p - n), a scalar (Schroff et al. 2015): what should be alike is nearer than what
    should differ, by `margin`.

    `positive` and `negative` are distances, of one shape for each level; every entry counts by itself, then the mean.
    With `margin_is_gate`, as FReeNet's code has it, the sum is of p - n where the bracket is positive: the slope is the
    same, the value may be negative."""
    total = positive[0].new_zeros(())
    for p, n in zip(positive, negative, strict=True):
        over = p - n + margin
        total = total + torch.where(over > 0, p - n if margin_is_gate else over, over.new_zeros(())).mean()
    return total


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return -ctx.strength * slope, None


def reversed_gradient(x: Tensor, strength: float = 1.0) -> Tensor:
    """`x` as it is; going back its gradient is multiplied by -`strength` (Ganin and Lempitsky 2015).

    Whoever reads from it learns to read; what made it learns to give nothing to read."""
    out: Tensor = _Reversal.apply(x, strength)
    return out


def structural_similarity(a: Tensor, b: Tensor, window: int = 7) -> Tensor:
    """SSIM map of pictures in 0..1 (Wang et al. 2004) with a uniform window: (B, C, H, W) in -1..1."""
    pad = window // 2

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(x, (pad, pad, pad, pad), mode="reflect"), window, stride=1)

    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma * ma, mean(b * b) - mb * mb, mean(a * b) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma * ma + mb * mb + c1) * (va + vb + c2))


def pixels_apart(made: Tensor, real: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean absolute error of pictures (B, C, H, W), and of their steps between neighbours, where `weight` (B, 1, H, W)
    says how much a place counts; two scalars."""
    off = made - real
    across, down = (off.diff(dim=3).abs() * weight[..., 1:]).mean(), (off.diff(dim=2).abs() * weight[..., 1:, :]).mean()
    return (off.abs() * weight).mean(), across + down


class StructuralPerceptualLoss(nn.Module):
    """Stands in for the VGG loss where its weights are not at hand; needs no download.

    It is not a perceptual metric learned from anything: four hand-made terms that reward edges and local
    structure, where a plain L1 would be content with blur. Five levels, as many as the VGG loss has:

    1. Laplacian pyramid, mean absolute difference of every band, coarse bands weighted up 2^i
       (Bojanowski et al. 2018)
    2. gradients along x and y, mean absolute difference
    3. 1 - SSIM
    4.-5. features of a fixed, randomly initialised two-stage network (orthogonal filters, ReLU, pooling),
       each normalised by its own mean magnitude on the target

    The weights bring every term to between 0.4 and 1.6 for portraits of two people at 32 to 256 pixels, so
    that loss weights made for VGG levels stay meaningful. Mean colours are compared by the coarsest Laplacian
    band alone.
    """

    def __init__(self, bands: int = 4, features: int = 48, seed: int = 0) -> None:
        super().__init__()
        self.bands = bands
        self.blur = ImagePyramid((0.5,)).levels[0]
        generator = torch.Generator().manual_seed(seed)

        def filters(outputs: int, inputs: int, kernel: int) -> Tensor:
            flat = torch.randn(max(outputs, inputs * kernel**2), inputs * kernel**2, generator=generator)
            basis = torch.linalg.qr(flat)[0][:outputs].reshape(outputs, inputs, kernel, kernel)
            # Without a mean, filters see structure and not brightness, which the other terms cover.
            basis = basis - basis.mean(dim=(2, 3), keepdim=True)
            return basis / basis.flatten(1).norm(dim=1)[:, None, None, None]

        self.register_buffer("filters1", filters(features, 3, 5), persistent=False)
        self.register_buffer("filters2", filters(2 * features, features, 3), persistent=False)

    filters1: Tensor
    filters2: Tensor

    def _laplacian(self, x: Tensor) -> list[Tensor]:
        out = []
        for _ in range(self.bands):
            if min(x.shape[2:]) < 8:
                break
            small = self.blur(x)
            out.append(x - F.interpolate(small, size=x.shape[2:], mode="bilinear", align_corners=False))
            x = small
        return [*out, x]

    def _random(self, x: Tensor) -> list[Tensor]:
        first = F.relu(F.conv2d(x, self.filters1.to(x.dtype), padding=2))
        second = F.relu(F.conv2d(F.avg_pool2d(first, 2), self.filters2.to(x.dtype), padding=1))
        return [first, second]

    def forward(self, prediction: Tensor, target: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in 0..1 each, at least 16 pixels wide: five scalars, 0 where equal."""
        bands = zip(self._laplacian(prediction), self._laplacian(target.detach()))
        laplacian = sum((2.0**i * (p - t).abs().mean() for i, (p, t) in enumerate(bands)), prediction.new_zeros(()))
        gradients = prediction.new_zeros(())
        for dim in (2, 3):
            gradients = gradients + (prediction.diff(dim=dim) - target.diff(dim=dim)).abs().mean()
        ssim = (1 - structural_similarity(prediction.float(), target.float())).mean()
        random = [
            (p - t).abs().mean() / (t.abs().mean() + 1e-3)
            for p, t in zip(self._random(prediction), self._random(target.detach()))
        ]
        return [0.2 * laplacian, 8 * gradients, ssim, *random]


class PyramidPerceptual(nn.Module):
    """A perceptual loss summed over the scales of an image pyramid and weighted by level."""

    def __init__(self, distance: nn.Module, weights: tuple[float, ...], scales: tuple[float, ...] = (1.0,)) -> None:
        super().__init__()
        self.distance, self.weights, self.scales = distance, weights, scales

    def forward(self, prediction: dict[float, Tensor], target: dict[float, Tensor]) -> Tensor:
        """Pyramids {scale: (B, 3, h, w)} to a scalar: Σ_scale Σ_level weight·distance."""
        total = next(iter(prediction.values())).new_zeros(())
        for scale in self.scales:
            levels = self.distance(prediction[scale], target[scale])
            for weight, level in zip(self.weights, levels, strict=True):
                total = total + weight * level
        return total
