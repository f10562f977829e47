"""How language-guided animation is trained: in W+ with a frozen StyleGAN2 as in the paper, and in Action Units."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from infinex.errors import InputError, WeightsError
from infinex.nn.sentence import DEFAULT, load_encoder
from infinex.systems.language.losses import LossWeights, contrastive, path_regularisation
from infinex.systems.language.model import MotionText, UnitConfig, UnitMotion
from infinex.systems.language.pairs import CHANNELS, Pairs, captioned, joined, spoken
from infinex.systems.language.stylegan_task import Portraits, StyleganRecipe, StyleganTask
from infinex.systems.language.weights import load_units, save
from infinex.training.trainer import TrainerOptions


@dataclass(frozen=True)
class UnitRecipe:
    """The recurrent generator in Action Units."""

    recurrence: Literal["residual", "lstm"] = "residual"
    encoder: str = DEFAULT  # sentence encoder, by name or folder
    pairs: int = 5000  # sentences of the grammar
    frames: int = 32
    rate_frames: float = 10.0
    epochs: int = 24
    batch_size: int = 64
    rate: float = 1e-3
    # Shares of equation 12 beside the distance from the true trajectory.
    weights: LossWeights = field(default_factory=lambda: LossWeights(content=0.0, path=0.5, contrast=0.05, lpips=0.0))
    trainer: TrainerOptions = field(
        default_factory=lambda: TrainerOptions(ema=0.995, log_every=20, checkpoint_every=300, panel_every=600)
    )

    @property
    def sizes(self) -> UnitConfig:
        """Sizes of the generator."""
        return UnitConfig(channels=CHANNELS, frames=self.frames, fps=self.rate_frames, recurrence=self.recurrence)


RECIPES: dict[str, UnitRecipe | StyleganRecipe] = {
    "language-stylegan": StyleganRecipe(),
    "language-units": UnitRecipe(),
    "language-units-lstm": UnitRecipe(recurrence="lstm"),
}


class UnitSamples:
    """Sentences as vectors beside their trajectories, kept in memory."""

    def __init__(self, pairs: Pairs, vectors: NDArray[np.float32]) -> None:
        self.pairs, self.vectors = pairs, vectors

    def __len__(self) -> int:
        return len(self.pairs.texts)

    def get(self, index: int, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        """`sentence` (E), `motion` (T, C) and the number of the phrase."""
        # A little noise on the sentence stands for the wordings that are not among the pairs.
        noise = rng.normal(0, 0.01, self.vectors.shape[1]).astype(np.float32)
        return {
            "sentence": self.vectors[index] + noise,
            "motion": self.pairs.motion[index],
            "group": np.array(self.pairs.group[index]),
        }


def pairs_for(recipe: UnitRecipe, folder: str | Path | None, split: str) -> Pairs:
    """The grammar's pairs of a split and, for training, those of the performances in `folder`."""
    made = spoken(split, recipe.pairs if split == "train" else 600, recipe.frames, recipe.rate_frames)
    if split == "train" and folder is not None:
        clips = captioned(folder, recipe.frames, recipe.rate_frames)
        if clips.texts:
            made = joined([made, clips])
    return made


def samples(recipe: UnitRecipe | StyleganRecipe, folder: Any, split: str) -> UnitSamples | Portraits:
    """Training samples; in Action Units `folder` holds performances (`infinex track CLIP -o CLIP.motion.npz`) or
    none, in W+ pictures."""
    if isinstance(recipe, StyleganRecipe):
        from infinex.nn.stylegan2 import load_stylegan2

        if not recipe.generator:
            raise InputError("training in W+ needs a StyleGAN2: --set generator=FILE")
        return Portraits(recipe, folder, load_stylegan2(recipe.generator).config.size)
    pairs = pairs_for(recipe, folder, split)
    return UnitSamples(pairs, load_encoder(recipe.encoder)(pairs.texts))


class UnitTask:
    """One training step of `UnitMotion` with the matching network that stands where CLIP stands in the paper.

    The matching network learns from true pairs only; the generator is drawn by it towards what sets its
    sentence apart from the others of the batch (equation 11), towards the true trajectory, and towards steps
    that change little (equation 10)."""

    def __init__(self, recipe: UnitRecipe) -> None:
        self.recipe = recipe
        self.config = recipe.sizes
        self.networks: dict[str, nn.Module] = {
            "motion": UnitMotion(self.config),
            "match": MotionText(len(self.config.channels), self.config.sentence),
        }
        self._optimizers: dict[str, Optimizer] = {}

    def optimizers(self) -> dict[str, Optimizer]:
        """One Adam per network; the same dictionary on every call."""
        if not self._optimizers:
            self._optimizers = {n: Adam(net.parameters(), lr=self.recipe.rate) for n, net in self.networks.items()}
        return self._optimizers

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
        optimizers = self.optimizers()
        for o in optimizers.values():
            o.zero_grad(set_to_none=True)
        # The same phrase twice in a batch would be its own rival.
        kept = _first_of_each(batch["group"])
        matched = contrastive(match(truth[kept], "motion"), match(sentence[kept], "text")) / len(kept)
        made = motion(sentence)
        distance = (made - truth).square().sum(2).mean()
        path = path_regularisation(made) / (made.shape[0] * made.shape[1])
        rivals = contrastive(match(made[kept], "motion"), match(sentence[kept], "text").detach()) / len(kept)
        terms = {"distance": distance, "path": w.path * path, "contrast": w.contrast * rivals, "match": matched}
        if not all(torch.isfinite(t) for t in terms.values()):
            raise FloatingPointError("a loss is no finite number")
        fabric.backward(terms["distance"] + terms["path"] + terms["contrast"])
        optimizers["match"].zero_grad(set_to_none=True)  # what the generator's pass left there
        fabric.backward(matched)
        nn.utils.clip_grad_norm_(motion.parameters(), 1.0)
        for o in optimizers.values():
            o.step()
        return {k: float(v.detach()) for k, v in terms.items()}

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """Distance from the truth, and the same for a face that does not move."""
        motion = self.networks["motion"]
        made = motion(batch["sentence"])
        truth = batch["motion"]
        still = truth.square().sum(2).mean()
        return {"distance": float((made - truth).square().sum(2).mean()), "still": float(still)}

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
