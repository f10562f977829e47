"""`--engine fomm`: the face is cut out, animated by the networks, and laid back into the portrait with a soft seam.

Where a network says that the source shows nothing of use, its own picture stands alone; elsewhere the portrait's own
pixels are moved (`infinex.systems.square`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from infinex.engine import Drive, Engine, Setting, Source
from infinex.motion import Rest
from infinex.systems.fomm.animator import Encoded, FommAnimator
from infinex.systems.square import Painted, SquareFace

RGB = NDArray[np.uint8]
BUNDLED = "fomm-face"  # in the registry of weights


class FommPainter:
    """The animator as `infinex.systems.square` wants it."""

    def __init__(self, animator: FommAnimator) -> None:
        self.animator, self.size = animator, animator.config.size

    def prepare(self, squares: list[RGB]) -> Encoded:
        """See `Painter`."""
        return self.animator.prepare(squares[0])

    def begin(self, prepared: Encoded, square: RGB | None, rest: Rest) -> None:
        """See `Painter`."""
        assert square is not None
        prepared.reference = None
        self.animator.begin(prepared, square)

    def paint(self, prepared: Encoded, square: RGB | None, drive: Drive) -> Painted:
        """See `Painter`."""
        assert square is not None
        out = self.animator.render(prepared, square)
        return Painted(out["prediction"][0], out["deformed"][0], out["field"][0], out["occlusion"][0])


@dataclass(frozen=True)
class FommOptions:
    """Choices of this engine."""

    absolute: bool = False  # the keypoints' own places instead of their movement


class FommEngine(Engine):
    """See `infinex.engine.Engine`."""

    name = "fomm"
    needs: Literal["frames"] = "frames"
    own_rest = False

    def __init__(self, engine: FommAnimator, detail: bool = True) -> None:
        self.painter, self.detail = FommPainter(engine), detail

    def prepare(self, source: Source, setting: Setting = Setting()) -> SquareFace:  # noqa: B008
        """Everything that depends on the portrait alone."""
        return SquareFace(source, self.painter, self.detail)


OPTIONS = FommOptions


def open_engine(options: FommOptions, weights: str) -> FommEngine:
    """For `infinex.engine.load_engine`."""
    import torch

    from infinex.systems.registry import resolve

    device = "cuda" if torch.cuda.is_available() else "cpu"
    path = resolve(weights or BUNDLED, "fomm")
    motion: Literal["relative", "absolute"] = "absolute" if options.absolute else "relative"
    return FommEngine(FommAnimator.from_weights(path, motion=motion, device=device))
