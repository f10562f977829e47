"""How a mapper of StyleCLIP is trained for one text (section 5): the generator, CLIP and ArcFace stay as they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from infinex.errors import InputError, WeightsError, option
from infinex.nn.arcface import load_arcface
from infinex.nn.clip import Clip, load_clip
from infinex.nn.e4e import load_e4e
from infinex.nn.files import misfit
from infinex.nn.ranger import Ranger
from infinex.nn.stylegan2 import StyleGAN2, StyleGAN2Config, load_stylegan2
from infinex.systems.inversion import align, inverted
from infinex.systems.styleclip.losses import LossWeights, clip_input, clip_loss, terms
from infinex.systems.styleclip.model import Norm, StyleclipConfig, mapper
from infinex.systems.styleclip.weights import StyleclipWeights, load, save
from infinex.training.data import Kept
from infinex.training.task import Players, grid, pixels, plain


@dataclass(frozen=True)
class StyleclipRecipe:
    """Everything about a training run but the portraits; files are given by path, numbers are the published ones."""

    text: str = ""  # what the mapper is for: "a person with angry face"
    generator: str = ""  # StyleGAN2
    encoder: str = ""  # e4e; without, faces are drawn from the generator's own space
    clip: str = "openai/clip-vit-base-patch32"
    arcface: str = ""  # without, identity is left out
    kind: str = "levels"  # "single", or "styles" for the style space
    levels: tuple[str, ...] = ("coarse", "medium", "fine")
    norm: Norm = "channels"  # "codes" as published
    epochs: int = 1
    batch_size: int = 2
    draws: int = 100_000  # samples of an epoch: 50,000 steps of 2
    rate: float = 0.5
    weights: LossWeights = field(default_factory=LossWeights)


RECIPES: dict[str, StyleclipRecipe] = {"styleclip": StyleclipRecipe()}


class FacesInW:
    """Aligned faces of a folder of pictures, or chance where there is no encoder; see `Samples`."""

    def __init__(self, recipe: StyleclipRecipe, folder: str | Path | None, generator: StyleGAN2Config) -> None:
        self.recipe, self.size, self.latent = recipe, generator.size, generator.latent
        self.pictures: list[Path] = []
        self._faces: Kept[int, NDArray[np.uint8]] = Kept()
        if recipe.encoder:
            from infinex.media.image import is_image

            self.pictures = sorted(p for p in Path(folder or ".").rglob("*") if p.is_file() and is_image(p))
            if not self.pictures:
                raise InputError(f"{folder} holds no pictures to train on")

    def __len__(self) -> int:
        return self.recipe.draws

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """`image` (3, size, size) in -1..1, or `z` (latent,) without an encoder."""
        if not self.pictures:
            return {"z": rng.normal(size=self.latent).astype(np.float32)}
        k = int(rng.integers(len(self.pictures)))
        face = self._faces.get(k, lambda: self._aligned(self.pictures[k]))
        return {"image": face.transpose(2, 0, 1).astype(np.float32) / np.float32(127.5) - 1}

    def _aligned(self, path: Path) -> NDArray[np.uint8]:
        from infinex.jobs.source import load_source

        source = load_source(path)[0]
        return align(source.image, source.face.landmarks, self.size)


def samples(recipe: StyleclipRecipe, folder: str | Path | None, split: str) -> FacesInW:
    """The samples of a recipe, the same in both splits. Raises InputError for unusable data."""
    return FacesInW(recipe, folder, load_stylegan2(recipe.generator).config if recipe.generator else StyleGAN2Config())


def task(recipe: StyleclipRecipe) -> StyleclipTask:
    """The networks of a recipe."""
    return StyleclipTask(recipe)


class StyleclipTask(Players):
    """One mapper and one training step of it, for the trainer every system shares."""

    panel = "face, the same under the text"

    def __init__(self, recipe: StyleclipRecipe, generator: StyleGAN2 | None = None, clip: Clip | None = None) -> None:
        self.recipe = recipe
        if not recipe.text:
            raise InputError(f"say what the mapper is for: {option('set')} text='a surprised face'")
        if generator is None and not recipe.generator:
            raise InputError(f"training in W+ needs a StyleGAN2: {option('set')} generator=FILE")
        self.generator = (generator or load_stylegan2(recipe.generator)).eval().requires_grad_(False)
        self.encoder = load_e4e(recipe.encoder) if recipe.encoder else None
        self.clip: Any = (clip or load_clip(recipe.clip)).requires_grad_(False)
        self.identity = load_arcface(recipe.arcface) if recipe.arcface else None
        with torch.no_grad():
            self.text = self.clip.text([recipe.text])
            widths = tuple(s.shape[1] for s in self.generator.style_vectors(self.generator.mean_w[None]))
        style = self.generator.config.style
        try:
            self.config = StyleclipConfig(
                recipe.kind, recipe.levels, style, widths if recipe.kind == "styles" else (), norm=recipe.norm
            )
        except ValueError as error:
            raise InputError(f"{option('set')} kind={recipe.kind}: {error}") from None
        self.networks: dict[str, nn.Module] = {"mapper": mapper(self.config)}
        self._optimizers: dict[str, Optimizer] = {"mapper": Ranger(self.networks["mapper"].parameters(), recipe.rate)}

    def _edited(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pictures before and after, codes before and after (one long vector each in the style space)."""
        device = next(iter(batch.values())).device
        for frozen in (self.generator, self.clip, self.encoder, self.identity):
            if frozen is not None:
                frozen.to(device)
        with torch.no_grad():
            if "image" in batch:
                codes = inverted(batch["image"], self.generator, self.encoder)
            else:
                codes = self.generator.spread(self.generator.mapping(batch["z"]))
            source = self.generator(codes)
        if self.config.kind == "styles":
            own = self.generator.style_vectors(codes)
            edited = self.networks["mapper"](own)
            return source, self.generator.draw(edited), torch.cat(own, 1), torch.cat(edited, 1)
        after = self.networks["mapper"](codes)
        return source, self.generator(after), codes, after

    def _terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        source, made, codes, edited = self._edited(batch)
        distance = clip_loss(self.clip.plain(clip_input(made)), self.text.to(made.device))
        who = self.identity.of if self.identity is not None else None
        return terms(self.recipe.weights, distance, made, source, codes, edited, who)

    def step(self, batch: dict[str, Tensor], fabric: Any) -> dict[str, float]:
        """One update by `image` (B, 3, H, W) or `z` (B, latent). Raises FloatingPointError."""
        return plain(self.update(["mapper"], self._terms(batch), fabric))

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """The terms, weighted, on faces of the same folder: none are held back."""
        return {k: float(v) for k, v in self._terms(batch).items()}

    @torch.no_grad()
    def sample_panel(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """(B·H, 2·W, 3): faces, and the same under the text."""
        source, made, _, _ = self._edited(batch)
        return grid([pixels(source, -1), pixels(made, -1)])

    def save(self, path: str | Path) -> None:
        """The mapper, with its text."""
        save(path, StyleclipWeights(self.config, self.states(), "styleclip", {"text": self.recipe.text}))

    def load_file(self, path: str | Path) -> None:
        """Begin with weights saved before. Raises WeightsError."""
        weights = load(path)
        if why := misfit(weights.networks["mapper"], self.networks["mapper"].state_dict()):
            raise WeightsError(f"{path} does not fit: it {why}")
        self.networks["mapper"].load_state_dict(weights.networks["mapper"])
