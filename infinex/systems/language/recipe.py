"""How language-guided animation is trained: in W+ with a frozen StyleGAN2 as in the paper, and in Action Units."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from infinex.errors import InputError, WeightsError, option
from infinex.nn.sentence import DEFAULT, PARTS, Pooling, load_encoder, size_of
from infinex.systems.language.losses import LossWeights, contrastive, path_regularisation
from infinex.systems.language.model import MotionText, UnitConfig, UnitMotion
from infinex.systems.language.pairs import CHANNELS, Pairs, captioned, joined, spoken
from infinex.systems.language.stylegan_task import Portraits, StyleganRecipe, StyleganTask
from infinex.systems.language.weights import load_units, save
from infinex.training.task import Adams, Players, TrainerOptions, checked, plain

RIVALS = 64  # sentences at most that one is told from in the contrastive terms


@dataclass(frozen=True)
class UnitRecipe:
    """The recurrent generator in Action Units."""

    recurrence: Literal["residual", "lstm"] = "residual"
    encoder: str = DEFAULT  # sentence encoder, by name or folder
    pooling: Pooling = "ordered"
    pairs: int = 30000  # sentences of the grammar
    chosen_on: bool = False  # keep the phrases of the split "val" from training, to choose settings by
    frames: int = 48
    rate_frames: float = 12.5
    code: int = 256
    hidden: int = 256
    block: int = 8  # frames of one motion code
    width: int = 384
    wide: int = 512
    epochs: int = 11
    batch_size: int = 128
    rate: float = 1.5e-3
    noise: float = 0.01  # on sentences, for the wordings that are not among the pairs
    drop: float = 0.1  # share of a sentence's numbers left out, for the same reason
    velocity: float = 2.0  # weight of the distance between changes: what goes to and fro shows there
    # Shares of equation 12 beside the distance from the true trajectory.
    weights: LossWeights = field(default_factory=lambda: LossWeights(content=0.0, path=0.02, contrast=0.05, lpips=0.0))
    trainer: TrainerOptions = field(
        default_factory=lambda: TrainerOptions(ema=0.995, log_every=20, checkpoint_every=300, panel_every=600)
    )

    @property
    def sizes(self) -> UnitConfig:
        """Sizes of the generator."""
        return UnitConfig(
            PARTS[self.pooling] * size_of(self.encoder), self.code, self.hidden, self.width, CHANNELS, self.frames,
            self.rate_frames, recurrence=self.recurrence, pooling=self.pooling, wide=self.wide, block=self.block,
        )  # fmt: skip


RECIPES: dict[str, UnitRecipe | StyleganRecipe] = {
    "language-stylegan": StyleganRecipe(),
    "language-units": UnitRecipe(),
    "language-units-lstm": UnitRecipe(recurrence="lstm"),
}


class UnitSamples:
    """Sentences as vectors beside their trajectories, kept in memory; noisy ones for training."""

    def __init__(self, pairs: Pairs, vectors: NDArray[np.float32], noise: float = 0.0, drop: float = 0.0) -> None:
        self.pairs, self.vectors, self.noise, self.drop = pairs, vectors, noise, drop
        self.weight = channel_weights(pairs.motion)
        self.share = sentence_weights(pairs.motion, self.weight)

    def __len__(self) -> int:
        return len(self.pairs.texts)

    def get(self, index: int, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        """`sentence` (E), `motion` (T, C), the number of the phrase and the weights of its channels (C)."""
        vector = self.vectors[index]
        if self.noise:
            vector = vector + rng.normal(0, self.noise, vector.shape).astype(np.float32)
        if self.drop:
            vector = vector * (rng.random(vector.shape) >= self.drop).astype(np.float32) / np.float32(1 - self.drop)
        return {
            "sentence": vector,
            "motion": self.pairs.motion[index],
            "group": np.array(self.pairs.group[index]),
            "weight": self.weight * self.share[index],
        }


def channel_weights(motion: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights (C) of the channels of trajectories (N, T, C) in their distance: more for those that move seldom.

    By the inverse of a channel's deviation, at most 12, and so that the distance of a still face stays what it was."""
    power = np.square(motion, dtype=np.float64).mean((0, 1))
    mean = power.mean()
    if not mean:
        return np.ones(motion.shape[2], np.float32)
    weight = np.sqrt(mean / (power + 0.02 * mean))
    return np.minimum(weight * power.sum() / (weight * power).sum(), 12).astype(np.float32)


def sentence_weights(motion: NDArray[np.float32], channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights (N) of trajectories (N, T, C) in the distance: more for the short and small, at most 15.

    A wink is a tenth of an expression that is held; by its own size it would not be learned beside it."""
    power = (np.square(motion) * channels).sum(2).mean(1)
    mean = power.mean()
    if not mean:
        return np.ones(len(motion), np.float32)
    weight = (mean / (power + 0.03 * mean)) ** 0.75
    return np.minimum(weight * mean / (weight * power).mean(), 15).astype(np.float32)


def pairs_for(recipe: UnitRecipe, folder: str | Path | None, split: str) -> Pairs:
    """The grammar's pairs of a split and, for training, those of the performances in `folder`."""
    if split != "train":
        return spoken("val" if recipe.chosen_on else split, 600, recipe.frames, recipe.rate_frames)
    made = [spoken("train", recipe.pairs, recipe.frames, recipe.rate_frames)]
    if not recipe.chosen_on:
        made.append(spoken("val", recipe.pairs // 5, recipe.frames, recipe.rate_frames))
    if folder is not None:
        clips = captioned(folder, recipe.frames, recipe.rate_frames)
        if clips.texts:
            made.append(clips)
    return joined(made)


def samples(recipe: UnitRecipe | StyleganRecipe, folder: Any, split: str) -> UnitSamples | Portraits:
    """Training samples; in Action Units `folder` holds performances (`infinex track CLIP -o CLIP.motion.npz`) or
    none, in W+ pictures."""
    if isinstance(recipe, StyleganRecipe):
        from infinex.nn.stylegan2 import load_stylegan2

        if not recipe.generator:
            raise InputError(f"training in W+ needs a StyleGAN2: {option('set')} generator=FILE")
        return Portraits(recipe, folder, load_stylegan2(recipe.generator).config.size)
    pairs = pairs_for(recipe, folder, split)
    vectors = load_encoder(recipe.encoder)(pairs.texts, pooling=recipe.pooling)
    noisy = split == "train"
    return UnitSamples(pairs, vectors, recipe.noise * noisy, recipe.drop * noisy)


class UnitTask(Players):
    """One training step of `UnitMotion` with the matching network that stands where CLIP stands in the paper.

    The matching network learns from true pairs only; the generator is drawn by it towards what sets its
    sentence apart from the others of the batch (equation 11), towards the true trajectory, and towards steps
    that change little (equation 10). Channels that move seldom weigh more, and so do changes: without that a
    wink is not worth its trouble, and a nod averages out."""

    panel = "trajectories in Action Units, truth over result: time to the right, channels downwards"

    def __init__(self, recipe: UnitRecipe) -> None:
        self.recipe = recipe
        self.config = recipe.sizes
        self.networks: dict[str, nn.Module] = {
            "motion": UnitMotion(self.config),
            "match": MotionText(len(self.config.channels), self.config.sentence),
        }
        self._optimizers = Adams(self.networks, recipe.rate)

    def schedulers(self) -> dict[str, LRScheduler]:
        """Rates fall to a hundredth along a cosine."""
        return {
            n: CosineAnnealingLR(o, self.recipe.epochs, self.recipe.rate / 100) for n, o in self.optimizers().items()
        }

    def step(self, batch: dict[str, Tensor], fabric: Any) -> dict[str, float]:
        """One update of both networks by `sentence` (B, E) and `motion` (B, T, C)."""
        motion, match = self.networks["motion"], self.networks["match"]
        sentence, truth = batch["sentence"], batch["motion"]
        w = self.recipe.weights
        # The same phrase twice in a batch would be its own rival.
        kept = _first_of_each(batch["group"])[:RIVALS]
        matched = contrastive(match(truth[kept], "motion"), match(sentence[kept], "text")) / len(kept)
        made = motion(sentence)
        apart = (made.float() - truth) * batch["weight"].sqrt()[:, None]
        distance = apart.square().sum(2).mean()
        change = (apart[:, 1:] - apart[:, :-1]).square().sum(2).mean()
        path = path_regularisation(made.float()) / (made.shape[0] * made.shape[1])
        rivals = contrastive(match(made[kept], "motion"), match(sentence[kept], "text").detach()) / len(kept)
        terms = {"distance": distance, "velocity": self.recipe.velocity * change, "path": w.path * path,
                 "contrast": w.contrast * rivals, "match": matched}  # fmt: skip
        checked(terms)
        fabric.backward(distance + terms["velocity"] + terms["path"] + terms["contrast"])
        match.zero_grad(set_to_none=True)  # what the generator's pass left there
        fabric.backward(matched)
        nn.utils.clip_grad_norm_(motion.parameters(), 1.0)
        self.advance(self.networks)
        return plain(terms)

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """Distance from the truth, and the same for a face that does not move."""
        motion = self.networks["motion"]
        made, truth = motion(batch["sentence"]).float(), batch["motion"]
        return {"distance": float((made - truth).square().sum(2).mean()), "still": float(truth.square().sum(2).mean()),
                **reached(made.cpu().numpy(), truth.cpu().numpy())}  # fmt: skip

    @torch.no_grad()
    def sample_panel(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """Trajectories as grey maps, truth over result: time to the right, channels downwards."""
        made = self.networks["motion"](batch["sentence"])
        rows = []
        for pair in zip(batch["motion"][:6], made[:6]):
            maps = [(m.T.clamp(-1, 1) * 127 + 128).byte().cpu().numpy() for m in pair]
            rows.append(np.concatenate(maps, 1))
        grey = np.concatenate(rows).repeat(3, 0).repeat(3, 1)
        return np.stack([grey] * 3, -1)

    def save(self, path: str | Path) -> None:
        """The generator, in 16 bits, and beside it the matching network."""
        motion = self.networks["motion"]
        save(path, motion, self.config, half=True)

    def load_file(self, path: str | Path) -> None:
        """Begin with a generator saved before."""
        weights = load_units(path)
        try:
            self.networks["motion"].load_state_dict(weights.model.state_dict())
        except RuntimeError:
            raise WeightsError(f"{path} is of other sizes than this recipe") from None


def reached(made: NDArray[np.floating], truth: NDArray[np.floating]) -> dict[str, float]:
    """What is shown of what is asked for, by the peaks of channels of (N, T, C).

    `shown`: of channels that should go beyond 0.3, the share that go half as far; `stray`: of channels that should
    keep still (below 0.03), the share that go beyond 0.15."""
    far, peak = np.abs(truth).max(1), np.abs(made).max(1)
    asked, calm = far > 0.3, far < 0.03
    return {"shown": float((peak > far / 2)[asked].mean()) if asked.any() else 0.0,
            "stray": float((peak > 0.15)[calm].mean()) if calm.any() else 0.0}  # fmt: skip


def _first_of_each(group: Tensor) -> Tensor:
    seen: dict[int, int] = {}
    for i, g in enumerate(group.tolist()):
        seen.setdefault(g, i)
    return torch.tensor(sorted(seen.values()), device=group.device)


def task(recipe: UnitRecipe | StyleganRecipe) -> UnitTask | StyleganTask:
    """The training task of a recipe."""
    if isinstance(recipe, StyleganRecipe):
        return StyleganTask(recipe)
    return UnitTask(recipe)
