"""`--engine dae-gan`: a square around the face is generated from the embedded face and the performer's pose code."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infinex.engine import Drive, Engine, Setting, Source
from infinex.mesh.album import read_album
from infinex.motion import Rest
from infinex.systems.dae_gan.model import FaceEmbedder, PoseEmbedder
from infinex.systems.dae_gan.weights import LAYOUT, DaeWeights
from infinex.systems.registry import trained
from infinex.systems.square import Painted, SquareFace, square_view
from infinex.training.task import pixels

RGB = NDArray[np.uint8]
MOST = 16  # pictures that the embedded face is made of


@dataclass(frozen=True)
class DaeOptions:
    """Choices of this engine."""

    album: str = ""  # more pictures of the same person, for one embedded face


class DaePainter:
    """The networks as `infinex.systems.square` wants them."""

    def __init__(self, weights: DaeWeights, device: str = "cpu") -> None:
        self.size, self.device = weights.config.size, torch.device(device)
        self.networks = {n: net.to(self.device) for n, net in LAYOUT.networks(weights).items()}

    def _tensor(self, squares: list[RGB]) -> Tensor:
        x = torch.from_numpy(np.ascontiguousarray(np.stack(squares))).to(self.device)
        return x.permute(0, 3, 1, 2).float() / 255

    @torch.inference_mode()
    def prepare(self, squares: list[RGB]) -> Tensor:
        """See `Painter`: the embedded face (1, 3, S, S)."""
        kept = np.unique(np.linspace(0, len(squares) - 1, min(MOST, len(squares))).round().astype(int))
        face, _, _ = cast(FaceEmbedder, self.networks["face"])(self._tensor([squares[i] for i in kept])[None])
        return face

    def begin(self, prepared: Tensor, square: RGB | None, rest: Rest) -> None:
        """See `Painter`: nothing is measured from a rest."""

    @torch.inference_mode()
    def paint(self, prepared: Tensor, square: RGB | None, drive: Drive) -> Painted:
        """See `Painter`."""
        assert square is not None
        network = cast(PoseEmbedder, self.networks["pose"])
        pose = network.pose(self._tensor([square]))
        _, deformed = network(prepared, pose)
        return Painted(pixels(self.networks["generator"](prepared, deformed, pose))[0])


class DaeEngine(Engine):
    """See `infinex.engine.Engine`."""

    name = "dae-gan"
    needs: Literal["frames"] = "frames"
    own_rest = False

    def __init__(self, painter: DaePainter, album: str = "") -> None:
        self.painter, self.album = painter, album

    def prepare(self, source: Source, setting: Setting = Setting()) -> SquareFace:  # noqa: B008
        """Everything that depends on the portrait alone. Raises InputError for an album of somebody else."""
        views: list[RGB] = []
        if self.album:
            views = [v.image for v in read_album(self.album, source, partial(square_view, self.painter.size))]
        return SquareFace(source, self.painter, views=views)


OPTIONS = DaeOptions


def open_engine(options: DaeOptions, weights: str) -> DaeEngine:
    """For `infinex.engine.load_engine`. Raises WeightsError."""
    path = trained(weights, "dae-gan", "dae-gan-small")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return DaeEngine(DaePainter(LAYOUT.read(path), device), options.album)
