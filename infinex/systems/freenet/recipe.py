"""Training FReeNet in its two stages: the landmark converter, then the generator that draws what it says.

The authors learn from RaFD, where 67 people make the same eight faces. Here the data are clips of anybody; what one
person's expression is on another's face is said by the default engine's retargeting (see `landmarks.Performer`)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, StepLR

from infinex.nn.layers import normal_
from infinex.nn.losses import StructuralPerceptualLoss, discriminator_adversarial, generator_adversarial
from infinex.nn.vgg import VGG16
from infinex.systems.freenet.landmarks import discs
from infinex.systems.freenet.losses import (
    Converted,
    ConverterWeights,
    Distances,
    GeneratorWeights,
    beside,
    converter_terms,
    critic_halves,
    misplaced,
    squared_features,
    steps_apart,
    triplet_distance,
)
from infinex.systems.freenet.model import Drawn, FreenetConfig, networks_of, xavier_
from infinex.systems.freenet.samples import Expressions, Triples
from infinex.systems.freenet.weights import LAYOUT
from infinex.training.data import Augmentation, Samples
from infinex.training.stored import StoredTask, sizes_of
from infinex.training.task import Adams, Fabric, TrainerOptions, evaluating, falling, frozen, grid, pixels, plain


@dataclass(frozen=True)
class FreenetRecipe:
    """What both stages have in common."""

    config: str = "freenet-256"  # sizes of the networks, a key of `CONFIGS`
    start_from: str = ""
    looks: int = 120  # frames of a clip that are used at most
    repeats: int = 40
    trainer: TrainerOptions = field(default_factory=TrainerOptions)

    @property
    def sizes(self) -> FreenetConfig:
        """Sizes of the networks. Raises InputError for a name that is not known."""
        sizes: FreenetConfig = sizes_of(LAYOUT, self.config)
        return sizes


@dataclass(frozen=True)
class ConverterRecipe(FreenetRecipe):
    """The first stage; the defaults are those of the published code, but for `shift` and `zoom`."""

    epochs: int = 200
    batch_size: int = 16
    step_epochs: int = 60  # after which the rate falls to a tenth, each time
    rate: float = 3e-4
    betas: tuple[float, float] = (0.99, 0.999)
    shift: float = 12.0  # pixels of 512 by which either face is moved, and ...
    zoom: float = 0.05  # ... the share that it grows or shrinks by: clips frame faces in their own ways
    alike: bool = False  # performers are drawn so that all people count alike, who has many clips or one
    kept: bool = False  # an epoch's samples are drawn once: drawing takes longer than a step
    weights: ConverterWeights = field(default_factory=ConverterWeights)


@dataclass(frozen=True)
class GeneratorRecipe(FreenetRecipe):
    """The second stage; the defaults are those of the published code."""

    epochs: int = 110
    decay_epochs: int = 70  # the last ones, over which the rate falls to zero
    batch_size: int = 3
    rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    converter: bool = True  # False: the ablation, landmarks of others are drawn as they are
    vgg: str = ""  # torchvision's vgg16 weights; without, the structural substitute is used
    published: bool = False  # the triplet as published: margin as a gate, a batch at once, VGG on pictures as they are
    judged: int = 0  # samples of a batch that the triplet is for, which takes two pictures more of each; 0: all
    augmentation: Augmentation | None = None  # how samples are moved and coloured; with it all people count alike
    weights: GeneratorWeights = field(default_factory=GeneratorWeights)


_SMALL = GeneratorRecipe(
    config="freenet-128", start_from="freenet-128-converter", epochs=40, decay_epochs=20, batch_size=4, rate=4e-4
)

# For half an hour of one CPU core, see `infinex/systems/freenet/data/README.md`.
_CPU = TrainerOptions(precision="bf16-mixed", checkpoint_every=400, panel_every=400, ema=0.998)
_FACE_CONVERTER = ConverterRecipe(
    config="freenet-face", epochs=10, step_epochs=7, batch_size=64, looks=60, repeats=40, rate=1e-3,
    betas=(0.9, 0.999), shift=0.0, zoom=0.0, alike=True, kept=True, trainer=replace(_CPU, precision="32-true"),
)  # fmt: skip
_FACE = GeneratorRecipe(
    config="freenet-face", start_from="freenet-face-converter", epochs=2, decay_epochs=0, batch_size=16, looks=60,
    repeats=16, rate=1e-3, betas=(0.9, 0.999), judged=2,
    augmentation=Augmentation(True, 0.2, 0.2, 0.3, 0.03, shift=0.12, zoom=0.15, turn=8.0),
    weights=GeneratorWeights(adversary=0.0, pixels=10.0, steps=20.0, moved=10.0, taught=30.0, triplet=0.1),
    trainer=replace(_CPU, max_steps=200),
)  # fmt: skip

RECIPES: dict[str, ConverterRecipe | GeneratorRecipe] = {
    "freenet-converter": ConverterRecipe(),
    "freenet": GeneratorRecipe(start_from="freenet-converter"),
    "freenet-128-converter": ConverterRecipe(config="freenet-128", epochs=60, step_epochs=20),
    "freenet-128": _SMALL,
    # The ablations of section 4, on small networks.
    "freenet-128-no-triplet": replace(_SMALL, weights=GeneratorWeights(triplet=0.0)),
    "freenet-128-no-converter": replace(_SMALL, start_from="", converter=False),
    "freenet-face-converter": _FACE_CONVERTER,
    "freenet-face": _FACE,
    "freenet-face-no-triplet": replace(_FACE, weights=replace(_FACE.weights, triplet=0.0)),
    "freenet-face-no-converter": replace(_FACE, start_from="", converter=False),
}


class ConverterTask(StoredTask):
    """Somebody's expression on somebody else's landmarks."""

    panel = "expression, the other at rest, as it should be, as converted"
    layout, spare = LAYOUT, ""

    def __init__(self, recipe: ConverterRecipe) -> None:
        self.r, self.config, self.name = recipe, recipe.sizes, recipe.config
        own = networks_of(recipe.sizes)
        self.networks = {n: xavier_(own[n]) for n in ("converter", "pair", "single")}
        self._optimizers = Adams(self.networks, recipe.rate, recipe.betas)

    def schedulers(self) -> dict[str, LRScheduler]:
        """A tenth of the rate every `step_epochs`."""
        return {n: StepLR(o, self.r.step_epochs, 0.1) for n, o in self.optimizers().items()}

    def step(self, batch: dict[str, Tensor], fabric: Fabric) -> dict[str, float]:
        """Update the converter, then both critics; the terms, weighted.

        Raises FloatingPointError, before a network is touched, when a loss is not a number."""
        converter, pair, single = (self.networks[n] for n in ("converter", "pair", "single"))
        expression, neutral, wanted = batch["expression"], batch["neutral"], batch["wanted"]
        made = converter(expression, batch["other_neutral"], neutral)
        back = converter(made, neutral, batch["other_neutral"])
        c = Converted(made, back, converter(expression, neutral, neutral))
        with frozen(pair, single):
            scores = pair(made, batch["other"]), single(made)
            terms = converter_terms(self.r.weights, c, expression, wanted, *scores)
            self.update(["converter"], terms, fabric)
        made, w = made.detach(), self.r.weights
        critics = {
            "critic_pair": critic_halves(
                w.critic_pair, pair(batch["real"], batch["other"]), pair(made, batch["other"])
            ),
            "critic_single": critic_halves(w.critic_single, single(batch["real"]), single(made)),
        }
        self.update(["pair", "single"], critics, fabric)
        return plain(terms | critics)

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """On people held back, in pixels of 512: how far converted landmarks are from what is wanted, how far from it
        are the other's at rest, and the performer's own; all without place and size."""
        made = self.networks["converter"](batch["expression"], batch["other_neutral"], batch["neutral"])
        wanted = centred(batch["wanted"])
        names = {"converted": made, "at_rest": batch["other_neutral"], "as_performed": batch["expression"]}
        return {k: float((centred(v) - wanted).abs().mean()) for k, v in names.items()}

    @torch.no_grad()
    def sample_panel(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """(B·S, 4·S, 3), landmarks as they are drawn."""
        made = self.networks["converter"](batch["expression"], batch["other_neutral"], batch["neutral"])
        sets = (batch["expression"], batch["other_neutral"], batch["wanted"], made)
        return grid([shown(s, self.config) for s in sets])


def centred(points: Tensor) -> Tensor:
    """Landmarks (B, N, 2) about their mean, at a mean distance of 100 from it."""
    x = points.reshape(len(points), -1, 2)
    x = x - x.mean(1, keepdim=True)
    return 100 * x / x.norm(dim=2).mean(1).clamp(min=1e-6)[:, None, None]


def shown(points: Tensor, config: FreenetConfig) -> NDArray[np.uint8]:
    """Landmark pictures (B, S, S, 3)."""
    size = (config.size, config.size)
    return pixels(nn.functional.interpolate(discs(points, config), size=size, mode="nearest"), -1)


class GeneratorTask(StoredTask):
    """A face under landmarks."""

    panel = "face, the same person otherwise, drawn so, the other, their expression on the face"
    layout, spare = LAYOUT, ""

    def __init__(self, recipe: GeneratorRecipe) -> None:
        self.r, self.config, self.name = recipe, recipe.sizes, recipe.config
        own = networks_of(recipe.sizes)
        self.kept = ("converter",) if recipe.converter else ()
        trained = {n: normal_(own[n]) for n in ("generator", "critic") if n != "critic" or recipe.weights.adversary}
        self.networks = {n: own[n] for n in self.kept} | trained
        if self.config.moves:
            own["generator"].to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._optimizers = Adams(trained, recipe.rate, recipe.betas)
        self.keep()
        self.vgg = VGG16.load(recipe.vgg, 3, normalised=not recipe.published) if recipe.vgg else None
        self.structure = StructuralPerceptualLoss()

    def schedulers(self) -> dict[str, LRScheduler]:
        """Constant rates that fall linearly to zero over the last epochs."""
        return falling(self.optimizers(), self.r.epochs, self.r.decay_epochs)

    def origin(self) -> dict[str, str]:
        """See `StoredTask`."""
        return {"converter": "yes" if self.r.converter else "no"}

    def _distances(self, device: torch.device) -> Distances:
        """Levels of the triplet loss, for pictures in -1..1."""
        if self.vgg is not None:
            vgg = self.vgg.to(device)
            return squared_features(vgg if self.r.published else lambda x: vgg((x + 1) / 2))
        structure = self.structure.to(device)
        return lambda a, b: structure((a + 1) / 2, (b + 1) / 2)

    @torch.no_grad()
    def _onto(self, points: Tensor, rest: Tensor, neutral: Tensor) -> Tensor:
        """Landmarks of somebody's expression on the face whose landmarks at rest are `neutral`; theirs are `rest`."""
        if not self.r.converter:
            return points
        made: Tensor = self.networks["converter"](points, neutral, rest)
        return made

    def _drawn(self, image: Tensor, own: Tensor, wanted: Tensor) -> Tensor | Drawn:
        """The face (B, 3, S, S) in -1..1 whose landmarks are `own` under those that are wanted."""
        if self.config.moves:
            made: Drawn = self.networks["generator"](image, own, wanted)
            return made
        face: Tensor = self.networks["generator"](image, discs(wanted, self.config))
        return face

    def step(self, batch: dict[str, Tensor], fabric: Fabric) -> dict[str, float]:
        """Update the critic, then the generator; the terms, weighted.

        Raises FloatingPointError, before a network is touched, when a loss is not a number."""
        w, critic = self.r.weights, self.networks.get("critic")
        a1, a2, b1 = (batch[n] * 2 - 1 for n in ("a1", "a2", "b1"))
        made = self._drawn(a1, batch["a1_points"], batch["a2_points"])
        anchor = image_of(made)
        critics: dict[str, Tensor] = {}
        if critic is not None:
            score = discriminator_adversarial(critic(beside(a1, a2)), critic(beside(a1, anchor.detach())), "bce")
            critics = {"critic": score}
            self.update(["critic"], critics, fabric, 0.5)
        terms = {"pixels": w.pixels * (anchor - a2).abs().mean()}
        if w.steps:
            terms["steps"] = w.steps * steps_apart(anchor, a2)
        if isinstance(made, Drawn):
            terms["moved"] = w.moved * (made.moved - a2).abs().mean()
            terms["taught"] = w.taught * misplaced(made.flow, batch["a1_mesh"], batch["a2_mesh"])
        if w.triplet:
            n = self.r.judged or len(a1)
            whose = batch["a1_points"][:n], batch["b1_points"][:n]
            rests = batch["a_neutral"][:n], batch["b_neutral"][:n]
            same = self._drawn(a1[:n], whose[0], self._onto(batch["b1_points"][:n], rests[1], rests[0]))
            other = self._drawn(b1[:n], whose[1], self._onto(batch["a2_points"][:n], rests[0], rests[1]))
            apart = triplet_distance(
                self._distances(a1.device), anchor[:n], image_of(same), image_of(other), w.margin, self.r.published
            )
            terms["triplet"] = w.triplet * apart
        if critic is None:
            return plain(self.update(["generator"], terms, fabric))
        with frozen(critic):
            terms["gan"] = w.adversary * generator_adversarial(critic(beside(a1, anchor)), "bce")
            self.update(["generator"], terms, fabric)
        return plain(critics | terms)

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """On people held back: mean absolute error of the drawn face and of the face as it was; pictures in 0..1."""
        with evaluating(self.networks["generator"]):
            made = self._drawn(batch["a1"] * 2 - 1, batch["a1_points"], batch["a2_points"])
        out = {
            "l1": float(((image_of(made) + 1) / 2 - batch["a2"]).abs().mean()),
            "l1_static": float((batch["a1"] - batch["a2"]).abs().mean()),
        }
        if isinstance(made, Drawn):
            out["off"] = float(misplaced(made.flow, batch["a1_mesh"], batch["a2_mesh"]))
            still = torch.zeros_like(made.flow)
            out["off_static"] = float(misplaced(still, batch["a1_mesh"], batch["a2_mesh"]))
        return out

    @torch.no_grad()
    def sample_panel(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """(B·S, 5·S, 3), see `panel`."""
        generator = self.networks["generator"]
        with evaluating(generator):
            a1 = batch["a1"] * 2 - 1
            made = image_of(self._drawn(a1, batch["a1_points"], batch["a2_points"]))
            onto = self._onto(batch["b1_points"], batch["b_neutral"], batch["a_neutral"])
            crossed = image_of(self._drawn(a1, batch["a1_points"], onto))
        return grid(
            [pixels(batch["a1"]), pixels(batch["a2"]), pixels(made, -1), pixels(batch["b1"]), pixels(crossed, -1)]
        )


def image_of(made: Tensor | Drawn) -> Tensor:
    """The picture that a generator of either kind made."""
    return made.image if isinstance(made, Drawn) else made


def task(recipe: Any) -> Any:
    """For the trainer."""
    return ConverterTask(recipe) if isinstance(recipe, ConverterRecipe) else GeneratorTask(recipe)


def samples(recipe: Any, folder: str | Path, split: str) -> Samples:
    """Landmarks of two people, or triples of faces. Raises InputError for unusable data."""
    folder, sizes = Path(folder), recipe.sizes
    if isinstance(recipe, ConverterRecipe):
        return Expressions(
            folder, split, sizes, recipe.looks, recipe.repeats, recipe.shift, recipe.zoom, recipe.alike, recipe.kept
        )
    return Triples(folder, split, sizes, recipe.looks, recipe.repeats, recipe.augmentation)
