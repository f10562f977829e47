"""`--engine latent-pose`: the person is painted anew in a square around the face, before the portrait's background.

Who is painted was learned from an album, or is told by the portrait and an album's pictures; how, by the performer's
frame. The predicted mask is the alpha of outputs that can hold one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infinex.engine import Drive, Engine, Layered, Setting, Source
from infinex.mesh.album import read_album
from infinex.motion import Rest
from infinex.systems.latent_pose.model import Embedder, Generator
from infinex.systems.latent_pose.weights import LAYOUT, LatentWeights
from infinex.systems.registry import resolve
from infinex.systems.square import Painted, PersonLayer, SquareFace, square_view
from infinex.training.task import pixels

RGB = NDArray[np.uint8]
BUNDLED = "latent-pose-face"  # in the registry of weights
MOST = 30  # pictures that the identity code is the mean of


@dataclass(frozen=True)
class LatentOptions:
    """Choices of this engine."""

    album: str = ""  # more pictures of the same person, for weights that have not learned her


class LatentPainter:
    """The networks as `infinex.systems.square` wants them."""

    def __init__(self, weights: LatentWeights, device: str = "cpu") -> None:
        self.size, self.device = weights.config.size, torch.device(device)
        networks = {n: net.to(self.device) for n, net in LAYOUT.networks(weights).items()}
        self.embedder, self.generator = cast(Embedder, networks["embedder"]), cast(Generator, networks["generator"])
        self.learned: Tensor | None = None  # (1, identity) the code of the person these weights are of
        if "person" in networks:
            self.learned = cast(Tensor, networks["person"].identity)

    def _tensor(self, squares: list[RGB]) -> Tensor:
        x = torch.from_numpy(np.ascontiguousarray(np.stack(squares))).to(self.device)
        return x.permute(0, 3, 1, 2).float() / 255

    @torch.inference_mode()
    def prepare(self, squares: list[RGB]) -> Tensor:
        """See `Painter`: the code (1, identity) of the person."""
        if self.learned is not None:
            return self.learned
        kept = np.unique(np.linspace(0, len(squares) - 1, min(MOST, len(squares))).round().astype(int))
        return self.embedder.each(self._tensor([squares[i] for i in kept])[None]).mean(1)

    def begin(self, prepared: Tensor, square: RGB | None, rest: Rest) -> None:
        """See `Painter`: nothing is measured from a rest."""

    @torch.inference_mode()
    def paint(self, prepared: Tensor, square: RGB | None, drive: Drive) -> Painted:
        """See `Painter`."""
        assert square is not None
        made = self.generator(prepared, self.embedder.pose_encoder(self._tensor([square])))
        return Painted(pixels(made.image.clamp(0, 1))[0], person=pixels(made.mask)[0, ..., 0])


class LatentEngine(Engine):
    """See `infinex.engine.Engine`."""

    name = "latent-pose"
    needs: Literal["frames"] = "frames"
    own_rest = False

    def __init__(self, painter: LatentPainter, album: str = "") -> None:
        self.painter, self.album = painter, album

    def prepare(self, source: Source, setting: Setting = Setting()) -> SquareFace:  # noqa: B008
        """Everything that depends on the portrait alone. Raises InputError for an album of somebody else."""
        views: list[RGB] = []
        if self.album:
            views = [v.image for v in read_album(self.album, source, partial(square_view, self.painter.size))]
        return SquareFace(source, self.painter, views=views)

    def layer(self, image: RGB, faces: list[SquareFace], cutout: RGB | None, behind: RGB | None) -> Layered:  # type: ignore[override]
        """The persons by their predicted masks."""
        return PersonLayer(image, faces, cutout, behind)


OPTIONS = LatentOptions


def open_engine(options: LatentOptions, weights: str) -> LatentEngine:
    """For `infinex.engine.load_engine`. Raises WeightsError."""
    path = resolve(weights or BUNDLED, "latent-pose")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return LatentEngine(LatentPainter(LAYOUT.read(path), device), options.album)
