"""How MarioNETte is trained: the numbers, the samples, and one step of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infinex.errors import InputError, option
from infinex.face.drawn import coloured
from infinex.face.topology import SURFACE
from infinex.nn.losses import StructuralPerceptualLoss, feature_matching, pixels_apart
from infinex.nn.vgg import VGG19
from infinex.systems.marionette.losses import (
    RAW_FACES,
    RAW_OBJECTS,
    Hinge,
    LossWeights,
    critic_hinge,
    face_recogniser,
    flows_apart,
    generator_hinge,
    near_lines,
    perceptual,
)
from infinex.systems.marionette.model import Drawn, MarionetteConfig
from infinex.systems.marionette.weights import LAYOUT, networks_of
from infinex.training.several import Colours, SeveralFrames
from infinex.training.stored import StoredTask, sizes_of
from infinex.training.task import Adams, Fabric, TrainerOptions, evaluating, frozen, grid, pixels, plain

LINE = 2 / 128  # thickness of what is drawn, of the picture's side


@dataclass(frozen=True)
class MarionetteRecipe:
    """Everything about a training run but the data; rates, weights and pictures are those of the paper.

    The ablations: `attend=false` without attention, `align=false` without target feature alignment. What the landmark
    transformer gives is seen at work: `--proportions plain`."""

    config: str = "marionette-128"  # sizes of the networks, a key of `CONFIGS`
    start_from: str = ""  # weights training begins with
    epochs: int = 100
    repeats: int = 75  # samples drawn of every clip in an epoch
    batch_size: int = 4
    pictures: int = 4  # of the target beside each frame to be drawn
    looks: int = 60  # frames of a clip that are tracked
    milestones: tuple[int, ...] = ()  # epochs after which the rates drop to a tenth
    rate_generator: float = 5e-5
    rate_critic: float = 2e-4
    clip_gradient: float = 1.0  # largest norm of a network's gradient
    adversary: Hinge = "hinge"  # or published, with which the critic never learns
    people: int = 8192  # whom the critic can tell apart; 0: no projection, as published
    attend: bool = True
    align: bool = True
    raw: bool = False  # as published: features of two layers before they are rectified, of pictures not normalised
    vgg: str = ""  # torchvision's vgg19 weights; without, the structural substitute is used
    vgg_face: str = ""  # a VGG-16 that knows faces; without, no such term
    colours: Colours = field(default_factory=Colours)
    weights: LossWeights = field(default_factory=LossWeights)
    trainer: TrainerOptions = field(default_factory=TrainerOptions)

    @property
    def sizes(self) -> MarionetteConfig:
        """Sizes of the networks, with what the recipe changes in them. Raises InputError for an unknown name."""
        return replace(sizes_of(LAYOUT, self.config), identities=self.people, attend=self.attend, align=self.align)


# For a processor; rates and widths are ours.
_SMALL = MarionetteRecipe(
    config="marionette-small", epochs=40, repeats=20, batch_size=4, pictures=2, people=64, rate_generator=4e-4,
    rate_critic=4e-4, weights=LossWeights(adversarial=0.1, objects=5.0, feature_matching=1.0, pixels=10.0),
    trainer=TrainerOptions(checkpoint_every=200, panel_every=200, ema=0.995),
)  # fmt: skip

# For half an hour of one CPU core, too little to find flows from pictures alone: the face tracker says what they are,
# and there is no adversary.
_FACE = MarionetteRecipe(
    config="marionette-face", epochs=14, repeats=5, batch_size=8, pictures=1, people=0, milestones=(12,),
    rate_generator=1e-3, clip_gradient=5.0,
    colours=Colours(True, 0.2, 0.2, 0.3, 0.03, shift=0.15, zoom=0.2, turn=12.0, apart=0.5),
    weights=LossWeights(adversarial=0, objects=0, feature_matching=0, pixels=10.0, edges=10.0, lines=3.0, taught=10.0),
    trainer=TrainerOptions(precision="bf16-mixed", checkpoint_every=100, panel_every=100, ema=0.995),
)  # fmt: skip

RECIPES: dict[str, MarionetteRecipe] = {
    "marionette-face": _FACE,
    "marionette-face-no-attention": replace(_FACE, attend=False),
    "marionette-face-no-alignment": replace(_FACE, align=False),
    "marionette": MarionetteRecipe(config="marionette"),
    "marionette-128": MarionetteRecipe(),
    "marionette-small": _SMALL,
    # What the paper argues by.
    "marionette-small-no-attention": replace(_SMALL, attend=False),
    "marionette-small-no-alignment": replace(_SMALL, align=False),
    # To see that everything works: seconds a step on anything.
    "marionette-tiny": replace(_SMALL, config="marionette-tiny", epochs=4),
}


def outline(points: NDArray[np.floating], size: int) -> NDArray[np.uint8]:
    """What the networks see of landmarks (478, 3) in pixels of a picture of `size`: (size, size, 3)."""
    return coloured(points, size, thickness=LINE * size)


class TargetSamples:
    """A frame to be drawn and pictures of the same person; see `infinex.training.data.Samples`.

    `image` and `outline` (3, S, S), `images` and `outlines` (K, 3, S, S) in 0..1, `who` () the person's number, and the
    tracked `surface` (468, 2) and `surfaces` (K, 468, 2), x and y in -1..1."""

    def __init__(self, recipe: MarionetteRecipe, folder: str | Path, split: str) -> None:
        train = split == "train"
        self.recipe, self.size, self.train = recipe, recipe.sizes.size, train
        self.frames = SeveralFrames(folder, split, self.size, recipe.colours if train else None, recipe.looks)
        if recipe.people and len(self.frames.people) > recipe.people:
            raise InputError(
                f"{folder} shows {len(self.frames.people)} people; raise {option('set')} people={recipe.people}"
            )

    def __len__(self) -> int:
        return len(self.frames) * (self.recipe.repeats if self.train else 1)

    def get(self, index: int, rng: np.random.Generator) -> dict[str, NDArray]:
        """See `Samples`; held-back clips come in their order."""
        clip = index % len(self.frames)
        if self.train:
            clip = self.frames.clip(rng)
        seen = self.frames.some(clip, 1 + self.recipe.pictures, rng)
        drawn = [outline(p, self.size).transpose(2, 0, 1).astype(np.float32) / 255 for p in seen.landmarks]
        surfaces = (seen.landmarks[:, :SURFACE, :2] * 2 / (self.size - 1) - 1).astype(np.float32)
        return {
            "image": seen.images[0], "outline": drawn[0],
            "images": np.stack(seen.images[1:]), "outlines": np.stack(drawn[1:]), "who": np.array(seen.who),
            "surface": surfaces[0], "surfaces": surfaces[1:],
        }  # fmt: skip


def samples(recipe: MarionetteRecipe, folder: str | Path, split: str) -> TargetSamples:
    """The samples of a recipe. Raises InputError for unusable data."""
    _check(recipe)
    return TargetSamples(recipe, folder, split)


def task(recipe: MarionetteRecipe) -> MarionetteTask:
    """The networks of a recipe. Raises InputError for sizes that do not exist."""
    _check(recipe)
    return MarionetteTask(recipe)


def _check(recipe: MarionetteRecipe) -> None:
    if recipe.pictures < 1:
        raise InputError(f"{option('set')} pictures={recipe.pictures}: it is at least 1")


class MarionetteTask(StoredTask):
    """The networks of a recipe and one training step, for the trainer every system shares."""

    panel = "a picture of the target, the outline wanted, prediction, the true frame"
    layout, spare = LAYOUT, "critic"

    def __init__(self, recipe: MarionetteRecipe) -> None:
        self.recipe, self.config, self.name = recipe, recipe.sizes, recipe.config
        self.clip_gradient, self.milestones = recipe.clip_gradient, recipe.milestones
        self.networks = networks_of(self.config)
        if not recipe.weights.adversarial and not recipe.weights.feature_matching:
            del self.networks["critic"]
        self.objects = VGG19.load(recipe.vgg) if recipe.vgg else None
        self.faces = face_recogniser(recipe.vgg_face) if recipe.vgg_face else None
        for network in (self.objects, self.faces) if recipe.raw else ():
            if network is not None:
                network.mean.zero_()
                network.std.fill_(1.0)
        self.substitute = StructuralPerceptualLoss().requires_grad_(False)
        if recipe.weights.taught:  # the recipes of a processor, which is nearly twice as fast so
            self.networks["generator"].to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        rates = {"generator": recipe.rate_generator, "critic": recipe.rate_critic}
        self._optimizers = Adams(self.networks, rates)

    def _drawn(self, batch: dict[str, Tensor]) -> tuple[Drawn, Tensor]:
        """Predictions, and the flows that aligned the target's maps."""
        made: tuple[Drawn, Tensor] = self.networks["generator"](
            _wide(batch["outline"]), _wide(batch["images"]), _wide(batch["outlines"])
        )
        return made

    def step(self, batch: dict[str, Tensor], fabric: Fabric) -> dict[str, float]:
        """Update the critic, then the generator; the terms, weighted. `batch` is of `TargetSamples`.

        Raises FloatingPointError, before a network is touched, when a loss is not a number."""
        drawn, aligned = self._drawn(batch)
        made, real, lines = drawn.image, _wide(batch["image"]), _wide(batch["outline"])
        critic, who = self.networks.get("critic"), batch["who"] if self.recipe.people else None
        out: dict[str, float] = {}
        if critic is not None:
            loss = critic_hinge(
                critic(real, lines, who).score, critic(made.detach(), lines, who).score, self.recipe.adversary
            )
            if loss.requires_grad:  # the published one hands nothing on
                self.update(["critic"], {"critic": loss}, fabric)
            out["critic"] = float(loss.detach())
        terms = self._generator_terms(made, real, lines, who)
        if self.recipe.weights.taught and drawn.flows:
            wanted, own = batch["surface"], batch["surfaces"].flatten(0, 1)
            apart = flows_apart(aligned.flatten(0, 1), drawn.flows, own, wanted)
            terms["taught"] = self.recipe.weights.taught * apart
        return out | plain(self.update(["generator"], terms, fabric))

    def _generator_terms(self, made: Tensor, real: Tensor, lines: Tensor, who: Tensor | None) -> dict[str, Tensor]:
        w, terms = self.recipe.weights, self._looks(made, real, lines)
        critic = self.networks.get("critic")
        if critic is not None:
            with frozen(critic), evaluating(critic):  # evaluating, as published: its singular vectors stay
                fake = critic(made, lines, who)
                if w.adversarial:
                    terms["generator_gan"] = w.adversarial * generator_hinge(fake.score)
                if w.feature_matching:
                    with torch.no_grad():
                        true = critic(real, lines, who)
                    matched = torch.stack(feature_matching(true.features, fake.features)).sum()
                    terms["feature_matching"] = w.feature_matching * matched
        return terms

    def _looks(self, made: Tensor, real: Tensor, lines: Tensor) -> dict[str, Tensor]:
        """The terms that compare pictures (B, 3, S, S) in -1..1, with their outlines."""
        w, terms = self.recipe.weights, {}
        a, b = (made + 1) / 2, (real + 1) / 2
        seen = (made, real) if self.recipe.raw else (a, b)
        if w.objects:
            if self.objects is None:
                total = torch.stack(self.substitute.to(a.device)(a, b)).sum()
            else:
                total = perceptual(self.objects.to(a.device), *seen, RAW_OBJECTS if self.recipe.raw else ())
            terms["objects"] = w.objects * total
        if w.faces and self.faces is not None:
            term = perceptual(self.faces.to(a.device), *seen, RAW_FACES if self.recipe.raw else ())
            terms["faces"] = w.faces * term
        if w.pixels or w.edges:
            pixels, edges = pixels_apart(a, b, 1 + w.lines * near_lines((lines + 1) / 2))
            terms["pixels"] = w.pixels * pixels
            if w.edges:
                terms["edges"] = w.edges * edges
        return terms

    def origin(self) -> dict[str, str]:
        """Flows that a tracker taught lead all the way into the target's picture, so that its pixels can be moved."""
        return {"taught": "frontal"} if self.recipe.weights.taught and self.recipe.align else {}

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """Mean absolute error of the predictions, and of the target's first picture left as it is; pictures in 0..1."""
        with evaluating(self.networks["generator"]):
            made = (self._drawn(batch)[0].image + 1) / 2
        return {
            "l1": float((made - batch["image"]).abs().mean()),
            "l1_static": float((batch["images"][:, 0] - batch["image"]).abs().mean()),
        }

    @torch.no_grad()
    def sample_panel(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """(B·H, 4·W, 3), see `panel`."""
        with evaluating(self.networks["generator"]):
            made = self._drawn(batch)[0].image
        return grid([
            pixels(batch["images"][:, 0]), pixels(batch["outline"]), pixels(made, -1), pixels(batch["image"]),
        ])  # fmt: skip


def _wide(x: Tensor) -> Tensor:
    """From 0..1 to -1..1."""
    return x * 2 - 1
