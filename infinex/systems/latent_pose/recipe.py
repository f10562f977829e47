"""How Latent Pose Descriptors are trained, on many people and then on one: the numbers, and one step."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from infinex.errors import InputError, option
from infinex.nn.files import State
from infinex.nn.ranger import RAdam
from infinex.systems.latent_pose.data import Album, TaughtVideos, Videos
from infinex.systems.latent_pose.losses import (
    Adversary,
    LossWeights,
    Perceptual,
    dice,
    discriminator_hinge,
    generator_hinge,
    matched,
    pixels_apart,
)
from infinex.systems.latent_pose.model import Made, Person, networks_of
from infinex.systems.latent_pose.weights import LAYOUT
from infinex.training.data import Augmentation, Samples
from infinex.training.embedded import PointsOf, SurfaceTeacher
from infinex.training.stored import StoredTask, sizes_of
from infinex.training.task import Fabric, TrainerOptions, evaluating, grid, pixels, plain

TABLE = "embed.parametrizations.weight."  # the discriminator's rows


@dataclass(frozen=True)
class LatentRecipe:
    """Latent Pose Descriptors: codes for who and how, no landmarks; the defaults are the authors' meta-learning."""

    config: str = "latent-pose"  # sizes of the networks, a key of `CONFIGS`
    start_from: str = ""  # weights that training begins with
    person: bool = False  # one person is learned, from an album
    points: bool = False  # where taught, before all else: the pose encoder alone, by the tracked face
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
    betas: tuple[float, float] = (0.0, 0.999)
    taught: float = 0.0  # weight of what a linear map of the pose code knows of the tracked face; 0: no tracker
    augmentation: Augmentation | None = None  # of places and colours instead of the authors' shift and stretching
    thrice: bool = False  # the mask's three channels are counted, as the authors' loader gives them
    weights: LossWeights = field(default_factory=LossWeights)
    vgg: str = ""  # VGG-19 with Caffe's weights; without any, a substitute is used
    vgg_face: str = ""  # VGG-Face's
    trainer: TrainerOptions = field(default_factory=TrainerOptions)

    @property
    def optimizer(self) -> Literal["adam", "radam"]:
        """The authors' of either stage."""
        return "radam" if self.person else "adam"


# Few people, all of them framed alike: without this places are known by the frame.
PLACED = Augmentation(True, 0.2, 0.2, 0.3, 0.03, shift=0.15, zoom=0.2, turn=12.0)
# A code that stands for one person cannot tell colours or a mirror.
MOVED = Augmentation(shift=0.05, zoom=0.05, turn=4.0)
ON_A_CPU = TrainerOptions(precision="bf16-mixed", checkpoint_every=400, panel_every=400, ema=0.998)
DIRECT = LossWeights(structural=0.0, pixels=10.0, adversarial=0.0)


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
    # For an hour of one CPU core, too little to find poses from pictures alone: the face tracker teaches the pose code
    # where faces are, and there is no adversary.
    "latent-pose-face-points": LatentRecipe(
        config="latent-pose-face", points=True, epochs=6, repeats=50, batch_size=16, looks=1, milestones=(4, 5),
        rate=3e-3, betas=(0.9, 0.999), taught=1.0, augmentation=PLACED, weights=DIRECT, trainer=ON_A_CPU,
    ),
    "latent-pose-face": LatentRecipe(
        config="latent-pose-face", start_from="latent-pose-face-points", epochs=12, repeats=50, batch_size=16, looks=2,
        milestones=(9, 11), rate=1e-3,
        betas=(0.9, 0.999), taught=1.0, augmentation=PLACED, weights=DIRECT, trainer=ON_A_CPU,
    ),
    "latent-pose-face-person": LatentRecipe(
        config="latent-pose-face", start_from="latent-pose-face", person=True, epochs=4, repeats=300, batch_size=4,
        looks=2, milestones=(3,), rate=2e-3, betas=(0.9, 0.999), augmentation=MOVED, weights=DIRECT,
        trainer=replace(ON_A_CPU, ema=0.98),
    ),
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
        if not recipe.weights.adversarial:
            del self.networks["discriminator"]
        # Of one person the encoders stay as they are, and the code is learned.
        self.trains: tuple[str, ...] = ("generator", "person") if recipe.person else ("embedder", "generator")
        if recipe.taught:
            self.networks["points"] = PointsOf(nn.Identity(), nn.Identity(), config.pose)
            self.trains = ("embedder", "points") if recipe.points else (*self.trains, "points")
        self.perceptual = Perceptual(recipe.weights, recipe.vgg, recipe.vgg_face)
        kind: Any = RAdam if recipe.person else Adam
        self._optimizers: dict[str, Optimizer] = {}
        for name in (*self.trains, "discriminator"):
            if name in self.networks:
                rate = recipe.rate_discriminator if name == "discriminator" else recipe.rate
                self._optimizers[name] = kind(self.networks[name].parameters(), lr=rate, betas=recipe.betas, eps=1e-5)
        if recipe.augmentation:  # a third faster on a CPU
            for name in ("embedder", "generator"):
                self.networks[name].to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _codes(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Who is seen in each picture, who in all of them, and how."""
        embedder = self.networks["embedder"]
        if not self.recipe.person:
            each, pose = embedder(batch["pictures"], batch["performer"])
            return each, each.mean(1), pose
        own = self._own()
        # Who she is is looked at once.
        pictures = batch["pictures"][:, :0] if bool(own.any()) else batch["pictures"]
        with torch.no_grad(), evaluating(embedder):
            each, pose = embedder(pictures, batch["performer"])
        if not bool(own.any()):  # the first step: from the encoder's code of the person on
            with torch.no_grad():
                own.copy_(each.mean((0, 1))[None])
                if self.config.labels == 1 and "discriminator" in self.networks:
                    table = dict(self.networks["discriminator"].named_parameters())
                    next(v for k, v in table.items() if k.endswith(f"{TABLE}original")).copy_(own)
        return each, own.expand(len(pose), -1), pose

    def _own(self) -> Tensor:
        network = self.networks["person"]
        person = network if isinstance(network, Person) else network.module
        assert isinstance(person, Person)
        return person.identity

    def _made(self, batch: dict[str, Tensor]) -> tuple[Made, Tensor, Tensor]:
        """What is made, who is seen in each picture, and how."""
        each, identity, pose = self._codes(batch)
        return Made(*self.networks["generator"](identity, pose)), each, pose

    def _told(self, pose: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Mean distance of the face that a linear map reads off the pose code from the tracked one, -1..1 sideways."""
        return (self.networks["points"](pose) - batch["taught"][..., :2]).abs().mean()

    def step(self, batch: dict[str, Tensor], fabric: Fabric) -> dict[str, float]:
        """See `Task`, and `infinex.systems.latent_pose.data.sample` for what is in a batch."""
        recipe, w, critic = self.recipe, self.recipe.weights, self.networks.get("discriminator")
        target, label = batch["target"], batch["label"]
        if recipe.points:
            _, pose = self.networks["embedder"](batch["pictures"][:, :0], batch["performer"])
            return plain(self.update(self.trains, {"points": 30 * recipe.taught * self._told(pose, batch)}, fabric))
        self.perceptual.to(target.device)
        made, each, pose = self._made(batch)
        terms = self.perceptual(made.image, target)
        mask = batch["mask"].expand(-1, 3, -1, -1) if recipe.thrice else batch["mask"]
        terms["dice"] = w.dice * dice(made.mask, mask)
        if w.pixels:
            terms["pixels"] = w.pixels * pixels_apart(made.image, target)
        if recipe.taught:
            terms["points"] = 30 * recipe.taught * self._told(pose, batch)
        if critic is None:
            return plain(self.update(self.trains, terms, fabric))
        with torch.no_grad():
            real_score, features, row = critic(target, label)
        score, fake_features, _ = critic(made.image, label)
        terms["generator_gan"] = w.adversarial * generator_hinge(real_score, score, recipe.adversary)
        terms["feature_matching"] = w.matching * matched(features, fake_features)
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

    def stored(self) -> list[str]:
        """See `StoredTask`: what only taught the others is left out."""
        return [n for n in self.networks if n != "points"]

    @torch.no_grad()
    def sample_panel(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """(B·S, 5·S, 3): a picture of the person, performer, target, mask and result of every sample."""
        with evaluating(*self.networks.values()):
            made = self._made(batch)[0]
        rows = [batch["pictures"][:, 0], batch["performer"], batch["target"], made.mask, made.image]
        return grid([pixels(x) for x in rows])

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """Mean absolute error of results, of another picture of the person on black, and of masks."""
        with evaluating(*self.networks.values()):
            made, _, pose = self._made(batch)
            told = {"points": float(self._told(pose, batch))} if self.recipe.taught else {}
        target, mask = batch["target"], batch["mask"]
        return told | {
            "l1": float((made.image.clamp(0, 1) - target).abs().mean()),
            "l1_static": float((batch["pictures"][:, 0] * mask - target).abs().mean()),
            "l1_mask": float((made.mask - mask).abs().mean()),
        }


def task(recipe: LatentRecipe) -> LatentTask:
    """For the trainer. Raises InputError where the recipe contradicts itself."""
    if recipe.points and not recipe.taught:
        raise InputError(f"{option('set')} points=true: taught is above 0")
    if recipe.taught and (recipe.person or recipe.weights.adversarial):
        raise InputError(f"{option('set')} taught: above 0 only for many people, with weights.adversarial=0")
    return LatentTask(recipe)


def samples(recipe: LatentRecipe, folder: str | Path, split: str) -> Samples:
    """Samples of a prepared folder, or of an album of one person: pictures, a picture or a clip."""
    config, train = sizes_of(LAYOUT, recipe.config), split == "train"
    if recipe.person:
        steps = recipe.repeats * recipe.batch_size
        return Album(folder, config.size, recipe.looks, steps, train, recipe.augmentation)
    if recipe.taught:
        moved = recipe.augmentation or Augmentation()
        return TaughtVideos(
            folder, split, config.size, recipe.looks, moved, SurfaceTeacher(), recipe.repeats if train else 1
        )
    labels = recipe.labels or config.labels
    return Videos(folder, split, config.size, recipe.looks, labels, recipe.repeats if train else 1)
