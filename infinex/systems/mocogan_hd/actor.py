"""`--engine mocogan-hd`: a face that moves as it likes, by chance, from what the portrait shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infinex.errors import WeightsError
from infinex.nn.e4e import E4e, load_e4e
from infinex.nn.stylegan2 import StyleGAN2, load_stylegan2
from infinex.systems.inversion import ENCODER, GENERATOR, Image, aligned, inverted, member, picture
from infinex.systems.mocogan_hd.model import MotionGenerator
from infinex.systems.mocogan_hd.weights import MocoganWeights, read

LAYOUT = {"generator": GENERATOR, "encoder": ENCODER, "motion": "a motion generator of MoCoGAN-HD"}


class MocoganAnimator:
    """See `infinex.jobs.act.Actor`."""

    name, worded = "mocogan-hd", False

    def __init__(self, generator: StyleGAN2, encoder: E4e | None, motion: MocoganWeights, device: str = "cpu") -> None:
        """Raises WeightsError where motion and generator do not fit."""
        if motion.config.style != generator.config.style:
            raise WeightsError(
                f"the motion is for codes of {motion.config.style}, the generator takes {generator.config.style}"
            )
        self.device = torch.device(device)
        self.generator = generator.eval().requires_grad_(False).to(self.device)
        self.encoder = None if encoder is None else encoder.to(self.device)
        self.motion: MotionGenerator = motion.motion().requires_grad_(False).to(self.device)
        self.side, self.frames = generator.config.size, motion.config.frames

    @classmethod
    def from_folder(cls, folder: str | Path, device: str = "cpu") -> MocoganAnimator:
        """From a folder with `generator`, `encoder` and `motion`. Raises WeightsError that names what is missing."""
        found = {n: member(folder, n, LAYOUT, cls.name) for n in LAYOUT}
        return cls(load_stylegan2(found["generator"]), load_e4e(found["encoder"]), read(found["motion"]), device)

    def check(self, text: str) -> None:
        """It takes no text."""

    @torch.inference_mode()
    def prepare(self, image: Image, landmarks: NDArray[np.floating]) -> Tensor:
        """Codes (1, styles, style) of a portrait (H, W, 3) with its face (478, 3)."""
        x = aligned(image, landmarks, self.generator, self.device)
        return inverted(x, self.generator, self.encoder)

    @torch.inference_mode()
    def stream(self, source: Tensor, text: str, frames: int, seed: int = 0) -> Iterator[Image]:
        """`frames` pictures; the first is the portrait's inversion. Motion is of all layers alike, so that what is
        the portrait's own in W+ stays."""
        first = source.mean(1)
        steps = self.motion.steps(first, torch.Generator().manual_seed(seed))
        for _, code in zip(range(frames), steps):
            yield picture(self.generator(source + (code - first)[:, None]))


def open_actor(weights: str) -> MocoganAnimator:
    """For `infinex.jobs.act`. Raises WeightsError for a folder that lacks something."""
    return MocoganAnimator.from_folder(weights, "cuda" if torch.cuda.is_available() else "cpu")
