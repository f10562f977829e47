"""`--engine latent-pose`: the person is painted anew in a square around the face, before the portrait's background.

Who is painted was learned from an album, or is told by the portrait and an album's pictures; how, by the performer's
frame. The predicted mask is the alpha of outputs that can hold one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, cast

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
Map = NDArray[np.float32]
GRID = 32  # side of the field that takes the portrait's detail along
SMOOTH = 0.08  # reach of a point in it, of half the picture
HAIR, NEAR, FAR = 0.2, 1.15, 1.6  # of the face's height above it; radii up to which detail is taken along, and is not
BUNDLED = "latent-pose-face"  # in the registry of weights
MOST = 30  # pictures that the identity code is the mean of


@dataclass(frozen=True)
class LatentOptions:
    """Choices of this engine."""

    album: str = ""  # more pictures of the same person, for weights that have not learned her
    detail: Literal["portrait", "none"] = (
        "portrait"  # what the network is too coarse for, where its weights tell places
    )


class Known(NamedTuple):
    """What is known of a person."""

    code: Tensor  # (1, identity)
    face: Tensor | None  # (468, 2) where the pose code of her portrait says that the face is, -1..1


class LatentPainter:
    """The networks as `infinex.systems.square` wants them."""

    def __init__(self, weights: LatentWeights, device: str = "cpu", detail: bool = True) -> None:
        self.size, self.device = weights.config.size, torch.device(device)
        networks = {n: net.to(self.device) for n, net in LAYOUT.networks(weights).items()}
        self.embedder, self.generator = cast(Embedder, networks["embedder"]), cast(Generator, networks["generator"])
        self.learned: Tensor | None = None  # (1, identity) the code of the person these weights are of
        if "person" in networks:
            self.learned = cast(Tensor, networks["person"].identity)
        self.points = networks.get("points") if detail else None

    def _tensor(self, squares: list[RGB]) -> Tensor:
        x = torch.from_numpy(np.ascontiguousarray(np.stack(squares))).to(self.device)
        return x.permute(0, 3, 1, 2).float() / 255

    @torch.inference_mode()
    def prepare(self, squares: list[RGB]) -> Known:
        """See `Painter`: the person."""
        face = None if self.points is None else self.points(self.embedder.pose_encoder(self._tensor(squares[:1])))[0]
        if self.learned is not None:
            return Known(self.learned, face)
        kept = np.unique(np.linspace(0, len(squares) - 1, min(MOST, len(squares))).round().astype(int))
        return Known(self.embedder.each(self._tensor([squares[i] for i in kept])[None]).mean(1), face)

    def begin(self, prepared: Known, square: RGB | None, rest: Rest) -> None:
        """See `Painter`: nothing is measured from a rest."""

    @torch.inference_mode()
    def paint(self, prepared: Known, square: RGB | None, drive: Drive) -> Painted:
        """See `Painter`; with the field that takes the portrait's fine detail along, where the weights tell places."""
        assert square is not None
        pose = self.embedder.pose_encoder(self._tensor([square]))
        made = self.generator(prepared.code, pose)
        field = shown = None
        if self.points is not None and prepared.face is not None:
            field, shown = along(self.points(pose)[0].cpu().numpy(), prepared.face.cpu().numpy())
        return Painted(pixels(made.image.clamp(0, 1))[0], field=field, shown=shown, person=pixels(made.mask)[0, ..., 0])


def along(now: Map, own: Map) -> tuple[Map, NDArray[np.uint8]]:
    """Where each place reads the portrait, (G, G, 2) in -1..1, for a face (468, 2) that is `now` and was `own` in it;
    and how much of it is the head, (G, G) 0..255, fading away from face and hair.

    An affine map of the points, and what it leaves of them, smoothed."""
    place = np.stack(np.meshgrid(*[np.linspace(-1, 1, GRID, dtype=np.float32)] * 2), -1)
    ones = np.column_stack([now, np.ones(len(now))])
    affine, *_ = np.linalg.lstsq(ones, own, rcond=None)
    left = own - ones @ affine
    near = np.exp(-np.square(place.reshape(-1, 1, 2) - now).sum(-1) / (2 * SMOOTH**2))
    moved = (near @ left / (near.sum(-1, keepdims=True) + 1.0)).reshape(GRID, GRID, 2)
    field = (place @ affine[:2] + affine[2] + moved).astype(np.float32)
    low, high = now.min(0), now.max(0)
    middle, radii = (low + high) / 2, (high - low) / 2
    away = np.linalg.norm((place - middle + [0, HAIR] * radii) / (radii * [1, 1 + HAIR]), axis=-1)
    share = np.clip((FAR - away) / (FAR - NEAR), 0, 1)
    return field, np.round(255 * share * share * (3 - 2 * share)).astype(np.uint8)


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
    return LatentEngine(LatentPainter(LAYOUT.read(path), device, options.detail == "portrait"), options.album)
