"""How the speech network is trained: first to hear sounds, from synthesised phrases, then to move mouths, from people.

    infinex train speech-sounds --data SOUNDS --out RUN1
    infinex train speech --data PREPARED --out RUN2 --set start_from=RUN1/weights.safetensors

SOUNDS is any folder (phrases are made there by flite and espeak-ng); PREPARED is one of `infinex prepare`, of talkers.
`python -m infinex.systems.speech.fit PREPARED RUN2/weights.safetensors FITTED` adds what is fitted in closed form, and
`python -m infinex.systems.speech.weights FITTED/weights.safetensors FOLDER` writes the network that the driver reads;
FITTED/shapes.npz and listener.onnx belong beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from infinex.errors import InputError, option
from infinex.systems.speech import losses
from infinex.systems.speech.data import Mouths, Phrases, talks
from infinex.systems.speech.losses import SpeechWeights
from infinex.systems.speech.model import SpeechConfig, SpeechNet
from infinex.systems.speech.runtime import default_shapes
from infinex.systems.speech.weights import read, save
from infinex.training.task import Players, TrainerOptions, evaluating, plain

ENCODER = ("scale", "first", "first_norm", "second", "second_norm", "sounds")


@dataclass(frozen=True)
class SpeechRecipe:
    """One training. `stage` is what is learnt: sounds or mouths."""

    stage: str = "mouths"
    epochs: int = 20
    batch_size: int = 24
    rate: float = 2e-3
    encoder_rate: float = 0.0  # of the encoder while mouths are learnt, as a share; 0 leaves it as it is
    decay: float = 0.05
    length: int = 100  # steps of 20 ms in a window
    phrases: int = 2000
    foreign: float = 0.0  # share of them that espeak-ng speaks, in other languages and voices
    variants: int = 10  # of each talker's sound: other pace and pitch, rooms, noise
    repeats: int = 6  # windows a talker gives in one epoch, times their length
    talkers: int = 256  # how many may have a bias and a gain of their own
    start_from: str = ""
    config: SpeechConfig = field(default_factory=SpeechConfig)
    weights: SpeechWeights = field(default_factory=SpeechWeights)
    trainer: TrainerOptions = field(default_factory=lambda: TrainerOptions(ema=0.99, panel_every=200))


RECIPES = {
    "speech-sounds": SpeechRecipe(stage="sounds", epochs=12, length=150, decay=1e-3, foreign=0.5),
    "speech": SpeechRecipe(config=SpeechConfig(dropout=0.3)),
}


class Talkers(nn.Module):
    """What is a talker's own: a resting place and liveliness (Neural Voice Puppetry learns a map for each)."""

    def __init__(self, count: int, coefficients: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(count, coefficients))
        self.gain = nn.Parameter(torch.zeros(count))

    def forward(self, shared: Tensor, talker: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Coefficients (H, B, T, K) as talkers (B,) make them, and their biases and gains."""
        bias, gain = self.bias[talker], self.gain[talker]
        return shared * torch.exp(gain)[:, None, None] + bias[:, None], bias, gain


class SpeechTask(Players):
    """See `infinex.training.trainer.Task`."""

    panel = ""

    def __init__(self, recipe: SpeechRecipe) -> None:
        self.recipe = recipe
        self.networks: dict[str, nn.Module] = {"speech": SpeechNet(recipe.config)}
        network = self.networks["speech"]
        groups: list[dict[str, Any]] = [{"params": list(network.parameters()), "lr": recipe.rate}]
        if recipe.stage == "mouths":
            inner = [p for n, p in network.named_parameters() if n.split(".")[0] in ENCODER]
            outer = [p for n, p in network.named_parameters() if n.split(".")[0] not in ENCODER]
            groups = [{"params": outer, "lr": recipe.rate}]
            if recipe.encoder_rate:
                groups.append({"params": inner, "lr": recipe.rate * recipe.encoder_rate})
            else:
                for p in inner:
                    p.requires_grad_(False)
            self.networks["talkers"] = Talkers(recipe.talkers, recipe.config.coefficients)
        self._optimizers: dict[str, Optimizer] = {
            "speech": AdamW(groups, weight_decay=recipe.decay),
        }
        if "talkers" in self.networks:
            self._optimizers["talkers"] = AdamW(self.networks["talkers"].parameters(), lr=5e-3, weight_decay=0.0)

    def schedulers(self) -> dict[str, LRScheduler]:
        """A cosine to a fiftieth over the epochs."""

        def share(epoch: int) -> float:
            return 0.02 + 0.98 * 0.5 * (1 + float(np.cos(np.pi * min(1.0, epoch / max(self.recipe.epochs, 1)))))

        return {name: LambdaLR(o, share) for name, o in self._optimizers.items()}

    def _terms(self, batch: dict[str, Any], own: bool) -> dict[str, Tensor]:
        made, logits = self.networks["speech"](batch["rows"], apart=True)
        if "classes" in batch:
            return {"sounds": losses.sounds(logits.float(), batch["classes"])}
        w = self.recipe.weights
        truth = batch["coefficients"]
        terms: dict[str, Tensor] = {}
        truth = truth[None].expand_as(made)  # every head learns for itself
        if own:
            made, bias, gain = self.networks["talkers"](made, batch["talker"])
            terms["bias"] = w.bias * (bias**2).sum(1).mean()
            terms["gain"] = w.gain * (gain**2).mean()
        terms["position"] = w.position * losses.position(made.float(), truth)
        terms["change"] = w.change * losses.change(made.float(), truth)
        return terms

    def step(self, batch: dict[str, Any], fabric: Any) -> dict[str, float]:
        """One update. Raises FloatingPointError before anything is changed where a loss is not finite."""
        if self.recipe.stage == "mouths" and not self.recipe.encoder_rate:
            for name in ENCODER:  # its statistics stay as they were learnt
                getattr(self.networks["speech"], name).eval()
        terms = self._terms(batch, self.recipe.stage == "mouths")
        return plain(self.update(list(self._optimizers), terms, fabric))

    @torch.no_grad()
    def measure(self, batch: dict[str, Any]) -> dict[str, float]:
        """Terms on held-back samples; the share of sounds heard right, or how the first coefficient correlates."""
        network = self.networks["speech"]
        with evaluating(network):
            figures = {k: float(v) for k, v in self._terms(batch, False).items()}
            made, logits = network(batch["rows"])
            if "classes" in batch:
                figures["right"] = float((logits.argmax(-1) == batch["classes"]).float().mean())
            else:
                a, b = made[..., 0].flatten().float(), batch["coefficients"][..., 0].flatten()
                figures["correlation"] = float(torch.corrcoef(torch.stack([a, b]))[0, 1])
        return figures

    def sample_panel(self, batch: dict[str, Any]) -> NDArray[np.uint8]:
        """Nothing to show but figures."""
        return np.zeros((0, 0, 3), np.uint8)

    def save(self, path: Path) -> None:
        """Write the network."""
        save(path, self.networks["speech"].state_dict(), self.recipe.config)

    def load_file(self, path: Path) -> None:
        """Begin with the encoder, and what else fits, of a file of weights. Raises WeightsError."""
        state = read(path)[0]
        own = self.networks["speech"].state_dict()
        fits = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
        self.networks["speech"].load_state_dict(fits, strict=False)


def task(recipe: SpeechRecipe) -> SpeechTask:
    """For the trainer. Raises InputError where the recipe contradicts itself."""
    if recipe.stage not in ("sounds", "mouths"):
        raise InputError(f"{option('set')} stage={recipe.stage}: it is sounds or mouths")
    return SpeechTask(recipe)


def samples(recipe: SpeechRecipe, folder: str | Path, split: str) -> Phrases | Mouths:
    """Phrases made in `folder`, or the talkers of a prepared folder. Raises InputError for unusable data."""
    train = split == "train"
    if recipe.stage == "sounds":
        count = recipe.phrases if train else max(8, recipe.phrases // 25)
        return Phrases(folder, split, count, recipe.length, recipe.foreign)
    shapes = default_shapes()
    if len(shapes) != recipe.config.coefficients:
        raise InputError(
            f"{option('set')} config.coefficients={recipe.config.coefficients}: there are {len(shapes)} mouth shapes"
        )
    found = list(talks(folder, split))
    if not found and not train:
        return _Nobody()  # type: ignore[return-value]
    return Mouths(found, shapes, recipe.length, recipe.repeats if train else 1, recipe.variants if train else 0)


class _Nobody:
    """No held-back talkers."""

    def __len__(self) -> int:
        return 0

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        raise IndexError(index)
