"""How the refiner's networks are trained: the numbers, the samples, and one step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from infinex.errors import InputError, option
from infinex.systems.refiner import weights
from infinex.systems.refiner.losses import (
    RefinerLossWeights,
    augment,
    flow_error,
    mirrored,
    picture_terms,
    roughness,
    weighted,
)
from infinex.systems.refiner.model import CONFIGS, Refiner, apply
from infinex.systems.refiner.pairs import FLOW, SCALE
from infinex.training.task import Adams, Players, TrainerOptions, evaluating, grid, pixels, plain

IMAGES = 6  # planes of colour: the frame and the source


@dataclass(frozen=True)
class RefinerRecipe:
    """Everything about a training run but the data."""

    config: str = "mouth"  # a key of `CONFIGS`
    start_from: str = ""
    epochs: int = 8
    repeats: int = 2000  # pairs an epoch; people are drawn alike, however long their clips
    batch_size: int = 16
    rate: float = 1.5e-3
    betas: tuple[float, float] = (0.9, 0.99)
    augment: bool = True  # other light and other complexions
    mirror: bool = True  # faces seen in a mirror, too
    stills: float = 8.0  # how often stills are drawn, against the clips of one person: they show many, once each
    weights: RefinerLossWeights = field(default_factory=RefinerLossWeights)
    trainer: TrainerOptions = field(default_factory=lambda: TrainerOptions(ema=0.998, panel_rows=8))


RECIPES = {
    # Whether teeth show is a guess: texture as such counts, not its every edge.
    "refiner-mouth": RefinerRecipe(epochs=14, weights=RefinerLossWeights(edges=0, coarse=8, energy=6)),
    "refiner-eye": RefinerRecipe(config="eye", epochs=24),
    "refiner-head": RefinerRecipe(config="head", epochs=12),
}


class RefinerTask(Players):
    """One network and its training step, for the trainer every system shares."""

    panel = "source, mesh engine alone, refined, truth"
    clip_gradient = 5.0

    def __init__(self, recipe: RefinerRecipe) -> None:
        self.recipe, self.config = recipe, CONFIGS[recipe.config]
        network = Refiner(self.config)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on CPUs
        self.networks: dict[str, nn.Module] = {"refiner": network}
        self._optimizers = Adams(self.networks, recipe.rate, recipe.betas)

    def schedulers(self) -> dict[str, LRScheduler]:
        """A cosine to almost nothing over the epochs."""
        r = self.recipe
        return {n: CosineAnnealingLR(o, r.epochs, 0.02 * r.rate) for n, o in self.optimizers().items()}

    def step(self, batch: dict[str, Tensor], fabric: Any) -> dict[str, float]:
        """Update by `planes` (B, C, S, S), `truth` (B, 3, S, S) and `support` (B, S, S); the terms, weighted.

        Raises FloatingPointError, before the network is touched, when a loss is not a number."""
        if self.recipe.mirror and self.config.mirror:
            batch = mirrored(batch, self.config.mirror, torch.rand(len(batch["planes"])) < 0.5)
        planes, truth, support = batch["planes"], batch["truth"], batch["support"]
        if self.recipe.augment:
            planes, truth = augment(planes, truth, IMAGES)
        planes = planes.contiguous(memory_format=torch.channels_last)
        out = self.networks["refiner"](planes).float()
        terms = picture_terms(apply(out, planes, support), truth, support, self.recipe.weights)
        if self.config.flow:
            terms["calm"] = self.recipe.weights.calm * roughness(out[:, 3:])
            sure = batch["sure"] * support
            terms["flow"] = self.recipe.weights.flow * flow_error(out[:, 3:], batch["flow"], sure)
        return plain(self.update(["refiner"], terms, fabric))

    @torch.no_grad()
    def sample_panel(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """(B·S, 4·S, 3): source, mesh engine alone, refined, truth of every pair."""
        network = self.networks["refiner"]
        planes = batch["planes"]
        with evaluating(network):
            made = apply(network(planes), planes, batch["support"])
        return grid([pixels(c, -1) for c in (planes[:, 3:6], planes[:, :3], made, batch["truth"])])

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """Support-weighted L1 (images in 0..1) of the mesh engine alone and refined."""
        network = self.networks["refiner"]
        with evaluating(network):
            made = apply(network(batch["planes"]).float(), batch["planes"], batch["support"])
        support = batch["support"][:, None]
        frame, truth = batch["planes"][:, :3], batch["truth"]
        return {
            "l1_mesh": float(weighted(frame - truth, support)) / 2,
            "l1": float(weighted(made - truth, support)) / 2,
        }

    def save(self, path: Path) -> None:
        """Write the network as it is to a file of weights."""
        weights.save(self.networks["refiner"], path)

    def load_file(self, path: Path) -> None:
        """Begin with the weights in a file. Raises WeightsError where they do not fit."""
        self.networks["refiner"].load_state_dict(weights.load(path, self.recipe.config).state_dict())


class PairSamples:
    """Pairs of one part, made by `infinex.systems.refiner.pairs`; people are drawn alike."""

    def __init__(self, recipe: RefinerRecipe, folder: Path, split: str) -> None:
        part = CONFIGS[recipe.config].part
        listing = folder / "split.json"
        if not listing.is_file():
            raise InputError(f"{folder} holds no pairs; make them with python -m infinex.systems.refiner.pairs")
        held = set(json.loads(listing.read_text())["held_out"])
        people: dict[str, list[dict[str, NDArray]]] = {}
        for path in sorted(folder.glob(f"*.{part}.npz")):
            who = path.name.split("__")[0]
            if (who in held) == (split == "test"):
                with np.load(path, allow_pickle=False) as data:
                    kind = "still" if who.startswith("still-") else who
                    people.setdefault(kind, []).append({k: data[k] for k in data.files})
        if not people:
            raise InputError(f"{folder} holds no pairs of the {part} for {split}")
        self.people = list(people.values())
        self.chance = np.array([recipe.stills if k == "still" else 1.0 for k in people])
        self.chance /= self.chance.sum()
        self.held = split == "test"
        self.length = 400 if self.held else recipe.repeats

    def __len__(self) -> int:
        return self.length

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """One pair; held-out ones are always the same for an index."""
        rng = np.random.default_rng(index) if self.held else rng
        clips = self.people[int(rng.choice(len(self.people), p=self.chance))]
        clip = clips[int(rng.integers(len(clips)))]
        i = int(rng.integers(len(clip["planes"])))
        return {
            "planes": torch.from_numpy(clip["planes"][i].astype(np.float32) / SCALE),
            "truth": torch.from_numpy(clip["truth"][i].astype(np.float32) / 127.5 - 1),
            "support": torch.from_numpy(clip["support"][i].astype(np.float32) / 255),
            "flow": torch.from_numpy(clip["flow"][i].astype(np.float32) / FLOW),
            "sure": torch.from_numpy(clip["sure"][i].astype(np.float32) / 255),
        }


def task(recipe: RefinerRecipe) -> RefinerTask:
    """For the trainer. Raises InputError for a part that does not exist."""
    if recipe.config not in CONFIGS:
        raise InputError(f"{option('set')} config={recipe.config}: there are {', '.join(CONFIGS)}")
    return RefinerTask(recipe)


def samples(recipe: RefinerRecipe, folder: str | Path, split: str) -> PairSamples:
    """Pairs of a part. Raises InputError where the folder holds none."""
    return PairSamples(recipe, Path(folder), split)


@torch.no_grad()
def held_out_error(network: nn.Module, samples: PairSamples, count: int = 320, batch: int = 16) -> dict[str, float]:
    """Support-weighted L1 (images in 0..1) on held-out pairs: of the mesh engine alone and refined."""
    network.eval()
    sums = {"mesh": 0.0, "refined": 0.0}
    weight = 0.0
    for parts in _batches(samples, count, batch):
        planes, truth, support = parts["planes"], parts["truth"], parts["support"]
        made = apply(network(planes), planes, support)
        for name, image in (("mesh", planes[:, :3]), ("refined", made)):
            sums[name] += float(((image - truth).abs().mean(1) * support).sum()) / 2
        weight += float(support.sum())
    return {k: v / weight for k, v in sums.items()}


def _batches(samples: PairSamples, count: int, batch: int) -> Iterator[dict[str, Tensor]]:
    rng = np.random.default_rng(0)
    for start in range(0, count, batch):
        items = [samples.get(i, rng) for i in range(start, min(start + batch, count))]
        yield {k: torch.stack([item[k] for item in items]) for k in items[0]}


__all__ = ["CONFIGS", "RECIPES", "PairSamples", "RefinerRecipe", "RefinerTask", "held_out_error", "samples", "task"]
