"""`--engine styleclip`: a face walks in a straight line from what it shows to what a text says.

The line is what language-guided animation compares its recurrence with: codes w + share · (w' - w), share from 0 to 1.
Where w' lies a mapper says that was trained for the text, or an optimisation by CLIP for any text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infinex.errors import InputError, WeightsError
from infinex.nn.arcface import ArcFace, load_arcface
from infinex.nn.clip import Clip, load_clip
from infinex.nn.e4e import E4e, load_e4e
from infinex.nn.stylegan2 import StyleGAN2, load_stylegan2
from infinex.systems.inversion import ENCODER, GENERATOR, Image, aligned, has, inverted, member, picture
from infinex.systems.styleclip.losses import clip_input, clip_loss, identity_loss, ramp
from infinex.systems.styleclip.model import CodeMapper, StyleMapper
from infinex.systems.styleclip.weights import StyleclipWeights, read

FILLERS = frozenset(["a", "an", "the", "person", "man", "woman", "face", "expression", "with", "looking", "is"])
LAYOUT = {"generator": GENERATOR, "encoder": ENCODER, "mapper": "a mapper of StyleCLIP, or a CLIP model as clip/"}


@dataclass(frozen=True)
class Optimisation:
    """How w' is sought without a mapper (section 4, equation 1; values as published)."""

    steps: int = 300
    rate: float = 0.1
    change: float = 0.008  # λ of the *summed* squared change
    identity: float = 0.0


@dataclass
class Line:
    """Where a portrait starts."""

    image: Tensor  # (1, 3, S, S) in -1..1
    codes: Tensor  # (1, styles, style)


def optimised(
    generator: StyleGAN2,
    codes: Tensor,
    text: Tensor,
    see: Callable[[Tensor], Tensor],
    o: Optimisation = Optimisation(),
    identity: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Codes (1, L, C) that look like an embedding `text` (1, E), not far from `codes`; `see` embeds `clip_input`."""
    found = codes.detach().clone().requires_grad_(True)
    optimizer = torch.optim.Adam([found], lr=o.rate)
    who = None
    if identity is not None and o.identity:
        with torch.no_grad():
            who = identity(generator(codes))
    for k in range(o.steps):
        for group in optimizer.param_groups:
            group["lr"] = ramp(k, o.steps, o.rate)
        made = generator(found)
        loss = clip_loss(see(clip_input(made)), text).mean() + o.change * (found - codes).square().sum()
        if who is not None and identity is not None:
            loss = loss + o.identity * identity_loss(identity(made), who)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return found.detach()


def _meant(text: str) -> set[str]:
    """The words that make a text: `surprised` of "a surprised face"; all of them where there is no such word."""
    words = set(re.findall(r"\w+", text.lower()))
    return words - FILLERS or words


class StyleclipAnimator:
    """See `infinex.jobs.act.Actor`."""

    name, frames, worded = "styleclip", 16, True

    def __init__(
        self,
        generator: StyleGAN2,
        encoder: E4e | None,
        mapper: StyleclipWeights | None,
        clip: Clip | None,
        optimisation: Optimisation = Optimisation(),
        identity: ArcFace | None = None,
        device: str = "cpu",
    ) -> None:
        """Either `mapper` or `clip` is there. Raises WeightsError where mapper and generator do not fit."""
        self.device = torch.device(device)
        self.generator = generator = generator.eval().requires_grad_(False).to(self.device)
        self.encoder = None if encoder is None else encoder.to(self.device)
        self.clip = None if clip is None else clip.to(self.device)
        self.side, self.optimisation = generator.config.size, optimisation
        self.identity = None if identity is None else identity.to(self.device).of
        self.text = mapper.origin.get("text", "") if mapper else ""
        self.mapper: CodeMapper | StyleMapper | None = None
        if mapper:
            self.mapper = mapper.mapper().requires_grad_(False).to(self.device)
        if mapper is not None:
            c, g = mapper.config, generator
            fits = c.style == g.config.style
            if c.kind == "styles":
                fits = c.widths == tuple(s.shape[1] for s in g.style_vectors(g.mean_w[None]))
            if not fits:
                raise WeightsError(f"the mapper is for another generator than this one of {self.side} pixels")

    @classmethod
    def from_folder(cls, folder: str | Path, device: str = "cpu") -> StyleclipAnimator:
        """From a folder with `generator`, `encoder` and `mapper` or `clip/`; `arcface` keeps the identity while a
        text is sought, where it is there. Raises WeightsError that names what is missing."""
        generator, encoder = (member(folder, n, LAYOUT, cls.name) for n in ("generator", "encoder"))
        path, clip = has(folder, "mapper"), has(folder, "clip")
        if path is None and clip is None:
            member(folder, "mapper", LAYOUT, cls.name)
        who = has(folder, "arcface")
        return cls(
            load_stylegan2(generator), load_e4e(encoder), read(path) if path else None,
            load_clip(clip) if clip and not path else None,
            Optimisation(identity=0.005 if who else 0.0), load_arcface(who) if who else None, device,
        )  # fmt: skip

    def check(self, text: str) -> None:
        """Raises InputError where a mapper was trained for another text."""
        if self.mapper is not None and self.text and _meant(text) != _meant(self.text):
            raise InputError(f"the mapper was trained for {self.text!r}, not for {text!r}; a CLIP model takes any text")

    @torch.inference_mode()
    def prepare(self, image: Image, landmarks: NDArray[np.floating]) -> Line:
        """Align and invert a portrait (H, W, 3) with its face (478, 3)."""
        x = aligned(image, landmarks, self.generator, self.device)
        return Line(x, inverted(x, self.generator, self.encoder))

    def stream(self, source: Line, text: str, frames: int, seed: int = 0) -> Iterator[Image]:
        """`frames` pictures from what the face shows to what the text says."""
        codes = source.codes.clone()  # outside of inference, so that gradients can be taken
        if self.mapper is None:
            assert self.clip is not None
            target = optimised(
                self.generator,
                codes,
                self.clip.text([text]).detach().to(self.device),
                self.clip.plain,
                self.optimisation,
                self.identity,
            )
            pictures = (self.generator(codes + s * (target - codes)) for s in np.linspace(0, 1, frames))
        elif isinstance(self.mapper, StyleMapper):
            start = self.generator.style_vectors(codes)
            end = self.mapper(start)
            pictures = (
                self.generator.draw([a + float(s) * (b - a) for a, b in zip(start, end)])
                for s in np.linspace(0, 1, frames)
            )
        else:
            end_codes = self.mapper(codes)
            pictures = (self.generator(codes + s * (end_codes - codes)) for s in np.linspace(0, 1, frames))
        for x in pictures:
            yield picture(x.detach())


def open_actor(weights: str) -> StyleclipAnimator:
    """For `infinex.jobs.act`. Raises WeightsError for a folder that lacks something."""
    return StyleclipAnimator.from_folder(weights, "cuda" if torch.cuda.is_available() else "cpu")
