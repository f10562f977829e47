"""Training ReenactGAN in its three stages: boundaries of anybody, a decoder for one person, a transformer to them.

`reenactgan-boundary` teaches the boundary network what the tracked mesh draws, and the alignment network to read
landmarks off boundaries; the authors' own were trained on labelled photographs. `reenactgan-decoder` and
`reenactgan-transformer` begin with the result of the stage before and keep it as it is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import LRScheduler

from infinex.errors import InputError, WeightsError, option
from infinex.nn.discriminators import PixelPatches
from infinex.nn.layers import normal_
from infinex.nn.losses import StructuralPerceptualLoss, discriminator_adversarial, generator_adversarial
from infinex.nn.vgg import VGG16
from infinex.systems.reenactgan.augment import Augmentation
from infinex.systems.reenactgan.losses import (
    Crossed,
    DecoderWeights,
    TransformerWeights,
    beside,
    critic_terms,
    edges,
    transformer_terms,
    vgg_distance,
)
from infinex.systems.reenactgan.model import ReenactganConfig, Transformer, as_evaluated, networks_of
from infinex.systems.reenactgan.samples import AnybodysFaces, FacesBesideOthers, OnesFaces
from infinex.systems.reenactgan.weights import LAYOUT, ReenactganWeights
from infinex.training.data import Samples
from infinex.training.stored import StoredTask, sizes_of
from infinex.training.task import Adams, Fabric, TrainerOptions, falling, frozen, grid, pixels, plain

Maps = Literal["network", "mesh"]


@dataclass(frozen=True)
class ReenactganRecipe:
    """What all stages have in common."""

    config: str = "reenactgan-256"  # sizes of the networks, a key of `CONFIGS`
    start_from: str = ""
    epochs: int = 150
    batch_size: int = 16
    repeats: int = 1
    looks: int = 400  # frames of a clip that are used at most
    trainer: TrainerOptions = field(default_factory=TrainerOptions)
    augmentation: Augmentation = field(default_factory=Augmentation)

    @property
    def sizes(self) -> ReenactganConfig:
        """Sizes of the networks. Raises InputError for a name that is not known."""
        sizes: ReenactganConfig = sizes_of(LAYOUT, self.config)
        return sizes


@dataclass(frozen=True)
class BoundaryRecipe(ReenactganRecipe):
    """The first stage; its rates and weights are ours."""

    rate: float = 2.5e-4
    align_rate: float = 1e-3
    align_steps: int = 1  # updates of the alignment network, which is small, for one of the boundary network


@dataclass(frozen=True)
class DecoderRecipe(ReenactganRecipe):
    """The second stage, for one person; the defaults are published."""

    person: str = ""  # as the data's manifest names them
    decay_epochs: int = 50  # the last ones, over which the rate falls
    rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    critic_width: int = 64
    vgg: str = ""  # torchvision's vgg16 weights; without, the structural substitute is used
    maps: Maps = "network"  # mesh: boundaries are drawn from the tracked mesh, here and by the engine
    published: bool = False  # frozen networks by the statistics of the batch, and the critic sees maps cut at 0
    weights: DecoderWeights = field(default_factory=DecoderWeights)


@dataclass(frozen=True)
class TransformerRecipe(ReenactganRecipe):
    """The third stage, towards the same person; the defaults are published."""

    batch_size: int = 4
    person: str = ""
    sources: int = 4  # people that boundaries come from
    rate: float = 5e-5
    critic_rate: float = 2.5e-5
    critic_decay: float = 1e-4  # of the critics' weights
    betas: tuple[float, float] = (0.5, 0.999)
    critic_width: int = 64
    maps: Maps = "network"
    published: bool = False  # frozen networks by the statistics of the batch
    weights: TransformerWeights = field(default_factory=TransformerWeights)
    trainer: TrainerOptions = field(default_factory=lambda: TrainerOptions(max_steps=500_000, checkpoint_every=2000))


_SMALL: dict[str, Any] = {"config": "reenactgan-128", "batch_size": 8, "looks": 120}
_TRANSFORMER = TransformerRecipe(
    config="reenactgan-128", start_from="reenactgan-128-decoder", batch_size=4, looks=120, rate=2e-4, critic_rate=1e-4,
    critic_width=24, trainer=TrainerOptions(max_steps=6000),
)  # fmt: skip

# For some minutes of one CPU core each: boundaries are drawn from the mesh, and no critic of pictures is in the way.
# One person is not mirrored: boundaries hardly tell which way they are seen, and a mean of both would be drawn.
# Landmarks are read in full precision: in bfloat16 they are a sixteenth of a pixel apart, or no numbers at all.
_CPU = TrainerOptions(precision="bf16-mixed", checkpoint_every=400, panel_every=400, ema=0.99)
_FACE: dict[str, Any] = {"config": "reenactgan-face", "looks": 60}
_ONE = _FACE | {"batch_size": 8, "epochs": 1000, "maps": "mesh", "augmentation": Augmentation(mirror=False)}
_FACE_DECODER = DecoderRecipe(
    **(_ONE | {"looks": 200}), start_from="reenactgan-face-boundary", decay_epochs=0, rate=2e-3, betas=(0.9, 0.999),
    critic_width=16, weights=DecoderWeights(features=0.0, adversary=0.0), trainer=replace(_CPU, max_steps=2000),
)  # fmt: skip
_FACE_TRANSFORMER = TransformerRecipe(
    **_ONE, start_from="reenactgan-face-decoder", rate=1e-3, critic_rate=2e-4, critic_width=16, sources=2,
    weights=TransformerWeights(shape=0.1), trainer=replace(_CPU, max_steps=400, precision="32-true"),
)  # fmt: skip

RECIPES: dict[str, ReenactganRecipe] = {
    "reenactgan-boundary": BoundaryRecipe(),
    "reenactgan-decoder": DecoderRecipe(start_from="reenactgan-boundary"),
    "reenactgan-transformer": TransformerRecipe(start_from="reenactgan-decoder"),
    "reenactgan-128-boundary": BoundaryRecipe(**_SMALL, epochs=20, repeats=30, rate=1e-3),
    "reenactgan-128-decoder": DecoderRecipe(
        **_SMALL, start_from="reenactgan-128-boundary", epochs=120, decay_epochs=40, critic_width=24, rate=4e-4
    ),
    "reenactgan-128-transformer": _TRANSFORMER,
    # The ablation of section 4.3, on small networks.
    "reenactgan-128-no-shape": replace(_TRANSFORMER, weights=TransformerWeights(shape=0.0)),
    "reenactgan-face-boundary": BoundaryRecipe(
        **_FACE, epochs=20, repeats=20, rate=1e-3, align_steps=8,
        trainer=replace(_CPU, max_steps=400, precision="32-true", ema=0.9),  # what takes many steps is not averaged far
    ),
    "reenactgan-face-decoder": _FACE_DECODER,
    "reenactgan-face-transformer": _FACE_TRANSFORMER,
    "reenactgan-face-no-shape": replace(_FACE_TRANSFORMER, weights=TransformerWeights(shape=0.0)),
}  # fmt: skip


class _Stage(StoredTask):
    """What the tasks of the three stages share: networks that stay as they are, and who the file is of."""

    panel = ""
    layout, spare = LAYOUT, ""

    def __init__(self, recipe: ReenactganRecipe, trained: dict[str, nn.Module], kept: tuple[str, ...]) -> None:
        """`trained` networks learn, those of a person named in `kept` are carried along as they are."""
        self.recipe, self.config, self.name = recipe, recipe.sizes, recipe.config
        own = networks_of(self.config)
        self.networks, self.kept = {n: own[n] for n in kept} | trained, kept
        self.kept_training = bool(getattr(recipe, "published", False))
        self._origin: dict[str, str] = {}
        self.keep()

    @torch.no_grad()
    def _maps(self, images: Tensor, given: Tensor | None) -> Tensor:
        """Boundaries of faces (B, 3, S, S) in 0..1: those that were drawn, where the recipe wants these."""
        if given is not None and getattr(self.recipe, "maps", "network") == "mesh":
            return given
        maps: Tensor = self.networks["boundary"](images * 2 - 1)[-1]
        return maps

    def _shown(self, maps: Tensor) -> NDArray[np.uint8]:
        size = self.config.size
        return pixels(F.interpolate(maps.clamp(0, 1).amax(1, keepdim=True), size=(size, size), mode="nearest"))

    def stored(self) -> list[str]:
        """The networks of the person; no critics."""
        return ["boundary", "align", "pca", "transformer", "decoder"]

    def origin(self) -> dict[str, str]:
        """Who it is, and what their boundaries were."""
        return self._origin | {k: v for k in ("person", "maps") if (v := getattr(self.recipe, k, ""))}

    def begin(self, weights: ReenactganWeights, what: str = "the weights") -> None:
        """Begin with the stage before. Raises WeightsError where it does not fit, or is of another person or maps."""
        if weights.config != self.config:
            raise WeightsError(f"{what} has networks of other sizes than {self.name}")
        if "decoder" in self.kept:
            for key in ("person", "maps"):
                taught, wanted = weights.origin.get(key, ""), getattr(self.recipe, key, "")
                if taught and taught != wanted:
                    whose = f"the decoder of {taught}" if key == "person" else f"a decoder taught with {key}={taught}"
                    raise WeightsError(f"{what} has {whose}: go on by {option('set')} {key}={taught}")
        super().begin(weights, what)
        self._origin = weights.origin


class Tally(nn.Module):
    """Sums over all landmarks seen so far, of which the principal components are found."""

    count: Tensor
    total: Tensor
    products: Tensor

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("total", torch.zeros(numbers, dtype=torch.float64))
        self.register_buffer("products", torch.zeros(numbers, numbers, dtype=torch.float64))

    @torch.no_grad()
    def forward(self, points: Tensor) -> None:
        """Add landmarks (B, numbers)."""
        x = points.double()
        self.count += len(x)
        self.total += x.sum(0)
        self.products += x.T @ x

    def axes(self) -> tuple[Tensor, Tensor]:
        """The mean (numbers,) and the axes (numbers, numbers) as rows, the strongest first."""
        n = self.count.clamp(min=1)
        mean = self.total / n
        _, vectors = torch.linalg.eigh(self.products / n - torch.outer(mean, mean))
        return mean, vectors.T.flip(0)


def roughened(maps: Tensor) -> Tensor:
    """Maps (B, parts, h, w) as a boundary transformer may make them: paler or a little stronger, with some noise.

    What reads landmarks off clean maps alone is easily led astray, and the shape loss then teaches to do that."""
    strength, noise = (maps.new_empty(len(maps), 1, 1, 1).uniform_(*r) for r in ((0.3, 1.1), (0.0, 0.15)))
    return strength * maps + noise * torch.randn_like(maps)


class BoundaryTask(_Stage):
    """Boundaries as the mesh draws them, off the face; landmarks off the boundaries; the axes in which these vary."""

    panel = "face, boundaries of the tracked mesh, boundaries found"

    def __init__(self, recipe: BoundaryRecipe) -> None:
        own = networks_of(recipe.sizes)
        trained = {n: own[n] for n in ("boundary", "align")}
        super().__init__(recipe, trained | {"tally": Tally(2 * recipe.sizes.points)}, ("pca",))
        self.align_steps = recipe.align_steps
        self._optimizers = Adams(trained, {"boundary": recipe.rate, "align": recipe.align_rate})

    def step(self, batch: dict[str, Tensor], fabric: Fabric) -> dict[str, float]:
        """Squared error of every hourglass's maps, a thousandfold; mean distance of landmarks in pixels of the maps,
        read off drawn boundaries, made rough, and off found ones."""
        found = self.networks["boundary"](batch["image"] * 2 - 1)
        terms = {"maps": 1000 * torch.stack([F.mse_loss(f, batch["maps"]) for f in found]).sum()}
        self.update(["boundary"], terms, fabric)
        points = batch["points"]
        self.networks["tally"](points)
        align = self.networks["align"]
        for _ in range(self.align_steps):
            terms["landmarks_drawn"] = (align(roughened(batch["maps"])) - points).abs().mean()
            terms["landmarks_found"] = (align(found[-1].detach()) - points).abs().mean()
            self.update(["align"], {k: v for k, v in terms.items() if k != "maps"}, fabric)
        return plain(terms)

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """On people held back: squared error of the maps beside that of empty ones, and landmarks in map pixels."""
        with as_evaluated(self.networks, "right"):
            found = self.networks["boundary"](batch["image"] * 2 - 1)[-1]
            read_off = self.networks["align"](found)
        return {
            "maps": float(F.mse_loss(found, batch["maps"])),
            "maps_empty": float(batch["maps"].square().mean()),
            "landmarks": float((read_off - batch["points"]).abs().mean()),
        }

    @torch.no_grad()
    def sample_panel(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """(B·S, 3·S, 3): face, drawn and found boundaries."""
        with as_evaluated(self.networks, "right"):
            found = self.networks["boundary"](batch["image"] * 2 - 1)[-1]
        return grid([pixels(batch["image"]), self._shown(batch["maps"]), self._shown(found)])

    @torch.no_grad()
    def save(self, path: Path) -> None:
        """See `_Stage.save`; the components are those of all landmarks seen so far."""
        tally: Any = self.networks["tally"]
        mean, axes = getattr(tally, "module", tally).axes()
        line = next(m for m in self.networks["pca"].modules() if isinstance(m, nn.Linear))
        line.weight.copy_(axes)
        line.bias.copy_(-(axes @ mean))
        super().save(path)


class DecoderTask(_Stage):
    """A person's face from its boundaries."""

    panel = "face, its boundaries, face drawn from them"

    def __init__(self, recipe: DecoderRecipe) -> None:
        self.r = recipe
        sizes = recipe.sizes
        decoder = normal_(networks_of(sizes)["decoder"])
        critic = normal_(PixelPatches(sizes.parts + 3, recipe.critic_width))
        super().__init__(recipe, {"decoder": decoder, "critic": critic}, ("boundary", "align", "pca"))
        trained = {n: self.networks[n] for n in ("decoder", "critic")}
        self._optimizers = Adams(trained, recipe.rate, recipe.betas)
        self.vgg = VGG16.load(recipe.vgg, 3) if recipe.vgg else None
        self.structure = StructuralPerceptualLoss()

    def schedulers(self) -> dict[str, LRScheduler]:
        """Constant rates, then a line that reaches zero in the last epoch."""
        return falling(self.optimizers(), self.r.epochs, self.r.decay_epochs, ahead=1)

    def _likeness(self, made: Tensor, image: Tensor) -> Tensor:
        """Of pictures in -1..1: by VGG-16, or the mean of the levels of what stands in for it."""
        if self.vgg is not None:
            self.vgg.to(made.device)
            return vgg_distance(self.vgg, made, image)
        self.structure.to(made.device)
        return torch.stack(self.structure((made + 1) / 2, (image + 1) / 2)).mean()

    def step(self, batch: dict[str, Tensor], fabric: Fabric) -> dict[str, float]:
        """Update the critic, then the decoder; the terms, weighted.

        Raises FloatingPointError, before a network is touched, when a loss is not a number."""
        image = batch["image"] * 2 - 1
        maps = self._maps(batch["image"], batch.get("maps"))
        made = self.networks["decoder"](maps)
        critic, w, clip = self.networks["critic"], self.r.weights, self.r.published
        terms: dict[str, Tensor] = {}
        if w.adversary:
            real, fake = critic(beside(maps, image, clip)), critic(beside(maps, made.detach(), clip))
            terms["critic"] = discriminator_adversarial(real, fake, "bce")
            self.update(["critic"], terms, fabric, 0.5)
        own = {"pixels": w.pixels * (made - image).abs().mean()}
        if w.features:
            own["features"] = w.features * self._likeness(made, image)
        with frozen(critic):
            if w.adversary:
                own["gan"] = w.adversary * generator_adversarial(critic(beside(maps, made, clip)), "bce")
            self.update(["decoder"], own, fabric)
        return plain(terms | own)

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """On frames held back: mean absolute error, pictures in 0..1, of the drawn face and of the mean picture."""
        with as_evaluated(self.networks, "right"):
            made = (self.networks["decoder"](self._maps(batch["image"], batch.get("maps"))) + 1) / 2
        mean = batch["image"].mean(0, keepdim=True)
        return {
            "l1": float((made - batch["image"]).abs().mean()),
            "l1_mean": float((mean - batch["image"]).abs().mean()),
        }

    @torch.no_grad()
    def sample_panel(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """(B·S, 3·S, 3): face, boundaries, drawn face."""
        with as_evaluated(self.networks, "right"):
            maps = self._maps(batch["image"], batch.get("maps"))
            made = self.networks["decoder"](maps)
        return grid([pixels(batch["image"]), self._shown(maps), pixels(made, -1)])


class TransformerTask(_Stage):
    """Anybody's boundaries to the person's, and back to some."""

    panel = "another's face, its boundaries, those of the person, the person's face drawn from them"

    def __init__(self, recipe: TransformerRecipe) -> None:
        self.r = recipe
        sizes, sources = recipe.sizes, range(recipe.sources)
        if recipe.sources < 1:
            raise InputError(f"{option('set')} sources={recipe.sources}: it is at least 1")
        trained = {"transformer": normal_(Transformer(sizes))}
        trained |= {f"back_{i}": normal_(Transformer(sizes)) for i in sources}
        self.makers = list(trained)
        self.critics = ["critic", *(f"critic_{i}" for i in sources)]
        trained |= {n: normal_(PixelPatches(sizes.parts, recipe.critic_width, layers(sizes))) for n in self.critics}
        super().__init__(recipe, trained, ("boundary", "align", "pca", "decoder"))
        self._optimizers = {n: Adam(self.networks[n].parameters(), recipe.rate, recipe.betas) for n in self.makers}
        self._optimizers |= {
            n: Adam(self.networks[n].parameters(), recipe.critic_rate, recipe.betas, weight_decay=recipe.critic_decay)
            for n in self.critics
        }

    def _both(self, batch: dict[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Boundaries of the target, and of every source."""
        others, drawn = batch["others"], batch.get("others_maps")
        own = self._maps(batch["image"], batch.get("maps"))
        return own, [self._maps(others[:, i], None if drawn is None else drawn[:, i]) for i in range(others.shape[1])]

    def step(self, batch: dict[str, Tensor], fabric: Fabric) -> dict[str, float]:
        """Update all critics, then all transformers; the terms, weighted.

        Raises FloatingPointError, before a network is touched, when a loss is not a number."""
        own, others = self._both(batch)
        nets = self.networks
        critics = [nets[n] for n in self.critics]
        crossed = Crossed.over(nets["transformer"], [nets[n] for n in self.makers[1:]], own, others)
        terms = critic_terms(crossed, critics)
        self.update(self.critics, terms, fabric)
        with frozen(*critics):
            made = transformer_terms(self.r.weights, crossed, critics, nets["align"], nets["pca"])
            self.update(self.makers, made, fabric)
        return plain(terms | made)

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """On people held back: how often the target's critic takes made boundaries for more real than the person's
        own, how far the transformer takes them, and how far landmarks of the lips keep their opening (in pixels of
        the maps; the share of the source's own spread is what says something)."""
        with as_evaluated(self.networks, "right"):
            own, others = self._both(batch)
            made = self.networks["transformer"](others[0])
            critic = self.networks["critic"]
            real, fake = critic(edges(own)).mean((1, 2, 3)), critic(edges(made)).mean((1, 2, 3))
            points, kept = (self._opening(m) for m in (others[0], made))
        return {
            "taken_for_real": float((fake > real.mean()).float().mean()),
            "change": float((made - others[0]).abs().mean()),
            "lips_differ": float((points - kept).abs().mean()),
            "lips_vary": float((points - points.mean()).abs().mean()),
        }

    def _opening(self, maps: Tensor) -> Tensor:
        """(B,) gap between the lips in pixels of the maps, by the alignment network."""
        points = self.networks["align"](maps).reshape(len(maps), -1, 2)
        if points.shape[1] != 106:
            return points.new_zeros(len(maps))
        return (points[:, 102, 1] - points[:, 98, 1]).abs()

    @torch.no_grad()
    def sample_panel(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """(B·S, 4·S, 3), see `panel`."""
        with as_evaluated(self.networks, "right"):
            _, others = self._both(batch)
            made = self.networks["transformer"](others[0])
            face = self.networks["decoder"](made)
        return grid([pixels(batch["others"][:, 0]), self._shown(others[0]), self._shown(made), pixels(face, -1)])


def layers(config: ReenactganConfig) -> int:
    """Of a critic of maps: three as published, fewer where the maps would shrink to nothing."""
    return 3 if config.map_size >= 32 else 2


def task(recipe: Any) -> Any:
    """For the trainer."""
    if isinstance(recipe, BoundaryRecipe):
        return BoundaryTask(recipe)
    return DecoderTask(recipe) if isinstance(recipe, DecoderRecipe) else TransformerTask(recipe)


def samples(recipe: Any, folder: str | Path, split: str) -> Samples:
    """Faces with their boundaries, of one person, or of one person beside others. Raises InputError."""
    folder, sizes, a = Path(folder), recipe.sizes, recipe.augmentation
    if isinstance(recipe, BoundaryRecipe):
        return AnybodysFaces(folder, split, sizes, a, recipe.looks, recipe.repeats)
    with_maps = recipe.maps == "mesh"
    if isinstance(recipe, DecoderRecipe):
        return OnesFaces(folder, split, sizes, a, recipe.person, recipe.looks, recipe.repeats, with_maps)
    return FacesBesideOthers(
        folder, split, sizes, a, recipe.person, recipe.sources, recipe.looks, recipe.repeats, with_maps
    )
