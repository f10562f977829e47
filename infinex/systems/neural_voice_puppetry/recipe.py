"""How Neural Voice Puppetry is trained: the voice of many people, and the puppet of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from infinex.errors import InputError, WeightsError, option
from infinex.face import topology as top
from infinex.face.morphable.bases import own_model
from infinex.face.morphable.person import Person
from infinex.jobs.fit import fit
from infinex.media.audio import has_audio
from infinex.media.files import atomic_path
from infinex.nn.files import load_networks, misfit
from infinex.nn.losses import StructuralPerceptualLoss
from infinex.nn.vgg import VGG16
from infinex.systems.neural_voice_puppetry import weights
from infinex.systems.neural_voice_puppetry.losses import LossWeights, picture_terms, style_loss, voice_terms
from infinex.systems.neural_voice_puppetry.model import (
    CONFIGS,
    NOW,
    SCALE,
    Puppet,
    PuppetConfig,
    SpokenMouth,
    VoiceConfig,
    VoiceNet,
    valid_in,
)  # fmt: skip
from infinex.systems.neural_voice_puppetry.sound import (
    in_step,
    late,
    mouths_in,
    read_rows,
    rows_in,
    samples_of,
    windows,
)
from infinex.systems.oneperson import Frames, Part, Progress, Say, prepared
from infinex.systems.puppet import uv_map
from infinex.systems.registry import resolve
from infinex.systems.speech.data import HEARD
from infinex.training.data import Clip, beside, read_clips
from infinex.training.task import (
    Adams,
    Fabric,
    Players,
    TrainerOptions,
    checked,
    evaluating,
    falling,
    grid,
    pixels,
    plain,
)

PULL, LIVELY = 0.3, 1.3  # of the map from mouths of --speech: ridge over their variance, and how much more it moves
RIDGE = 1e-4  # of the mapping, over the usual square of what is heard: that is nearly of one dimension
SOUND = "sound.npy"
SPEECH = "speech"  # as a voice: the network of --speech, whose coefficients are mapped to the person's expressions
SKIN, CHANGES = 64, 4  # frames of which the skin is taken, and ways in which it changes


@dataclass(frozen=True)
class PuppetRecipe:
    """One person's face, drawn by a neural texture and moved by their voice; the defaults are the published ones."""

    config: str = "neural-voice-puppetry"  # sizes of the networks, a key of `CONFIGS`
    size: int = 0  # pixels; 0: as the configuration says
    kind: str = "expression"  # what the texture changes with: expression, audio or nothing
    part: Part = field(default_factory=Part)
    person: str = ""  # a fit of the clip by infinex fit; else one is made
    skin: bool = False  # the texture begins as the person's skin, and the kernel leaves it; else both are random
    voice: str = ""  # a trained network that hears, or that of --speech; else one is taught by this clip alone
    sound: str = ""  # rows of sound made elsewhere, for a voice that hears other ones than ours
    vgg: str = ""  # torchvision's vgg16; else a substitute that needs none
    held: float = 0.1
    start_from: str = ""
    epochs: int = 50
    batch_size: int = 1
    rate: float = 2e-4
    voice_rate: float = 1e-3
    betas: tuple[float, float] = (0.5, 0.999)
    weights: LossWeights = field(default_factory=LossWeights)
    trainer: TrainerOptions = field(default_factory=TrainerOptions)
    folder: str = ""  # of the prepared clip; a run knows its own

    @property
    def sizes(self) -> PuppetConfig:
        """Sizes of the networks, with what the recipe changes in them."""
        if self.config not in CONFIGS:
            raise InputError(f"{option('set')} config={self.config}: it is one of {', '.join(CONFIGS)}")
        if self.kind not in ("expression", "audio", "nothing"):
            raise InputError(f"{option('set')} kind={self.kind}: it is expression, audio or nothing")
        config = CONFIGS[self.config]
        config = replace(config, size=self.size or config.size, kind=self.kind)
        if self.kind == "audio" and self.voice == SPEECH:
            raise InputError(f"{option('set')} kind=audio: it needs a voice that hears rows of sound, such as voice=")
        if self.sound and self.voice == SPEECH:
            raise InputError(f"{option('set')} sound: voice=speech hears the clip itself; set another voice, or voice=")
        if config.size % 32 or config.size < 64:
            raise InputError(f"{option('set')} size={config.size}: a multiple of 32 from 64 on is wanted")
        return config


@dataclass(frozen=True)
class VoiceRecipe:
    """The voice of many people, each with a mapping of their own; the defaults are the published ones."""

    start_from: str = ""
    epochs: int = 50
    decay_epochs: int = 30
    batch_size: int = 16
    rate: float = 1e-4
    betas: tuple[float, float] = (0.5, 0.999)
    subspace: int = 32
    people: int = 0  # identities of the training split; the samples know
    trainer: TrainerOptions = field(default_factory=TrainerOptions)


RECIPES: dict[str, PuppetRecipe | VoiceRecipe] = {
    "neural-voice-puppetry": PuppetRecipe(),
    # For less than an hour of two cores.
    "neural-voice-puppetry-128": PuppetRecipe(
        config="neural-voice-puppetry-128", skin=True, voice=SPEECH, epochs=10, batch_size=4, rate=1e-3,
        weights=LossWeights(style=0.0),
        trainer=TrainerOptions(threads=2, ema=0.99, log_every=10, panel_every=250, checkpoint_every=250),
    ),
    "neural-voice-puppetry-voice": VoiceRecipe(),
}  # fmt: skip


def mouth_mask() -> NDArray[np.float32]:
    """(V,) 1 around the mouth of the skin mesh, falling softly."""
    mean = own_model().mean
    lips = mean[[*top.LIPS_OUTER, *top.LIPS_INNER]]
    away = np.linalg.norm(mean[:, None] - lips[None], axis=2).min(1)
    return np.asarray(np.exp(-((away / 0.25) ** 2)), np.float32)


# -- samples --------------------------------------------------------------------------------------


def prepare(
    recipe: PuppetRecipe | VoiceRecipe, data: Path, run: Path, say: Say, progress: Progress | None
) -> tuple[PuppetRecipe | VoiceRecipe, Path]:
    """Fit a clip, or every clip of a prepared folder, and listen to it; see `infinex.training.recipes.Entry`."""
    if isinstance(recipe, VoiceRecipe):
        people = _taught(data, say, progress)
        return replace(recipe, people=len({p for p, _ in people})), data
    folder, part = run / "person", recipe.part
    if data.is_file() and not recipe.sound and not has_audio(data):
        raise InputError(f"{data.name} has no sound: neural-voice-puppetry learns how a person speaks")
    sizes = recipe.sizes
    prepared(data, folder, part, recipe.person, sizes.size, say, progress, shown=False, lower=sizes.lower)
    if not (folder / SOUND).is_file():
        person = Person.load(folder / "person.npz")
        if recipe.sound:
            rows = read_rows(recipe.sound, _hears(recipe))
            if abs(len(rows) - len(person)) > 2:
                raise InputError(f"{option('set')} sound: {len(rows)} rows of sound, and {len(person)} frames")
        else:
            samples = samples_of(data, (part.start, part.end))
            heard = in_step(samples, late(samples, person.points, person.fps)[0])
            rows = (mouths_in if recipe.voice == SPEECH else rows_in)(heard, person.fps, len(person))
        with atomic_path(folder / SOUND) as temporary, temporary.open("wb") as file:
            np.save(file, rows)
    return replace(recipe, folder=str(folder)), folder


def _voice_of(recipe: PuppetRecipe) -> weights.VoiceWeights | None:
    if recipe.voice in ("", SPEECH):
        return None
    return weights.read_voice(resolve(recipe.voice, "neural-voice-puppetry"))


def _hears(recipe: PuppetRecipe) -> int:
    found = _voice_of(recipe)
    return recipe.sizes.features if found is None else found.config.features


def talkers(
    folder: Path, split: str, say: Say = lambda _: None, progress: Progress | None = None
) -> list[tuple[Clip, Path]]:
    """Clips of a prepared folder in which somebody is seen to speak what is heard, and where their fits are kept, with
    their sound and expressions beside them: made once."""
    kept = Path(folder) / ".puppetry"
    out = []
    for clip in read_clips(folder, split):
        path, fitted = _heard(kept, clip), beside(kept, clip, "person.npz")
        if not path.is_file():
            if not has_audio(clip.path):
                continue
            try:
                kept.mkdir(exist_ok=True)
            except OSError as error:
                raise InputError(f"{kept} cannot be made, where what was heard is kept: {error.strerror}") from None
            try:
                person = Person.load(fitted) if fitted.is_file() else fit(clip.path, fitted, None, 0.0, None, progress)
            except InputError as error:
                say(f"{clip.name} is left out: {error}")
                continue
            samples = samples_of(clip.path, (0.0, None))
            lag, fits = late(samples, person.points, person.fps)
            if fits < HEARD:
                say(f"{clip.name} is left out: nobody in it is seen to speak what is heard")
                continue
            rows = rows_in(in_step(samples, lag), person.fps, len(person))
            expressions = np.stack([s.expression for s in person.states]).astype(np.float32)
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.savez(file, rows=rows, expressions=expressions, valid=person.valid)
        out.append((clip, fitted))
    if not out:
        raise InputError(f"nobody in {folder} is heard: use clips of people who speak")
    return out


def _heard(kept: Path, clip: Clip) -> Path:
    return beside(kept, clip, "heard.npz")


def _taught(folder: Path, say: Say = lambda _: None, progress: Progress | None = None) -> list[tuple[str, Path]]:
    """People who teach, and what is kept of each of their clips."""
    return [(c.identity, _heard(folder / ".puppetry", c)) for c, _ in talkers(folder, "train", say, progress)]


class Speech:
    """Instants of people who speak: `sound` (3, 8, 16, F) of a frame, the one before and after, what is `wanted` there
    (3, E), and the `identity`."""

    def __init__(self, people: list[tuple[str, Path]]) -> None:
        names = sorted({p for p, _ in people})
        self._clips: list[tuple[int, NDArray, NDArray]] = []
        self._rows: list[tuple[int, int]] = []
        for name, path in people:
            with np.load(path, allow_pickle=False) as data:
                rows, expressions, valid = data["rows"], data["expressions"], data["valid"]
            number = len(self._clips)
            self._clips.append((names.index(name), rows, expressions))
            self._rows += [(number, t) for t in np.flatnonzero(valid).tolist()]

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """See `infinex.training.data.Samples`."""
        clip, t = self._rows[index]
        identity, rows, expressions = self._clips[clip]
        at = np.clip([t, t - 1, t + 1], 0, len(rows) - 1)
        return {"sound": windows(rows, at), "wanted": expressions[at], "identity": np.int64(identity)}


class Puppeteer(Frames):
    """Instants of a prepared clip: `frame` (3, S, S) and `uv` (2, S, S), `sound` and `wanted` as of `Speech`."""

    def __init__(self, folder: Path, size: int, held: float, split: str, lower: bool = False) -> None:
        super().__init__(folder, size, held, split, lower)
        self.lower = lower
        self.heard = np.load(folder / SOUND, allow_pickle=False)
        self.expressions = np.stack([s.expression for s in self.person.states]).astype(np.float32)

    def __len__(self) -> int:
        return len(self.rows)

    def uv(self, t: int) -> NDArray[np.float32]:
        """Which place of the face each pixel of a frame shows, (2, S, S)."""
        return uv_map(self.likeness, self.person.states[t], self.size, self.lower)

    def skin(self, side: int) -> NDArray[np.float32]:
        """The usual colours in -1..1 of the face rolled out, and how they mostly change, three channels each, (N, side,
        side); nearby ones where none was seen."""
        some = self.rows[np.linspace(0, len(self.rows) - 1, min(SKIN, len(self.rows))).astype(int)].tolist()
        seen = np.stack([self._rolled_out(t, side) for t in some])
        mean = _filled(seen.sum(0))
        sure = np.minimum(seen[..., 3:], 1)
        off = np.stack([_filled(s) for s in seen]) * sure + mean * (1 - sure) - mean
        parts = np.linalg.svd(off.reshape(len(off), -1), full_matrices=False)[2][:CHANGES].reshape(-1, side, side, 3)
        parts *= float(off.std()) * side * np.sqrt(3)
        return np.ascontiguousarray(np.concatenate([mean[None], parts]).transpose(0, 3, 1, 2).reshape(-1, side, side))

    def _rolled_out(self, t: int, side: int) -> NDArray[np.float32]:
        """Sums of the colours that a frame shows of each place, and of how often it does, (side, side, 4)."""
        out, uv = np.zeros((side, side, 4), np.float32), self.uv(t)
        shown = (uv != -1).any(0)
        x, y = np.round((uv[:, shown] + 1) / 2 * side).astype(int).clip(0, side - 1)
        np.add.at(out, (y, x), np.column_stack([self.frame(t)[:, shown].T, np.ones(len(x), np.float32)]))
        return np.asarray(cv2.GaussianBlur(out, (0, 0), 0.7))

    def get(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """See `infinex.training.data.Samples`."""
        t = int(self.rows[index])
        at = np.clip([t, t - 1, t + 1], 0, min(len(self.heard), len(self.expressions)) - 1)
        return {
            "frame": self.frame(t), "uv": self.uv(t),
            "sound": windows(self.heard, at), "wanted": self.expressions[at], "identity": np.int64(0),
        }  # fmt: skip


def samples(recipe: PuppetRecipe | VoiceRecipe, folder: str | Path, split: str) -> Speech | Puppeteer:
    """The samples of a recipe. Raises InputError for unusable data."""
    if isinstance(recipe, VoiceRecipe):
        return Speech(_taught(Path(folder)) if split == "train" else [])
    return Puppeteer(Path(folder), recipe.sizes.size, recipe.held, split, recipe.sizes.lower)


def task(recipe: PuppetRecipe | VoiceRecipe) -> VoiceTask | PuppetTask:
    """The networks of a recipe."""
    return VoiceTask(recipe) if isinstance(recipe, VoiceRecipe) else PuppetTask(recipe)


def _filled(total: NDArray[np.float32]) -> NDArray[np.float32]:
    """Colours (side, side, 3) of sums (side, side, 4), from what is seen at a place to what is around it."""
    side = len(total)
    out, unseen = np.zeros((side, side, 3), np.float32), np.ones((side, side, 1), np.float32)
    for width in (0.0, 2.0, 6.0, side / 4):
        soft = np.asarray(cv2.GaussianBlur(total, (0, 0), width)) if width else total
        sure = np.minimum(soft[..., 3:] / 0.5, 1) * unseen
        out += sure * soft[..., :3] / np.maximum(soft[..., 3:], 1e-6)
        unseen -= sure
    return out


# -- the voice ------------------------------------------------------------------------------------


def spoken(voice: nn.Module, batch: Mapping[str, Tensor], basis: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """The terms of a voice for a batch of `Speech`."""
    sound, wanted = batch["sound"], batch["wanted"]
    B, three = sound.shape[:2]
    made, unfiltered = voice(sound.flatten(0, 1), batch["identity"].repeat_interleave(three))
    made, unfiltered = made.view(B, three, -1), unfiltered.view(B, three, -1)[:, 0]
    frames = made[:, 0], made[:, 1], made[:, 2], unfiltered
    return voice_terms(frames, (wanted[:, 0], wanted[:, 1], wanted[:, 2]), basis, mask)


def _geometry() -> tuple[Tensor, Tensor]:
    return torch.from_numpy(own_model().expression.astype(np.float32)), torch.from_numpy(mouth_mask())


def mapping_of(heard: NDArray[np.floating], wanted: NDArray[np.floating]) -> NDArray[np.float32]:
    """A person's own mapping (E, K) by least squares, from what is heard (T, K) of them and what they do (T, E)."""
    a = SCALE * np.asarray(heard, np.float64)
    normal = a.T @ a
    normal += RIDGE * np.trace(normal) / len(normal) * np.eye(len(normal))
    return np.asarray(np.linalg.solve(normal, a.T @ wanted).T, np.float32)


def spoken_by(mouths: NDArray[np.floating], wanted: NDArray[np.floating]) -> SpokenMouth:
    """What tells a person's expressions from mouths of `--speech`, by least squares over those that were heard (T, K)
    and what the person did (T, E). A voice tells only a part of that, so the pull is strong; and since the likeliest
    mouth hardly moves, it moves `LIVELY` times as far."""
    x, y = np.asarray(mouths, np.float64), np.asarray(wanted, np.float64)
    middle, unit = x.mean(0), x.std(0) + 1e-6
    a = (x - middle) / unit
    share = LIVELY * np.linalg.solve(a.T @ a + PULL * len(a) * np.eye(a.shape[1]), a.T @ (y - y.mean(0)))
    out = SpokenMouth(x.shape[1], y.shape[1])
    with torch.no_grad():
        out.map.weight.copy_(torch.from_numpy((share / unit[:, None]).T))
        out.map.bias.copy_(torch.from_numpy(y.mean(0) - middle / unit @ share))
    return out.eval()


class VoiceTask(Players):
    """The voice of many people."""

    panel = ""

    def __init__(self, recipe: VoiceRecipe) -> None:
        self.recipe = recipe
        self.config = VoiceConfig(288, recipe.subspace, max(1, recipe.people), len(own_model().expression))
        self.networks: dict[str, nn.Module] = {"voice": VoiceNet(self.config)}
        for module in self.networks["voice"].modules():
            if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear)):
                nn.init.xavier_normal_(module.weight, 0.02)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        self._optimizers = Adams(self.networks, recipe.rate, recipe.betas)
        self._basis, self._mask = _geometry()

    def schedulers(self) -> dict[str, LRScheduler]:
        """A constant rate that falls linearly to zero over the last epochs."""
        return falling(self.optimizers(), self.recipe.epochs, self.recipe.decay_epochs)

    def step(self, batch: dict[str, Tensor], fabric: Fabric) -> dict[str, float]:
        """Update the network once; the terms, weighted. Raises FloatingPointError where one is not a number."""
        basis, mask = (x.to(batch["wanted"].device) for x in (self._basis, self._mask))
        return plain(self.update(["voice"], spoken(self.networks["voice"], batch, basis, mask), fabric))

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """The terms, of samples trained on: a mapping of people held back is not known."""
        basis, mask = (x.to(batch["wanted"].device) for x in (self._basis, self._mask))
        return {k: float(v) for k, v in spoken(self.networks["voice"], batch, basis, mask).items()}

    def sample_panel(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """None: there is nothing to see."""
        return np.zeros((0, 0, 3), np.uint8)

    def save(self, path: Path) -> None:
        """Write the network as it is."""
        state = {k: v.detach().cpu().float() for k, v in self.networks["voice"].state_dict().items()}
        weights.save_voice(path, weights.VoiceWeights(self.config, {"voice": state}, "neural-voice-puppetry-voice"))

    def load_file(self, path: Path) -> None:
        """Begin with what a file's network hears; mappings belong to people. Raises WeightsError."""
        state, own = weights.read_voice(path).networks["voice"], self.networks["voice"].state_dict()
        state = dict(state, mapping=own["mapping"])
        if why := misfit(state, own):
            raise WeightsError(f"{path} does not fit: the voice {why}")
        self.networks["voice"].load_state_dict(state)


# -- the puppet -----------------------------------------------------------------------------------


class PuppetTask(Players):
    """One person's renderer, and how they speak."""

    panel = "features, decoded, made, frame"

    def __init__(self, recipe: PuppetRecipe) -> None:
        self.recipe, self.config = recipe, recipe.sizes
        puppet = Puppet(self.config)
        self.networks: dict[str, nn.Module] = {"puppet": puppet}
        self._basis, self._mask = _geometry()
        if recipe.skin and not recipe.start_from:
            known = Puppeteer(Path(recipe.folder), self.config.size, recipe.held, "train", self.config.lower)
            puppet.texture.begin(torch.from_numpy(known.skin(self.config.texture)))
        taught = _voice_of(recipe)
        self._frozen: VoiceNet | SpokenMouth | None = None
        if recipe.voice == SPEECH:
            self._frozen = self._mapped()
        elif taught is None:
            sizes = VoiceConfig(self.config.features, self.config.subspace, 1, self.config.expressions)
            self.networks["voice"] = fresh = VoiceNet(sizes)
            # As the mapping is, it makes much of little: hardly anything is said at first.
            fresh.mapping.data *= 0.1
        else:
            self._frozen = self._fitted(taught)
        rates = {"puppet": recipe.rate, "voice": recipe.voice_rate}
        self._optimizers = Adams(self.networks, {n: rates[n] for n in self.networks}, recipe.betas)
        self._vgg = VGG16.load(recipe.vgg, normalised=False) if recipe.vgg else None
        self._like = StructuralPerceptualLoss()

    def _learned(self) -> tuple[Person, NDArray[np.integer]]:
        """The fit, and the frames that are learned."""
        person = Person.load(Path(self.recipe.folder) / "person.npz")
        shown = np.flatnonzero(person.valid)
        return person, shown[shown < len(person) - round(self.recipe.held * len(person))]

    def _mapped(self) -> SpokenMouth:
        """The mouths of `--speech` as this person's expressions."""
        person, shown = self._learned()
        rows = np.load(Path(self.recipe.folder) / SOUND, allow_pickle=False)
        return spoken_by(rows[shown], np.stack([person.states[t].expression for t in shown.tolist()]))

    def _fitted(self, taught: weights.VoiceWeights) -> VoiceNet:
        """A trained voice with a mapping of this person's own, by least squares over their clip."""
        folder = Path(self.recipe.folder)
        rows = np.load(folder / SOUND, allow_pickle=False)
        if rows.shape[1] != taught.config.features:
            raise InputError(
                f"{option('set')} voice: it hears rows of {taught.config.features} numbers, such as DeepSpeech's "
                f"logits, not {rows.shape[1]}; give them by {option('set')} sound=FILE.npy"
            )
        (person, shown), voice = self._learned(), taught.voice()
        with torch.inference_mode():
            heard = torch.cat([voice.heard(torch.from_numpy(windows(rows, part)))[0]
                               for part in np.array_split(shown, max(1, len(shown) // 256))])  # fmt: skip
        wanted = np.stack([person.states[t].expression for t in shown.tolist()])
        sizes = replace(taught.config, identities=1, expressions=wanted.shape[1])
        own = VoiceNet(sizes)
        state = dict(taught.networks["voice"])
        state["mapping"] = torch.from_numpy(mapping_of(heard.numpy(), wanted))[None]
        own.load_state_dict(state)
        return own.eval()

    def _said(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        if self.config.kind == "nothing":
            return None
        return batch["sound"][:, 0, NOW] if self.config.kind == "audio" else batch["wanted"][:, 0]

    def step(self, batch: dict[str, Tensor], fabric: Fabric) -> dict[str, float]:
        """Update the renderer and, where it is taught, the voice; the terms, weighted.

        Raises FloatingPointError, before a network is touched, when a loss is not a number."""
        frame, w = batch["frame"], self.recipe.weights
        drawn = self.networks["puppet"](batch["uv"], self._said(batch), frame)
        terms, _ = picture_terms(w, drawn.features, drawn.intermediate, drawn.picture, frame, valid_in(batch["uv"]))
        if w.style:
            if self._vgg is not None:
                self._vgg.to(frame.device)
                terms["style"] = w.style * style_loss(self._vgg, drawn.picture, frame)
            else:
                self._like.to(frame.device)
                levels = self._like((drawn.picture + 1) / 2, (frame + 1) / 2)
                terms["style"] = 0.1 * w.style * torch.stack(levels).mean()
        checked(terms)
        heard: dict[str, Tensor] = {}
        if "voice" in self.networks:
            basis, mask = (x.to(frame.device) for x in (self._basis, self._mask))
            heard = self.update(["voice"], spoken(self.networks["voice"], batch, basis, mask), fabric)
        return plain(self.update(["puppet"], terms, fabric) | heard)

    @torch.no_grad()
    def measure(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """Mean absolute errors of held-back frames in 0..1, and of their faces; how far what the voice says is off, in
        inter-ocular distances at the mouth, beside a face that keeps its usual expression."""
        puppet, frame = self.networks["puppet"], batch["frame"]
        with evaluating(puppet):
            drawn = puppet(batch["uv"], self._said(batch), frame)
        off, valid = (drawn.picture - frame).abs() / 2, valid_in(batch["uv"])
        voice = self.networks.get("voice", self._frozen)
        assert voice is not None
        said, _ = voice(batch["sound"][:, 0], batch["identity"])
        basis, mask = (x.to(frame.device) for x in (self._basis, self._mask))
        wanted = batch["wanted"][:, 0]

        def away(x: Tensor) -> float:
            moved = torch.einsum("be,evc->bvc", x, basis).norm(dim=2)
            return float((moved * mask).sum() / (len(x) * mask.sum()))

        return {
            "l1": float(off.mean()),
            "l1_face": float((off * valid).sum() / (3 * valid.sum()).clamp(min=1)),
            "mouth": away(said - wanted),
            "mouth_still": away(wanted.mean(0, keepdim=True) - wanted),
        }

    @torch.no_grad()
    def sample_panel(self, batch: dict[str, Tensor]) -> NDArray[np.uint8]:
        """(B·S, 4·S, 3): the texture's first features, what is decoded, what is made of it, and the frame."""
        puppet = self.networks["puppet"]
        with evaluating(puppet):
            drawn = puppet(batch["uv"], self._said(batch), batch["frame"])
        shown = (drawn.features[:, :3], drawn.intermediate, drawn.picture, batch["frame"])
        return grid([pixels(x.clamp(-1, 1), -1) for x in shown])

    def save(self, path: Path) -> None:
        """Write the networks as they are, with the person, as a file of weights."""
        from infinex.systems.oneperson import likeness

        networks = dict(self.networks)
        if self._frozen is not None:
            networks["voice"] = self._frozen
        states = weights.collected(networks, likeness(Path(self.recipe.folder), self.config.lower))
        weights.save(path, weights.PuppetWeights(self.config, states, self.recipe.config))

    def load_file(self, path: Path) -> None:
        """Begin with the weights in a file; a voice that hears other rows stays as it is. Raises WeightsError."""
        found = weights.load(path).networks
        load_networks(self.networks, found, f"{path} does not fit", self.recipe.config, spare="voice")
