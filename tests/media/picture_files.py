"""Small picture files made by hand: ICC profiles, PNG chunks, HEIF boxes."""

from __future__ import annotations

import multiprocessing
import struct
import zlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

D50 = (0.9642, 1.0, 0.8249)
# Columns of red, green, blue under D50, as published with each space (not computed by the code that is tested).
SPACES = {
    "sRGB": ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)),
    "P3": ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)),
    "Adobe": ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)),
    "ProPhoto": ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491)),
    "Rec2020": ((0.67348, 0.27904, -0.00194), (0.16566, 0.67535, 0.02998), (0.12504, 0.04561, 0.79686)),
}


def linear(v: NDArray) -> NDArray:
    """sRGB 0..1 to light."""
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def encoded(v: NDArray) -> NDArray:
    """Light 0..1 to sRGB."""
    v = np.clip(v, 0, 1)
    return np.where(v <= 0.0031308, v * 12.92, 1.055 * np.maximum(v, 1e-9) ** (1 / 2.4) - 0.055)


def in_space(srgb: NDArray, space: str, to_code: Callable[[NDArray], NDArray]) -> NDArray:
    """sRGB colours 0..1 written in another space, 0..1."""
    matrix = np.linalg.inv(np.array(SPACES[space]).T) @ np.array(SPACES["sRGB"]).T
    return to_code(np.clip(linear(srgb) @ matrix.T, 0, 1))


def s15(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(v * 65536) for v in values))


def gamma_curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def table_curve(values: NDArray) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">I", len(values)) + np.round(values * 65535).astype(">u2").tobytes()


def para_curve() -> bytes:
    """sRGB's own, as a version 4 profile has it."""
    return b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + s15(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def icc(tags: dict[bytes, bytes], name: str, space: bytes = b"RGB ", pcs: bytes = b"XYZ ", version: int = 2) -> bytes:
    """A profile of these tags with a description and a white point."""
    words = name.encode() + b"\0"
    if version == 2:
        desc = b"desc\0\0\0\0" + struct.pack(">I", len(words)) + words + bytes(78)
    else:
        wide = name.encode("utf-16-be")
        desc = b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(wide), 28) + wide
    tags = {b"desc": desc, b"wtpt": b"XYZ \0\0\0\0" + s15(*D50), **tags}
    table, body, at = b"", b"", 132 + 12 * len(tags)
    for key, data in tags.items():
        data += bytes(-len(data) % 4)
        table += struct.pack(">4sII", key, at + len(body), len(data))
        body += data
    size = at + len(body)
    head = struct.pack(">I4sB3s4s4s4s12s4s", size, bytes(4), version, bytes(3), b"mntr", space, pcs, bytes(12), b"acsp")
    head += bytes(28) + s15(*D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def matrix_profile(space: str, curve: bytes, name: str, version: int = 2) -> bytes:
    tags = {k: b"XYZ \0\0\0\0" + s15(*v) for k, v in zip((b"rXYZ", b"gXYZ", b"bXYZ"), SPACES[space])}
    return icc(tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve), name, version=version)


def table_profile(space: bytes, to_xyz: Callable[[NDArray], NDArray], grid: int, name: str) -> bytes:
    """A profile made of tables: `to_xyz` gives XYZ under D50 of code values (N, channels)."""
    n = 4 if space == b"CMYK" else 3
    axes = np.meshgrid(*[np.linspace(0, 1, grid)] * n, indexing="ij")
    xyz = to_xyz(np.stack([a.ravel() for a in axes], -1)) / D50
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], -1)
    codes = np.clip(np.round((lab * [655.35 * 65280 / 65535, 256, 256]) + [0, 32768, 32768]), 0, 65535)
    ramp = np.array([0, 65535], ">u2").tobytes()
    lut = b"mft2\0\0\0\0" + bytes([n, 3, grid, 0]) + s15(1, 0, 0, 0, 1, 0, 0, 0, 1) + struct.pack(">HH", 2, 2)
    lut += ramp * n + codes.astype(">u2").tobytes() + ramp * 3
    return icc({b"A2B0": lut, b"A2B1": lut}, name, space, b"Lab ")


# -- PNG ------------------------------------------------------------------------------------------


def png(pixels: NDArray, *chunks: tuple[bytes, bytes]) -> bytes:
    """(H, W[, channels]) of 8 or 16 bits with these chunks before the pixels."""
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    h, w, n = pixels.shape
    deep = pixels.dtype == np.uint16
    rows = pixels.astype(">u2" if deep else np.uint8).reshape(h, -1).view(np.uint8)
    raw = np.concatenate([np.zeros((h, 1), np.uint8), rows], 1).tobytes()
    head = struct.pack(">IIBBBBB", w, h, 16 if deep else 8, {1: 0, 2: 4, 3: 2, 4: 6}[n], 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(raw, 1)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts
    )


def iccp(profile: bytes) -> tuple[bytes, bytes]:
    return b"iCCP", b"x\0\0" + zlib.compress(profile)


def gama(gamma: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(gamma * 100000))


def chrm(*xy: float) -> tuple[bytes, bytes]:
    """White, red, green, blue."""
    return b"cHRM", struct.pack(">8I", *(round(v * 100000) for v in xy))


# -- HEIF -----------------------------------------------------------------------------------------


def box(name: bytes, *parts: bytes, full: tuple[int, int] | None = None) -> bytes:
    body = (b"" if full is None else struct.pack(">I", full[0] << 24 | full[1])) + b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), name) + body


def hevc(pixels: NDArray, bits: int = 8, grey: bool = False) -> tuple[bytes, bytes]:
    """One picture (H, W, 3) as HEVC of full range and BT.601: its hvcC box's content and its data."""
    h, w = pixels.shape[:2]
    context = av.CodecContext.create("libx265", "w")
    context.width, context.height, context.time_base = w, h, Fraction(1)
    context.pix_fmt = "gray" if grey else "yuv444p" if bits == 8 else f"yuv444p{bits}le"
    context.options = {"x265-params": "log-level=none:crf=4:info=0:range=full:colormatrix=smpte170m:bframes=0"}
    peak, mid = (1 << bits) - 1, 1 << (bits - 1)
    y, cb, cr = np.moveaxis(pixels @ np.array(YCC).T, -1, 0) * peak
    frame = av.VideoFrame(w, h, context.pix_fmt)
    for plane, values in zip(frame.planes, [y] if grey else [y, cb + mid, cr + mid]):
        kind = np.dtype(np.uint8 if bits == 8 else np.uint16)
        line = np.zeros((plane.height, plane.line_size // kind.itemsize), kind)
        line[:, :w] = np.clip(np.round(values), 0, peak)
        plane.update(line)
    frame.color_range, frame.pts, frame.time_base = 2, 0, Fraction(1)
    stream = b"".join(bytes(p) for p in [*context.encode(frame), *context.encode(None)])
    units = [u for u in stream.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if u]
    sets = {kind: next(u for u in units if u[0] >> 1 & 63 == kind) for kind in (32, 33, 34)}
    level = sets[33].replace(b"\0\0\3", b"\0\0")[3:15]
    form = bytes([0xFC | (0 if grey else 3), 0xF8 | (bits - 8), 0xF8 | (bits - 8), 0, 0, 0x0F, 3])
    config = b"\1" + level + b"\xf0\x00\xfc" + form
    config += b"".join(struct.pack(">BHH", 0x80 | k, 1, len(u)) + u for k, u in sets.items())
    return config, b"".join(struct.pack(">I", len(u)) + u for u in units if u[0] >> 1 & 63 < 32)


YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def heif(
    pictures: Sequence[NDArray],
    *,
    primary: int = 0,
    grid: tuple[int, int] | None = None,
    turns: int = 0,
    mirror: int | None = None,
    colour: bytes = b"",
    alpha: NDArray | None = None,
    bits: int = 8,
    exif: bytes = b"",
) -> bytes:
    """A HEIC file of float pictures (H, W, 3) 0..1; with `grid` (rows, columns) they are the tiles of one picture.

    `turns`: anti-clockwise quarter turns (irot); `mirror`: axis (imir); `colour`: content of a colr box."""
    h, w = pictures[0].shape[:2]
    items: list[tuple[bytes, bytes, list[int]]] = []  # kind, data, properties
    properties: list[bytes] = []

    def prop(data: bytes) -> int:
        properties.append(data)
        return len(properties)

    own = []  # of the shown picture
    if colour:
        own.append(prop(box(b"colr", colour)))
    if turns:
        own.append(prop(box(b"irot", bytes([turns]))))
    if mirror is not None:
        own.append(prop(box(b"imir", bytes([mirror]))))
    size = prop(box(b"ispe", struct.pack(">II", w, h), full=(0, 0)))
    for picture in pictures:
        config, data = hevc(picture, bits)
        items.append((b"hvc1", data, [prop(box(b"hvcC", config)) | 0x80, size, *([] if grid else own)]))
    refs = b""
    if grid:
        rows, columns = grid
        whole = prop(box(b"ispe", struct.pack(">II", w * columns, h * rows), full=(0, 0)))
        data = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, w * columns, h * rows)
        items.append((b"grid", data, [whole, *own]))
        primary = len(items) - 1
        refs += box(b"dimg", struct.pack(f">HH{primary}H", primary + 1, primary, *range(1, primary + 1)))
    if alpha is not None:
        config, data = hevc(np.repeat(alpha[..., None], 3, 2), 8, grey=True)
        kind = prop(box(b"auxC", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0", full=(0, 0)))
        items.append((b"hvc1", data, [prop(box(b"hvcC", config)) | 0x80, size, kind, *own[1 if colour else 0 :]]))
        refs += box(b"auxl", struct.pack(">HHH", len(items), 1, primary + 1))
    if exif:
        items.append((b"Exif", struct.pack(">I", 0) + exif, []))
        refs += box(b"cdsc", struct.pack(">HHH", len(items), 1, primary + 1))

    infos = b"".join(
        box(b"infe", struct.pack(">HH4s", i + 1, 0, k), b"\0", full=(2, 0)) for i, (k, _, _) in enumerate(items)
    )
    assoc = b"".join(struct.pack(">HB", i + 1, len(p)) + bytes(p) for i, (_, _, p) in enumerate(items) if p)
    count = sum(1 for _, _, p in items if p)
    ftyp = box(b"ftyp", b"heic", bytes(4), b"mif1heic")

    def meta(base: int) -> bytes:
        at, entries = base, b""
        for i, (_, data, _) in enumerate(items):
            entries += struct.pack(">HHHII", i + 1, 0, 1, at, len(data))
            at += len(data)
        return box(
            b"meta",
            box(b"hdlr", bytes(4), b"pict", bytes(13), full=(0, 0)),
            box(b"pitm", struct.pack(">H", primary + 1), full=(0, 0)),
            box(b"iloc", b"\x44\x00", struct.pack(">H", len(items)), entries, full=(0, 0)),
            box(b"iinf", struct.pack(">H", len(items)), infos, full=(0, 0)),
            box(b"iprp", box(b"ipco", *properties), box(b"ipma", struct.pack(">I", count), assoc, full=(0, 0))),
            *([box(b"iref", refs, full=(0, 0))] if refs else []),
            full=(0, 0),
        )

    base = len(ftyp) + len(meta(0)) + 8
    return ftyp + meta(base) + box(b"mdat", *(data for _, data, _ in items))


def nclx(primaries: int, transfer: int, matrix: int = 6, full: bool = True) -> bytes:
    return b"nclx" + struct.pack(">HHHB", primaries, transfer, matrix, 0x80 if full else 0)


def avif_of_ten_bits(path: Path, codes: NDArray) -> None:
    """Code values (H, W, 3) 0..1 as an AVIF of BT.2020 PQ, 4:2:0, in video range.

    In a process of its own: SVT-AV1 gives a root's process real-time priority and never takes it back."""
    writer = multiprocessing.get_context("spawn").Process(target=_avif_of_ten_bits, args=(path, codes))
    writer.start()
    writer.join()
    assert writer.exitcode == 0


def _avif_of_ten_bits(path: Path, codes: NDArray) -> None:
    h, w = codes.shape[:2]
    y = codes @ [0.2627, 0.6780, 0.0593]
    cb, cr = (codes[..., 2] - y) / 1.8814, (codes[..., 0] - y) / 1.4746
    half = [c.reshape(h // 2, 2, w // 2, 2).mean((1, 3)) for c in (cb, cr)]
    with av.open(str(path), "w", format="avif") as out:
        stream = out.add_stream("libsvtav1", rate=1, options={"crf": "5", "preset": "8"})
        stream.width, stream.height, stream.pix_fmt = w, h, "yuv420p10le"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = 9, 16, 9, 1
        frame = av.VideoFrame(w, h, "yuv420p10le")
        for plane, values in zip(frame.planes, [y * 876 + 64, *(c * 896 + 512 for c in half)]):
            line = np.zeros((plane.height, plane.line_size // 2), np.uint16)
            line[:, : values.shape[1]] = np.round(values)
            plane.update(line)
        frame.pts, frame.time_base = 0, Fraction(1)
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
