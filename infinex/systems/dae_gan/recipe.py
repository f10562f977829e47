"""How DAE-GAN is trained: the numbers, and one step of it; the paper gives few, the rest is ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from numpy.typing import NDArray
from torch import Tensor, nn

from infinex.errors import InputError, option
from infinex.nn.files import misfit
from infinex.nn.geometry import bent
from infinex.nn.losses import (
    Adversary,
    discriminator_adversarial,
    feature_matching,
    generator_adversarial,
    reconstruction,
)
from infinex.systems.dae_gan.deforming import warp_terms
from infinex.systems.dae_gan.model import FaceEmbedder, Made, PoseEmbedder, networks_of
from infinex.systems.dae_gan.weights import LAYOUT
from infinex.systems.embedded import inverse, then
from infinex.systems.latent_pose.weights import LAYOUT as POSES
from infinex.systems.registry import resolve
from infinex.training.data import Augmentation, ClipFrames, FramePairs, Samples, cache_folder, read_clips, to_chw
from infinex.training.embedded import SurfaceTeacher, both_frames, embedded_points, roughness, warp_apart
from infinex.training.stored import StoredTask, sizes_of
from infinex.training.task import Adams, Fabric, TrainerOptions, evaluating, grid, pixels, plain

POSE = "pose_encoder."  # Latent Pose's, in its file


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms."""

    frames: float = 1.0  # of the frames made again by the face's autoencoder
    pose: float = 1.0  # of the frame made again by the pose's, at each scale
    smoothness: float = 1e-6  # of warps, a sum over pixels
    bias: float = 1e-2  # of the mean warp
    reconstruction: float = 10.0  # of the generated picture
    matching: float = 10.0
    generator_gan: float = 1.0  # 0: no discriminator


# Few people, all of them framed alike: without this the networks know where a face is by the frame.
PLACED = Augmentation(True, 0.2, 0.2, 0.3, 0.03, shift=0.1, zoom=0.15, turn=10.0)
ON_A_CPU = TrainerOptions(precision="bf16-mixed", checkpoint_every=200, panel_every=400, ema=0.998)


@dataclass(frozen=True)
class DaeRecipe:
    """DAE-GAN: an embedded face from several frames, a pose code from one, and a generator of both."""

    config: str = "dae-gan"  # sizes of the networks, a key of `CONFIGS`
    start_from: str = ""  # weights that training begins with
    epochs: int = 150
    repeats: int = 50  # samples drawn of every clip in an epoch
    batch_size: int = 16
    frames: int = 3  # of the person, from which the embedded face is made
    scales: tuple[float, ...] = (1.0, 0.5, 0.25)  # of the pose's autoencoder
    milestones: tuple[int, ...] = (100, 130)
    rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    clip_gradient: float = 0.0  # largest norm of a network's gradient; 0: no limit
    adversary: Adversary = "hinge"
    taught: float = 0.0  # weight of warps' distance from what a face tracker says, all they then learn; 0: none
    eyes: str = ""  # weights of Latent Pose, with whose pose encoder both autoencoders then see; it stays as it is
    augmentation: Augmentation = field(default_factory=Augmentation)  # where a tracker teaches
    weights: LossWeights = field(default_factory=LossWeights)
    trainer: TrainerOptions = field(default_factory=TrainerOptions)


RECIPES: dict[str, DaeRecipe] = {
    "dae-gan": DaeRecipe(),
    "dae-gan-small": DaeRecipe(config="dae-gan-small", epochs=120, milestones=(90, 110), batch_size=12),
    "dae-gan-tiny": DaeRecipe(
        config="dae-gan-tiny", epochs=30, milestones=(24,), batch_size=6, rate=1e-3,
        weights=LossWeights(generator_gan=0.0, matching=0.0), trainer=TrainerOptions(ema=0.99),
    ),
    # For half an hour of one CPU core, too little to find warps from pictures alone: the face tracker teaches both.
    "dae-gan-face": DaeRecipe(
        config="dae-gan-face", eyes="latent-pose-face", epochs=5, repeats=20, batch_size=16, milestones=(3, 4),
        rate=3e-3, betas=(0.9, 0.999), taught=1.0, weights=LossWeights(generator_gan=0.0), augmentation=PLACED,
        trainer=ON_A_CPU,
    ),
}  # fmt: skip


class DaeTask(StoredTask):
    """See `infinex.training.task.Task`."""

    panel = "a frame of the person, the frame that is wanted, embedded face, the same in the pose, picture"
    layout = LAYOUT

    def __init__(self, recipe: DaeRecipe) -> None:
        self.recipe, self.config, self.name = recipe, sizes_of(LAYOUT, recipe.config), recipe.config
        self.milestones, self.clip_gradient = recipe.milestones, recipe.clip_gradient
        self.networks = networks_of(self.config)
        if not recipe.weights.generator_gan:
            del self.networks["discriminator"]
        self.eyes: list[nn.Module] = []
        if recipe.eyes:
            self._see_with(recipe.eyes)
        if recipe.taught:  # half the time on a CPU
            for name in ("face", "pose"):
                self.networks[name].to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._optimizers = Adams(self.networks, recipe.rate, recipe.betas)

    def _see_with(self, name: str) -> None:
        """Both autoencoders with the pose encoder of Latent Pose. Raises WeightsError, InputError."""
        found = POSES.read(resolve(name, "latent-pose")).networks["embedder"]
        state = {k.removeprefix(POSE): v for k, v in found.items() if k.startswith(POSE)}
        face, pose = cast(FaceEmbedder, self.networks["face"]), cast(PoseEmbedder, self.networks["pose"])
        self.eyes = [face.encoders.encoder, pose.encoder]
        for encoder in self.eyes:
            if why := misfit(state, encoder.state_dict()):
                raise InputError(f"{option('set')} eyes={name}: its pose encoder is none of {self.name}: it {why}")
            encoder.load_state_dict(state)
            encoder.requires_grad_(False)

    def _made(self, frames: Tensor, driving: Tensor) -> tuple[Made, Tensor, Tensor, Tensor]:
        """What is made; the frames again; the warps of both autoencoders."""
        face, warps, again = self.networks["face"](frames)
        network = self.networks["pose"]
        plain = network if isinstance(network, PoseEmbedder) else network.module
        assert isinstance(plain, PoseEmbedder)
        pose = plain.pose(driving)
        moved, deformed = plain(face, pose)
        picture = self.networks["generator"](face, deformed, pose)
        return Made(face, deformed, picture), again, warps, moved

    def step(self, batch: dict[str, Tensor], fabric: Fabric) -> dict[str, float]:
        """See `Task`: `frames` (B, N, 3, S, S) of a video and `driving` (B, 3, S, S), another one, in 0..1."""
        for encoder in self.eyes:
            encoder.eval()
        if self.recipe.taught:
            return plain(self.update(["face", "pose"], self._taught(batch), fabric))
        frames, driving, recipe, w = batch["frames"], batch["driving"], self.recipe, self.recipe.weights
        made, again, warps, moved = self._made(frames, driving)
        terms = {
            "frames": w.frames * reconstruction(again, frames.flatten(0, 1)),
            "pose": w.pose * self._scaled(made.deformed, driving),
        }
        for grids in (warps, moved):
            for name, term in warp_terms(grids, w.smoothness, w.bias).items():
                terms[name] = terms.get(name, torch.zeros((), device=driving.device)) + term
        terms["reconstruction"] = w.reconstruction * reconstruction(made.picture, driving)
        critic, trained = self.networks.get("discriminator"), ("face", "pose", "generator")
        if critic is not None:
            face = made.face.detach()
            fake = critic(made.picture, face)
            with torch.no_grad():
                real = critic(driving, face)
            terms["generator_gan"] = w.generator_gan * generator_adversarial(fake.score, recipe.adversary)
            if w.matching:
                levels = feature_matching(real.features, fake.features)
                terms["feature_matching"] = w.matching * torch.stack(levels).mean()
        done = self.update(trained, terms, fabric)
        if critic is not None:
            face, picture = made.face.detach(), made.picture.detach()
            scores = critic(driving, face).score, critic(picture, face).score
            terms = {"discriminator_gan": discriminator_adversarial(*scores, recipe.adversary)}
            done |= self.update(["discriminator"], terms, fabric)
        return plain(done)

    def _taught(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Both warps, of either picture of a pair, where a tracker says how they read the embedded face."""
        both, points = both_frames(batch)
        middle = torch.from_numpy(embedded_points()).to(both)[None]
        face: Any = self.networks["face"]
        terms = {}
        for name, warps in (("face", face(both[:, None], False)[1]), ("pose", self._pose(both))):
            terms[f"taught_{name}"] = 30 * self.recipe.taught * warp_apart(warps, points, middle)
            terms[f"rough_{name}"] = 15 * self.recipe.taught * roughness(warps)
        return terms

    def _pose(self, frames: Tensor) -> Tensor:
        """Where frames (B, 3, S, S) read an embedded face, by the pose's autoencoder (B, S, S, 2)."""
        network = self.networks["pose"]
        inner = network if isinstance(network, PoseEmbedder) else network.module
        assert isinstance(inner, PoseEmbedder)
        return network(frames, inner.pose(frames))[0]

    def origin(self) -> dict[str, str]:
        """Whoever uses weights must know that their generator was never asked for a picture."""
        return {"picture": "deformed"} if self.recipe.taught else {}

    def _scaled(self, made: Tensor, wanted: Tensor) -> Tensor:
        """Mean absolute difference at every scale, added up."""
        terms = []
        for scale in self.recipe.scales:
            step = round(1 / scale)
            terms.append(reconstruction(F.avg_pool2d(made, step), F.avg_pool2d(wanted, step)))
        return torch.stack(terms).sum()

    @torch.no_grad()
    def sample_panel(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """(B·S, 5·S, 3): a frame, the one that is wanted, embedded face, the same in the pose, picture."""
        with evaluating(*self.networks.values()):
            if self.recipe.taught:
                source, driving = batch["source"], batch["driving"]
                return grid([pixels(x) for x in (source, driving, *self._moved(source, driving))])
            made, *_ = self._made(batch["frames"], batch["driving"])
        return grid([pixels(x) for x in (batch["frames"][:, 0], batch["driving"], *made)])

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """Mean absolute error of pictures, of warped faces, and of a frame left as it is."""
        with evaluating(*self.networks.values()):
            if self.recipe.taught:
                wanted = batch["driving"]
                kinds = {"l1_deformed": self._moved(batch["source"], wanted)[1], "l1_static": batch["source"]}
                return {k: float((v.float() - wanted).abs().mean()) for k, v in kinds.items()}
            made, *_ = self._made(batch["frames"], batch["driving"])
        kinds = {"l1": made.picture, "l1_deformed": made.deformed, "l1_static": batch["frames"][:, 0]}
        return {k: float((v.float() - batch["driving"]).abs().mean()) for k, v in kinds.items()}

    def _moved(self, source: Tensor, driving: Tensor) -> tuple[Tensor, Tensor]:
        """Sources as embedded faces, and their own pixels where driving frames have them, (B, 3, S, S) each."""
        back = inverse(self.networks["face"](source[:, None], False)[1])
        return bent(source, back), bent(source, then(self._pose(driving), back))


class Glimpses:
    """`frames` (N, 3, S, S) of one clip and `driving` (3, S, S), one more of it, in 0..1."""

    def __init__(self, folder: str | Path, split: str, size: int, frames: int, repeats: int = 1) -> None:
        folder = Path(folder)
        self.clips = read_clips(folder, split)
        cache = cache_folder(folder, read_clips(folder), size, 8.0)
        self.files = [ClipFrames(c, size, cache) for c in self.clips]
        self.count, self.repeats = frames, repeats

    def __len__(self) -> int:
        return len(self.clips) * self.repeats

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """See `infinex.training.data.Samples`."""
        file = self.files[index % len(self.files)]
        chosen = rng.choice(len(file), self.count + 1, replace=len(file) <= self.count)
        pictures = [to_chw(image) for image in file[[int(i) for i in chosen]]]
        return {"frames": np.stack(pictures[:-1]), "driving": pictures[-1]}


def task(recipe: DaeRecipe) -> DaeTask:
    """For the trainer. Raises WeightsError, InputError where `eyes` are none of it."""
    return DaeTask(recipe)


def samples(recipe: DaeRecipe, folder: str | Path, split: str) -> Samples:
    """Frames of a prepared folder at the size of the networks."""
    size = sizes_of(LAYOUT, recipe.config).size
    if recipe.taught:
        train = split == "train"
        placed = recipe.augmentation if train else None
        return FramePairs(folder, split, size, recipe.repeats if train else 1, placed, teacher=SurfaceTeacher())
    return Glimpses(folder, split, size, recipe.frames, recipe.repeats if split == "train" else 1)
