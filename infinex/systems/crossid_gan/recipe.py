"""How CrossID-GAN is trained: the numbers, the samples, and one step of it.

Every step has both halves: the source's own motion, whose frame is known, and somebody else's, of which only is known
that the picture must look real, move as films do, and show that motion but not whose it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from numpy.typing import NDArray
from torch import Tensor, nn

from infinex.errors import InputError, option
from infinex.face import topology as top
from infinex.face.drawn import BOUNDARIES, lines
from infinex.face.pose import Pose, fit_pose
from infinex.face.topology import SURFACE, mean_face
from infinex.nn.losses import (
    StructuralPerceptualLoss,
    discriminator_adversarial,
    generator_adversarial,
    pixels_apart,
    reversed_gradient,
)
from infinex.nn.vgg import VGG19, VGGPerceptualLoss
from infinex.systems.crossid_gan.model import Content, CrossIdConfig, Made, networks_of
from infinex.systems.crossid_gan.weights import LAYOUT
from infinex.training.embedded import embedded_points, offset_apart
from infinex.training.several import Colours, SeveralFrames
from infinex.training.stored import StoredTask, sizes_of
from infinex.training.task import Adams, Fabric, TrainerOptions, evaluating, frozen, grid, pixels, plain

FRAMES = 3  # in a row, that the film critic sees
UNIT = 0.38  # eye distance in a picture of landmarks, over its side
MADE = ("motion", "content", "generator")  # trained together
FEATURES = [*top.LIPS_OUTER, *top.RIGHT_EYE, *top.LEFT_EYE]  # what counts more where pixels are compared
CRITICS = ("critic", "film_critic")
NEAR = 0.08  # of half a picture, how near to them that is


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms; the paper gives none, these are our choice."""

    reconstruction: float = 10.0
    features: float = 1.0  # of VGG-19, or of what stands in for it
    adversarial: float = 1.0  # of pictures
    films: float = 1.0
    identity: float = 0.1  # by which the classifier's gradient is turned round; 0: the ablation without the adversary
    code: float = 1.0  # that the picture made shows the motion it was made of
    # What the paper has not, and short runs learn by:
    pixels: float = 0.0  # mean absolute error and that of steps between neighbours, more around eyes and mouth
    taught: float = 0.0  # distance of the flows from what the tracked face says they are


@dataclass(frozen=True)
class CrossIdRecipe:
    """Everything about a training run but the data; all numbers are our choice."""

    config: str = "crossid-gan"  # sizes of the networks, a key of `CONFIGS`
    start_from: str = ""  # weights training begins with
    epochs: int = 100
    repeats: int = 75  # samples drawn of every clip in an epoch
    batch_size: int = 8
    looks: int = 240  # frames of a clip that are tracked
    rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    milestones: tuple[int, ...] = ()  # epochs after which the rates drop to a tenth
    ramp: int = 2000  # steps over which the adversary of identity comes in
    people: int = 8192  # whom the classifier can tell apart
    vgg: str = ""  # torchvision's vgg19 weights; without, the structural substitute is used
    colours: Colours = field(default_factory=Colours)
    weights: LossWeights = field(default_factory=LossWeights)
    trainer: TrainerOptions = field(default_factory=TrainerOptions)

    @property
    def frames(self) -> int:
        """In a row of a film."""
        return FRAMES if self.weights.films else 1

    @property
    def sizes(self) -> CrossIdConfig:
        """Sizes of the networks, with what the recipe changes in them."""
        return replace(sizes_of(LAYOUT, self.config), people=self.people)


# For a processor.
_SMALL = CrossIdRecipe(
    config="crossid-gan-small", epochs=40, repeats=20, batch_size=4, looks=60, rate=5e-4, ramp=300, people=64,
    weights=LossWeights(adversarial=0.1, films=0.1, identity=1.0),
    trainer=TrainerOptions(checkpoint_every=200, panel_every=200, ema=0.995),
)  # fmt: skip

# For a quarter of an hour of one CPU core: the face tracker says what the flows are; only identity has an adversary.
_FACE = CrossIdRecipe(
    config="crossid-gan-face", epochs=14, repeats=5, batch_size=8, looks=60, rate=2e-3, betas=(0.9, 0.999),
    milestones=(12,), ramp=100, people=64,
    colours=Colours(True, 0.2, 0.2, 0.3, 0.03, shift=0.15, zoom=0.2, turn=12.0, apart=0.5),
    weights=LossWeights(reconstruction=0, features=0, adversarial=0, films=0, identity=0.3, pixels=10.0, taught=10.0),
    trainer=TrainerOptions(precision="bf16-mixed", checkpoint_every=100, panel_every=100, ema=0.995),
)  # fmt: skip

RECIPES: dict[str, CrossIdRecipe] = {
    "crossid-gan-face": _FACE,
    "crossid-gan-face-no-adversary": replace(_FACE, weights=replace(_FACE.weights, identity=0.0)),
    "crossid-gan": CrossIdRecipe(),
    "crossid-gan-small": _SMALL,
    "crossid-gan-small-no-adversary": replace(_SMALL, weights=replace(_SMALL.weights, identity=0.0)),
    # To see that everything works.
    "crossid-gan-tiny": replace(_SMALL, config="crossid-gan-tiny", epochs=4, ramp=20),
}


def motion_picture(points: NDArray[np.floating], size: int, lines_size: int) -> tuple[NDArray, NDArray]:
    """What of landmarks (478, 3), in pixels of a picture of `size`, the networks are told.

    The landmarks as white lines (1, lines_size, lines_size) in 0..1, brought to one place and size by a similarity
    (Procrustes) since these alone would tell people apart, but turned as they are; and the place (3,): x and y of the
    head in -1..1, and the logarithm of its eye distance over half the picture."""
    places = np.asarray(points, np.float64)
    pose = fit_pose(mean_face(), places)
    middle = np.array([lines_size, 0.94 * lines_size, 0]) / 2 - 0.5
    still = Pose(UNIT * lines_size, pose.rotation, middle).to_image(pose.to_head(places))
    curves = [still[list(c), :2] for c in BOUNDARIES.values()]
    drawn = lines(curves, lines_size, thickness=max(1.0, lines_size / 48))[..., :1]
    half = (size - 1) / 2
    place = np.array([*(pose.translation[:2] / half - 1), np.log(pose.scale / half)], np.float32)
    return drawn.transpose(2, 0, 1).astype(np.float32) / 255, place


class CrossSamples:
    """Frames of one person and the motion of another; see `infinex.training.data.Samples`.

    `image` (3, S, S) whose content is wanted, `film` (T, 3, S, S) frames of the same clip in a row, pictures in 0..1;
    `lines` (T, 1, L, L) and `places` (T, 3) of these, `others` and `others_places` of as many frames of somebody else;
    `who` () and `others_who` () the numbers of both; `surface` and `own_surface` (468, 2) the tracked faces of `image`
    and of the last of the film, x and y in -1..1. Without a critic of films T is 1."""

    def __init__(self, recipe: CrossIdRecipe, folder: str | Path, split: str) -> None:
        self.recipe, self.config, self.train = recipe, recipe.sizes, split == "train"
        colours = recipe.colours if self.train else None
        self.frames = SeveralFrames(folder, split, self.config.size, colours, recipe.looks)
        if len(self.frames.people) > recipe.people:
            raise InputError(
                f"{folder} shows {len(self.frames.people)} people; raise {option('set')} people={recipe.people}"
            )

    def __len__(self) -> int:
        return len(self.frames) * (self.recipe.repeats if self.train else 1)

    def _told(self, points: NDArray) -> tuple[NDArray, NDArray]:
        drawn = [motion_picture(p, self.config.size, self.config.lines) for p in points]
        return np.stack([d for d, _ in drawn]), np.stack([p for _, p in drawn])

    def get(self, index: int, rng: np.random.Generator) -> dict[str, NDArray]:
        """See `Samples`; held-back clips come in their order."""
        clip = index % len(self.frames)
        if self.train:
            clip = self.frames.clip(rng)
        count = self.recipe.frames
        own = self.frames.some(clip, count + 1, rng, row=count)
        other = self.frames.some(self.frames.clip(rng, other_than=clip), count, rng, row=count)
        drawn, places = self._told(own.landmarks[:count])
        others, others_places = self._told(other.landmarks)
        surfaces = (own.landmarks[count - 1 :, :SURFACE, :2] * 2 / (self.config.size - 1) - 1).astype(np.float32)
        return {
            "image": own.images[count], "film": np.stack(own.images[:count]), "lines": drawn, "places": places,
            "others": others, "others_places": others_places, "who": np.array(own.who),
            "others_who": np.array(other.who), "own_surface": surfaces[0], "surface": surfaces[1],
        }  # fmt: skip


def samples(recipe: CrossIdRecipe, folder: str | Path, split: str) -> CrossSamples:
    """The samples of a recipe. Raises InputError for unusable data."""
    _check(recipe)
    return CrossSamples(recipe, folder, split)


def task(recipe: CrossIdRecipe) -> CrossIdTask:
    """The networks of a recipe. Raises InputError for sizes that do not exist."""
    _check(recipe)
    return CrossIdTask(recipe)


def _check(recipe: CrossIdRecipe) -> None:
    if recipe.people < 1:
        raise InputError(f"{option('set')} people={recipe.people}: it is at least 1")


class CrossIdTask(StoredTask):
    """The networks of a recipe and one training step, for the trainer every system shares."""

    panel = "content, own motion, prediction, the true frame, another's motion, prediction"
    layout, spare = LAYOUT, "classifier"

    def __init__(self, recipe: CrossIdRecipe) -> None:
        self.recipe, self.config, self.name = recipe, recipe.sizes, recipe.config
        self.milestones, self.networks = recipe.milestones, networks_of(self.config)
        for name, weight in zip(CRITICS, (recipe.weights.adversarial, recipe.weights.films)):
            if not weight:
                del self.networks[name]
        self.perceptual: nn.Module = (
            VGGPerceptualLoss(VGG19.load(recipe.vgg)) if recipe.vgg else StructuralPerceptualLoss()
        ).requires_grad_(False)
        self._optimizers = Adams(self.networks, recipe.rate, recipe.betas)

    def _strength(self) -> float:
        """By how much the classifier's gradient is turned round: it comes in over the first steps, as the optimiser
        counts them, so that a resumed run goes on in step."""
        return self.recipe.weights.identity * min(1.0, self.updates("classifier") / max(1, self.recipe.ramp))

    def _films(self, batch: dict[str, Tensor], content: Content) -> tuple[Tensor, Tensor]:
        """Codes (B, T, code) of the others' motion, and films (B, T, 3, S, S) in -1..1 of the source under it."""
        b, count = batch["others"].shape[:2]
        code = self.networks["motion"](batch["others"].flatten(0, 1))
        made = self.networks["generator"](code, batch["others_places"].flatten(0, 1), content.each(count)).image
        return code.reshape(b, count, -1), made.reshape(b, count, *made.shape[1:])

    def _taught(self, batch: dict[str, Tensor], content: Content, made: Made) -> dict[str, Tensor]:
        """The terms that short runs learn by, see `LossWeights`."""
        w, terms = self.recipe.weights, {}
        if w.pixels:
            real = batch["film"][:, -1]
            spots = batch["own_surface"][:, FEATURES, None, None]  # (B, N, 1, 1, 2)
            line = torch.linspace(-1, 1, self.config.size, device=real.device)
            off = (line - spots[..., 0]) ** 2 + (line[:, None] - spots[..., 1]) ** 2
            weight = 1 + 3 * torch.exp(-off.amin(1, keepdim=True) / (2 * NEAR**2))
            terms["pixels"] = w.pixels * torch.stack(pixels_apart((made.image + 1) / 2, real, weight)).sum()
        if w.taught and content.flow is not None and made.flow is not None:
            middle = torch.from_numpy(embedded_points()).to(made.image.device)[None]
            apart = offset_apart(content.flow, middle, batch["surface"])
            terms["taught"] = w.taught * (apart + offset_apart(made.flow, batch["own_surface"], middle))
        return terms

    def step(self, batch: dict[str, Tensor], fabric: Fabric) -> dict[str, float]:
        """Update the critics, then everything else; the terms, weighted. `batch` is of `CrossSamples`.

        Raises FloatingPointError, before a network is touched, when a loss is not a number."""
        w, nets = self.recipe.weights, self.networks
        content = nets["content"](batch["image"] * 2 - 1)
        # With the source's own motion: the last of the three frames is known.
        real = batch["film"][:, -1] * 2 - 1
        own_code = nets["motion"](batch["lines"][:, -1])
        drawn = nets["generator"](own_code, batch["places"][:, -1], content)
        made = drawn.image
        code, films = self._films(batch, content)
        out: dict[str, float] = {}

        middle = self.recipe.frames // 2
        pictures, real_films = (made, films[:, middle]), batch["film"].transpose(1, 2) * 2 - 1
        fake_films = films.transpose(1, 2)  # (B, 3, T, S, S)
        terms: dict[str, Tensor] = {}
        if w.adversarial:
            fake = torch.cat([nets["critic"](p.detach()) for p in pictures])
            terms["critic"] = discriminator_adversarial(nets["critic"](real), fake, "bce")
        if w.films:
            verdict = nets["film_critic"](real_films), nets["film_critic"](fake_films.detach())
            terms["film_critic"] = discriminator_adversarial(*verdict, "bce")
        if terms:
            out |= plain(self.update([n for n in CRITICS if n in terms], terms, fabric))

        terms = self._taught(batch, content, drawn)
        if w.reconstruction:
            terms["reconstruction"] = w.reconstruction * ((made - real) ** 2).mean()
        if w.features:
            levels = self.perceptual.to(made.device)((made + 1) / 2, (real + 1) / 2)
            terms["features"] = w.features * torch.stack(list(levels)).sum()
        trained = [*MADE, "reader", "classifier"]
        with frozen(*(nets[n] for n in CRITICS if n in nets)):
            if w.adversarial:
                fake = torch.cat([nets["critic"](p) for p in pictures])
                terms["generator_gan"] = w.adversarial * generator_adversarial(fake, "bce")
            if w.films:
                terms["films_gan"] = w.films * generator_adversarial(nets["film_critic"](fake_films), "bce")
            both = torch.cat([own_code, code.flatten(0, 1)])
            whose = torch.cat([batch["who"], batch["others_who"].repeat_interleave(self.recipe.frames)])
            terms["classifier"], accuracy = self.told_apart(both, whose)
            # The reader learns the code of real frames, and then says what the generated ones show.
            terms["reader"] = (nets["reader"](real) - own_code.detach()).abs().mean()
            if w.code:
                with frozen(nets["reader"]):
                    found = nets["reader"](films[:, middle])
                terms["code"] = w.code * (found - code[:, middle]).abs().mean()
            out |= plain(self.update(trained, terms, fabric))
        return out | {"accuracy": accuracy}

    def told_apart(self, codes: Tensor, whose: Tensor) -> tuple[Tensor, float]:
        """What the classifier loses on codes (N, code) of the people `whose` (N,), and its accuracy.

        It learns to tell whose motion it is, the encoder behind the codes learns to let nothing be told."""
        scores = self.networks["classifier"](reversed_gradient(codes, self._strength()))
        return F.cross_entropy(scores, whose), float((scores.detach().argmax(1) == whose).float().mean())

    def _shown(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The last frame made of the source's own motion, and the middle one of another's; in -1..1."""
        with evaluating(*self.networks.values()):
            content = self.networks["content"](batch["image"] * 2 - 1)
            code = self.networks["motion"](batch["lines"][:, -1])
            made = self.networks["generator"](code, batch["places"][:, -1], content).image
            return made, self._films(batch, content)[1][:, self.recipe.frames // 2]

    def origin(self) -> dict[str, str]:
        """Flows that a tracker taught."""
        return {"taught": "frontal"} if self.recipe.weights.taught and self.config.flow else {}

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """Mean absolute error of the predictions with the source's own motion, and of the source left as it is."""
        made, real = self._shown(batch)[0], batch["film"][:, -1]
        return {
            "l1": float(((made + 1) / 2 - real).abs().mean()),
            "l1_static": float((batch["image"] - real).abs().mean()),
        }

    @torch.no_grad()
    def sample_panel(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """(B·H, 6·W, 3), see `panel`."""
        made, other = self._shown(batch)
        size = made.shape[2:]
        middle = self.recipe.frames // 2
        own, theirs = (F.interpolate(batch[k][:, i], size=size) for k, i in (("lines", -1), ("others", middle)))
        return grid([
            pixels(batch["image"]), pixels(own), pixels(made, -1), pixels(batch["film"][:, -1]), pixels(theirs),
            pixels(other, -1),
        ])  # fmt: skip
