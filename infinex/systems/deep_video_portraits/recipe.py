"""How Deep Video Portraits is trained: a clip of one person, and one step of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from infinex.errors import InputError, option
from infinex.nn.files import load_networks
from infinex.nn.losses import Adversary, discriminator_adversarial
from infinex.systems.deep_video_portraits.losses import LossWeights, focused, renderer_terms
from infinex.systems.deep_video_portraits.model import CONFIGS, PortraitConfig, networks_of
from infinex.systems.deep_video_portraits.weights import PortraitWeights, collected, load, save
from infinex.systems.oneperson import Lesson, Part, Progress, Say, album_of, likeness, prepared, recalled
from infinex.training.task import Adams, Fabric, Players, TrainerOptions, evaluating, frozen, grid, pixels, plain


@dataclass(frozen=True)
class PortraitRecipe:
    """One person's video from drawn faces; the defaults are the published ones."""

    config: str = "deep-video-portraits"  # sizes of the networks, a key of `CONFIGS`
    size: int = 0  # pixels; 0: as the configuration says
    window: int = 0  # instants; 0: as the configuration says
    tracked: bool | None = None  # conditions lie where the tracker sees the face; none: as the configuration says
    part: Part = field(default_factory=Part)
    person: str = ""  # a fit of the clip by infinex fit; else one is made
    held: float = 0.1  # share of the clip, at its end, that panels and figures are made of
    start_from: str = ""
    epochs: int = 250  # 31,000 steps of 16 frames, of 2000
    batch_size: int = 16
    repeats: int = 1
    rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    adversary: Adversary = "bce"
    weights: LossWeights = field(default_factory=LossWeights)
    trainer: TrainerOptions = field(default_factory=TrainerOptions)
    folder: str = ""  # of the prepared clip; a run knows its own

    @property
    def sizes(self) -> PortraitConfig:
        """Sizes of the networks, with what the recipe changes in them."""
        if self.config not in CONFIGS:
            raise InputError(f"{option('set')} config={self.config}: it is one of {', '.join(CONFIGS)}")
        config = CONFIGS[self.config]
        config = replace(config, size=self.size or config.size, window=self.window or config.window)
        if self.tracked is not None:
            config = replace(config, tracked=self.tracked)
        if config.size % (1 << config.levels):
            raise InputError(f"{option('set')} size={config.size}: a multiple of {1 << config.levels} is wanted")
        return config


RECIPES: dict[str, PortraitRecipe] = {
    "deep-video-portraits": PortraitRecipe(),
    # For less than an hour of two cores.
    "deep-video-portraits-128": PortraitRecipe(
        config="deep-video-portraits-128", epochs=60, batch_size=4, rate=4e-4, weights=LossWeights(focus=3.0),
        trainer=TrainerOptions(threads=2, ema=0.99, log_every=10, panel_every=250, checkpoint_every=250),
    ),
    # Ours: frames of the clip are moved onto what is wanted, and a network mends them. For minutes.
    "deep-video-portraits-album": PortraitRecipe(
        config="deep-video-portraits-album", epochs=2, batch_size=4, rate=1e-3, betas=(0.9, 0.999),
        weights=LossWeights(adversarial=0.0, focus=3.0),
        trainer=TrainerOptions(max_steps=100, ema=0.98, log_every=10, panel_every=50, checkpoint_every=50),
    ),
}  # fmt: skip


def prepare(
    recipe: PortraitRecipe, clip: Path, run: Path, say: Say, progress: Progress | None
) -> tuple[PortraitRecipe, Path]:
    """Fit a clip and draw its conditions inside a run's folder; see `infinex.training.recipes.Entry`."""
    folder, sizes = run / "person", recipe.sizes
    prepared(clip, folder, recipe.part, recipe.person, sizes.size, say, progress, tracked=sizes.tracked)
    if sizes.album:
        recalled(folder, sizes.size, sizes.album, progress)
    return replace(recipe, folder=str(folder)), folder


def samples(recipe: PortraitRecipe, folder: str | Path, split: str) -> Lesson:
    """The samples of a recipe. Raises InputError for unusable data."""
    s = recipe.sizes
    return Lesson(Path(folder), s.size, s.window, recipe.held, split, recipe.repeats, s.tracked, s.album)


def task(recipe: PortraitRecipe) -> PortraitTask:
    """The networks of a recipe."""
    return PortraitTask(recipe)


class PortraitTask(Players):
    """The networks of a recipe and one training step, for the trainer every system shares."""

    panel = "skin, places, eyes, made, frame"

    def __init__(self, recipe: PortraitRecipe) -> None:
        self.recipe, self.config = recipe, recipe.sizes
        self.networks: dict[str, nn.Module] = networks_of(self.config)
        if not recipe.weights.adversarial:
            del self.networks["critic"]
        self._optimizers = Adams(self.networks, recipe.rate, recipe.betas)

    def step(self, batch: dict[str, Tensor], fabric: Fabric) -> dict[str, float]:
        """Update the critic, then the renderer; the terms, weighted.

        Raises FloatingPointError, before a network is touched, when a loss is not a number."""
        r, window, frame = self.recipe, batch["window"], batch["frame"]
        made = self.networks["renderer"](window)
        critic = self.networks.get("critic")
        said: dict[str, Tensor] = {}
        score = None
        if critic is not None:
            real = critic(torch.cat([window, frame], 1))
            fake = critic(torch.cat([window, made.detach()], 1))
            said = {"critic": 0.5 * discriminator_adversarial(real, fake, r.adversary)}
            self.update(["critic"], said, fabric)
        with frozen(*([] if critic is None else [critic])):
            if critic is not None:
                score = critic(torch.cat([window, made], 1))
            terms = renderer_terms(r.weights, made, frame, batch["focus"], score, r.adversary)
            self.update(["renderer"], terms, fabric)
        return plain(said | terms)

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """Mean absolute errors of held-back frames in 0..1, and of their mouths and eyes."""
        renderer = self.networks["renderer"]
        with evaluating(renderer):
            made = renderer(batch["window"])
        off, focus = (made - batch["frame"]).abs() / 2, batch["focus"]
        return {
            "l1": float(off.mean()),
            "l1_focus": float((off * focus).sum() / (3 * focus.sum()).clamp(min=1)),
            "l1_focused": float(focused(made, batch["frame"], focus, self.recipe.weights.focus) / 2),
        }

    @torch.no_grad()
    def sample_panel(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """(B·S, 5·S, 3): skin, places and eyes as drawn, what is made of them, and the frame."""
        renderer, window = self.networks["renderer"], batch["window"]
        with evaluating(renderer):
            made = renderer(window)
        drawn = [window[:, -9 + 3 * i : window.shape[1] - 6 + 3 * i] for i in range(3)]
        return grid([pixels(x, -1) for x in (*drawn, made, batch["frame"])])

    def save(self, path: Path) -> None:
        """Write the networks as they are, with the person, as a file of weights."""
        folder, c = Path(self.recipe.folder), self.config
        states = collected(self.networks, likeness(folder), album_of(folder, c.size, c.album) if c.album else None)
        save(path, PortraitWeights(self.config, states, self.recipe.config))

    def load_file(self, path: Path) -> None:
        """Begin with the weights in a file, of this person or another. Raises WeightsError."""
        load_networks(self.networks, load(path).networks, f"{path} does not fit", self.recipe.config, spare="critic")
