"""Training in W+ as in the paper: CLIP's encoders, the recurrence and the mappers learn, the generator does not."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from numpy.typing import NDArray
from torch import Tensor, nn

from infinex.errors import InputError, WeightsError, option
from infinex.nn.clip import Clip, load_clip
from infinex.nn.e4e import SIDE, load_e4e
from infinex.nn.lpips import load_lpips
from infinex.nn.stylegan2 import StyleGAN2, load_stylegan2
from infinex.systems.inversion import align
from infinex.systems.language.engine import PROMPT
from infinex.systems.language.losses import (
    LossWeights,
    content_regularisation,
    contrastive,
    end_regularisation,
    path_regularisation,
)
from infinex.systems.language.model import LanguageConfig, LanguageModel
from infinex.systems.language.weights import load, save
from infinex.training.task import Adams, Players, plain

WORDS = (
    "happy", "smiling", "laughing", "sad", "crying", "angry", "furious", "surprised", "shocked", "stunned", "afraid",
    "scared", "disgusted", "contemptuous", "winking", "closing eyes", "opening mouth", "pouting", "yawning", "bored",
    "tired", "confused", "thinking", "proud", "shy", "nervous", "calm", "kissing",
)  # fmt: skip


@dataclass(frozen=True)
class StyleganRecipe:
    """Sections III and IV-A of the paper; the files are given by path."""

    generator: str = ""  # StyleGAN2
    encoder: str = ""  # e4e; without, portraits are drawn from the generator's own space as for paintings
    clip: str = "openai/clip-vit-base-patch32"
    lpips: str = ""  # without, that term is left out
    words: tuple[str, ...] = WORDS
    frames: int = 4
    epochs: int = 1
    batch_size: int = 4
    draws: int = 8000  # samples of an epoch: 2000 steps of 4
    rate: float = 1e-3
    rate_clip: float = 1e-5
    betas: tuple[float, float] = (0.0, 0.999)
    weights: LossWeights = field(default_factory=LossWeights)


class Portraits:
    """Aligned faces of a folder of pictures with a word each, or words alone where there is no encoder."""

    def __init__(self, recipe: StyleganRecipe, folder: str | Path | None, size: int) -> None:
        self.recipe, self.size = recipe, size
        self.pictures: list[Path] = []
        self._faces: dict[int, NDArray[np.uint8]] = {}
        if recipe.encoder:
            from infinex.media.image import is_image

            self.pictures = sorted(p for p in Path(folder or ".").rglob("*") if p.is_file() and is_image(p))
            if not self.pictures:
                raise InputError(f"{folder} holds no pictures to train on")

    def __len__(self) -> int:
        return self.recipe.draws

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """`word`, the number of a word, and `image` (3, size, size) in -1..1, or `z` (512) without an encoder."""
        word = np.array(int(rng.integers(len(self.recipe.words))))
        if not self.pictures:
            return {"word": word, "z": rng.normal(size=512).astype(np.float32)}
        face = self._face(int(rng.integers(len(self.pictures))))
        return {"word": word, "image": face.transpose(2, 0, 1).astype(np.float32) / 127.5 - 1}

    def _face(self, k: int) -> NDArray[np.uint8]:
        if k not in self._faces:
            from infinex.jobs.source import load_source

            source = load_source(self.pictures[k])[0]
            self._faces[k] = align(source.image, source.face.landmarks, self.size)
        return self._faces[k]


class StyleganTask(Players):
    """One training step of equation 12."""

    panel = ""

    def __init__(
        self, recipe: StyleganRecipe, generator: StyleGAN2 | None = None, clip: Clip | None = None,
        judge: Clip | None = None,
    ) -> None:  # fmt: skip
        self.recipe = recipe
        if generator is None and not recipe.generator:
            raise InputError(f"training in W+ needs a StyleGAN2: {option('set')} generator=FILE")
        self.generator = (generator or load_stylegan2(recipe.generator)).eval().requires_grad_(False)
        self.encoder = load_e4e(recipe.encoder) if recipe.encoder else None
        own = clip or load_clip(recipe.clip)
        # What judges the result stays as it was while its copy learns.
        self.judge = (judge or load_clip(recipe.clip)).requires_grad_(False)
        self.lpips = load_lpips(recipe.lpips) if recipe.lpips else None
        g = self.generator.config
        self.config = LanguageConfig(code=own.size, style=g.style, styles=g.styles)
        self.networks: dict[str, nn.Module] = {"clip": own, "language": LanguageModel(self.config)}
        self._optimizers = Adams(self.networks, {"clip": recipe.rate_clip, "language": recipe.rate}, recipe.betas)

    def step(self, batch: dict[str, Tensor], fabric: Any) -> dict[str, float]:
        """One update by `word` (B,) and `image` (B, 3, H, W), or `z` (B, 512)."""
        return plain(self.update(list(self.networks), self.terms(batch), fabric))

    def terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weighted terms of equation 12, per sequence."""
        r, w = self.recipe, self.recipe.weights
        clip: Any = self.networks["clip"]
        language = self.networks["language"]
        device = batch["word"].device
        for frozen in (self.generator, self.judge, self.encoder, self.lpips):
            if frozen is not None:
                frozen.to(device)
        texts = [PROMPT.format(r.words[int(k)]) for k in batch["word"]]
        with torch.no_grad():
            if "image" in batch:
                picture = batch["image"]
                assert self.encoder is not None
                inversion = self.encoder(F.interpolate(picture, size=(SIDE, SIDE), mode="area"))
            else:
                inversion = self.generator.spread(self.generator.mapping(batch["z"]))
                picture = self.generator(inversion)
        image = clip(picture / 2 + 0.5)
        codes, content = language(image, clip(texts), inversion, r.frames)
        b = len(codes)
        ends = codes[:, [0, -1]]
        shown = self.generator(ends.reshape(2 * b, *ends.shape[2:])).reshape(b, 2, *picture.shape[1:])
        kept = sorted({int(k): i for i, k in enumerate(batch["word"])}.values())
        said = self.judge.text([texts[i] for i in kept])
        terms = {
            "content": w.content * content_regularisation(codes, content) / b,
            "path": w.path * path_regularisation(codes) / b,
            "contrast": w.contrast * contrastive(self.judge.image(shown[kept, -1] / 2 + 0.5), said) / len(kept),
        }
        if w.ends:
            terms["ends"] = w.ends * end_regularisation(codes) / b
        if self.lpips is not None and w.lpips:
            small = [F.interpolate(x, size=(224, 224), mode="area") for x in (shown[:, 0], shown[:, 1], picture)]
            terms["lpips"] = w.lpips * (self.lpips(small[0], small[2]) + self.lpips(small[1], small[2])).mean()
        return terms

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """The terms on held-back portraits."""
        return {k: float(v) for k, v in self.terms(batch).items()}

    @torch.no_grad()
    def sample_panel(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """None: the generator's pictures are too large to be made while training."""
        return np.zeros((0, 0, 3), np.uint8)

    def save(self, path: str | Path) -> None:
        """The recurrence and the mappers."""
        save(path, self.networks["language"], self.config)

    def load_file(self, path: str | Path) -> None:
        """Begin with weights saved before."""
        try:
            self.networks["language"].load_state_dict(load(path, self.config.style).state_dict())
        except RuntimeError:
            raise WeightsError(f"{path} is of other sizes than this recipe") from None
