"""`--engine x2face`: a square around the face is warped by the networks and laid back with a soft seam.

The performer's frame drives, or the bottleneck it would have had is written: by the turning of the head alone, or by a
recording of a voice."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infinex.engine import Drive, Engine, Setting, Source
from infinex.errors import InputError, WeightsError, option
from infinex.face.pose import to_matrix, to_vector
from infinex.media.audio import read_audio
from infinex.mesh.album import read_album
from infinex.motion import Rest
from infinex.nn.geometry import bent, warp
from infinex.systems.embedded import Passed, looked_at_often
from infinex.systems.registry import resolve
from infinex.systems.speech.listener import HIDDEN, RATE
from infinex.systems.square import Painted, SquareFace, square_view
from infinex.systems.x2face.data import angles_of, heard_in
from infinex.systems.x2face.model import Driving, Embedding, grid_of, posed, spoken
from infinex.systems.x2face.weights import LAYOUT, X2FaceWeights
from infinex.training.task import pixels

RGB = NDArray[np.uint8]
BUNDLED = "x2face-face"  # in the registry of weights
MOST = 16  # pictures that the embedded face is made of


@dataclass(frozen=True)
class X2FaceOptions:
    """Choices of this engine."""

    album: str = ""  # more pictures of the same person, for one embedded face
    by: Literal["picture", "pose", "voice"] = "picture"  # what drives
    sound: str = ""  # the recording, where a voice drives
    # The performer's places, as published, or movement from rest; "": movement where a face tracker taught the weights.
    motion: Literal["", "places", "movement"] = ""


@dataclass
class Encoded:
    """What depends on the person alone."""

    image: Tensor  # (1, 3, S, S) the portrait in 0..1
    face: Tensor  # (1, 3, S, S) embedded
    bottleneck: Tensor  # (1, waist) of the portrait
    passed: Passed | None  # from performer to portrait by way of the embedded face; None: that is of several pictures
    rest: Rest | None = None


class X2FacePainter:
    """The networks as `infinex.systems.square` wants them."""

    def __init__(self, weights: X2FaceWeights, options: X2FaceOptions, device: str = "cpu") -> None:
        """Raises WeightsError where the weights were not trained for what drives, InputError for a wrong sound."""
        self.o, self.size, self.device = options, weights.config.size, torch.device(device)
        self.networks = {n: net.to(self.device) for n, net in LAYOUT.networks(weights).items()}
        self.embedding, self.driving = (
            cast(Embedding, self.networks["embedding"]),
            cast(Driving, self.networks["driving"]),
        )
        needed = {"picture": (), "pose": ("reader",), "voice": ("reader", "voice")}[options.by]
        for name in needed:
            if name not in self.networks or not any(bool(p.any()) for p in self.networks[name].parameters()):
                stage = "pose" if name == "reader" else "voice"
                raise WeightsError(
                    f"{option('option')} by={options.by}: these weights have not learned it; infinex train "
                    f"{weights.name or 'x2face-small'}-{stage} teaches them"
                )
        self.taught = taught = weights.origin.get("embedded") == "frontal"
        if options.motion == "movement" and not (taught and options.by == "picture"):
            raise InputError(
                f"{option('option')} motion=movement: for weights that a face tracker taught (x2face-face), driven by "
                "pictures"
            )
        self.movement = taught and options.motion != "places" and options.by == "picture"
        self.heard: NDArray[np.float32] | None = None
        if options.sound and options.by != "voice":
            raise InputError(f"{option('option')} sound: a recording drives with {option('option')} by=voice alone")
        if options.by == "voice":
            if not options.sound:
                raise InputError(f"{option('option')} by=voice needs a recording: {option('option')} sound=FILE")
            if weights.config.heard != HIDDEN:
                raise WeightsError("the authors' weights describe voices by features of their own, which are not here")
            sound = read_audio(options.sound, RATE)
            steps = np.arange(max(1, len(sound) * 100 // RATE)) / 100
            self.heard = heard_in(sound, steps)  # a hundred a second

    def _tensor(self, squares: list[RGB]) -> Tensor:
        x = torch.from_numpy(np.ascontiguousarray(np.stack(squares))).to(self.device)
        return x.permute(0, 3, 1, 2).float() / 255

    def _warp(self, network: Embedding | Driving, image: Tensor) -> Tensor:
        """A network's warp (1, S, S, 2) of a picture."""
        if not self.taught:
            return network(image)[0]
        return looked_at_often(lambda x: network(x)[0], image, reads=network is self.embedding)

    @torch.inference_mode()
    def prepare(self, squares: list[RGB]) -> Encoded:
        """See `Painter`."""
        if len(squares) > MOST:  # the portrait itself is always among them
            kept = np.linspace(1, len(squares) - 1, MOST - 1).round().astype(int)
            squares = [squares[0], *(squares[i] for i in kept)]
        images = self._tensor(squares)
        passed = Passed(self._warp(self.embedding, images)) if len(images) == 1 else None
        return Encoded(images[:1], self.embedding.face(images[None]), self.driving.bottleneck(images[:1]), passed)

    @torch.inference_mode()
    def begin(self, prepared: Encoded, square: RGB | None, rest: Rest) -> None:
        """See `Painter`."""
        prepared.rest = rest
        if prepared.passed is not None and self.movement and square is not None:
            prepared.passed.rest(self._warp(self.driving, self._tensor([square])))

    def _written(self, prepared: Encoded, drive: Drive) -> Tensor:
        """The bottleneck (1, waist) of the portrait under the turn of a head, or under a voice."""
        reader, writer, own = self.networks["reader"], self.networks["writer"], prepared.bottleneck
        if self.heard is not None:
            at = int(np.clip(round(drive.move.time * 100), 0, len(self.heard) - 1))
            heard = torch.from_numpy(self.heard[[at, 0]]).to(self.device)
            return spoken(torch.relu(own), heard[:1], heard[1:], self.networks["voice"], reader, writer)
        start = np.zeros(3) if prepared.rest is None else prepared.rest.rotation
        turn = to_vector(to_matrix(drive.move.rotation) @ to_matrix(start).T)
        angles = reader(own) + torch.from_numpy(angles_of(turn)).to(own)
        return posed(own, angles, reader, writer)

    @torch.inference_mode()
    def paint(self, prepared: Encoded, square: RGB | None, drive: Drive) -> Painted:
        """See `Painter`."""
        if square is not None:
            grid = self._warp(self.driving, self._tensor([square]))
        else:
            grid = grid_of(self.driving.flow(self._written(prepared, drive)))
        if prepared.passed is None:
            return Painted(pixels(warp(prepared.face, grid).clamp(0, 1))[0])
        # One warp after the other is one warp of the portrait itself.
        whole = prepared.passed(grid)
        field = whole[0].float().cpu().numpy()
        if self.movement:
            moved = pixels(bent(prepared.image, whole))[0]
            return Painted(moved, moved, field)
        # What lies beyond the embedded face's border is black.
        return Painted(pixels(warp(prepared.face, grid).clamp(0, 1))[0], pixels(warp(prepared.image, whole))[0], field)


class X2FaceEngine(Engine):
    """See `infinex.engine.Engine`."""

    name = "x2face"
    own_rest = False

    def __init__(self, painter: X2FacePainter, album: str = "") -> None:
        self.painter, self.album = painter, album
        self.needs: Literal["motion", "frames"] = "frames" if painter.o.by == "picture" else "motion"

    def prepare(self, source: Source, setting: Setting = Setting()) -> SquareFace:  # noqa: B008
        """Everything that depends on the portrait alone. Raises InputError for an album of somebody else."""
        views: list[RGB] = []
        if self.album:
            views = [v.image for v in read_album(self.album, source, partial(square_view, self.painter.size))]
        return SquareFace(source, self.painter, frames=self.needs == "frames", views=views)


OPTIONS = X2FaceOptions


def open_engine(options: X2FaceOptions, weights: str) -> X2FaceEngine:
    """For `infinex.engine.load_engine`. Raises WeightsError, InputError."""
    path = resolve(weights or BUNDLED, "x2face")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return X2FaceEngine(X2FacePainter(LAYOUT.read(path), options, device), options.album)
