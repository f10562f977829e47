"""How Monkey-Net is trained: the numbers, and one step of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from infinex.errors import InputError, option
from infinex.nn.losses import Adversary
from infinex.systems.fomm.recipe import taught_field
from infinex.systems.fomm.teacher import FaceTeacher
from infinex.systems.monkey_net.losses import LossWeights, discriminator_terms, generator_terms
from infinex.systems.monkey_net.model import CONFIGS, Keypoints, Rendering, networks_of
from infinex.systems.monkey_net.weights import LAYOUT
from infinex.training.data import Augmentation, FramePairs
from infinex.training.stored import StoredTask, sizes_of
from infinex.training.task import Adams, Fabric, TrainerOptions, draw_keypoints, evaluating, grid, pixels, plain

SPREAD = 0.01  # variance of a keypoint where it is taught
AUTHORS = Augmentation(flip=True)  # they leave faces otherwise alone


@dataclass(frozen=True)
class MonkeyRecipe:
    """Monkey-Net: keypoints found by themselves, a deformation, warped skips; the defaults are the authors' (vox)."""

    config: str = "monkey-net-vox"  # sizes of the networks, a key of `CONFIGS`
    start_from: str = ""  # weights that training begins with
    epochs: int = 20
    repeats: int = 1  # pairs drawn of every clip in an epoch
    batch_size: int = 20
    milestones: tuple[int, ...] = ()  # epochs after which the rates drop to a tenth
    rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    clip_gradient: float = 0.0  # largest norm of a network's gradient; 0: no limit, as the authors
    adversary: Adversary = "lsgan"
    weights: LossWeights = field(default_factory=LossWeights)
    taught: float = 0.0  # weight of the distance from keypoints that a face tracker names; 0: none, as the authors
    alone: Literal["", "points", "motion"] = ""  # what is trained without the rest, by what is taught; "": everything
    augmentation: Augmentation = AUTHORS
    trainer: TrainerOptions = field(default_factory=TrainerOptions)


# Few people, all of them framed alike: without this the detector knows where a face is by the frame.
PLACED = Augmentation(flip=True, brightness=0.3, contrast=0.3, saturation=0.5, hue=0.03, shift=0.2, zoom=0.3, turn=20.0)
ON_A_CPU = TrainerOptions(precision="bf16-mixed", checkpoint_every=200, panel_every=400, ema=0.998)

RECIPES: dict[str, MonkeyRecipe] = {
    "monkey-net-vox": MonkeyRecipe(),
    "monkey-net-small": MonkeyRecipe(
        config="monkey-net-small", epochs=60, repeats=50, batch_size=16, milestones=(40, 55),
        augmentation=Augmentation(flip=True, brightness=0.1, contrast=0.1, saturation=0.1, hue=0.03),
    ),
    # For a laptop: an adversary would cost more than it gives in minutes.
    "monkey-net-tiny": MonkeyRecipe(
        config="monkey-net-tiny", epochs=20, repeats=50, batch_size=8, milestones=(16,), rate=5e-4,
        weights=LossWeights(deformed=10.0, generator_gan=0.0), trainer=TrainerOptions(ema=0.99),
    ),
    # For twenty minutes of one CPU core, too little to find keypoints from nothing: the face tracker teaches them,
    # then the motion network behind them.
    "monkey-net-face-points": MonkeyRecipe(
        config="monkey-net-face", epochs=6, repeats=100, batch_size=16, milestones=(5,), rate=2e-3,
        weights=LossWeights(generator_gan=0.0), taught=1.0, alone="points", augmentation=PLACED, trainer=ON_A_CPU,
    ),
    "monkey-net-face-motion": MonkeyRecipe(
        config="monkey-net-face", start_from="monkey-net-face-points", epochs=7, repeats=100, batch_size=16,
        milestones=(3, 6), rate=2e-3, weights=LossWeights(deformed=100.0, generator_gan=0.0), taught=1.0,
        alone="motion", augmentation=PLACED, trainer=ON_A_CPU,
    ),
}  # fmt: skip


class MonkeyTask(StoredTask):
    """See `infinex.training.task.Task`."""

    panel = "source, driving, deformed source, prediction"
    layout = LAYOUT

    def __init__(self, recipe: MonkeyRecipe) -> None:
        self.recipe, self.config, self.name = recipe, sizes_of(LAYOUT, recipe.config), recipe.config
        self.milestones, self.clip_gradient = recipe.milestones, recipe.clip_gradient
        self.networks = networks_of(self.config)
        if not recipe.weights.generator_gan:
            del self.networks["discriminator"]
        self._optimizers = Adams(self.networks, recipe.rate, recipe.betas)

    def _rendered(self, source: Tensor, driving: Tensor) -> tuple[Rendering, Keypoints, Keypoints]:
        # Both at once, as two frames of one clip: one set of batch statistics.
        mean, variance = self.networks["detector"](torch.cat([source, driving]))
        b = len(source)
        own, wanted = Keypoints(mean[:b], variance[:b]), Keypoints(mean[b:], variance[b:])
        picture = not self.recipe.alone
        return self.networks["generator"](source, own, wanted, picture=picture), own, wanted

    def origin(self) -> dict[str, str]:
        """Whoever uses weights must know that their generator was never asked for a picture."""
        return {"picture": "deformed"} if self.recipe.alone else {}

    def schedulers(self) -> dict[str, LRScheduler]:
        """See `StoredTask`; of the optimisers that are used."""
        unused = {"points": "generator", "motion": "detector"}.get(self.recipe.alone)
        return {name: schedule for name, schedule in super().schedulers().items() if name != unused}

    def _alone(self, batch: dict[str, Tensor], fabric: Fabric) -> dict[str, float]:
        """A step of the detector, or of the motion network behind it, towards what is taught."""
        detector, generator, recipe = self.networks["detector"], self.networks["generator"], self.recipe
        source, driving, taught = batch["source"], batch["driving"], batch["taught"]
        both = torch.cat([source, driving])
        if recipe.alone == "points":
            return plain(self.update(["detector"], taught_points(Keypoints(*detector(both)), taught, recipe), fabric))
        with torch.no_grad(), evaluating(detector):
            mean, variance = detector(both)
        b = len(source)
        own, wanted = Keypoints(mean[:b], variance[:b]), Keypoints(mean[b:], variance[b:])
        out: Rendering = generator(source, own, wanted, picture=False)
        terms = {
            "taught_field": 30 * recipe.taught * taught_field(out.motion.field, taught),
            "deformed": recipe.weights.deformed * (out.deformed - driving).abs().mean(),
        }
        return plain(self.update(["generator"], terms, fabric))

    def step(self, batch: dict[str, Tensor], fabric: Fabric) -> dict[str, float]:
        """See `Task`: `source` and `driving` (B, 3, S, S) in 0..1."""
        source, driving, recipe = batch["source"], batch["driving"], self.recipe
        if recipe.alone:
            return self._alone(batch, fabric)
        out, _, wanted = self._rendered(source, driving)
        critic = self.networks.get("discriminator")
        real = fake = None
        if critic is not None:
            fake, real = critic(out.prediction, wanted), critic(driving, wanted)
        terms = generator_terms(out.prediction, out.deformed, driving, real, fake, recipe.weights, recipe.adversary)
        done = self.update(["generator", "detector"], terms, fabric)
        if critic is not None:
            points = Keypoints(*(t.detach() for t in wanted))
            terms = discriminator_terms(
                critic(driving, points), critic(out.prediction.detach(), points), recipe.weights, recipe.adversary
            )
            done |= self.update(["discriminator"], terms, fabric)
        return plain(done)

    @torch.no_grad()
    def sample_panel(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """(B·S, 4·S, 3): source and driving with keypoints, deformed source, prediction of every pair."""
        with evaluating(*self.networks.values()):
            out, own, wanted = self._rendered(batch["source"], batch["driving"])
        return grid(
            [
                draw_keypoints(pixels(batch["source"]), own.mean),
                draw_keypoints(pixels(batch["driving"]), wanted.mean),
                pixels(out.deformed),
                pixels(out.prediction),
            ]
        )

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """Mean absolute error of predictions, of deformed sources, and of sources left as they are."""
        with evaluating(*self.networks.values()):
            out, _, _ = self._rendered(batch["source"], batch["driving"])
        wanted = batch["driving"]
        made = {"l1": out.prediction, "l1_deformed": out.deformed, "l1_static": batch["source"]}
        return {k: float((v.float() - wanted).abs().mean()) for k, v in made.items()}


def taught_points(points: Keypoints, taught: Tensor, recipe: MonkeyRecipe) -> dict[str, Tensor]:
    """How far keypoints of all sources, then all driving frames, are from those in `taught` (B, 2, K, 6), and from a
    round covariance of `SPREAD`."""
    places = taught[..., :2].transpose(0, 1).flatten(0, 1)
    w = 10 * recipe.taught
    return {
        "taught_mean": w * (points.mean - places).abs().mean(),
        "taught_variance": w * (points.variance - SPREAD * torch.eye(2, device=places.device)).abs().mean(),
    }


def task(recipe: MonkeyRecipe) -> MonkeyTask:
    """For the trainer. Raises InputError where the recipe contradicts itself."""
    if bool(recipe.taught) != bool(recipe.alone):
        raise InputError(f"{option('set')} taught: above 0 where something is trained alone, else 0")
    return MonkeyTask(recipe)


def samples(recipe: MonkeyRecipe, folder: str | Path, split: str) -> FramePairs:
    """Pairs of frames of a prepared folder at the size of the networks; held-back ones as they are."""
    train, size = split == "train", sizes_of(LAYOUT, recipe.config).size
    teacher = FaceTeacher(CONFIGS[recipe.config].keypoints) if recipe.taught and train else None
    return FramePairs(
        folder, split, size, recipe.repeats if train else 1, recipe.augmentation if train else None, teacher=teacher
    )
