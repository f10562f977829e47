"""How MoCoGAN-HD is trained (section 4): a StyleGAN2 stays as it is, motion is learned from clips."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from infinex.errors import InputError, WeightsError, option
from infinex.nn.files import misfit
from infinex.nn.losses import bare, discriminator_adversarial, generator_adversarial
from infinex.nn.stylegan2 import StyleGAN2, load_stylegan2
from infinex.systems.mocogan_hd.losses import (
    LossWeights,
    contrastive,
    gradient_penalty,
    matching,
    mutual,
    relativistic,
)
from infinex.systems.mocogan_hd.model import Memory, MocoganConfig, MotionGenerator, PictureCritic, networks_of, pairs
from infinex.systems.mocogan_hd.weights import MocoganWeights, load, save
from infinex.training.data import ClipFrames, cache_folder, read_clips, to_chw
from infinex.training.task import Players, frozen, grid, pixels, plain


@dataclass(frozen=True)
class MocoganRecipe:
    """Everything about a training run but the clips; the defaults are the published ones."""

    generator: str = ""  # StyleGAN2
    in_domain: bool = False  # the clips show what the generator draws: pairs of frames are judged, not single ones
    hidden: int = 384
    directions: int = 384
    frames: int = 16
    every: int = 2  # which frames of a clip
    size: int = 128  # of the crops that are judged
    width: int = 64
    picture_width: int = 96
    queue: int = 4096
    codes: int = 1_000_000  # drawn to find the principal directions of W
    epochs: int = 30
    repeats: int = 100  # how often a clip is drawn in an epoch
    batch_size: int = 16
    motion_steps: int = 5  # updates of the motion for one of the critics
    rate: float = 1e-4
    weights: LossWeights = field(default_factory=LossWeights)
    cache_gb: float = 8.0


RECIPES: dict[str, MocoganRecipe] = {
    "mocogan-hd": MocoganRecipe(),
    "mocogan-hd-in-domain": MocoganRecipe(in_domain=True),
    "mocogan-hd-small": MocoganRecipe(
        hidden=128, directions=64, frames=8, size=32, width=16, picture_width=16, queue=256, codes=20_000, batch_size=4,
    ),
}  # fmt: skip


class Windows:
    """`video` (T, 3, S, S) in -1..1: every few frames of a clip, from anywhere in it; see `Samples`."""

    def __init__(self, recipe: MocoganRecipe, folder: str | Path, split: str) -> None:
        folder = Path(folder)
        self.recipe, self.split = recipe, split
        self.clips = read_clips(folder, split)
        cache = cache_folder(folder, read_clips(folder), recipe.size, recipe.cache_gb)
        self.frames = [ClipFrames(c, recipe.size, cache) for c in self.clips]

    def __len__(self) -> int:
        return len(self.clips) * self.recipe.repeats

    def get(self, index: int, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        """A short clip is seen more slowly, at worst as one frame that stands."""
        r, frames = self.recipe, self.frames[index % len(self.frames)]
        every = max(1, min(r.every, (len(frames) - 1) // max(1, r.frames - 1)))
        start = int(rng.integers(max(1, len(frames) - every * (r.frames - 1))))
        places = np.minimum(start + every * np.arange(r.frames), len(frames) - 1)
        return {"video": np.stack([to_chw(i) for i in frames[places.tolist()]]) * np.float32(2) - np.float32(1)}


def samples(recipe: MocoganRecipe, folder: str | Path, split: str) -> Windows:
    """The samples of a recipe. Raises InputError for unusable data."""
    return Windows(recipe, folder, split)


def task(recipe: MocoganRecipe) -> MocoganTask:
    """The networks of a recipe."""
    return MocoganTask(recipe)


@torch.no_grad()
def principal(generator: StyleGAN2, count: int, directions: int, batch: int = 4000) -> Tensor:
    """The first principal directions of `count` codes w, times their deviations: (directions, style)."""
    seed = torch.Generator().manual_seed(0)
    style = generator.config.style
    total, square, done = torch.zeros(style).double(), torch.zeros(style, style).double(), 0
    while done < count:
        n = min(batch, count - done)
        w = generator.mapping(torch.randn(n, generator.config.latent, generator=seed)).double()
        total, square, done = total + w.sum(0), square + w.T @ w, done + n
    mean = total / count
    values, vectors = torch.linalg.eigh(square / count - torch.outer(mean, mean))
    order = values.argsort(descending=True)[:directions]
    return (vectors[:, order] * values[order].clamp_min(0).sqrt()).T.float()


def augmented(x: Tensor) -> Tensor:
    """Pictures (B, 3, S, S) in -1..1 as contrast compares them (section 3.3): a square up to a quarter as wide cut
    out, then mirrored, or other colours, or turned up to half round, moved by a tenth and scaled by a twentieth."""
    b, _, s, _ = x.shape
    x = x.clone()
    for k in range(b):
        side = int(torch.randint(1, max(2, s // 4 + 1), ()))
        top, left = (int(torch.randint(0, s - side + 1, ())) for _ in range(2))
        x[k, :, top : top + side, left : left + side] = 0
    kind = int(torch.randint(3, ()))
    if kind == 0:
        return x.flip(3)
    if kind == 1:
        return x + (torch.rand(b, 3, 1, 1, device=x.device) - 0.5)
    turn = (torch.rand(b) * 2 - 1) * torch.pi
    scale = 1 + (torch.rand(b) * 2 - 1) * 0.05
    moved = (torch.rand(b, 2) * 2 - 1) * 0.2  # a tenth of the side, which is two long
    rows = torch.stack([
        torch.stack([scale * turn.cos(), -scale * turn.sin(), moved[:, 0]], 1),
        torch.stack([scale * turn.sin(), scale * turn.cos(), moved[:, 1]], 1),
    ], 1).to(x)  # fmt: skip
    return F.grid_sample(x, F.affine_grid(rows, [*x.shape], align_corners=False), align_corners=False)


class MocoganTask(Players):
    """The networks of a recipe and one training step, for the trainer every system shares."""

    panel = "frames of a video, frames that were made"

    def __init__(self, recipe: MocoganRecipe, generator: StyleGAN2 | None = None) -> None:
        self.recipe = recipe
        if generator is None and not recipe.generator:
            raise InputError(f"training in W needs a StyleGAN2: {option('set')} generator=FILE")
        self.generator = (generator or load_stylegan2(recipe.generator)).eval().requires_grad_(False)
        style = self.generator.config.style
        if recipe.frames < 2:
            raise InputError(f"{option('set')} frames={recipe.frames}: motion takes at least 2")
        try:
            self.config = MocoganConfig(
                style=style, noise=style, hidden=recipe.hidden, directions=min(recipe.directions, style),
                frames=recipe.frames, size=recipe.size, width=recipe.width, picture_width=recipe.picture_width,
                queue=recipe.queue,
            )  # fmt: skip
            self.networks: dict[str, nn.Module] = networks_of(self.config, recipe.in_domain)
        except ValueError as error:
            raise InputError(f"{option('set')} size={recipe.size}: {error}") from None
        motion = cast(MotionGenerator, self.networks["motion"])
        motion.directions.copy_(principal(self.generator, recipe.codes, self.config.directions))
        if not recipe.in_domain:
            self.networks["memory"] = Memory(cast(PictureCritic, self.networks["picture"]), self.config)
        rate = recipe.rate
        self._optimizers: dict[str, Optimizer] = {
            "motion": Adam(motion.parameters(), rate, (0.5, 0.999)),
            "video": Adam(self.networks["video"].parameters(), rate, (0.5, 0.999)),
            "picture": Adam(self.networks["picture"].parameters(), rate, (0.0, 0.999), eps=1e-6),
        }
        self._last: dict[str, float] = {}

    def _made(self, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """A video (B, T, 3, S, S) and the loss of its motion's noise."""
        self.generator.to(device)
        with torch.no_grad():
            first = self.generator.mapping(torch.randn(count, self.generator.config.latent, device=device))
        codes, noise, told = self.networks["motion"](first, self.recipe.frames)
        frames = self.generator(codes.flatten(0, 1))
        if frames.shape[-1] != self.recipe.size:
            frames = F.interpolate(frames, size=self.recipe.size, mode="bilinear", antialias=True, align_corners=False)
        return frames.reshape(count, -1, *frames.shape[1:]), mutual(noise, told)

    def step(self, batch: dict[str, Tensor], fabric: Any) -> dict[str, float]:
        """Update the motion and, every `motion_steps` times, the critics; the terms, weighted, of `video`
        (B, T, 3, S, S). Raises FloatingPointError."""
        real = batch["video"]
        turn = self.updates("motion") % self.recipe.motion_steps == 0
        video, told = self._made(len(real), real.device)
        if torch.rand(()) < 0.5:  # forwards or backwards
            real = real.flip(1)
            seen = video.flip(1)
        else:
            seen = video
        later = int(torch.randint(1, video.shape[1], ()))
        if turn:
            self._last = self._critics(real, seen.detach(), video.detach(), later, fabric)
        terms = self._motion_terms(real, seen, video, later) | {"mutual": self.recipe.weights.mutual * told}
        done = plain(self.update(["motion"], terms, fabric))
        if "memory" in self.networks:
            memory = cast(Memory, bare(self.networks["memory"]))
            memory.follow(bare(self.networks["picture"]))
            memory.remember(augmented(video[:, 0].detach()), augmented(video[:, later].detach()))
        return done | self._last

    def _video(self, video: Tensor) -> Any:
        return self.networks["video"](pairs(video) if self.recipe.in_domain else video.transpose(1, 2))

    def _critics(self, real: Tensor, fake: Tensor, video: Tensor, later: int, fabric: Any) -> dict[str, float]:
        w = self.recipe.weights
        over, under = relativistic(self._video(real), self._video(fake))
        critic = bare(self.networks["video"])
        shaped = [pairs(v) if self.recipe.in_domain else v.transpose(1, 2) for v in (real, fake)]
        terms = {
            "critic_video": w.video * (over + under),
            "critic_penalty": w.penalty * gradient_penalty(critic, shaped[0], shaped[1]),
        }
        judge = self.networks["picture"]
        if self.recipe.in_domain:
            a, b = relativistic(judge(pairs(real)[:, :, later - 1]), judge(pairs(fake)[:, :, later - 1]))
            terms["critic_picture"] = w.video * (a + b)
        else:
            memory = cast(Memory, bare(self.networks["memory"]))
            views = [judge(augmented(video[:, k])) for k in (0, 0, later, later)]
            terms["critic_picture"] = discriminator_adversarial(views[0][0], views[2][0], "hinge")
            terms["critic_contrast"] = w.contrast * (
                contrastive((views[0][1], views[1][1]), memory.real)
                + contrastive((views[2][1], views[3][1]), memory.fake)
            )
        return plain(self.update(["video", "picture"], terms, fabric))

    def _motion_terms(self, real: Tensor, seen: Tensor, video: Tensor, later: int) -> dict[str, Tensor]:
        w, judge = self.recipe.weights, self.networks["picture"]
        with frozen(self.networks["video"], judge):
            over, under = relativistic(self._video(seen), self._video(real))
            terms = {"video": w.video * (over + under)}
            if self.recipe.in_domain:
                a, b = relativistic(judge(pairs(seen)[:, :, later - 1]), judge(pairs(real)[:, :, later - 1]))
                return terms | {"picture": w.video * (a + b)}
            made, first = judge(video[:, later]), judge(video[:, 0])
            terms["picture"] = generator_adversarial(made[0], "hinge")
            terms["match"] = w.match * matching(made[1], first[1])
            return terms

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """How much real and made videos move from frame to frame: mean absolute change, pictures as 0..1."""
        real = batch["video"]
        made, told = self._made(len(real), real.device)
        moves = {"moves": made, "moves_real": real}
        return {k: float(v.diff(dim=1).abs().mean() / 2) for k, v in moves.items()} | {"mutual": float(told)}

    @torch.no_grad()
    def sample_panel(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """(B·H, 8·W, 3): four frames of a video, four of one that was made."""
        real = batch["video"]
        made, _ = self._made(len(real), real.device)
        places = np.linspace(0, real.shape[1] - 1, 4).round().astype(int)
        return grid([pixels(v[:, k], -1) for v in (real, made) for k in places])

    def save(self, path: str | Path) -> None:
        """The motion generator, and the critics beside it."""
        save(path, MocoganWeights(self.config, self.states(), "mocogan-hd"))

    def load_file(self, path: str | Path) -> None:
        """Begin with weights saved before; critics of other sizes stay as they are. Raises WeightsError."""
        for name, state in load(path).networks.items():
            if name not in self.networks:
                continue
            if why := misfit(state, self.networks[name].state_dict()):
                if name == "motion":
                    raise WeightsError(f"{path} does not fit: it {why}")
                continue
            self.networks[name].load_state_dict(state)
