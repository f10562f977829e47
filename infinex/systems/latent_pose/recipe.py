"""How Latent Pose Descriptors are trained, on many people and then on one: the numbers, and one step."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Adam, Optimizer

from infinex.nn.files import State
from infinex.nn.ranger import RAdam
from infinex.systems.latent_pose.data import Album, Videos
from infinex.systems.latent_pose.losses import (
    Adversary,
    LossWeights,
    Perceptual,
    dice,
    discriminator_hinge,
    generator_hinge,
    matched,
)
from infinex.systems.latent_pose.model import Made, Person, networks_of
from infinex.systems.latent_pose.weights import LAYOUT
from infinex.training.data import Samples
from infinex.training.stored import StoredTask, sizes_of
from infinex.training.task import Fabric, TrainerOptions, evaluating, grid, pixels, plain

TABLE = "embed.parametrizations.weight."  # the discriminator's rows


@dataclass(frozen=True)
class LatentRecipe:
    """Latent Pose Descriptors: codes for who and how, no landmarks; the defaults are the authors' meta-learning."""

    config: str = "latent-pose"  # sizes of the networks, a key of `CONFIGS`
    start_from: str = ""  # weights that training begins with
    person: bool = False  # one person is learned, from an album
    epochs: int = 150
    repeats: int = 1  # samples drawn of every clip in an epoch
    batch_size: int = 8
    looks: int = 8  # pictures that the identity code is the mean of
    milestones: tuple[int, ...] = ()
    labels: int = 0  # rows of the discriminator, one for each video; 0: as `config` has it. Further videos share them
    rate: float = 5e-5  # of encoders and generator
    rate_discriminator: float = 2e-4
    clip_gradient: float = 0.0  # largest norm of a network's gradient; 0: no limit, as the authors
    adversary: Adversary = "hinge"
    thrice: bool = False  # the mask's three channels are counted, as the authors' loader gives them
    weights: LossWeights = field(default_factory=LossWeights)
    vgg: str = ""  # VGG-19 with Caffe's weights; without any, a substitute is used
    vgg_face: str = ""  # VGG-Face's
    trainer: TrainerOptions = field(default_factory=TrainerOptions)

    @property
    def optimizer(self) -> Literal["adam", "radam"]:
        """The authors' of either stage."""
        return "radam" if self.person else "adam"


def _both(name: str, steps: int, person: dict[str, Any], **common: Any) -> dict[str, LatentRecipe]:
    """Meta-learning, and one person in `steps` steps."""
    fitted: dict[str, Any] = {"rate": 5e-4, "rate_discriminator": 8e-4, "trainer": TrainerOptions(ema=0.972)} | person
    return {
        name: LatentRecipe(config=name, **common),
        f"{name}-person": LatentRecipe(config=name, start_from=name, person=True, epochs=1, repeats=steps, **fitted),
    }


RECIPES: dict[str, LatentRecipe] = {
    **_both("latent-pose", 230, {}, labels=8192),
    **_both("latent-pose-small", 300, {"looks": 4}, looks=4, epochs=200, repeats=20, rate=2e-4, milestones=(160,)),
    **_both("latent-pose-tiny", 200, {"looks": 2, "batch_size": 4}, looks=2, epochs=40, repeats=20, rate=5e-4,
            batch_size=4, trainer=TrainerOptions(ema=0.99)),
}  # fmt: skip


class LatentTask(StoredTask):
    """See `infinex.training.task.Task`."""

    panel = "a picture of the person, performer as the pose encoder sees him, target, mask, result"
    layout = LAYOUT

    def __init__(self, recipe: LatentRecipe) -> None:
        self.recipe, self.name = recipe, recipe.config
        config = sizes_of(LAYOUT, recipe.config)
        self.config = replace(config, labels=1 if recipe.person else recipe.labels or config.labels)
        self.milestones, self.clip_gradient = recipe.milestones, recipe.clip_gradient
        self.networks = networks_of(self.config)
        if not recipe.person:
            del self.networks["person"]
        # Of one person the encoders stay as they are, and the code is learned.
        self.trains = ("generator", "person") if recipe.person else ("embedder", "generator")
        self.perceptual = Perceptual(recipe.weights, recipe.vgg, recipe.vgg_face)
        kind: Any = RAdam if recipe.person else Adam
        self._optimizers: dict[str, Optimizer] = {}
        for name in (*self.trains, "discriminator"):
            rate = recipe.rate_discriminator if name == "discriminator" else recipe.rate
            self._optimizers[name] = kind(self.networks[name].parameters(), lr=rate, betas=(0.0, 0.999), eps=1e-5)

    def _codes(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Who is seen in each picture, who in all of them, and how."""
        embedder = self.networks["embedder"]
        if not self.recipe.person:
            each, pose = embedder(batch["pictures"], batch["performer"])
            return each, each.mean(1), pose
        with torch.no_grad(), evaluating(embedder):
            each, pose = embedder(batch["pictures"], batch["performer"])
        own = self._own()
        if not bool(own.any()):  # the first step: from the encoder's code of the person on
            with torch.no_grad():
                own.copy_(each.mean((0, 1))[None])
                if self.config.labels == 1:
                    table = dict(self.networks["discriminator"].named_parameters())
                    next(v for k, v in table.items() if k.endswith(f"{TABLE}original")).copy_(own)
        return each, own.expand(len(pose), -1), pose

    def _own(self) -> Tensor:
        network = self.networks["person"]
        person = network if isinstance(network, Person) else network.module
        assert isinstance(person, Person)
        return person.identity

    def _made(self, batch: dict[str, Tensor]) -> tuple[Made, Tensor]:
        each, identity, pose = self._codes(batch)
        return Made(*self.networks["generator"](identity, pose)), each

    def step(self, batch: dict[str, Tensor], fabric: Fabric) -> dict[str, float]:
        """See `Task`, and `infinex.systems.latent_pose.data.sample` for what is in a batch."""
        recipe, w, critic = self.recipe, self.recipe.weights, self.networks["discriminator"]
        target, label = batch["target"], batch["label"]
        self.perceptual.to(target.device)
        made, each = self._made(batch)
        with torch.no_grad():
            real_score, features, row = critic(target, label)
        score, fake_features, _ = critic(made.image, label)
        terms = self.perceptual(made.image, target)
        terms["generator_gan"] = w.adversarial * generator_hinge(real_score, score, recipe.adversary)
        terms["feature_matching"] = w.matching * matched(features, fake_features)
        mask = batch["mask"].expand(-1, 3, -1, -1) if recipe.thrice else batch["mask"]
        terms["dice"] = w.dice * dice(made.mask, mask)
        if not recipe.person:
            terms["embedding"] = w.embedding * (each[:, 0] - row).abs().mean()
        done = self.update(self.trains, terms, fabric)
        real, fake = critic(target, label)[0], critic(made.image.detach(), label)[0]
        terms = {"discriminator_gan": discriminator_hinge(real, fake, recipe.adversary)}
        return plain(done | self.update(["discriminator"], terms, fabric))

    def load_file(self, path: Path) -> None:
        """Begin with the weights in a file; the discriminator's rows are of its own videos. Raises WeightsError."""
        weights = LAYOUT.read(path)
        # A table of other videos says nothing of these.
        critic: State = weights.networks.get("discriminator", {})
        if critic and weights.config.labels != self.config.labels:
            fresh = self.networks["discriminator"].state_dict()
            critic = {k: fresh[k] if k.startswith(TABLE) else v for k, v in critic.items()}
            weights.networks["discriminator"] = critic
        self.begin(weights)

    @torch.no_grad()
    def sample_panel(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """(B·S, 5·S, 3): a picture of the person, performer, target, mask and result of every sample."""
        with evaluating(*self.networks.values()):
            made, _ = self._made(batch)
        rows = [batch["pictures"][:, 0], batch["performer"], batch["target"], made.mask, made.image]
        return grid([pixels(x) for x in rows])

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """Mean absolute error of results, of another picture of the person on black, and of masks."""
        with evaluating(*self.networks.values()):
            made, _ = self._made(batch)
        target, mask = batch["target"], batch["mask"]
        return {
            "l1": float((made.image.clamp(0, 1) - target).abs().mean()),
            "l1_static": float((batch["pictures"][:, 0] * mask - target).abs().mean()),
            "l1_mask": float((made.mask - mask).abs().mean()),
        }


def task(recipe: LatentRecipe) -> LatentTask:
    """For the trainer. Raises InputError where the recipe contradicts itself."""
    return LatentTask(recipe)


def samples(recipe: LatentRecipe, folder: str | Path, split: str) -> Samples:
    """Samples of a prepared folder, or of an album of one person: pictures, a picture or a clip."""
    config, train = sizes_of(LAYOUT, recipe.config), split == "train"
    if recipe.person:
        return Album(folder, config.size, recipe.looks, recipe.repeats * recipe.batch_size, train)
    labels = recipe.labels or config.labels
    return Videos(folder, split, config.size, recipe.looks, labels, recipe.repeats if train else 1)
