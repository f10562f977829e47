"""The training objective of StarGAN (section 3), term by term.

critic     E[D(x')] - E[D(x)] + 10·penalty + labels of real pictures
generator  -E[D(x')] + labels of made pictures + 10·cycle
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor

from infinex.nn.losses import bare, discriminator_adversarial, generator_adversarial, gradient_penalty, reconstruction
from infinex.systems.stargan.model import Critic, Generator, StarganConfig, Verdict, of_set, told

Kind = Literal["binary", "categories"]


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms; the defaults are those of the paper (section 7.1)."""

    labels: float = 1.0
    cycle: float = 10.0
    gradient_penalty: float = 10.0
    paired: float = 0.0  # not in the paper: distance to a picture known to show what is wanted


def label_loss(logits: Tensor, wanted: Tensor, kind: Kind) -> Tensor:
    """How far logits (B, C) are from `wanted` (B, C); a scalar (equations 2 and 3).

    `categories`: one of them holds, softmax cross entropy, mean over pictures; `binary`: each holds or not, the
    cross entropies summed over labels, as published."""
    if kind == "categories":
        return F.cross_entropy(logits, wanted.argmax(1))
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / len(logits)


def critic_terms(
    weights: LossWeights,
    critic: Critic,
    image: Tensor,
    made: Tensor,
    labels: Tensor,
    kind: Kind,
    which: int = 0,
    mix: Tensor | None = None,
) -> dict[str, Tensor]:
    """Weighted terms of the critic on `image` with `labels` and on `made`; `which` is the set they are of.

    `mix` (B,) is the share of the real picture where the penalty is taken; uniform if not given."""
    plain = bare(critic)
    config = cast(StarganConfig, plain.config)
    real, fake = critic(image), critic(made.detach())
    return {
        "critic_gan": discriminator_adversarial(real[0], fake[0], "wgan-gp"),
        "critic_labels": weights.labels * label_loss(of_set(real[1], config, which), labels, kind),
        "critic_penalty": weights.gradient_penalty * gradient_penalty(lambda x: plain(x).score, image, made, mix),
    }


def generator_terms(
    weights: LossWeights,
    generator: Generator,
    critic: Critic,
    image: Tensor,
    labels: Tensor,
    wanted: Tensor,
    kind: Kind,
    which: int = 0,
    target: tuple[Tensor, Tensor] | None = None,
) -> tuple[dict[str, Tensor], Tensor]:
    """Weighted terms of the generator, and the picture that it made of `image` (B, 3, S, S) under `wanted` (B, C).

    `target` is a picture that shows it and (B, 1), 1 where it does; for `weights.paired`."""
    config = cast(StarganConfig, bare(generator).config)
    made = generator(image, told(wanted, config, which))
    verdict = Verdict(*critic(made))
    back = generator(made, told(labels, config, which))
    terms = {
        "generator_gan": generator_adversarial(verdict.score, "wgan-gp"),
        "labels": weights.labels * label_loss(of_set(verdict.labels, config, which), wanted, kind),
        "cycle": weights.cycle * reconstruction(back, image),
    }
    if weights.paired and target is not None:
        shown, there = target
        off = (made - shown).abs().mean(dim=(1, 2, 3)) * there[:, 0]
        terms["paired"] = weights.paired * off.sum() / there.sum().clamp_min(1)
    return terms, made


def display_labels(labels: Tensor, chosen: tuple[str, ...], exclusive: frozenset[str]) -> Tensor:
    """For each of the C labels what (B, C) becomes when it is changed: (C, B, C).

    A label of the `exclusive` group (hair colours) is set and the others of the group cleared; others turn over."""
    out = []
    for k, name in enumerate(chosen):
        new = labels.clone()
        if name in exclusive:
            for j, other in enumerate(chosen):
                if other in exclusive:
                    new[:, j] = float(j == k)
        else:
            new[:, k] = 1 - new[:, k]
        out.append(new)
    return torch.stack(out)


HAIR = frozenset({"Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair"})
