"""Engine `stylegan`: a portrait and a sentence to frames, by the recurrent generator and a frozen StyleGAN2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infinex.drivers.text import check_language
from infinex.errors import WeightsError
from infinex.nn.clip import Clip, load_clip
from infinex.nn.e4e import E4e, load_e4e
from infinex.nn.stylegan2 import StyleGAN2, load_stylegan2
from infinex.systems.inversion import ENCODER, GENERATOR, aligned, inverted, member, picture
from infinex.systems.language.model import LanguageModel
from infinex.systems.language.weights import load

Image = NDArray[np.uint8]
PROMPT = "The person is {}"  # in the manner of the paper, for a text of one word or two
BLOCK = 16  # frames of one sequence; longer ones go on from the last code
LAYOUT = {"generator": GENERATOR, "motion": "the recurrent generator and mappers",
          "encoder": ENCODER, "clip": "a CLIP model"}  # fmt: skip


@dataclass
class Aligned:
    """What depends on the portrait alone."""

    image: Tensor  # (1, 3, H, W) in -1..1, aligned
    embedding: Tensor  # (1, E) CLIP's
    inversion: Tensor  # (1, styles, style)


class StyleganAnimator:
    """Frames of a portrait doing what a sentence says; see `infinex.jobs.act.Actor`."""

    name, frames, worded = "stylegan", BLOCK, True

    def __init__(
        self, model: LanguageModel, generator: StyleGAN2, encoder: E4e | None, clip: Clip, device: str = "cpu"
    ) -> None:
        self.device = torch.device(device)
        c = model.config
        if c.styles != generator.config.styles or c.style != generator.config.style:
            raise WeightsError(
                f"the mappers make {c.styles} codes of {c.style}, "
                f"the generator takes {generator.config.styles} of {generator.config.style}"
            )
        if clip.size != c.code:
            raise WeightsError(f"CLIP's embeddings have {clip.size} numbers, the motion codes {c.code}")
        self.model, self.generator = model.eval().to(self.device), generator.eval().to(self.device)
        self.encoder = encoder.to(self.device) if encoder is not None else None
        self.clip = clip.to(self.device)
        self.side = generator.config.size

    @classmethod
    def from_folder(cls, folder: str | Path, device: str = "cpu") -> StyleganAnimator:
        """From a folder with `generator`, `motion`, `encoder` (.safetensors, .pt or .pth) and `clip/`.

        Raises WeightsError that names what is missing."""
        found = {name: member(folder, name, LAYOUT, cls.name) for name in LAYOUT}
        generator = load_stylegan2(found["generator"])
        model = load(found["motion"], generator.config.style)
        return cls(model, generator, load_e4e(found["encoder"]), load_clip(found["clip"]), device)

    def check(self, text: str) -> None:
        """Raises InputError for a text that is not English."""
        check_language(text)

    @torch.inference_mode()
    def prepare(self, image: Image, landmarks: NDArray[np.floating]) -> Aligned:
        """Align, embed and invert a portrait (H, W, 3) with its face (478, 3)."""
        x = aligned(image, landmarks, self.generator, self.device)
        return Aligned(x, self.clip.image(x / 2 + 0.5), inverted(x, self.generator, self.encoder))

    @torch.inference_mode()
    def stream(self, source: Aligned, text: str, frames: int, seed: int = 0) -> Iterator[Image]:
        """`frames` pictures (H, W, 3), one by one, with memory that does not grow."""
        words = text.strip().rstrip(".")
        sentence = self.clip.text([PROMPT.format(words) if len(words.split()) < 3 else words])
        content = self.model.visual(source.embedding) + source.inversion
        z = sentence + source.embedding
        generator = torch.Generator().manual_seed(seed)
        h = 0.01 * torch.randn(1, self.model.config.hidden, generator=generator).to(self.device)
        start, done = z, 0
        while done < frames:
            before = z
            moved, z, h = self.model.motion(before, BLOCK, h, "inference")
            offsets = moved + (before - start)[:, None]
            for t in range(1 if done else 0, BLOCK):  # a later block begins where the last one ended
                if done >= frames:
                    return
                codes = content + self.model.textual(offsets[:, t])
                yield picture(self.generator(codes, noise="stored"))
                done += 1


def open_actor(weights: str) -> StyleganAnimator:
    """For `infinex.jobs.act`. Raises WeightsError for a folder that lacks something."""
    return StyleganAnimator.from_folder(weights)
