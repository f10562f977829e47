"""The film kit: for every frame what a compositor needs to make it again from the untouched picture."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.engine import Drive, Layered, Shown
from infinex.errors import InputError, MissingDependencyError, OutputError, option
from infinex.jobs.perform import Cue, Picture
from infinex.media.files import atomic_path, writable_target
from infinex.media.overlap import Behind
from infinex.media.provenance import one_line, png_with_text
from infinex.media.timecode import Timecode
from infinex.mesh.painter import LARGE
from infinex.mesh.surface import Floats, Surface, sampled
from infinex.options import Options
from infinex.stage import Stage

POINTS = 478
WAITING = 1  # frames that wait to be written: one of a large picture takes a hundred megabytes
SEEN = 128  # of 255: from where on a pixel is the person's
UNLIKE = 1  # of 255: what differs by more from the moved picture is painted
LAYERS = {
    "stmap": "EXR, float: R and G are u and v in 0..1, from the picture's lower left corner, of the place that a pixel "
    "shows; of the first pixel's centre u is 0.5 / width",
    "vectors": "EXR, half: pixels right and up that what a pixel shows goes to the next frame (forward.u, forward.v) "
    "and has come from the last one (backward.u, backward.v); 0 at the ends and over cuts",
    "normals": "EXR, half: X, Y, Z of the face as R, G, B (right, up, to the viewer), A where there is skin of it",
    "matte": "PNG, 8 bit: the person",
    "paint": "PNG, RGBA of 16 bit, not premultiplied: what the moved picture does not show",
}
Item = tuple[int, list[Surface], NDArray[np.uint8], NDArray[np.uint8], Floats]  # number, faces, box, matte, back


def check_passes(o: Options, out: Path) -> None:
    """Whether the folder that `--passes` names can be written beside `out`. Raises an InfinexError, before any work."""
    if o.passes is None:
        return
    _library()
    folder = Path(o.passes)
    writable_target(folder, folder=True)
    a, b = folder.absolute(), out.absolute()
    if a == b or a in b.parents or b in a.parents:
        raise OutputError(
            f"{option('passes')} {folder} and the output {out} lie in one another; name them side by side"
        )


def _library() -> ModuleType:
    try:
        import OpenEXR
    except ImportError as error:
        raise MissingDependencyError(
            f"{option('passes')} needs OpenEXR ({error}): pip install 'infinex[film]'"
        ) from None
    return OpenEXR


def no_passes(o: Options, what: str) -> None:
    """Raise InputError where passes are asked for with `what`, which has none."""
    if o.passes is not None:
        raise InputError(
            f"{option('passes')} goes with a still picture and one driver that is not live, not with {what}"
        )


class Kit:
    """The scene of a stage that keeps the passes of all it shows; see `infinex.jobs.perform.Scene`."""

    def __init__(
        self, folder: Path, stage: Stage, layer: Layered | None, words: str, timecode: Timecode | None = None
    ) -> None:
        """`layer` tells the persons apart where the stage itself does not; `words` say in every file what it is.
        `timecode` is the first frame's."""
        self._folder, self._stage, self._layer, self._words = folder, stage, layer, words
        self._code = timecode
        self.box = stage.box
        self.count, self.cubic = 0, (stage.box[2] - stage.box[0]) * (stage.box[3] - stage.box[1]) < LARGE
        h, w = stage.image.shape[:2]
        across, down = np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32)
        self._own = np.stack(np.meshgrid(across, down), -1)
        for name in LAYERS:
            (folder / name).mkdir()
        self._exr = _library()
        self._last: Item | None = None
        self._behind = Behind(self._write, WAITING)
        self._table = (folder / "landmarks.csv").open("w", newline="")
        self._rows = csv.writer(self._table)
        names = [f"{axis}_{n}" for n in range(POINTS) for axis in "xy"]
        self._rows.writerow(["frame", "face", *names])

    def render(self, drive: Cue) -> tuple[Picture, list[Shown]]:
        """The stage's picture; its passes are written once the next frame is known."""
        picture, shown = self._stage.render(drive)
        self.count += 1
        faces: Any = zip(self._stage.faces, shown)
        surfaces = [Surface(f, s) for f, s in faces]
        if self._layer is None:
            matte = picture[..., 3].copy()
        else:
            matte = self._layer.compose(self._stage.canvas, shown)[..., 3].copy()
        each = [drive] if isinstance(drive, Drive) else drive
        last = None if any(d.begins is not None for d in each) else self._last
        back = self._ways(surfaces, None if last is None else last[1])
        self._pass_on(surfaces if last is not None else None)
        x0, y0, x1, y1 = self.box
        self._last = self.count, surfaces, self._stage.canvas[y0:y1, x0:x1].copy(), matte, back
        return picture, shown

    def _pass_on(self, following: Sequence[Surface] | None) -> None:
        """The last frame has all it needs: write it."""
        if self._last is not None:
            self._behind.put((self._last, self._ways(self._last[1], following)))
            self._last = None

    def _ways(self, surfaces: Sequence[Surface], others: Sequence[Surface] | None) -> Floats:
        """(H, W, 2) pixels right and up from the frame of `surfaces` to that of `others`."""
        out = np.zeros((*self._own.shape[:2], 2), np.float32)
        for one, other in zip(surfaces, others or ()):
            x0, y0, x1, y1 = one.box
            way = one.way(other.vertices)
            moves = np.abs(way).max(-1) > 1e-3
            out[y0:y1, x0:x1][moves] = way[moves] * np.array([1, -1], np.float32)
        return out

    def _write(self, item: tuple[Item, Floats]) -> None:
        (number, surfaces, drawn, matte, back), forth = item
        places = self._own.copy()
        normals = np.zeros((*places.shape[:2], 4), np.float16)
        for row, one in enumerate(surfaces, 1):
            x0, y0, x1, y1 = one.box
            to = np.stack([one.x, one.y], -1)
            moves = np.abs(to - self._own[y0:y1, x0:x1]).max(-1) > 1e-3
            places[y0:y1, x0:x1][moves] = to[moves]
            mine = one.normals()
            skin = mine[..., 3] > 0
            normals[y0:y1, x0:x1][skin] = mine[skin]
            flat = one.points[:POINTS, :2]
            self._rows.writerow([number, row, *(f"{v:.3f}" for v in flat.ravel())])
        behind = matte < SEEN  # the warp goes on there, but what shows is the background, which stays
        places[behind], back[behind], forth[behind] = self._own[behind], 0, 0
        h, w = places.shape[:2]
        st = np.zeros((h, w, 3), np.float32)
        st[..., 0] = (places[..., 0] + np.float32(0.5)) / w
        st[..., 1] = 1 - (places[..., 1] + np.float32(0.5)) / h
        self._picture("stmap", number, {"RGB": st})
        halves = {"backward": back.astype(np.float16), "forward": forth.astype(np.float16)}
        self._picture("vectors", number, {f"{n}.{c}": np.ascontiguousarray(v[..., k]) for n, v in halves.items()
                                          for k, c in enumerate("uv")})  # fmt: skip
        self._picture("normals", number, {"RGBA": normals})
        self._png("matte", number, matte)
        self._png("paint", number, self._painted(drawn, places))

    def _painted(self, drawn: NDArray[np.uint8], places: Floats) -> NDArray[np.uint16]:
        """What was drawn and the moved picture does not show: (H, W, 4), soft at its edges.

        Laid over the moved picture it gives what was drawn, but for a step of 255 where nothing is painted."""
        x0, y0, x1, y1 = self.box
        h, w = places.shape[:2]
        x, y = (np.ascontiguousarray(places[y0:y1, x0:x1, k]) for k in (0, 1))
        moved = sampled(self._stage.image, x, y, self.cubic).astype(np.float32)
        seen = drawn.astype(np.float32)
        beyond = (x < 0) | (y < 0) | (x > w - 1) | (y > h - 1)  # every program has its own colours there
        unlike = ((np.abs(seen - moved).max(-1) > UNLIKE) | beyond).astype(np.float32)
        share = np.maximum(unlike, cv2.GaussianBlur(unlike, (0, 0), 1.0))
        share[share < 1 / 64] = 0
        part = share[..., None]
        colour = np.where(part > 0, (seen - (1 - part) * moved) / np.maximum(part, 1 / 64), 0)
        out = np.zeros((h, w, 4), np.uint16)
        out[y0:y1, x0:x1] = np.round(np.dstack([np.clip(colour, 0, 255) * 257, share * 65535]))
        return out

    def _picture(self, name: str, number: int, channels: dict[str, Any]) -> None:
        header = {"type": self._exr.scanlineimage, "compression": self._exr.ZIP_COMPRESSION, "comments": self._words}
        if self._code is not None and self._code.base <= 30:  # of more its digits have no room
            header["timeCode"] = code = self._exr.TimeCode()
            code.hours, code.minutes, code.seconds, code.frame = self._code.later(number - 1).parts
            code.dropFrame = self._code.drop
        path = self._folder / name / f"{name}.{number:06d}.exr"
        try:
            self._exr.File(header, channels).write(str(path))
        except RuntimeError as error:
            raise OutputError(f"{path.name} of {option('passes')} cannot be written: {error}") from None

    def _png(self, name: str, number: int, picture: NDArray[Any]) -> None:
        turned = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA)
        ok, data = cv2.imencode(".png", turned, [cv2.IMWRITE_PNG_COMPRESSION, 3])
        if not ok:
            raise OSError(f"pass {name} of frame {number} could not be encoded")
        path = self._folder / name / f"{name}.{number:06d}.png"
        path.write_bytes(png_with_text(data.tobytes(), {"comment": self._words}))

    def finish(self, about: dict[str, Any]) -> None:
        """Write the last frame, and `about` what the folder holds."""
        self._pass_on(None)
        self._behind.finish()
        h, w = self._stage.image.shape[:2]
        text = {
            "made": self._words, **about, "width": w, "height": h, "frames": self.count,
            "filter": "cubic convolution, a = -0.75" if self.cubic else "linear",
            "passes": LAYERS | {"landmarks.csv": f"{POINTS} points of each face, pixels right and down from the "
                                                 "picture's upper left corner, whose first pixel's centre is 0, 0"},
            "composite": "picture moved by stmap * (1 - paint.A) + paint.RGB * paint.A, in the picture's own encoding",
        }  # fmt: skip
        (self._folder / "passes.json").write_text(json.dumps(text, indent=2, ensure_ascii=False) + "\n", "utf-8")

    def close(self) -> None:
        """End the writing, whatever happened."""
        self._behind.close()
        self._table.close()


@contextlib.contextmanager
def open_kit(
    o: Options,
    stage: Stage,
    cutout: NDArray[np.uint8] | None,
    words: dict[str, str],
    fps: float,
    timecode: Timecode | None = None,
) -> Iterator[Kit | Stage]:
    """The stage, and where `--passes` names a folder the same with its passes written into it, whole or not at all.

    `cutout` is the portrait with its own transparency, where it has some."""
    if o.passes is None:
        yield stage
        return
    layer = None if stage.transparent else stage.engine.layer(stage.image, stage.faces, cutout, None)
    with atomic_path(Path(o.passes), folder=True) as folder:
        code = timecode and timecode.at(Fraction(fps).limit_denominator(100000))
        kit = Kit(folder, stage, layer, one_line(words), code)
        try:
            yield kit
            kit.finish({"fps": float(fps)} | ({} if code is None else {"timecode": str(code)}))
        finally:
            kit.close()
