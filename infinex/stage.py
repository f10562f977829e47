"""One or several faces of one picture, drawn into the same canvas by an engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.drivers.blend import Seam
from infinex.drivers.contract import Shot
from infinex.engine import Drive, Engine, Layered, Prepared, Setting, Shown, Source, load_engine
from infinex.face.tracker import Face
from infinex.media.background import backdrop, parse_background
from infinex.motion import Rest
from infinex.options import Options

RGB = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels
REHEARSED = Options(mouth="own", wrinkles="none")  # how the mesh engine shows a performance to one that needs frames


class Stage:
    """The portrait on its canvas. A drive that begins a shot begins it for the engine, too."""

    def __init__(
        self,
        sources: Sequence[Source],
        engine: Engine | None = None,
        beside: Sequence[Face] = (),
        background: str = "keep",
    ) -> None:
        """`engine`: else the mesh engine with what is usual. `beside`: faces of the same picture that stay as they are.
        `background` as in `Options`; keep is the picture's own, of a cut-out white."""
        engine = engine or load_engine("mesh")
        behind = parse_background(background)
        self.transparent = behind == "none"  # frames are (H, W, 4)
        cut = behind != "keep"
        self.image = sources[0].image
        self.engine, self.needs = engine, engine.needs
        self.faces: list[Prepared] = []
        self._settings = [
            Setting([*(o.face for o in sources if o is not s), *beside], cut) for s in sources
        ]  # fmt: skip
        for source, setting in zip(sources, self._settings):
            self.faces.append(engine.prepare(source, setting))
        boxes = np.array([f.box for f in self.faces])
        lo, hi = boxes[:, :2].min(0), boxes[:, 2:].max(0)
        self.box: Box = int(lo[0]), int(lo[1]), int(hi[0]), int(hi[1])
        self.canvas = self.image.copy()
        self._sources, self._rehearsals = sources, dict[int, Prepared]()
        self._rehearsing: Engine | None = None
        self._expected: Shot | None = None
        self.seen: RGB | None = None  # the frame an engine that needs frames was last given
        self._layer: Layered | None = None
        if cut:
            h, w = self.image.shape[:2]
            laid = None if isinstance(behind, str) else backdrop(behind, w, h)
            self._layer = engine.layer(self.image, self.faces, sources[0].cutout, laid)

    def begin(
        self, rest: Rest, image: RGB | None = None, points: NDArray | None = None, index: int | None = None
    ) -> None:
        """Start a performance on every face, or on one.

        Where the engine needs frames and there are none, the mesh engine renders the portrait itself first."""
        for i, (face, source) in enumerate(zip(self.faces, self._sources)):
            if index is not None and i != index:
                continue
            self._rehearsals.pop(i, None)
            if self.needs == "frames" and (image is None or points is None):
                self._rehearsing = self._rehearsing or load_engine("mesh", REHEARSED)
                own: Prepared = self._rehearsing.prepare(source, replace(self._settings[i], cut=False))
                own.begin(rest, None, None)
                self._rehearsals[i] = own
                face.begin(rest, source.image, source.face.landmarks)
            else:
                face.begin(rest, image, points)

    def expect(self, shot: Shot) -> None:
        """Begin a performance whose first drive is still being made, and will say that it begins."""
        self.begin(shot.rest, shot.image, shot.points)
        self._expected = shot

    def _drive(self, index: int, drive: Drive) -> Drive:
        """What a face is given: the drive, with a frame made for it where it needs one."""
        if index not in self._rehearsals:
            self.seen = drive.image
            return drive
        self.seen = self.image.copy()
        shown = self._rehearsals[index].draw(self.seen, replace(drive, image=None, points=None))
        return Drive(drive.move, self.seen, shown.points)

    def render(self, drive: Drive | Sequence[Drive]) -> tuple[RGB, list[Shown]]:
        """The picture under one drive, or one for each face; the array is the same every time.

        (H, W, 3), or (H, W, 4) where it is `transparent`. At the seam of a loop, what two frames of the performer tell
        is cross-faded."""
        each = [drive] * len(self.faces) if isinstance(drive, Drive) else list(drive)
        expected, self._expected = self._expected, None
        for i, one in enumerate(each):
            if one.begins is not None and not _same(one.begins, expected):
                self.begin(one.begins.rest, one.begins.image, one.begins.points, i)
        canvas, shown = self._composed(each)
        if not isinstance(drive, Seam) or drive.first is None or (drive.image is None and drive.first.image is None):
            return canvas, shown
        x0, y0, x1, y1 = self.box
        before = canvas[y0:y1, x0:x1].copy()
        other = Drive(drive.move, drive.first.image, drive.first.points)
        canvas, shown = self._composed([other] * len(self.faces))
        part = canvas[y0:y1, x0:x1]
        part[:] = cv2.addWeighted(before, 1 - drive.weight, part, drive.weight, 0)
        return canvas, shown

    def _composed(self, drives: Sequence[Drive]) -> tuple[RGB, list[Shown]]:
        canvas, shown = self._drawn(drives)
        return (canvas if self._layer is None else self._layer.compose(canvas, shown)), shown

    def _drawn(self, drives: Sequence[Drive]) -> tuple[RGB, list[Shown]]:
        if len(self.faces) == 1:
            return self.canvas, [self.faces[0].draw(self.canvas, self._drive(0, drives[0]))]
        x0, y0, x1, y1 = self.box
        self.canvas[y0:y1, x0:x1] = self.image[y0:y1, x0:x1]
        own = self.image.copy()
        out = []
        for i, face in enumerate(self.faces):  # each where it differs from the still picture
            a, b, c, d = face.box
            out.append(face.draw(own, self._drive(i, drives[i])))
            changed = (own[b:d, a:c] != self.image[b:d, a:c]).any(-1)
            self.canvas[b:d, a:c][changed] = own[b:d, a:c][changed]
            own[b:d, a:c] = self.image[b:d, a:c]
        return self.canvas, out


def _same(shot: Shot, other: Shot | None) -> bool:
    return other is not None and shot.rest is other.rest and shot.image is other.image and shot.points is other.points


def make_stage(
    sources: Sequence[Source], o: Options, beside: Sequence[Face] = (), background: str | None = None
) -> Stage:
    """The stage of an animation, by the engine of its options; `background` in place of theirs."""
    engine: Any = load_engine(o.engine, o, o.weights)
    return Stage(sources, engine, beside, o.background if background is None else background)
