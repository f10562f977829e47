"""`--engine dae-gan`: a square around the face is generated from the embedded face and the performer's pose code.

Where the weights' generator was not trained, the portrait's own pixels are moved from one warp to the other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infinex.engine import Drive, Engine, Setting, Source
from infinex.errors import InputError, option
from infinex.mesh.album import read_album
from infinex.motion import Rest
from infinex.nn.geometry import bent
from infinex.systems.dae_gan.model import FaceEmbedder, PoseEmbedder
from infinex.systems.dae_gan.weights import LAYOUT, DaeWeights
from infinex.systems.embedded import Passed, inverse, looked_at_often
from infinex.systems.registry import resolve
from infinex.systems.square import Painted, SquareFace, square_view
from infinex.training.task import pixels

RGB = NDArray[np.uint8]
BUNDLED = "dae-gan-face"  # in the registry of weights
MOST = 16  # pictures that the embedded face is made of


@dataclass(frozen=True)
class DaeOptions:
    """Choices of this engine."""

    album: str = ""  # more pictures of the same person, for one embedded face


@dataclass
class Encoded:
    """What depends on the person alone."""

    face: Tensor  # (1, 3, S, S) embedded
    image: Tensor  # (1, 3, S, S) the portrait
    passed: Passed | None  # from performer to portrait, of weights whose generator was not trained


class DaePainter:
    """The networks as `infinex.systems.square` wants them."""

    def __init__(self, weights: DaeWeights, device: str = "cpu") -> None:
        self.size, self.device = weights.config.size, torch.device(device)
        self.networks = {n: net.to(self.device) for n, net in LAYOUT.networks(weights).items()}
        self.deformed = weights.origin.get("picture") == "deformed"  # the generator was not trained

    def _tensor(self, squares: list[RGB]) -> Tensor:
        x = torch.from_numpy(np.ascontiguousarray(np.stack(squares))).to(self.device)
        return x.permute(0, 3, 1, 2).float() / 255

    @torch.inference_mode()
    def prepare(self, squares: list[RGB]) -> Encoded:
        """See `Painter`."""
        kept = np.unique(np.linspace(0, len(squares) - 1, min(MOST, len(squares))).round().astype(int))
        images = self._tensor([squares[i] for i in kept])
        network = cast(FaceEmbedder, self.networks["face"])
        if not self.deformed:
            return Encoded(network(images[None])[0], images[:1], None)
        # The portrait alone: an embedded face, which further pictures would serve, was not learned.
        warps = looked_at_often(lambda x: network(x[:, None], False)[1], images[:1], reads=False)
        return Encoded(images[:1], images[:1], Passed(inverse(warps)))

    @torch.inference_mode()
    def begin(self, prepared: Encoded, square: RGB | None, rest: Rest) -> None:
        """See `Painter`: with a generator nothing is measured from a rest."""
        if prepared.passed is not None:
            assert square is not None
            prepared.passed.rest(self._moved(square))

    def _moved(self, square: RGB) -> Tensor:
        """Where a frame reads the embedded face (1, S, S, 2)."""
        network = cast(PoseEmbedder, self.networks["pose"])
        return looked_at_often(lambda x: network(x, network.pose(x))[0], self._tensor([square]), reads=False)

    @torch.inference_mode()
    def paint(self, prepared: Encoded, square: RGB | None, drive: Drive) -> Painted:
        """See `Painter`."""
        assert square is not None
        if prepared.passed is not None:
            field = prepared.passed(self._moved(square))
            moved = pixels(bent(prepared.image, field))[0]
            return Painted(moved, moved, field[0].float().cpu().numpy())
        network = cast(PoseEmbedder, self.networks["pose"])
        code = network.pose(self._tensor([square]))
        deformed = network(prepared.face, code)[1]
        return Painted(pixels(self.networks["generator"](prepared.face, deformed, code))[0])


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
    path = resolve(weights or BUNDLED, "dae-gan")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    painter = DaePainter(LAYOUT.read(path), device)
    if options.album and painter.deformed:
        raise InputError(f"{option('album')}: these weights move one picture; dae-gan-small trains others")
    return DaeEngine(painter, options.album)
