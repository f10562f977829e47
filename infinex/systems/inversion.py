"""Portraits in the space of a StyleGAN2: aligned as its training pictures were, encoded to W+, and pictures back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from numpy.typing import NDArray
from torch import Tensor

from infinex.errors import WeightsError, option
from infinex.nn.e4e import SIDE, E4e
from infinex.nn.stylegan2 import StyleGAN2
from infinex.systems.window import as_ffhq, cut

Image = NDArray[np.uint8]
ENDINGS = (".safetensors", ".pt", ".pth", ".npz", "")
GENERATOR, ENCODER = "a StyleGAN2 generator", "an e4e encoder"  # what the members of a folder are


def align(image: Image, landmarks: NDArray[np.floating], side: int) -> Image:
    """A face cut out as in FFHQ (Karras et al. 2019): by eyes and mouth, (side, side, 3).

    `landmarks` (478, 3) are pixels of `image` (H, W, 3); what lies outside is mirrored."""
    return cut(image, as_ffhq(landmarks, side), side, cv2.BORDER_REFLECT, cv2.INTER_CUBIC)


def aligned(image: Image, landmarks: NDArray[np.floating], generator: StyleGAN2, device: torch.device) -> Tensor:
    """The same as (1, 3, S, S) in -1..1 at the generator's size."""
    face = align(image, landmarks, generator.config.size)
    return torch.from_numpy(face).to(device).permute(2, 0, 1)[None].float() / 127.5 - 1


def inverted(face: Tensor, generator: StyleGAN2, encoder: E4e | None) -> Tensor:
    """Codes (1, styles, style) of an aligned face (1, 3, S, S); the generator's mean face where nothing encodes."""
    if encoder is None:
        return generator.mean_w.reshape(1, 1, -1).expand(1, generator.config.styles, -1)
    return encoder(F.interpolate(face, size=(SIDE, SIDE), mode="area"))  # type: ignore[no-any-return]


def picture(x: Tensor) -> Image:
    """The first of (B, 3, H, W) in about -1..1, as (H, W, 3)."""
    whole = ((x[0].float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return np.ascontiguousarray(whole.permute(1, 2, 0).cpu().numpy())


def member(folder: str | Path, name: str, layout: Mapping[str, str], engine: str) -> Path:
    """A file or folder of weights in `folder`, whatever its ending. Raises WeightsError that says what is missing."""
    folder = Path(folder)
    if not folder.is_dir():
        raise WeightsError(
            f"the engine {engine} needs {option('weights')}, a folder with {', '.join(layout)}; {str(folder)!r} is none"
        )
    if found := has(folder, name):
        return found
    raise WeightsError(f"{folder} lacks {name} ({layout[name]}): put it there as {name}.safetensors or {name}.pt")


def has(folder: str | Path, name: str) -> Path | None:
    """A member of a folder, or None."""
    return next((p for e in ENDINGS if (p := Path(folder) / (name + e)).exists()), None)
