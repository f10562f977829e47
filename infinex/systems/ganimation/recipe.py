"""How GANimation is trained: the numbers, the samples, and one step of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from infinex.errors import InputError
from infinex.systems.ganimation.labels import FaceSet, read_faces
from infinex.systems.ganimation.losses import LossWeights, critic_terms, generator_terms, paired_loss
from infinex.systems.ganimation.model import Critic, Edit, GanimationConfig, Verdict
from infinex.systems.ganimation.weights import LAYOUT, networks_of
from infinex.training.stored import StoredTask, sizes_of
from infinex.training.task import Adams, Fabric, falling, frozen, grid, pixels, plain


@dataclass(frozen=True)
class GanimationRecipe:
    """Everything about a training run but the data; the defaults are those of the paper (section 5)."""

    config: str = "ganimation"  # sizes of the networks, a key of `CONFIGS`
    start_from: str = ""  # weights training begins with
    epochs: int = 30
    decay_epochs: int = 10  # the last ones, over which the rate falls to zero
    repeats: int = 1  # how often a face is drawn in an epoch
    batch_size: int = 25
    critic_steps: int = 5  # updates of the critic for one of the generator; 0: no critic, pairs alone teach
    rate: float = 1e-4
    betas: tuple[float, float] = (0.5, 0.999)
    noise: float = 0.1  # uniform, either way, on every wanted intensity
    flip: bool = True
    light: float = 0.0  # brightness and contrast vary by as much; the paper changes nothing
    attention: bool = True  # False: the ablation without the mask
    pairs: float = 0.0  # share of samples that want what another frame of the same person shows; not in the paper
    turn: float = 2.5  # degrees the head may differ in such a pair
    weights: LossWeights = field(default_factory=LossWeights)

    @property
    def sizes(self) -> GanimationConfig:
        """Sizes of the networks, with what the recipe changes in them. Raises InputError for an unknown name."""
        return replace(sizes_of(LAYOUT, self.config), attention=self.attention)


# For minutes on a processor: pairs say at once what the paper's objective only hints at. They come first ...
_PAIRS = GanimationRecipe(
    config="ganimation-80", epochs=30, decay_epochs=8, repeats=4, batch_size=16, critic_steps=0, rate=7e-4, light=0.1,
    pairs=1.0, weights=LossWeights(expression=0.0, identity=0.0, paired=10.0),
)  # fmt: skip
# ... and then they stay beside that objective for half of the samples.
_SMALL = replace(
    _PAIRS, start_from="ganimation-80-pairs", critic_steps=5, rate=1e-4, pairs=0.5,
    weights=LossWeights(paired=10.0),
)  # fmt: skip
_TABLE_2 = replace(_SMALL, start_from="", config="ganimation-64", epochs=6, decay_epochs=2, repeats=1, rate=3e-4)

RECIPES: dict[str, GanimationRecipe] = {
    "ganimation": GanimationRecipe(),
    "ganimation-80-pairs": _PAIRS,
    "ganimation-80": _SMALL,
    # The ablation of Table 2, on small networks.
    "ganimation-ablation-full": _TABLE_2,
    "ganimation-ablation-no-attention": replace(_TABLE_2, attention=False),
    "ganimation-ablation-no-attention-loss": replace(_TABLE_2, weights=replace(_TABLE_2.weights, attention=0.0)),
}


class FaceSamples:
    """Faces, what they show, and what is wanted of them; see `infinex.training.data.Samples`.

    `image` (3, S, S) in 0..1 with `units` (17,), `wanted` (17,), and `target` (3, S, S) which shows it where
    `paired` is 1. What is wanted otherwise is what some other face shows, changed a little: combinations of
    muscles that occur. Clips are drawn by the fourth root of their length, so that stills are not lost among them."""

    def __init__(self, recipe: GanimationRecipe, folder: str | Path, split: str) -> None:
        faces: FaceSet = read_faces(folder)
        self.recipe, self.size = recipe, recipe.sizes.size
        self.faces, self.units = faces, faces.units.astype(np.float32)
        self.rows = faces.of(split)
        self.real = np.array([i for i in self.rows if not faces.rows[i].made], np.int64)
        if split == "train" and not len(self.real):
            raise InputError(f"{folder} holds no face for training")
        self.split = split
        names = [faces.rows[i].clip for i in self.real]
        count = {n: names.count(n) for n in set(names)}
        share = np.array([count[n] ** -0.75 for n in names])
        self._places = np.cumsum(share) / share.sum() if len(share) else share
        self._angles = np.array([r.angles for r in faces.rows]).reshape(-1, 3)
        self._clip: dict[str, list[int]] = {}
        for i in self.rows:
            self._clip.setdefault(faces.rows[i].clip, []).append(int(i))

    def __len__(self) -> int:
        return len(self.real) * self.recipe.repeats

    def _picture(self, place: int) -> NDArray[np.float32]:
        frame = np.asarray(self.faces.frames[place])
        if frame.shape[0] != self.size:
            inter = cv2.INTER_AREA if frame.shape[0] > self.size else cv2.INTER_CUBIC
            frame = cv2.resize(frame, (self.size, self.size), interpolation=inter)
        return frame.transpose(2, 0, 1).astype(np.float32) / 255

    def _partner(self, place: int, rng: np.random.Generator) -> int | None:
        """Another face of the same clip with the head held alike, or None; of three the least similar one."""
        others = np.array(self._clip[self.faces.rows[place].clip])
        turn = np.abs(self._angles[others] - self._angles[place]).max(1)
        others = others[(turn <= self.recipe.turn) & (others != place)]
        if not len(others):
            return None
        few = rng.choice(others, min(3, len(others)), replace=False)
        return int(few[np.argmax(np.abs(self.units[few] - self.units[place]).sum(1))])

    def get(self, index: int, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        """See `Samples`; held-back faces come in their order and as they are."""
        r = self.recipe
        training = self.split == "train"
        place = int(self.real[index % len(self.real)])
        if training:
            place = int(self.real[min(int(np.searchsorted(self._places, rng.random())), len(self.real) - 1)])
        partner = self._partner(place, rng) if rng.random() < r.pairs else None
        if partner is not None:
            wanted, target = self.units[partner], self._picture(partner)
        else:
            wanted = self.units[int(rng.choice(self.rows))]
            wanted = np.clip(wanted + rng.uniform(-r.noise, r.noise, len(wanted)), 0, 1).astype(np.float32)
            target = None
        image, units = self._picture(place), self.units[place]
        if partner is not None and not r.critic_steps and rng.random() < 0.5:
            # Without a critic nobody takes the picture for a photograph: the way back teaches as well.
            assert target is not None
            image, target, units, wanted = target, image, wanted, units
        pictures = [image, image if target is None else target]
        if training and r.light:
            gain, lift = (np.float32(rng.uniform(-r.light, r.light)) for _ in range(2))
            pictures = [np.clip((p - 0.5) * (1 + gain) + 0.5 + lift / 2, 0, 1) for p in pictures]
        if training and r.flip and rng.random() < 0.5:
            pictures = [p[..., ::-1] for p in pictures]
        return {
            "image": np.ascontiguousarray(pictures[0]),
            "units": units,
            "wanted": wanted,
            "target": np.ascontiguousarray(pictures[1]),
            "paired": np.array([target is not None], np.float32),
        }


def samples(recipe: GanimationRecipe, folder: str | Path, split: str) -> FaceSamples:
    """The samples of a recipe. Raises InputError for unusable data."""
    return FaceSamples(recipe, folder, split)


def task(recipe: GanimationRecipe) -> GanimationTask:
    """The networks of a recipe."""
    return GanimationTask(recipe)


class GanimationTask(StoredTask):
    """The networks of a recipe and one training step, for the trainer every system shares."""

    panel = "face, a face that shows the wanted expression, edit, attention, colours"
    layout, spare = LAYOUT, "critic"

    def __init__(self, recipe: GanimationRecipe) -> None:
        self.recipe, self.config, self.name = recipe, recipe.sizes, recipe.config
        self.networks = networks_of(self.config)
        if not recipe.critic_steps:
            del self.networks["critic"]
        self._optimizers = Adams(self.networks, recipe.rate, recipe.betas)
        self._last: dict[str, float] = {}  # terms of the generator's last update

    def schedulers(self) -> dict[str, LRScheduler]:
        """Constant rates that fall linearly to zero over the last epochs."""
        return falling(self.optimizers(), self.recipe.epochs, self.recipe.decay_epochs)

    def step(self, batch: dict[str, Tensor], fabric: Fabric) -> dict[str, float]:
        """Update the critic once and, every `critic_steps` times, the generator; the terms, weighted.

        `batch` is of `FaceSamples`. Between its updates the generator's terms are those of its last one. Raises
        FloatingPointError, before a network is touched, when a loss is not a number."""
        image, units, wanted = batch["image"] * 2 - 1, batch["units"], batch["wanted"]
        generator = self.networks["generator"]
        if not self.recipe.critic_steps:
            return self._generator_step(Edit(*generator(image, wanted)), batch | {"image": image}, fabric)
        critic = self.networks["critic"]
        turn = self.updates("critic") % self.recipe.critic_steps == self.recipe.critic_steps - 1
        with torch.set_grad_enabled(turn):
            there: Edit = Edit(*generator(image, wanted))
        terms = critic_terms(self.recipe.weights, cast(Critic, critic), image, there.image, units)
        done = plain(self.update(["critic"], terms, fabric))
        if turn:
            self._last = self._generator_step(there, batch | {"image": image}, fabric)
        elif not self._last:
            self._last = dict.fromkeys(self._names(), 0.0)
        return done | self._last

    def _names(self) -> list[str]:
        w = self.recipe.weights
        names = ["generator_gan", "expression"] if self.recipe.critic_steps else []
        names += ["identity"] if w.identity else []
        if w.attention:
            names += ["attention", "attention_back"] if w.identity else ["attention"]
        return [*names, *(["paired"] if w.paired else []), "mask"]

    def _generator_step(self, there: Edit, batch: Mapping[str, Tensor], fabric: Fabric) -> dict[str, float]:
        image, w = batch["image"], self.recipe.weights
        critic = self.networks.get("critic")
        back = Edit(*self.networks["generator"](there.image, batch["units"])) if w.identity else None
        with frozen(*([] if critic is None else [critic])):
            verdict = None if critic is None else Verdict(*critic(there.image))
            terms = generator_terms(w, there, back, image, verdict, batch["wanted"])
            if w.paired:
                terms["paired"] = w.paired * paired_loss(there.image, batch["target"] * 2 - 1, batch["paired"])
            done = plain(self.update(["generator"], terms, fabric))
        return done | {"mask": float(there.attention.detach().mean())}

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """On held-back faces: how much of the picture stays, how far it changes, the errors of the cycle and of
        pairs (beside those of the picture left as it is), and how far from what is wanted the critic's expression
        head finds made and real pictures (mean |error| per unit). Pictures count as 0..1."""
        image = batch["image"] * 2 - 1
        there = Edit(*self.networks["generator"](image, batch["wanted"]))
        back = Edit(*self.networks["generator"](there.image, batch["units"]))
        figures = {
            "mask": float(there.attention.mean()),
            "change": float((there.image - image).abs().mean() / 2),
            "cycle": float((back.image - image).abs().mean() / 2),
        }
        if batch["paired"].any():
            target = batch["target"] * 2 - 1
            figures["pairs"] = float(paired_loss(there.image, target, batch["paired"]) / 2)
            figures["pairs_static"] = float(paired_loss(image, target, batch["paired"]) / 2)
        critic = self.networks.get("critic")
        if critic is not None:
            figures["expression"] = float((critic(there.image)[1] - batch["wanted"]).abs().mean())
            figures["expression_real"] = float((critic(image)[1] - batch["units"]).abs().mean())
        return figures

    @torch.no_grad()
    def sample_panel(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """(B·H, 5·W, 3): face, what shows the wanted expression (or the face again), edit, attention, colours."""
        there = Edit(*self.networks["generator"](batch["image"] * 2 - 1, batch["wanted"]))
        return grid([
            pixels(batch["image"]), pixels(batch["target"]), pixels(there.image, -1), pixels(there.attention),
            pixels(there.color, -1),
        ])  # fmt: skip
