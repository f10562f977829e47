"""The default engine: geometry first. A frame goes warp, layers, lids and lips, wrinkles, eyes, mouth."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.engine import Drive, Engine, Proportions, Setting, Shown, Source
from infinex.errors import InputError, option
from infinex.face import topology as top
from infinex.face.identity import known, same
from infinex.face.portrait import SourceFace
from infinex.face.reading import own_expression
from infinex.face.surroundings import head_reach
from infinex.face.tracker import Face
from infinex.media.kept import kept
from infinex.mesh.ahead import compile_ahead, read_compiled
from infinex.mesh.album import OPEN, Album, moved, read_album
from infinex.mesh.beyond import Beyond
from infinex.mesh.corners import Corners
from infinex.mesh.cutout import CutOut, face_matte
from infinex.mesh.expression import borne, fuller, read, restrained
from infinex.mesh.eyes import Eyes, irises
from infinex.mesh.furrows import Furrows
from infinex.mesh.glasses import held
from infinex.mesh.layers import Layers, person_matte
from infinex.mesh.lids import Lids
from infinex.mesh.mouth import Mouth, MouthTone, draw_performer_mouth
from infinex.mesh.painter import Painter
from infinex.mesh.refiner import (
    SEEN,
    Known,
    Look,
    colour_of,
    eye_shown,
    look_at_eye,
    look_at_head,
    look_at_mouth,
    mouth_shown,
    refiner,
)
from infinex.mesh.retarget import Retarget, Target, joy
from infinex.mesh.saturate import Relenting, Saturation, parted, smiled
from infinex.mesh.seen import draw_seen_lids, draw_seen_mouth, draw_seen_skin, facing
from infinex.mesh.warp import Flow, Warp, WarpShape
from infinex.mesh.wrinkles import Wrinkles, skin_tint
from infinex.motion import Move, Rest

Box = tuple[int, int, int, int]
HEAD_LARGEST = 90.0  # IOD in pixels up to which the head is refined; above, it costs more time than it gains


@dataclass(frozen=True)
class MeshOptions:
    """Choices of the mesh engine."""

    mouth: Literal["auto", "driver", "own"] = (
        "auto"  # its inside: the driver's, modelled, or the driver's of the same person
    )
    wrinkles: Literal["driver", "none"] = "driver"  # the driver's; folds of our own where it has no frames
    absolute: bool = False
    neutral: bool = False  # the portrait's own expression is taken off first
    album: str = ""  # a folder or a clip with more of the same person, whose mouths are shown
    proportions: Proportions = "auto"  # auto: scaled to the portrait's
    oversample: int = 2  # antialiasing of lids and lips
    layers: Literal["matte", "flat"] = "matte"  # flat: no background behind the person, for heads that stay
    shape: WarpShape = field(default_factory=WarpShape)
    outline: bool = True  # what lies around the face moves as measured, where it was
    refine: bool = True  # networks correct what warping cannot show


class MeshShown(Shown):
    """How a face was drawn: where its mesh went, and where every pixel came from."""

    def __init__(self, target: Target, flow: Flow | None, layers: Layers) -> None:
        super().__init__(target.points)
        self.target, self.flow, self._layers = target, flow, layers

    @cached_property
    def occlusion(self) -> NDArray[np.uint8] | None:
        """Dark where background is uncovered, and where the warp stretches or folds."""
        if self.flow is None:
            return None
        x, y = self.flow.map_x, self.flow.map_y
        gate = self._layers.gate(x, y).astype(np.float32) / 255
        a = cv2.remap(self._layers.alpha, x, y, cv2.INTER_LINEAR)
        det = np.abs(cv2.Sobel(x, cv2.CV_32F, 1, 0, scale=1 / 8))
        stretched = np.clip((0.6 - det) / 0.5, 0, 1)
        seen = (1 - gate * (1 - a)) * (1 - stretched * (a > 0.5))
        return np.asarray(np.round(255 * cv2.GaussianBlur(seen, (0, 0), 1.0)), np.uint8)


class PreparedFace:
    """One face of a portrait, ready to be moved."""

    def __init__(
        self,
        source: Source,
        options: MeshOptions,
        cut: bool = False,
        film: bool = False,
        album: Album | None = None,
        beside: Sequence[Face] = (),
    ) -> None:
        """With `cut` a cut-out's own transparency says where the person is; of a `film` it is one frame; `album` has
        more of their mouths; faces `beside` this one move by themselves."""
        self.album = album
        self.source, self.options = source, options
        h, w = source.image.shape[:2]
        self.face = SourceFace(source.face.landmarks)
        self._facing = facing(self.face.points)
        reach = head_reach(self.face.face, self.face.pose, w, h, options.shape)
        with ThreadPoolExecutor(1, "infinex-layers") as meanwhile:  # networks and compiled loops, which let others work
            matte = meanwhile.submit(self._matte, reach, cut)
            self.tone = MouthTone.measure(source.image, self.face.points)
            self.mouth = Mouth(self.face, self.tone)
            self._held = held(source.image, self.face)
            self._borne, self._sees = borne(source.image, self.face.points), irises(source.image, self.face.points)
            self._own = own_expression(self.face.face) if options.neutral else None
            if self._own is not None:
                self.mouth = Mouth(self.face.displaced(-self._own), replace(self.tone, upper=0.0), alone=True)
            alpha = matte.result()
            if alpha is not None:
                reach, alpha = self._tightened(reach, alpha)
            self.box = x0, y0, x1, y1 = reach
            self.part = part = np.ascontiguousarray(source.image[y0:y1, x0:x1])
            layers = meanwhile.submit(Layers, part, self.face, alpha)
            others = [f.landmarks for f in (*beside, *source.others)]
            self.warp = Warp(self.face, w, h, options.shape, reach, alpha, options.absolute, others)
            self.eyes = Eyes(part, (x0, y0), self.face)
            self.lids = Lids(part, self.face, (x0, y0), self.tone.grain, self._held is not None)
            self.corners = Corners(part, self.face, (x0, y0))
            points = self.face.points[:, :2] - [x0, y0]
            self.colour = colour_of(part, points)
            if options.wrinkles == "driver" and not film:
                _ = self.furrows
            if options.refine:
                refiner()
            read_compiled()  # not before: the networks of the matte take most of all memory
            self.layers = layers.result()
        borders = x0 <= 0, y0 <= 0, x1 >= w, y1 >= h
        self.beyond = Beyond(self.layers.person, points, self.face.pose.scale, borders, alpha is not None)
        self._retarget: Retarget | None = None
        self._filmed = False  # performed, not written
        self._saturation: Saturation | None = None
        self._relenting: Relenting | None = None
        self._smiled: NDArray[np.float64] | None = None  # what the performer smiles at rest
        self._units: NDArray[np.float64] | None = None  # of the last target of a filmed performance
        self._performer: tuple[NDArray[np.uint8], NDArray] | None = None
        self._borrows, self._alike, self._film = False, False, film
        self._wrinkles: Wrinkles | None = None
        self._kept: Known = {}
        self.painter = Painter(self.layers, self.beyond, (x0, y0), self.face.points[:, :2])
        self._last: tuple[NDArray[np.uint8], Flow, Target] | None = None

    def _matte(self, reach: Box, cut: bool) -> NDArray[np.float32] | None:
        """Where the person is in what may move, 0..1; None where all is taken for her."""
        if self.options.layers != "matte":
            return None
        x0, y0, x1, y1 = reach
        if cut and self.source.cutout is not None:
            return face_matte(self.source.cutout, self.face, reach)
        seen, unit = np.ascontiguousarray(self.source.image[y0:y1, x0:x1]), self.face.pose.scale
        own = self.face.points[:, :2] - [x0, y0]
        (alpha,) = kept("matte", lambda: (person_matte(seen, self.face, own),), seen, own, unit)
        return np.asarray(alpha, np.float32)

    def _tightened(self, reach: Box, alpha: NDArray[np.float32]) -> tuple[Box, NDArray[np.float32]]:
        """The reach cut down to the person and some room around; empty background need not be drawn."""
        x0, y0, x1, y1 = reach
        room = 0.6 * self.face.pose.scale
        seen = alpha > 0.05
        columns, rows = np.flatnonzero(seen.any(0)), np.flatnonzero(seen.any(1))
        a, b = max(0, int(columns[0] - room)) // 2 * 2, max(0, int(rows[0] - room)) // 2 * 2
        c, d = min(x1 - x0, int(columns[-1] + room) + 1), min(y1 - y0, int(rows[-1] + room) + 1)
        return (x0 + a, y0 + b, x0 + c, y0 + d), np.ascontiguousarray(alpha[b:d, a:c])

    def begin(self, rest: Rest, image: NDArray[np.uint8] | None, points: NDArray | None) -> None:
        """Start a performance: its rest, with the reference frame and its landmarks where there are any."""
        self._retarget = Retarget(self.face, rest, self.options.absolute, self.options.proportions)
        self._retarget.held, self._retarget.sees = self._held, self._sees
        if self.album is not None:
            self._retarget.turns_up_to(self.album.turns(self.face.pose))
        if not (self.options.neutral or self.options.absolute):
            self._retarget.beneath = self.tone.depth_beneath(self.face.face)
        self._filmed = rest.lids_open is not None
        # What is read off one frame of a film differs from what is read off the next by as much as a smile.
        still = not (self.options.absolute or self.options.neutral or self._film)
        self._saturation = Saturation(self.face.face, rest.face) if self._filmed and still else None
        self._smiled = smiled(rest) if self._filmed and still else None
        self._relenting = Relenting(self.face.face, rest.face) if self._filmed and still else None
        if self.options.neutral:
            self._retarget.own, self._retarget.shut = self._own, True
        self._performer = None if image is None or points is None else (image, points)
        self.whose_mouth(self.options.mouth)
        self._wrinkles = None
        if self.options.wrinkles == "driver" and image is not None and points is not None:
            spots = np.round(self.face.points[top.SKIN][:, :2]).astype(int)
            spots = np.clip(spots, 0, np.array(self.source.image.shape[1::-1]) - 1)
            skin = self.source.image[spots[:, 1], spots[:, 0]][None].astype(np.float32) / 255
            tone = np.median(cv2.cvtColor(skin, cv2.COLOR_RGB2LAB)[0], axis=0)
            self._wrinkles = Wrinkles(image, points, rest, skin_tint(tone), self.furrows.worn, self._held)

    def whose_mouth(self, mouth: Literal["auto", "driver", "own"]) -> None:
        """Choose the inside of the mouth, for the performance that has begun and those to come.

        The frames of a film, which come one by one, are never looked at for who it is."""
        self.options = replace(self.options, mouth=mouth)
        self._borrows, self._alike = mouth == "driver", False
        if mouth == "auto" and self._performer is not None and not self._film:
            self._borrows = self._alike = same(self._who, known(*self._performer))
        if self._retarget is not None:
            self._retarget.alike = self._alike

    def quiet_mouth(self, own: NDArray[np.float64], tone: MouthTone) -> None:
        """Take what the source's own mouth does off it; after `begin`.

        `own` (478, 3) is its displacement from rest in head coordinates. The inside is then the model's alone, in the
        colours of `tone`, since the source's shows what is no longer said."""
        assert self._retarget is not None, "begin() comes first"
        self._retarget.own = own
        self.mouth = Mouth(self.face.displaced(-own), tone, alone=True)

    @cached_property
    def _who(self) -> NDArray[np.float64] | None:
        return known(self.source.image, self.face.points)

    @cached_property
    def furrows(self) -> Furrows:
        """Folds laid on for the units of an expression."""
        return Furrows(self.part, self.face, self.box[:2])

    def target(self, move: Move) -> Target:
        """Where the mesh goes under a move."""
        assert self._retarget is not None, "begin() comes first"
        self._units = None
        if self._filmed and move.offsets.any():
            self._units = read(move.offsets)
            offsets = fuller(move.offsets, self._units, self._alike)
            if self._smiled is not None:
                offsets = offsets + self._smiled
            asked = offsets
            if self._saturation is not None:
                offsets = self._saturation(offsets)
            if self._relenting is not None:
                offsets = self._relenting(offsets, self._units)
            if self._saturation is not None:
                held = parted(self.face, self._retarget.rest.face, asked, offsets)
                bears = self._borne / max(self._retarget.brows, 1.0)
                offsets = held if self._alike else restrained(held, bears, joy(held))
            move = replace(move, offsets=offsets)
        return self._retarget(move if self.options.outline else replace(move, outline=None))

    def draw(self, canvas: NDArray[np.uint8], drive: Drive) -> MeshShown:
        """Draw the face under `drive` over its part of `canvas` (H, W, 3), in place."""
        target = self.target(drive.move)
        x0, y0, x1, y1 = self.box
        out = canvas[y0:y1, x0:x1]
        self._last = None
        if target.still:
            out[:] = self.layers.image
            return MeshShown(target, None, self.layers)
        flow = self.warp.flow(target)
        layers = self.layers
        part = self.painter(flow)
        self.painter.smooth(flow, self.warp.tris)
        self._antialias(part, flow)
        unit = target.pose.scale
        for view, bare in () if self.album is None else self.album.skin(target.points, self._facing):
            draw_seen_skin(part, (x0, y0), target.points, unit, view.image, view.points, bare, self._facing)
        if self._wrinkles is not None and drive.image is not None and drive.points is not None:
            self._wrinkles.apply(part, (x0, y0), target, drive.move, drive.image, drive.points)
        if self.options.wrinkles == "driver":
            self.furrows.apply(part, (x0, y0), target, drive.move, self._units)
        if self._sees > 0.5:  # else there is nothing that must stay round
            self.eyes.draw(part, target)
        self.lids.draw(part, target, flow)
        shut = None if self.album is None else self.album.lids(target.points)
        if shut is not None:
            view, shares = shut
            draw_seen_lids(part, (x0, y0), target.points, unit, view.image, view.points, shares)
        self.corners.draw(part, (x0, y0), flow, target)
        self.mouth.redden(part, (x0, y0), target)
        theirs = False
        known = None if self.album is None else self.album(target.points)
        if known is not None and target.gap[4] > OPEN:
            theirs = True
            draw_performer_mouth(part, (x0, y0), self.face, target, self.tone, known.image, known.points)
        elif self._borrows and drive.image is not None and drive.points is not None:
            theirs = True
            draw_performer_mouth(part, (x0, y0), self.face, target, self.tone, drive.image, drive.points)
        else:
            self.mouth.draw(part, (x0, y0), target)
        if known is not None:
            share = moved(target.points, self.face.face)
            draw_seen_mouth(part, (x0, y0), target.points, unit, known.image, known.points, share)
        self._last = part, flow, target
        if self.options.refine:
            refiner()(part, self.looks(theirs, SEEN), self.colour)
        out[:] = part
        return MeshShown(target, flow, layers)

    def looks(self, performers_mouth: bool = False, least: float = -1.0) -> dict[str, Look]:
        """What the refiner's networks see of the frame drawn last; nothing where it was the source itself.

        The inside of a performer's own mouth is real already and not looked at; nor is what shows no more than `least`
        of a correction."""
        if self._last is None:
            return {}
        part, flow, target = self._last
        image, corner = self.layers.image, self.box[:2]
        looks: dict[str, Look] = {}
        # A head that stays is right as it is; a large one would be corrected too coarsely to gain.
        if flow.peak > 0.02 * self.face.pose.scale and self.face.pose.scale < HEAD_LARGEST:
            looks["head"] = look_at_head(part, self.layers, flow, self.face, target, corner, self._kept)
        for k in (0, 1):
            alive, trust, _ = eye_shown(self.face, target, k)
            if alive * trust > least:
                looks[f"eye-{k}"] = look_at_eye(part, image, corner, self.face, target, k, self._kept)
        alive, trust = mouth_shown(self.face, target)
        if performers_mouth or alive * trust <= least:
            return looks
        return looks | {"mouth": look_at_mouth(part, image, corner, self.face, target, self._kept)}

    def _antialias(self, part: NDArray[np.uint8], flow: Flow) -> None:
        """Sample lids and lips again, finer: their triangles are thin and fold over."""
        x0, y0, x1, y1 = self.box
        k = self.options.oversample
        unit = self.face.pose.scale
        for ring, pad in ((top.RIGHT_EYE, 0.10), (top.LEFT_EYE, 0.10), (top.LIPS_OUTER, 0.06)):
            p = flow.points[ring]
            lo = np.maximum(np.floor(p.min(0) - pad * unit), [x0, y0]).astype(int)
            hi = np.minimum(np.ceil(p.max(0) + pad * unit), [x1, y1]).astype(int)
            w, h = int(hi[0] - lo[0]), int(hi[1] - lo[1])
            if w < 8 or h < 8:
                continue
            moved = float(np.abs(p - self.warp.source[ring]).max())
            if moved < 0.02:
                continue
            box = int(lo[0]), int(lo[1]), int(hi[0]), int(hi[1])
            self.painter.finer(flow, self.warp.numbers(flow, box, k), k, box, min(1.0, moved / 0.5))


class MeshEngine(Engine):
    """See `infinex.engine.Engine`."""

    name = "mesh"

    def __init__(self, options: MeshOptions | None = None) -> None:
        self.options = options or MeshOptions()
        self._album: Album | None = None
        compile_ahead()

    def prepare(self, source: Source, setting: Setting = Setting()) -> PreparedFace:  # noqa: B008
        """Everything that depends on the portrait alone."""
        shape = _room(source.face, [*setting.beside, *source.others], self.options.shape)
        layers: Literal["matte", "flat"] = "flat" if setting.film else self.options.layers
        if self.options.album and self._album is None:
            if setting.beside:
                raise InputError(f"{option('album')} is of one person: name the one by {option('face')}")
            self._album = Album(read_album(self.options.album, source))
            if not Path(self.options.album).is_dir():
                self.seen = self._album.faces
        chosen = replace(self.options, shape=shape, layers=layers)
        return PreparedFace(source, chosen, setting.cut, setting.film, self._album, setting.beside)

    def layer(
        self,
        image: NDArray[np.uint8],
        faces: Sequence[PreparedFace],
        cutout: NDArray[np.uint8] | None,
        behind: NDArray[np.uint8] | None,
    ) -> CutOut:
        """See `infinex.engine.Engine.layer`."""
        return CutOut(image, faces, cutout, behind)


def _room(face: Face, others: Sequence[Face], shape: WarpShape) -> WarpShape:
    """How far the head may carry its surroundings before it meets the next face."""
    if not others:
        return shape
    p = face.landmarks
    unit = float(np.linalg.norm(p[33] - p[263]))
    centre = p[:468, :2].mean(0)
    gap = min(float(np.linalg.norm(o.landmarks[:468, :2].mean(0) - centre)) - o.size / 2 for o in others) / unit
    k = float(np.clip(gap / (2.1 * (shape.head + shape.head_fade)), 0.35, 1.0))
    return replace(shape, head=max(0.45, shape.head * k), head_fade=max(0.2, shape.head_fade * k))


OPTIONS = MeshOptions


def open_engine(options: MeshOptions, weights: str) -> MeshEngine:
    """For `infinex.engine.load_engine`."""
    if weights:
        raise InputError(
            f"the engine mesh has no weights; {option('weights')} goes with {option('engine')} fomm and the like"
        )
    return MeshEngine(replace(options, outline=options.refine))
