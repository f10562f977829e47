"""How X2Face is trained: the numbers, and one step of each stage."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from infinex.errors import InputError, option
from infinex.nn.geometry import bent, warp
from infinex.nn.losses import reconstruction
from infinex.nn.vgg import STAGES_16, CaffeFeatures
from infinex.systems.speech.listener import HIDDEN
from infinex.systems.x2face.data import HeardPairs, PoseTeacher
from infinex.systems.x2face.losses import Identity, first_stage
from infinex.systems.x2face.model import Driving, Embedding, networks_of
from infinex.systems.x2face.weights import LAYOUT
from infinex.training.data import Augmentation, FramePairs, Samples
from infinex.training.embedded import (
    PointsOf,
    SurfaceTeacher,
    both_frames,
    embedded_points,
    read_at,
    roughness,
    warp_apart,
)
from infinex.training.stored import StoredTask, sizes_of
from infinex.training.task import Adams, Fabric, TrainerOptions, evaluating, grid, pixels, plain


@dataclass(frozen=True)
class X2FaceRecipe:
    """X2Face: an embedded face and a warp that reads it; the defaults are the authors' first stage."""

    config: str = "x2face"  # sizes of the networks, a key of `CONFIGS`
    start_from: str = ""  # weights that training begins with
    stage: Literal["points", "warp", "identity", "pose", "voice"] = "warp"  # points: before the first, where taught
    still: bool = False  # the first stage begins with warps that change nothing, not with random ones as the authors'
    epochs: int = 3000
    repeats: int = 1  # pairs drawn of every clip in an epoch
    batch_size: int = 16
    milestones: tuple[int, ...] = ()  # epochs after which the rate drops to a tenth
    optimizer: Literal["sgd", "adam"] = "sgd"
    rate: float = 1e-3
    momentum: float = 0.9  # of sgd
    clip_gradient: float = 0.0  # largest norm of a network's gradient; 0: no limit, as the authors
    identity: float = 1.0  # weight of the second stage's terms
    taught: float = 0.0  # weight of both warps' distance from what a face tracker says, first stage; 0: none
    vgg_face: str = ""  # VGG-Face's weights for them; without, the embedded face stands for the person
    augmentation: Augmentation = field(default_factory=Augmentation)
    trainer: TrainerOptions = field(default_factory=TrainerOptions)


def _stages(name: str, **common: Any) -> dict[str, X2FaceRecipe]:
    """The four stages of one size: the last three go on from the first, or from the second."""
    first = X2FaceRecipe(config=name, **common)
    out = {name: first}
    for stage in ("identity", "pose", "voice"):
        changed = dict(common, stage=stage, start_from=name, augmentation=Augmentation())
        if stage in ("pose", "voice"):
            changed |= {"epochs": 20, "optimizer": "adam", "rate": 2e-3, "trainer": TrainerOptions(ema=0.99)}
        out[f"{name}-{stage}"] = X2FaceRecipe(config=name, **changed)
    return out


# Few people, all of them framed alike: without this the networks know where a face is by the frame.
PLACED = Augmentation(
    flip=True, brightness=0.2, contrast=0.2, saturation=0.3, hue=0.03, shift=0.1, zoom=0.15, turn=10.0
)
ON_A_CPU = TrainerOptions(precision="bf16-mixed", checkpoint_every=200, panel_every=400, ema=0.998)

RECIPES: dict[str, X2FaceRecipe] = {
    **_stages("x2face"),
    **_stages("x2face-small", epochs=120, repeats=50, milestones=(90, 110), still=True, optimizer="adam", rate=5e-4,
              augmentation=Augmentation(flip=True, brightness=0.1, contrast=0.1, saturation=0.1, hue=0.03)),
    **_stages("x2face-tiny", epochs=30, repeats=50, batch_size=8, milestones=(24,), still=True, optimizer="adam",
              rate=1e-3, augmentation=Augmentation(flip=True), trainer=TrainerOptions(ema=0.99)),
    # For half an hour of one CPU core, too little to find warps from pictures alone: the face tracker teaches where
    # faces are, then both warps.
    "x2face-face-points": X2FaceRecipe(
        config="x2face-face", stage="points", epochs=6, repeats=50, milestones=(4, 5), still=True, optimizer="adam",
        rate=3e-3, taught=1.0, augmentation=PLACED, trainer=ON_A_CPU,
    ),
    "x2face-face": X2FaceRecipe(
        config="x2face-face", start_from="x2face-face-points", epochs=4, repeats=20, milestones=(2, 3), still=True,
        optimizer="adam", rate=1e-3, taught=1.0, augmentation=PLACED, trainer=ON_A_CPU,
    ),
}  # fmt: skip
TRAINED = {"points": ("points",), "warp": ("embedding", "driving"), "pose": ("reader", "writer"), "voice": ("voice",)}


class X2FaceTask(StoredTask):
    """See `infinex.training.task.Task`."""

    panel = "source, driving, embedded face, result"
    layout = LAYOUT

    def __init__(self, recipe: X2FaceRecipe) -> None:
        self.recipe, self.config, self.name = recipe, sizes_of(LAYOUT, recipe.config), recipe.config
        self.milestones, self.clip_gradient = recipe.milestones, recipe.clip_gradient
        self.networks = networks_of(self.config)
        if recipe.still:
            for name in TRAINED["warp"]:
                nn.init.zeros_(self.networks[name].up[0].weight)  # type: ignore[union-attr,index,arg-type]
        if recipe.stage == "points":
            embedding, driving = cast(Embedding, self.networks["embedding"]), cast(Driving, self.networks["driving"])
            # Both see pictures with the same eyes, until the next stage.
            embedding.down, embedding.down_norm = driving.down, driving.down_norm
            self.networks["points"] = PointsOf(driving, driving.bottleneck, self.config.waist)
        self.trains = TRAINED.get(recipe.stage, TRAINED["warp"])
        chosen = {n: self.networks[n] for n in self.trains}
        self._optimizers: dict[str, Optimizer] = (
            {n: SGD(net.parameters(), lr=recipe.rate, momentum=recipe.momentum) for n, net in chosen.items()}
            if recipe.optimizer == "sgd"
            else Adams(chosen, recipe.rate)
        )
        if recipe.taught:  # half the time on a CPU
            for name in TRAINED["warp"]:
                self.networks[name].to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        vgg = CaffeFeatures.load(recipe.vgg_face, STAGES_16) if recipe.vgg_face else None
        self.identity = Identity(vgg)

    def _face(self, pictures: Tensor) -> Tensor:
        """Embedded faces of single pictures (B, 3, S, S)."""
        return warp(pictures, self.networks["embedding"](pictures)[0])

    def _result(self, source: Tensor, driving: Tensor) -> tuple[Tensor, Tensor]:
        face = self._face(source)
        return face, warp(face, self.networks["driving"](driving)[0])

    def step(self, batch: dict[str, Tensor], fabric: Fabric) -> dict[str, float]:
        """See `Task`: `source` and `driving` (B, 3, S, S) in 0..1, and what the stage is taught."""
        self.identity.to(batch["source"].device)
        stage = "taught" if self.recipe.taught and self.recipe.stage == "warp" else self.recipe.stage
        terms = getattr(self, f"_{stage}")(batch)
        return plain(self.update(self.trains, terms, fabric))

    def _warp(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return first_stage(self._result(batch["source"], batch["driving"])[1], batch["driving"])

    def _points(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        both, taught = both_frames(batch)
        return {"points": 30 * self.recipe.taught * (self.networks["points"](both) - taught).abs().mean()}

    def stored(self) -> list[str]:
        """See `StoredTask`: what only taught the others is left out."""
        return [n for n in self.networks if n != "points"]

    def _taught(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The first stage where a tracker says what each warp is: between a picture and the embedded face."""
        source, driving, taught = batch["source"], batch["driving"], batch["taught"][..., :2]
        own, theirs, middle = taught[:, 0], taught[:, 1], torch.from_numpy(embedded_points()).to(source)[None]
        # The networks see both pictures, so that each learns from each.
        both, _ = both_frames(batch)
        embedding = self.networks["embedding"](both)[0]
        reading = self.networks["driving"](both.roll(len(source), 0))[0]
        mine, wanted = embedding[: len(source)], reading[: len(source)]
        whole = read_at(mine, wanted.flatten(1, 2)).unflatten(1, wanted.shape[1:3])
        w = 30 * self.recipe.taught
        return {
            "embedding": w * warp_apart(embedding, middle, torch.cat([own, theirs])),
            "driving": w * warp_apart(reading, torch.cat([theirs, own]), middle),
            "both": w * warp_apart(whole, theirs, own),
            "roughness": 0.5 * w * (roughness(embedding) + roughness(reading)),
            "reconstruction": 5 * reconstruction(bent(source, whole), driving),
        }

    def origin(self) -> dict[str, str]:
        """Whoever uses weights must know that the embedded face has a place of its own."""
        return {"embedded": "frontal"} if self.recipe.taught else {}

    def _identity(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        source, driving = batch["source"], batch["driving"]
        face, own = self._result(source, driving)
        # Another sample's driving frame: as a rule another person's.
        other = warp(face, self.networks["driving"](driving.roll(1, 0))[0])
        w = self.recipe.identity
        return first_stage(own, driving) | {
            "identity_own": w * self.identity(own, source, self._face),
            "identity_other": w * self.identity(other, source, self._face),
        }

    def _bottlenecks(self, *pictures: Tensor) -> list[Tensor]:
        network = self.networks["driving"]
        with torch.no_grad(), evaluating(network):
            # Through `forward`, which a trainer's wrapper knows.
            return [network(p)[1] for p in pictures]

    def _pose(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        both = torch.cat(self._bottlenecks(batch["source"], batch["driving"]))
        angles = batch["taught"][:, :, 0, :3].transpose(0, 1).flatten(0, 1)  # all sources, then all driving frames
        return {
            "angles": (self.networks["reader"](both) - angles).square().mean(),
            "bottleneck": (self.networks["writer"](angles) - both).square().mean(),
        }

    def _voice(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        source, driving = (torch.relu(b) for b in self._bottlenecks(batch["source"], batch["driving"]))
        voice = self.networks["voice"]
        change = voice(batch["driving_heard"]) - voice(batch["source_heard"])
        return {"heard": (change - (driving - source)).square().mean()}

    @torch.no_grad()
    def sample_panel(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """(B·S, 4·S, 3): source, driving, embedded face and result of every pair."""
        with evaluating(*self.networks.values()):
            face, result = self._result(batch["source"], batch["driving"])
        return grid([pixels(batch["source"]), pixels(batch["driving"]), pixels(face), pixels(result)])

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """Mean absolute error of results and of sources left as they are, and that of what the stage learns."""
        with evaluating(*self.networks.values()):
            result = self._result(batch["source"], batch["driving"])[1]
            extra = getattr(self, f"_{self.recipe.stage}")(batch) if self.recipe.stage in ("pose", "voice") else {}
        wanted = batch["driving"]
        return {
            "l1": float((result.float() - wanted).abs().mean()),
            "l1_static": float((batch["source"] - wanted).abs().mean()),
            **{k: float(v) for k, v in extra.items()},
        }


def task(recipe: X2FaceRecipe) -> X2FaceTask:
    """For the trainer. Raises InputError where the recipe contradicts itself."""
    if recipe.stage == "voice" and sizes_of(LAYOUT, recipe.config).heard != HIDDEN:
        raise InputError(
            f"{option('set')} config={recipe.config}: its voice is described by the authors' own features, which are "
            "not here; x2face-small and x2face-tiny listen as the voices of Infinex do"
        )
    if recipe.stage != "warp" and bool(recipe.taught) != (recipe.stage == "points"):
        raise InputError(f"{option('set')} taught: above 0 for stage=points, 0 or above for stage=warp, else 0")
    sizes = sizes_of(LAYOUT, recipe.config)
    if recipe.stage == "points" and sizes.waist != sizes.width * min(8, 2 ** (sizes.levels - 1)):
        raise InputError(f"{option('set')} config={recipe.config}: its waist is not as wide as the embedding network")
    return X2FaceTask(recipe)


def samples(recipe: X2FaceRecipe, folder: str | Path, split: str) -> Samples:
    """Pairs of frames of a prepared folder at the size of the networks; held-back ones as they are."""
    train, size = split == "train", sizes_of(LAYOUT, recipe.config).size
    repeats = recipe.repeats if train else 1
    if recipe.stage == "voice":
        return HeardPairs(folder, split, size, repeats)
    teacher: Any = PoseTeacher() if recipe.stage == "pose" else SurfaceTeacher() if recipe.taught else None
    return FramePairs(folder, split, size, repeats, recipe.augmentation if train else None, teacher=teacher)
