"""Opening a portrait: its pixels, and the faces in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.engine import Source, find_engine
from infinex.errors import InputError, option
from infinex.face.tracker import Face, choose, find_faces, shared_finder
from infinex.face.waking import opened
from infinex.media.files import CLIPS
from infinex.media.image import is_image, read_image, read_rgba
from infinex.media.kept import kept
from infinex.media.sink import supports_alpha
from infinex.media.strip import is_sequence
from infinex.media.video import VideoReader
from infinex.options import Options, Place

RGB = NDArray[np.uint8]
LOOKED_THROUGH = 250  # pictures of a clip in which a face is looked for
HEADROOM = 0.46  # of a cropped picture's height lies above the middle of the face, where there is room
ANIMATIONS = (".gif", ".webp", ".apng", ".png")  # of these the first picture is the portrait


def _resized(image: RGB, size: int | None) -> RGB:
    if size is None:
        return image
    k = size / max(image.shape[:2])
    inter = cv2.INTER_AREA if k < 1 else cv2.INTER_CUBIC
    h, w = (max(2, round(s * k)) for s in image.shape[:2])
    return image if (h, w) == image.shape[:2] else cv2.resize(image, (w, h), interpolation=inter)


def load_source(
    path: str | Path,
    face: str = "largest",
    box: Place | None = None,
    size: int | None = None,
    open_eyes: bool = False,
    clip: bool = False,
    crop: str = "keep",
) -> list[Source]:
    """The portraits in a picture file, one for each chosen face, all over the same image; of a `clip`, its first
    picture that shows a face.

    `box` is x, y, width, height in pixels of the file; with `open_eyes` closed ones are drawn open; `crop` keeps the
    largest part of that shape around the faces, and `size` is that of the part. Raises InputError or
    FaceNotFoundError."""
    if crop != "keep":
        return cropped(load_source(path, face, box, None, open_eyes, clip), crop, size)
    original, cutout = (_first_of(path), None) if clip else _read_portrait(path)
    image = _resized(original, size)
    if cutout is not None:
        cutout = _resized_cutout(cutout, image.shape[1], image.shape[0])
    if box is not None:
        k = image.shape[1] / original.shape[1]
        x, y, w, h = (v * k for v in box)
        if w <= 0 or h <= 0 or x + w < 0 or y + h < 0 or x >= image.shape[1] or y >= image.shape[0]:
            raise InputError(
                f"{option('box')} lies outside {Path(path).name} ({original.shape[1]}x{original.shape[0]})"
            )
        with shared_finder() as finder:
            found = faces = [finder.in_box(image, (x, y, x + w, y + h))]
    else:
        found = _found(image)
        faces = choose(found, face, Path(path).name)
    others = unmoved(found, faces)
    before = image
    for i, one in enumerate(faces if open_eyes else ()):
        with shared_finder() as finder:
            awake, faces[i] = opened(image, one, finder.mesh)
        if cutout is not None:
            cutout = np.dstack([np.where((awake != image).any(-1, keepdims=True), awake, cutout[..., :3]),
                                cutout[..., 3]])  # fmt: skip
        image = awake
    if open_eyes and image is before:
        raise InputError(
            f"{option('open_eyes')}: no eye in {Path(path).name} is closed, or glasses and size hide that it is"
        )
    return [Source(image, f, cutout, others=others) for f in faces]


def _found(image: RGB) -> list[Face]:
    """Every face of a picture, largest first."""

    def made() -> tuple[NDArray, NDArray]:
        faces = find_faces(image)
        return np.array([f.landmarks for f in faces]), np.array([f.score for f in faces])

    return [Face(landmarks, float(score)) for landmarks, score in zip(*kept("faces", made, image))]


def unmoved(found: Sequence[Face], chosen: Sequence[Face]) -> tuple[Face, ...]:
    """The faces `found` in a picture that are none of those `chosen` to be animated."""
    return tuple(f for f in found if all(f is not one for one in chosen))


def shrunk(sources: Sequence[Source], side: int) -> list[Source]:
    """Portraits over one picture without transparency, its longer side at most `side` pixels, all faces with it."""
    image = sources[0].image
    if side >= max(image.shape[:2]):
        return list(sources)
    small = _resized(image, side)
    across, down = (b / a for a, b in zip(image.shape[1::-1], small.shape[1::-1]))
    scale = np.array([across, down, across])

    def moved(face: Face) -> Face:
        return replace(face, landmarks=face.landmarks * scale)

    return [Source(small, moved(s.face), others=tuple(moved(f) for f in s.others)) for s in sources]


def cropped(sources: list[Source], crop: str, size: int | None = None) -> list[Source]:
    """Portraits over one picture, cut to a shape such as "16:9" around their faces, the longer side then `size`."""
    h, w = sources[0].image.shape[:2]
    across, down = (int(n) for n in crop.split(":"))
    k = min(w / across, h / down)
    cw, ch = (max(2, min(side, 2 * round(n * k / 2))) for n, side in ((across, w), (down, h)))
    boxes = np.array([s.face.box for s in sources])
    middle = (boxes[:, 0].min() + boxes[:, 2].max()) / 2, (boxes[:, 1].min() + boxes[:, 3].max()) / 2
    x = round(float(np.clip(middle[0] - cw / 2, 0, w - cw)))
    y = round(float(np.clip(middle[1] - HEADROOM * ch, 0, h - ch)))
    image = _resized(np.ascontiguousarray(sources[0].image[y : y + ch, x : x + cw]), size)
    scale = np.array([image.shape[1] / cw, image.shape[0] / ch, image.shape[1] / cw])
    cutout = sources[0].cutout
    if cutout is not None:
        cutout = _resized_cutout(np.ascontiguousarray(cutout[y : y + ch, x : x + cw]), image.shape[1], image.shape[0])

    def moved(face: Face) -> Face:
        return replace(face, landmarks=(face.landmarks - [x, y, 0]) * scale)

    return [Source(image, moved(s.face), cutout, others=tuple(moved(f) for f in s.others)) for s in sources]


def _read_portrait(path: str | Path) -> tuple[RGB, NDArray[np.uint8] | None]:
    """A picture laid on white (H, W, 3), and where it has transparency the picture itself (H, W, 4)."""
    straight, alpha = read_rgba(path)
    if alpha is None:
        return straight, None
    return read_image(path), np.dstack([straight, alpha])


def _resized_cutout(cutout: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """A cut-out (H, W, 4) at another size: colours count as much as they show."""
    if cutout.shape[:2] == (height, width):
        return cutout
    inter = cv2.INTER_AREA if width < cutout.shape[1] else cv2.INTER_CUBIC
    alpha = cutout[..., 3:].astype(np.float32) / 255
    laid = cv2.resize(np.dstack([cutout[..., :3] * alpha, alpha]), (width, height), interpolation=inter)
    alpha = np.clip(laid[..., 3:], 0, 1)
    out = np.dstack([laid[..., :3] / np.maximum(alpha, 1 / 512), alpha * 255])
    return np.clip(np.round(out), 0, 255).astype(np.uint8)


def _first_of(path: str | Path) -> RGB:
    """The first picture of a clip in which a face is seen, of its first seconds; else its very first."""
    first: RGB | None = None
    with VideoReader(path) as reader, shared_finder() as finder:
        for n, frame in enumerate(reader):
            first = frame.image if first is None else first
            if finder.find(frame.image):
                return frame.image
            if n >= LOOKED_THROUGH:
                break
    if first is None:
        raise InputError(f"{Path(path).name} holds no picture")
    return first


def background_for(o: Options, source: Source, out: Path) -> str:
    """What stands behind the person in an output: a cut-out stays one where the output can hold it.

    Not so in GIF, whose pixels are there or not, unless it is asked for."""
    if o.background != "keep" or source.cutout is None or o.panel or not find_engine(o.engine).system.mattes:
        return o.background
    return "none" if supports_alpha(out) and out.suffix.lower() != ".gif" else "keep"


def is_film(path: str | Path) -> bool:
    """Whether a source is a clip or pictures that make one; anything else is left to the picture reader."""
    if is_sequence(path):
        return True
    if not Path(path).is_file() or is_image(path):
        return False
    try:
        with VideoReader(path) as reader:
            return (reader.info.frames or 2) > 1 and Path(path).suffix.lower() not in ANIMATIONS
    except InputError:
        return Path(path).suffix.lower() in CLIPS
