"""Decoded frames to upright RGB: matrix, range, transfer and gamut by what the file says, else as players guess."""

from __future__ import annotations

import threading
from fractions import Fraction
from functools import lru_cache
from typing import Any

import av
import numpy as np
from av import VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter
from numpy.typing import NDArray

from infinex.media.colour import Primaries, Transfer
from infinex.media.grey import Grey
from infinex.media.tonemap import ToneMap

# The matrices that FFmpeg's scaler knows, by its numbers (PyAV before 18 has no name for the last one).
ITU709, FCC, ITU601, SMPTE240M, BT2020 = 1, 4, 5, 7, 9
MATRICES = {1: ITU709, 4: FCC, 5: ITU601, 6: ITU601, 7: SMPTE240M, 9: BT2020, 10: BT2020}
YCGCO = 8
# Where the matrix is not said, the primaries tell which was meant.
BY_PRIMARIES = {1: ITU709, 4: FCC, 5: ITU601, 6: ITU601, 7: SMPTE240M, 9: BT2020}
HDR: dict[int, Transfer] = {16: "pq", 18: "hlg"}
# Other curves of SDR are left alone, as players do: screens differ more than these.
CURVES: dict[int, Transfer] = {8: "linear", 5: "gamma28"}
PLAIN = ("yuv420p", "yuvj420p", "nv12")  # eight bits, of which the first plane is the lightness
# PyAV 17 shares a frame among threads, who take longer to be woken than to convert one; before, there was one.
ALONE = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}
CUT, CUTS = 64, 8  # pixels by which parts of frames grow: the scaler's tables are for one size; sizes that are kept
GAMUTS: dict[int, Primaries] = {9: "bt2020", 11: "p3", 12: "p3"}


def matrix_of(frame: Any) -> int:
    """Number of the matrix of a YUV frame. Files that do not say are 709 from HD upwards, else 601."""
    known = MATRICES.get(int(frame.colorspace)) or BY_PRIMARIES.get(_code(frame, "color_primaries"))
    if known is None and _code(frame, "color_trc") in HDR:
        known = BT2020
    if known is None:
        known = ITU709 if frame.height >= 720 or frame.width >= 1280 else ITU601
    return known


def _code(frame: Any, name: str) -> int:
    return int(getattr(frame, name, 2) or 2)


def _light(frame: Any) -> tuple[Transfer, Primaries] | None:
    """Transfer and primaries where they are not those of an ordinary screen."""
    transfer, primaries = _code(frame, "color_trc"), _code(frame, "color_primaries")
    if transfer in HDR:
        return HDR[transfer], GAMUTS.get(primaries, "bt709" if primaries == 1 else "bt2020")
    gamut = GAMUTS.get(primaries, "bt709")
    curve = CURVES.get(transfer)
    if gamut == "bt709" and curve is None:
        return None
    return curve or ("srgb" if transfer == 13 else "gamma22" if transfer == 4 else "bt1886"), gamut


def _orientation(frame: Any) -> tuple[bool, bool, bool]:
    """Whether rows and columns change places, then rows are reversed, then columns, so that a frame is upright."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return False, False, False
    a, b, _, c, d = (int(v) for v in np.frombuffer(bytes(data)[:20], "=i4"))
    # A point x, y of the frame is shown at a x + c y, b x + d y.
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return False, d < 0, a < 0
    return True, b < 0, c < 0


class Converter:
    """Makes frames (H, W, 3) uint8 RGB, upright, with square pixels, all of the size of the first one."""

    def __init__(self, first: Any, ratio: Fraction | None = None, max_side: int | None = None) -> None:
        """`ratio` is width to height of a pixel; `max_side` shrinks."""
        w, h = first.width, first.height
        if ratio and ratio != 1 and Fraction(1, 4) < ratio < 4:
            w = max(2, round(w * float(ratio)))
        if max_side and max(w, h) > max_side:
            k = max_side / max(w, h)
            w, h = max(2, round(w * k)), max(2, round(h * k))
        self._size = w, h
        self._swap, self._down, self._back = _orientation(first)
        self.width, self.height = (h, w) if self._swap else (w, h)
        # Each keeps its tables from frame to frame, for one size and one thread at a time.
        self._reformatter = VideoReformatter()
        self._cutters = lru_cache(CUTS)(
            lambda width, height, kind: (VideoReformatter(), VideoFrame(width, height, kind))
        )
        self._lock = threading.Lock()
        self._tone: ToneMap | None = None

    def __call__(self, frame: Any) -> NDArray[np.uint8]:
        image = self._upright(self._rgb(frame))
        return image if image.flags.c_contiguous else np.ascontiguousarray(image)

    def grey(self, frame: Any) -> Grey | None:
        """The frame's own plane of lightness, where that is what the picture's would be but for rounding."""
        if not self._plain(frame):
            return None
        return Grey(_lines(frame.planes[0])[: frame.height, : frame.width], not _full(frame))

    def part(self, frame: Any, rows: slice, columns: slice) -> NDArray[np.uint8] | None:
        """A part of the picture to the byte, without a conversion of the rest, where that is possible and less work."""
        if not self._plain(frame) or frame.format.name == "nv12" or int(frame.colorspace) == YCGCO:
            return None
        (y, h), (x, w) = (_grown(s, n) for s, n in ((rows, frame.height), (columns, frame.width)))
        if 2 * h * w > frame.height * frame.width or frame.height % 2 or frame.width % 2:
            return None
        with self._lock:
            reformatter, cut = self._cutters(w, h, frame.format.name)
            for n, mine, whole in zip((1, 2, 2), cut.planes, frame.planes):  # colours have half the lines and columns
                _lines(mine)[: h // n, : w // n] = _lines(whole)[y // n : (y + h) // n, x // n : (x + w) // n]
            made = reformatter.reformat(cut, width=w, height=h, format="rgb24", **ALONE, **_range(frame)).to_ndarray()
        return np.ascontiguousarray(made[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x])

    def _plain(self, frame: Any) -> bool:
        """Whether the frame is the picture but for the conversion of its colours."""
        turned = self._swap or self._down or self._back
        as_large = (frame.width, frame.height) == self._size
        return frame.format.name in PLAIN and not turned and as_large and _light(frame) is None

    def _upright(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._swap:
            image = image.swapaxes(0, 1)
        if self._down:
            image = image[::-1]
        return image[:, ::-1] if self._back else image

    def _rgb(self, frame: Any) -> NDArray[np.uint8]:
        options: dict[str, Any] = {}
        kind = frame.format
        alpha = any(c.is_alpha for c in kind.components)
        full = _full(frame)
        grey = kind.name.startswith("gray") or kind.name.startswith("ya")
        if grey:
            full = frame.color_range != ColorRange.MPEG  # FFmpeg's grey is full unless it says otherwise
        elif not kind.is_rgb:
            if int(frame.colorspace) == YCGCO:
                return self._ycgco(frame, full)
            options = _range(frame)
        light = _light(frame)
        if light is None:
            image = self._reformat(frame, "rgba" if alpha else "rgb24", options)
            if grey and not full:
                image[..., :3] = _stretched(image[..., :3])
            return _on_white(image) if alpha else image
        if self._tone is None or self._tone.key != light:
            self._tone = ToneMap(*light)
        deep = self._reformat(frame, "rgba64le" if alpha else "rgb48le", options)
        image = self._tone(deep)
        return _on_white(np.dstack([image, (deep[..., 3] >> 8).astype(np.uint8)])) if alpha else image

    def _reformat(self, frame: Any, name: str, options: dict[str, Any]) -> Any:
        w, h = self._size
        with self._lock:
            made = self._reformatter.reformat(frame, width=w, height=h, format=name, **ALONE, **options)
        return made.to_ndarray()

    def _ycgco(self, frame: Any, full: bool) -> NDArray[np.uint8]:
        """Luma, green against magenta and orange against blue, which FFmpeg's scaler does not know."""
        y, cg, co = self._reformat(frame, "yuv444p", {}).astype(np.float32)
        if not full:
            y, cg, co = (y - 16) * (255 / 219), (cg - 128) * (255 / 224) + 128, (co - 128) * (255 / 224) + 128
        cg, co = cg - 128, co - 128
        return np.clip(np.round(np.dstack([y - cg + co, y + cg, y - cg - co])), 0, 255).astype(np.uint8)


def _full(frame: Any) -> bool:
    """Whether black is 0 and white 255."""
    return bool(frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj"))


def _range(frame: Any) -> dict[str, Any]:
    """What the scaler has to be told of a frame of luma and chroma."""
    full = "JPEG" if _full(frame) else "MPEG"
    return {"src_colorspace": matrix_of(frame), "src_color_range": full, "dst_color_range": "JPEG"}


def _lines(plane: Any) -> NDArray[np.uint8]:
    """The bytes of a plane, one line in each row, with what pads them."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)


def _grown(part: slice, n: int) -> tuple[int, int]:
    """Where a part of `n` pixels begins and how many it has, once it is even and of one of a few sizes."""
    begin = part.start // 2 * 2
    count = min(-(-(part.stop - begin) // CUT) * CUT, n)
    return min(begin, (n - count) // 2 * 2), count


def _stretched(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Values of the limited range over the whole of it."""
    table = np.clip(np.round((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)
    return table[image]


def _on_white(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 4) laid on white, as pictures are."""
    opacity = image[..., 3:].astype(np.uint16)
    return ((image[..., :3] * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)
