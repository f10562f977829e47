"""Engine `stylegan`: a portrait and a sentence to frames, by the recurrent generator and a frozen StyleGAN2."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from numpy.typing import NDArray
from torch import Tensor

from infinex.drivers.contract import Drive
from infinex.drivers.text import check_language
from infinex.engine import Shown
from infinex.errors import WeightsError, option
from infinex.face.topology import POINTS
from infinex.jobs.file import checked_output, open_file, provenance
from infinex.jobs.perform import Summary, perform
from infinex.jobs.source import load_source
from infinex.motion import Move
from infinex.nn.clip import Clip, load_clip
from infinex.nn.e4e import SIDE, E4e, load_e4e
from infinex.nn.stylegan2 import StyleGAN2, load_stylegan2
from infinex.options import Options
from infinex.systems.language.model import LanguageModel
from infinex.systems.language.weights import load
from infinex.systems.window import as_ffhq, cut

Image = NDArray[np.uint8]
PROMPT = "The person is {}"  # in the manner of the paper, for a text of one word or two
BLOCK = 16  # frames of one sequence; longer ones go on from the last code
LAYOUT = {"generator": "a StyleGAN2 generator", "motion": "the recurrent generator and mappers",
          "encoder": "an e4e encoder", "clip": "a CLIP model"}  # fmt: skip
STILL = (np.zeros(3), np.zeros(3), 1.0, np.zeros((POINTS, 3)), np.zeros(2))  # a move that is none
ENDINGS = (".safetensors", ".pt", ".pth", "")


@dataclass
class Aligned:
    """What depends on the portrait alone."""

    image: Tensor  # (1, 3, H, W) in -1..1, aligned
    embedding: Tensor  # (1, E) CLIP's
    inversion: Tensor  # (1, styles, style)


def align(image: Image, landmarks: NDArray[np.floating], side: int) -> Image:
    """A face cut out as in FFHQ (Karras et al. 2019): by eyes and mouth, (side, side, 3).

    `landmarks` (478, 3) are pixels of `image` (H, W, 3); what lies outside is mirrored."""
    return cut(image, as_ffhq(landmarks, side), side, cv2.BORDER_REFLECT, cv2.INTER_CUBIC)


class StyleganAnimator:
    """Frames of a portrait doing what a sentence says."""

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

    @classmethod
    def from_folder(cls, folder: str | Path, device: str = "cpu") -> StyleganAnimator:
        """From a folder with `generator`, `motion`, `encoder` (.safetensors, .pt or .pth) and `clip/`.

        Raises WeightsError that names what is missing."""
        found = {name: _member(Path(folder), name) for name in LAYOUT}
        generator = load_stylegan2(found["generator"])
        model = load(found["motion"], generator.config.style)
        return cls(model, generator, load_e4e(found["encoder"]), load_clip(found["clip"]), device)

    @torch.inference_mode()
    def prepare(self, image: Image, landmarks: NDArray[np.floating]) -> Aligned:
        """Align, embed and invert a portrait (H, W, 3) with its face (478, 3)."""
        face = align(image, landmarks, self.generator.config.size)
        x = torch.from_numpy(face).to(self.device).permute(2, 0, 1)[None].float() / 127.5 - 1
        embedding = self.clip.image(x / 2 + 0.5)
        if self.encoder is None:
            inversion = self.generator.mean_w.reshape(1, 1, -1).expand(1, self.generator.config.styles, -1)
        else:
            inversion = self.encoder(F.interpolate(x, size=(SIDE, SIDE), mode="area"))
        return Aligned(x, embedding, inversion)

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
                picture = self.generator(codes, noise="stored")
                yield _pixels(picture)
                done += 1


class Acting:
    """The scene in which the generator's pictures come one by one; see `infinex.jobs.perform.Scene`."""

    def __init__(self, pictures: Iterator[Image]) -> None:
        self._pictures = pictures

    def render(self, drive: object) -> tuple[Image, list[Shown]] | None:
        """The next picture; the generator moves by itself."""
        picture = next(self._pictures, None)
        return None if picture is None else (picture, [])


def animate_text(
    photo: str | Path, text: str, weights: str, output: str | Path, fps: float = 10.0, face: str = "largest",
    box: tuple[float, float, float, float] | None = None, progress: Callable[[int, int | None], None] | None = None,
    frames: int = BLOCK,
) -> Summary:  # fmt: skip
    """Write the aligned face of `photo` acting out `text`: `frames` of the generator's own size.

    `weights` is the folder `StyleganAnimator.from_folder` reads. Raises InputError or WeightsError."""
    started = time.perf_counter()
    check_language(text)
    o = Options(face=face, box=box)
    out = checked_output(output, o)
    engine = StyleganAnimator.from_folder(weights)
    source = load_source(photo, face, box)[0]
    prepared = engine.prepare(source.image, source.face.landmarks)
    side = engine.generator.config.size
    words = provenance(photo, "text", "stylegan")
    with open_file(out, (side, side), fps, words, o, progress=progress, total=frames) as file:
        scene = Acting(engine.stream(prepared, text, frames))
        beats = (Drive(Move(k / fps, *STILL)) for k in range(frames))
        count = perform(scene, beats, [file], ahead=False)
    seconds = time.perf_counter() - started
    return Summary(
        str(out), count, round(seconds, 3), round(count / seconds, 2), round(count / fps, 3), side, side, 1, "stylegan",
    )  # fmt: skip


def _pixels(x: Tensor) -> Image:
    whole = ((x[0].float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return np.ascontiguousarray(whole.permute(1, 2, 0).cpu().numpy())


def _member(folder: Path, name: str) -> Path:
    if not folder.is_dir():
        raise WeightsError(
            f"the engine stylegan needs {option('weights')}, a folder with {', '.join(LAYOUT)}; {str(folder)!r} is none"
        )
    for ending in ENDINGS:
        path = folder / (name + ending)
        if path.exists():
            return path
    raise WeightsError(f"{folder} lacks {name} ({LAYOUT[name]}): put it there as {name}.safetensors or {name}.pt")
