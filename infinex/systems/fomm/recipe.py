"""How the First Order Motion Model is trained: the numbers, and one step of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from infinex.errors import InputError, option
from infinex.nn.geometry import ThinPlateTransform, inverse_2x2
from infinex.nn.losses import Adversary, StructuralPerceptualLoss, bare
from infinex.nn.vgg import VGG19, VGGPerceptualLoss
from infinex.systems.fomm.losses import FommLosses, LossWeights, TransformSizes
from infinex.systems.fomm.model import (
    CONFIGS,
    FommConfig,
    FommModel,
    Keypoints,
    Rendering,
    build_discriminator,
)
from infinex.systems.fomm.teacher import FaceTeacher
from infinex.systems.fomm.weights import LAYOUT
from infinex.training.data import Augmentation, FramePairs
from infinex.training.stored import StoredTask, sizes_of
from infinex.training.task import (
    Adams,
    Fabric,
    TrainerOptions,
    checked,
    draw_keypoints,
    evaluating,
    grid,
    pixels,
    plain,
)

AUTHORS = Augmentation(flip=True, brightness=0.1, contrast=0.1, saturation=0.1, hue=0.1)


@dataclass(frozen=True)
class FommRecipe:
    """Everything about a training run but the data; the defaults are the author's for faces (vox-adv-256)."""

    config: str = "vox-adv-256"  # sizes of the networks, a key of `CONFIGS`
    start_from: str = ""  # the recipe or weights file whose result training begins with
    epochs: int = 150
    repeats: int = 75  # pairs drawn of every clip in an epoch
    batch_size: int = 36
    accumulate: int = 1  # parts a batch is computed in; the step is the same, the memory less
    milestones: tuple[int, ...] = ()  # epochs after which the rates drop to a tenth
    rate_generator: float = 2e-4
    rate_detector: float = 2e-4
    rate_discriminator: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    clip_gradient: float = 0.0  # largest norm of a network's gradient; 0: no limit, as the author
    adversary: Adversary = "lsgan"
    spectral: bool | None = None  # spectral normalisation of the discriminator; None: as `config` has it
    weights: LossWeights = field(default_factory=LossWeights)
    scales: tuple[float, ...] = (1.0, 0.5, 0.25, 0.125)  # of the perceptual loss
    vgg: str = ""  # torchvision's vgg19 weights; without, the structural substitute is used
    transform: TransformSizes = field(default_factory=TransformSizes)
    augmentation: Augmentation = AUTHORS
    taught: float = 0.0  # weight of the distance from keypoints that a face tracker names; 0: none, as the author
    deformed: float = 0.0  # weight of the distance of the deformed source itself from the driving frame
    alone: Literal["", "points", "motion"] = ""  # what is trained without the rest, by what is taught; "": everything
    trainer: TrainerOptions = field(default_factory=TrainerOptions)

    @property
    def sizes(self) -> FommConfig:
        """Sizes of the networks, with what the recipe changes in them."""
        config = CONFIGS[self.config]
        return config if self.spectral is None else replace(config, critic_spectral=self.spectral)


FAINT = replace(AUTHORS, hue=0.03, saturation=0.2)
# Few people, all of them framed alike: without this the detector knows where a face is by the frame.
PLACED = replace(FAINT, brightness=0.3, contrast=0.3, saturation=0.5, shift=0.2, zoom=0.3, turn=20)
ON_A_CPU = TrainerOptions(precision="bf16-mixed", checkpoint_every=200, panel_every=400, ema=0.998)

RECIPES: dict[str, FommRecipe] = {
    # First without an adversary, at falling rates ...
    "vox-256": FommRecipe(
        config="vox-256", epochs=100, batch_size=40, milestones=(60, 90), weights=LossWeights(generator_gan=0)
    ),
    # ... then on from there with one. The author's released weights had about half as many epochs again.
    "vox-adv-256": FommRecipe(start_from="vox-256"),
    "fomm-medium": FommRecipe(config="fomm-medium", epochs=100, batch_size=24, milestones=(60, 90)),
    "fomm-small": FommRecipe(
        config="fomm-small", epochs=60, batch_size=16, milestones=(40, 55), scales=(1.0, 0.5, 0.25)
    ),
    # For a laptop: an adversary would cost more than it gives in minutes.
    "fomm-tiny": FommRecipe(
        config="fomm-tiny", epochs=20, repeats=50, batch_size=8, milestones=(16,), rate_generator=4e-4,
        rate_detector=4e-4, weights=LossWeights(generator_gan=0), scales=(1.0, 0.5, 0.25),
    ),
    # For an hour of one CPU core, which is too little to find keypoints from nothing: the face tracker teaches
    # them, then the motion network behind them; last, everything together.
    "fomm-face-points": FommRecipe(
        config="fomm-face", epochs=36, repeats=15, batch_size=16, milestones=(27, 33), rate_detector=2e-3,
        weights=LossWeights(generator_gan=0), taught=1.0, alone="points", augmentation=PLACED, trainer=ON_A_CPU,
    ),
    "fomm-face-motion": FommRecipe(
        config="fomm-face", start_from="fomm-face-points", epochs=50, repeats=15, batch_size=16, milestones=(36, 45),
        rate_generator=2e-3, weights=LossWeights(generator_gan=0), taught=0.3, alone="motion", deformed=100.0,
        augmentation=PLACED, trainer=ON_A_CPU,
    ),
    "fomm-face": FommRecipe(
        config="fomm-face", start_from="fomm-face-motion", epochs=24, repeats=10, batch_size=16, milestones=(18, 22),
        rate_generator=4e-4, rate_detector=1e-4, weights=LossWeights(generator_gan=0), scales=(1.0, 0.5, 0.25),
        taught=1.0, deformed=20.0, augmentation=FAINT, trainer=ON_A_CPU,
    ),
}  # fmt: skip


class FommTask(StoredTask):
    """The networks of a recipe and one training step, for the trainer every system shares.

    The trainer may put wrapped networks and optimisers in place of the entries of `networks` and
    `optimizers()`; the detector runs three times before a backward pass, so on several GPUs it wants
    synchronised batch norms and no broadcasting of buffers.
    """

    panel = "source, driving, occlusion, deformed source, prediction"
    layout = LAYOUT

    def __init__(self, recipe: FommRecipe) -> None:
        self.recipe, self.config, self.name = recipe, recipe.sizes, recipe.config
        self.milestones, self.clip_gradient = recipe.milestones, recipe.clip_gradient
        model = FommModel(self.config)
        self.networks = {"generator": model.generator, "detector": model.detector}
        perceptual: nn.Module = VGGPerceptualLoss(VGG19.load(recipe.vgg)) if recipe.vgg else StructuralPerceptualLoss()
        self.losses = FommLosses(perceptual, recipe.weights, self._scales(), recipe.adversary)
        self.losses.requires_grad_(False)
        if self.losses.adversarial:
            self.networks["discriminator"] = build_discriminator(self.config)
        for network in self.networks.values():
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on CPUs
        rates = {
            "generator": recipe.rate_generator, "detector": recipe.rate_detector,
            "discriminator": recipe.rate_discriminator,
        }  # fmt: skip
        self._optimizers = Adams(self.networks, rates, recipe.betas)

    def _scales(self) -> tuple[float, ...]:
        extra = set(self.config.critic_scales) - set(self.recipe.scales)
        if extra:
            raise ValueError(f"the discriminator looks at scales {sorted(extra)} that `scales` lacks")
        return self.recipe.scales

    def schedulers(self) -> dict[str, LRScheduler]:
        """See `StoredTask`; of the optimisers that are used."""
        used = {"points": {"detector"}, "motion": {"generator"}}.get(self.recipe.alone, set(self.networks))
        return {name: schedule for name, schedule in super().schedulers().items() if name in used}

    def step(self, batch: dict[str, Tensor], fabric: Fabric) -> dict[str, float]:
        """Update all networks once by `source` and `driving` (B, 3, H, W) in 0..1; the terms, weighted.

        Raises FloatingPointError, before any network is touched, when a loss is not a number.
        """
        source, driving = batch["source"], batch["driving"]
        self.losses.to(source.device)
        parts = min(self.recipe.accumulate, len(source))
        pairs = list(zip(source.chunk(parts), driving.chunk(parts)))
        terms: dict[str, Tensor] = {}

        shown: list[tuple[Tensor, Keypoints]] = []
        taught = batch["taught"].chunk(parts) if self.recipe.taught else [None] * len(pairs)
        if self.recipe.alone:
            return self._alone(batch, fabric)
        for (s, d), wanted in zip(pairs, taught):
            losses, rendering, keypoints = self._generator_terms(s, d, wanted)
            share = len(s) / len(source)
            _accumulate(terms, losses, share)
            fabric.backward(_total(losses) * share)
            shown.append((rendering.prediction.detach(), Keypoints(*(t.detach() for t in keypoints))))
        self.advance(["generator", "detector"])

        if self.losses.adversarial:
            for (s, d), (prediction, keypoints) in zip(pairs, shown):
                losses = self._discriminator_terms(d, prediction, keypoints)
                share = len(s) / len(source)
                _accumulate(terms, losses, share)
                fabric.backward(_total(losses) * share)
            self.advance(["discriminator"])
        return plain(terms)

    def _alone(self, batch: dict[str, Tensor], fabric: Fabric) -> dict[str, float]:
        """A step of the detector, or of the motion network behind it, towards what is taught."""
        if not self.recipe.taught:
            raise InputError(f"{option('set')} taught: above 0, where something is trained alone")
        detector, generator = self.networks["detector"], self.networks["generator"]
        source, driving, taught = batch["source"], batch["driving"], batch["taught"]
        if self.recipe.alone == "points":
            both = taught.transpose(0, 1).flatten(0, 1)  # all sources, then all driving frames
            name, terms = "detector", _taught(Keypoints(*detector(torch.cat([source, driving]))), both, self.recipe)
        else:
            with torch.no_grad(), evaluating(detector):
                own, wanted = Keypoints(*detector(source)), Keypoints(*detector(driving))
            out: Rendering = generator(source, own, wanted, picture=False)
            name, terms = "generator", {"taught_field": taught_field(out.motion.field, taught)}
            terms["taught_field"] = 100 * self.recipe.taught * terms["taught_field"]
            if self.recipe.deformed:
                terms["deformed"] = self.recipe.deformed * (out.deformed - driving).abs().mean()
        return plain(self.update([name], terms, fabric))

    def _generator_terms(
        self, source: Tensor, driving: Tensor, taught: Tensor | None = None
    ) -> tuple[dict[str, Tensor], Rendering, Keypoints]:
        detector, generator = self.networks["detector"], self.networks["generator"]
        own, wanted = Keypoints(*detector(source)), Keypoints(*detector(driving))
        rendering: Rendering = generator(source, own, wanted)
        truth, made = self.losses.pyramid(driving), self.losses.pyramid(rendering.prediction)
        terms = self.losses.picture(made, truth)

        w, sizes = self.recipe.weights, self.recipe.transform
        if w.equivariance_value or w.equivariance_jacobian:
            transform = ThinPlateTransform.random(
                len(driving), sizes.sigma_affine, sizes.sigma_spline, sizes.points, driving
            )
            moved = Keypoints(*detector(transform.frame(driving)))
            terms |= self.losses.equivariance(wanted, moved, transform)

        if self.recipe.deformed:
            terms["deformed"] = self.recipe.deformed * (rendering.deformed - driving).abs().mean()
        if taught is not None:
            both = Keypoints(torch.cat([own.value, wanted.value]), torch.cat([own.jacobian, wanted.jacobian]))
            terms |= _taught(both, taught.transpose(0, 1).flatten(0, 1), self.recipe)
            terms["taught_field"] = 10 * self.recipe.taught * taught_field(rendering.motion.field, taught)

        if self.losses.adversarial:
            critic, points = self.networks["discriminator"], wanted.value.detach()
            with torch.no_grad():
                real = critic(truth, points)
            terms |= self.losses.generator(real, critic(made, points))
        return checked(terms), rendering, wanted

    def _discriminator_terms(self, driving: Tensor, prediction: Tensor, keypoints: Keypoints) -> dict[str, Tensor]:
        critic, points = self.networks["discriminator"], keypoints.value
        truth, made = self.losses.pyramid(driving), self.losses.pyramid(prediction)
        terms = self.losses.discriminator(critic(truth, points), critic(made, points))
        plain = bare(critic)
        terms |= self.losses.penalty(lambda pyramid: plain(pyramid, points), truth, made)
        return checked(terms)

    @torch.no_grad()
    def sample_panel(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """(B·H, 5·W, 3): source and driving with keypoints, occlusion, deformed, prediction of every pair."""
        detector, generator = self.networks["detector"], self.networks["generator"]
        with evaluating(detector, generator):
            source, driving = batch["source"], batch["driving"]
            own, wanted = Keypoints(*detector(source)), Keypoints(*detector(driving))
            out: Rendering = generator(source, own, wanted, self.recipe.alone != "motion")
        h, w = source.shape[2:]
        shown = nn.functional.interpolate(out.motion.occlusion, size=(h, w), mode="nearest")
        columns = [
            draw_keypoints(pixels(source), own.value),
            draw_keypoints(pixels(driving), wanted.value),
            pixels(shown),
            pixels(out.deformed),
            pixels(out.prediction),
        ]
        return grid(columns)

    def origin(self) -> dict[str, str]:
        """Whoever uses weights must know that their generator was never asked for a picture."""
        return {"picture": "deformed"} if self.recipe.alone else {}

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """Mean absolute error of the predictions for `batch`, and of the sources left as they are."""
        detector, generator = self.networks["detector"], self.networks["generator"]
        with evaluating(detector, generator):
            source, driving = batch["source"], batch["driving"]
            picture = self.recipe.alone != "motion"
            out: Rendering = generator(source, Keypoints(*detector(source)), Keypoints(*detector(driving)), picture)
        made = self.losses.picture(self.losses.pyramid(out.prediction), self.losses.pyramid(driving))
        return {
            "l1": float((out.prediction.float() - driving).abs().mean()),
            "l1_static": float((source - driving).abs().mean()),
            **{k: float(v) for k, v in made.items()},
        }


def task(recipe: FommRecipe) -> FommTask:
    """For the trainer. Raises InputError where the recipe contradicts itself."""
    sizes_of(LAYOUT, recipe.config)
    try:
        return FommTask(recipe)
    except ValueError as error:
        raise InputError(str(error)) from None


def samples(recipe: FommRecipe, folder: str | Path, split: str) -> FramePairs:
    """Pairs of frames of a prepared folder at the size of the networks; held-back ones as they are."""
    sizes_of(LAYOUT, recipe.config)
    train = split == "train"
    size = recipe.sizes.size
    teacher = FaceTeacher(recipe.sizes.keypoints) if recipe.taught and train else None
    return FramePairs(
        folder, split, size, recipe.repeats if train else 1, recipe.augmentation if train else None, teacher=teacher
    )


def _taught(keypoints: Keypoints, taught: Tensor, recipe: FommRecipe) -> dict[str, Tensor]:
    """Mean distance of keypoints and local frames from those in `taught` (B, K, 6), weighted like equivariance."""
    value, jacobian = taught[..., :2], taught[..., 2:].reshape(*taught.shape[:2], 2, 2)
    w = 10 * recipe.taught
    return {
        "taught_value": w * (keypoints.value - value).abs().mean(),
        "taught_jacobian": 0.2 * w * (keypoints.jacobian - jacobian).abs().mean(),
    }


def taught_field(field: Tensor, taught: Tensor, reach: float = 0.1) -> Tensor:
    """Mean distance of a deformation (B, h, w, 2) from what `taught` (B, 2, K, 6), source and driving, says of it.

    At a driving keypoint, and `reach` beside it, the source is to be read at its own keypoint and beside that, by the
    local frames of both (equation 4); at the picture's border, where no face is, in place."""
    source, driving = taught[:, 0], taught[:, 1]
    own, theirs = (t[..., 2:].reshape(*t.shape[:2], 2, 2) for t in (source, driving))
    turn = own @ inverse_2x2(theirs)  # (B, K, 2, 2)
    steps = reach * torch.tensor([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]], device=field.device, dtype=turn.dtype)
    at = driving[:, :, None, :2] + steps  # (B, K, 5, 2)
    to = source[:, :, None, :2] + torch.einsum("bkij,sj->bksi", turn, steps)
    line = torch.linspace(-0.95, 0.95, 7, device=field.device, dtype=turn.dtype)
    edge = torch.full_like(line, 0.95)
    rim = torch.cat([torch.stack(p, -1) for p in ((line, -edge), (-edge, line), (edge, line))])  # not below: shoulders
    rim = rim.expand(len(field), 1, -1, -1)
    read = nn.functional.grid_sample(
        field.permute(0, 3, 1, 2).float(), torch.cat([at.flatten(1, 2)[:, None], rim], 2), align_corners=True
    )  # (B, 2, 1, 5K + 21)
    wanted = torch.cat([to.flatten(1, 2)[:, None], rim], 2).permute(0, 3, 1, 2)
    return (read - wanted).abs().mean()


def _total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()


def _accumulate(into: dict[str, Tensor], terms: dict[str, Tensor], share: float) -> None:
    for name, term in terms.items():
        into[name] = into.get(name, torch.zeros((), device=term.device)) + term.detach() * share
