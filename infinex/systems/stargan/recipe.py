"""How StarGAN is trained: the numbers, the samples, and one step of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from infinex.errors import InputError, option
from infinex.systems.stargan.faces import Faces, load, read_faces
from infinex.systems.stargan.losses import Kind, LossWeights, critic_terms, generator_terms
from infinex.systems.stargan.model import CONFIGS, EMOTIONS, Critic, Generator, StarganConfig, of_set, told
from infinex.systems.stargan.weights import LAYOUT, networks_of
from infinex.training.data import Kept
from infinex.training.stored import StoredTask, sizes_of
from infinex.training.task import Adams, Fabric, falling, frozen, grid, pixels, plain


@dataclass(frozen=True)
class StarganRecipe:
    """Everything about a training run but the data; the defaults are those of the paper (section 7.1)."""

    config: str = "stargan"  # sizes of the networks, a key of `CONFIGS`
    labels: tuple[str, ...] = EMOTIONS
    kind: Kind = "categories"  # one of the labels holds; "binary": each does or not
    second: str = ""  # folder of a second set, learned together with the first (section 3.3)
    second_labels: tuple[str, ...] = ()
    second_kind: Kind = "categories"
    start_from: str = ""
    epochs: int = 20
    decay_epochs: int = 10  # the last ones, over which the rate falls
    decay_to: float = 0.0  # share of the rate at the end; the published code's is 0.999
    repeats: int = 1  # how often a face is drawn in an epoch
    batch_size: int = 16
    critic_steps: int = 5  # updates of the critic for one of the generator
    rate: float = 1e-4
    betas: tuple[float, float] = (0.5, 0.999)
    flip: bool = True
    pairs: float = 0.0  # share of samples that want what another picture of the same person shows; not in the paper
    stressed: tuple[str, ...] = ()  # labels that pairs want three times as often as others
    weights: LossWeights = field(default_factory=LossWeights)

    @property
    def sizes(self) -> StarganConfig:
        """Sizes of the networks, with the labels of the recipe. Raises InputError for a name that is not known."""
        if not self.labels:
            raise InputError(f"{option('set')} labels=: name at least one")
        return replace(
            sizes_of(LAYOUT, self.config), labels=self.labels, second=self.second_labels if self.second else ()
        )


RECIPES: dict[str, StarganRecipe] = {
    "stargan": StarganRecipe(),
    "stargan-celeba": StarganRecipe(
        config="stargan-celeba-128", labels=CONFIGS["stargan-celeba-128"].labels, kind="binary"
    ),
    # On drawn expressions of real portraits: the same face under another label is known, and teaches as well.
    "stargan-64": StarganRecipe(
        config="stargan-64", epochs=30, decay_epochs=8, pairs=0.7, rate=2e-4, weights=LossWeights(paired=10.0)
    ),
    # The same for a quarter of an hour of one CPU core: pairs teach most of it.
    "stargan-face": StarganRecipe(
        config="stargan-64",
        epochs=12,
        decay_epochs=6,
        critic_steps=1,
        pairs=0.9,
        rate=5e-4,
        weights=LossWeights(paired=60.0),
    ),
    "stargan-tiny": StarganRecipe(
        config="stargan-tiny", epochs=2, batch_size=4, pairs=0.7, weights=LossWeights(paired=10.0)
    ),
}


class LabelledFaces:
    """Faces with what they show and what is wanted of them; see `infinex.training.data.Samples`.

    `image` (3, S, S) in 0..1 with `labels` (C,) and `wanted` (C,), those of some other face; `target` (3, S, S) shows
    it where `paired` (1,) is 1. With a second set the same of it under `second_image`, ..."""

    def __init__(self, recipe: StarganRecipe, folder: str | Path, split: str) -> None:
        self.recipe, self.split, self.size = recipe, split, recipe.sizes.size
        self.sets: list[Faces] = [read_faces(folder, recipe.labels, split)]
        if recipe.second:
            if not recipe.second_labels:
                raise InputError(f"{option('set')} second= wants its labels too: {option('set')} second_labels=a,b,c")
            self.sets.append(read_faces(recipe.second, recipe.second_labels, split))
        for faces, kind in zip(self.sets, (recipe.kind, recipe.second_kind)):
            if faces.kind != kind:
                raise InputError(f"these pictures have {faces.kind} labels, and the recipe learns {kind}")
        self._cache: Kept[Path, NDArray[np.uint8] | None] = Kept()
        self._alike: list[dict[str, list[int]]] = []
        for faces in self.sets:
            people: dict[str, list[int]] = {}
            for k, picture in enumerate(faces.pictures):
                people.setdefault(picture.person, []).append(k)
            self._alike.append(people)

    def __len__(self) -> int:
        return len(self.sets[0].pictures) * self.recipe.repeats

    def _face(self, which: int, place: int) -> NDArray[np.uint8] | None:
        faces = self.sets[which]
        picture = faces.pictures[place]
        return self._cache.get(picture.path, lambda: load(picture, faces.framed, self.size))

    def _seen(self, which: int, place: int) -> tuple[int, NDArray[np.uint8]]:
        """A place that shows a face, `place` or the next. Raises InputError where none does."""
        count = len(self.sets[which].pictures)
        for k in range(count):
            if (face := self._face(which, (place + k) % count)) is not None:
                return (place + k) % count, face
        raise InputError("none of the pictures shows a face")

    def get(self, index: int, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        """See `Samples`; held-back faces come in their order and as they are."""
        out = self._of(0, index, rng)
        if len(self.sets) > 1:
            other = int(rng.integers(len(self.sets[1].pictures)))
            out |= {f"second_{k}": v for k, v in self._of(1, other, rng).items()}
        return out

    def _stressed(self, which: int, place: int) -> bool:
        faces = self.sets[which]
        return any(on and n in self.recipe.stressed for n, on in zip(faces.labels, faces.pictures[place].labels))

    def _of(self, which: int, index: int, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        faces, r = self.sets[which], self.recipe
        place, image = self._seen(which, index % len(faces.pictures))
        picture = faces.pictures[place]
        others = [k for k in self._alike[which][picture.person] if k != place] if picture.person else []
        target = None
        if others and rng.random() < r.pairs:
            likely = np.array([3.0 if self._stressed(which, k) else 1.0 for k in others])
            place = int(rng.choice(others, p=likely / likely.sum()))
            target = self._face(which, place)
        else:
            place = int(rng.integers(len(faces.pictures)))
        wanted = faces.pictures[place].labels
        pictures = [image, image if target is None else target]
        if self.split == "train" and r.flip and rng.random() < 0.5:
            pictures = [p[:, ::-1] for p in pictures]
        shown = [np.ascontiguousarray(p.transpose(2, 0, 1)).astype(np.float32) / np.float32(255) for p in pictures]
        return {
            "image": shown[0], "labels": np.array(picture.labels, np.float32), "wanted": np.array(wanted, np.float32),
            "target": shown[1], "paired": np.array([target is not None], np.float32),
        }  # fmt: skip


def samples(recipe: StarganRecipe, folder: str | Path, split: str) -> LabelledFaces:
    """The samples of a recipe. Raises InputError for unusable data."""
    return LabelledFaces(recipe, folder, split)


def task(recipe: StarganRecipe) -> StarganTask:
    """The networks of a recipe."""
    return StarganTask(recipe)


class StarganTask(StoredTask):
    """The networks of a recipe and one training step, for the trainer every system shares."""

    panel = "face, a face that shows what is wanted, edit, and back again"
    layout, spare = LAYOUT, "critic"

    def __init__(self, recipe: StarganRecipe) -> None:
        self.recipe, self.config, self.name = recipe, recipe.sizes, recipe.config
        self.networks = networks_of(self.config)
        self._optimizers = Adams(self.networks, recipe.rate, recipe.betas)
        self._last: dict[str, float] = {}  # terms of the generator's last update

    def schedulers(self) -> dict[str, LRScheduler]:
        """Constant rates that fall linearly over the last epochs."""
        r = self.recipe
        return falling(self.optimizers(), r.epochs, r.decay_epochs, r.decay_to)

    def _kind(self, which: int) -> Kind:
        return self.recipe.second_kind if which else self.recipe.kind

    def _sets(self, batch: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        first = {k: v for k, v in batch.items() if not k.startswith("second_")}
        second = {k.removeprefix("second_"): v for k, v in batch.items() if k.startswith("second_")}
        return [first, second] if second else [first]

    def step(self, batch: dict[str, Tensor], fabric: Fabric) -> dict[str, float]:
        """Update the critic and, every `critic_steps` times, the generator, on each set in turn; the terms, weighted.

        Raises FloatingPointError, before a network is touched, when a loss is not a number."""
        steps = self.updates("critic") // (1 + bool(self.config.second))
        turn = steps % self.recipe.critic_steps == self.recipe.critic_steps - 1
        out: dict[str, float] = {}
        for which, part in enumerate(self._sets(batch)):
            prefix = "second_" if which else ""
            image = part["image"] * 2 - 1
            kind = self._kind(which)
            with torch.no_grad():
                made = self.networks["generator"](image, told(part["wanted"], self.config, which))
            critic = cast(Critic, self.networks["critic"])
            terms = critic_terms(self.recipe.weights, critic, image, made, part["labels"], kind, which)
            out |= {prefix + k: v for k, v in plain(self.update(["critic"], terms, fabric)).items()}
            if turn:
                self._last |= self._generator_step(part, kind, which, prefix, fabric)
        if not self._last:
            names = ["generator_gan", "labels", "cycle", *(["paired"] if self.recipe.weights.paired else [])]
            self._last = {p + n: 0.0 for p in ("", "second_")[: 1 + bool(self.config.second)] for n in names}
        return out | self._last

    def _generator_step(
        self, part: dict[str, Tensor], kind: Kind, which: int, prefix: str, fabric: Fabric
    ) -> dict[str, float]:
        critic = cast(Critic, self.networks["critic"])
        with frozen(critic):
            terms, _ = generator_terms(
                self.recipe.weights, cast(Generator, self.networks["generator"]), critic, part["image"] * 2 - 1,
                part["labels"], part["wanted"], kind, which, (part["target"] * 2 - 1, part["paired"]),
            )  # fmt: skip
            done = plain(self.update(["generator"], terms, fabric))
        return {prefix + k: v for k, v in done.items()}

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """On held-back faces of the first set: how far the picture changes, the error of the cycle and of pairs
        (beside that of the picture left as it is), and how often the critic reads the wanted label off made pictures
        and the true one off real ones. Pictures count as 0..1."""
        image = batch["image"] * 2 - 1
        generator, critic = self.networks["generator"], self.networks["critic"]
        made = generator(image, told(batch["wanted"], self.config))
        back = generator(made, told(batch["labels"], self.config))

        def right(picture: Tensor, labels: Tensor) -> float:
            logits = of_set(critic(picture)[1], self.config)
            if self._kind(0) == "categories":
                return float((logits.argmax(1) == labels.argmax(1)).float().mean())
            return float(((logits > 0).float() == labels).float().mean())

        figures = {
            "change": float((made - image).abs().mean() / 2),
            "cycle": float((back - image).abs().mean() / 2),
            "read": right(made, batch["wanted"]),
            "read_real": right(image, batch["labels"]),
        }
        if batch["paired"].any():
            there = batch["paired"][:, 0] > 0
            target = batch["target"][there] * 2 - 1
            figures["pairs"] = float((made[there] - target).abs().mean() / 2)
            figures["pairs_static"] = float((image[there] - target).abs().mean() / 2)
        return figures

    @torch.no_grad()
    def sample_panel(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """(B·H, 4·W, 3): face, what shows what is wanted (or the face again), edit, back again."""
        generator = self.networks["generator"]
        made = generator(batch["image"] * 2 - 1, told(batch["wanted"], self.config))
        back = generator(made, told(batch["labels"], self.config))
        return grid([pixels(batch["image"]), pixels(batch["target"]), pixels(made, -1), pixels(back, -1)])
