"""The compiled inner loop of a frame: where every pixel comes from, which layer it shows, and its colour, in one pass.

Triangles are drawn as numbers only; the place in the source follows from a triangle's affine map where a pixel needs
it. Pictures are sampled as (H, W, 4) bytes, sixteen values at once: four neighbours of four channels fill a vector.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from infinex.compiled import compiled

FINE = 10  # bits of a pixel's fraction that sampling heeds; places are stepped along a row with 16
MASK = (1 << FINE) - 1
BITS = 4
ALIKE = 16
BLOCK = 1 << BITS  # pixels of a line of which it is known together what they show
HALF = np.float32(0.5)


def _cubic_table() -> NDArray[np.int16]:
    """Weights of four neighbours (1 << FINE, 4), in 1/32768: Keys' cubic convolution with a = -0.75, as OpenCV's."""
    f, a = np.arange(1 << FINE) / (1 << FINE), -0.75
    out = np.zeros((len(f), 4))
    for n, x in ((0, f + 1), (3, 2 - f)):
        out[:, n] = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    out[:, 1] = ((a + 2) * f - (a + 3)) * f * f + 1
    out[:, 2] = 1 - out[:, 0] - out[:, 1] - out[:, 3]
    return _whole(out)


def _linear_table() -> NDArray[np.int16]:
    """The same where only the middle two count."""
    f = np.arange(1 << FINE) / (1 << FINE)
    return _whole(np.stack([0 * f, 1 - f, f, 0 * f], 1))


def _whole(weights: NDArray) -> NDArray[np.int16]:
    return np.minimum(np.round(weights * 32768), 32767).astype(np.int16)


CUBIC, LINEAR = _cubic_table(), _linear_table()


def _spread(builder: Any, vector: Any, first: int, count: int, times: int) -> Any:
    """`count` elements of a vector, from the `first` on, each repeated `times`."""
    mask = [n for n in range(first, first + count) for _ in range(times)]
    return builder.shuffle_vector(vector, vector, ir.Constant(ir.VectorType(ir.IntType(32), len(mask)), mask))


def _times(builder: Any, one: Any, other: Any, count: int) -> Any:
    """The upper halves of the products of two vectors of `count` whole numbers of 16 bits: one instruction."""
    wide = ir.VectorType(ir.IntType(32), count)
    product = builder.mul(builder.sext(one, wide), builder.sext(other, wide))
    return builder.trunc(builder.ashr(product, ir.Constant(wide, [16] * count)), one.type)


def _weighed(builder: Any, address: Any, stride: Any, x: Any, y: Any, first: int, count: int) -> Any:
    """`count`² pixels of four bytes from `address` on, by two lines of a table of weights, of which those from the
    `first` on count: a packed pixel, rounded and clipped.

    In whole numbers: bytes times 128, of which the weights of rows leave 1/64, columns 1/32 of a grey level."""
    n = 4 * count
    bytes_, words, four = (
        ir.VectorType(ir.IntType(8), n), ir.VectorType(ir.IntType(16), n), ir.VectorType(ir.IntType(16), 4),
    )  # fmt: skip
    wx, wy = (builder.load(builder.inttoptr(w, four.as_pointer()), align=2) for w in (x, y))
    total = None
    for row in range(count):
        at = builder.add(address, builder.mul(stride, ir.Constant(stride.type, row)))
        pixels = builder.zext(builder.load(builder.inttoptr(at, bytes_.as_pointer()), align=1), words)
        pixels = builder.shl(pixels, ir.Constant(words, [7] * n))
        term = _times(builder, pixels, _spread(builder, wy, first + row, 1, n), n)
        total = term if total is None else builder.add(total, term)
    total = _times(builder, total, _spread(builder, wx, first, count, 4), n)
    while n > 4:
        total = builder.add(*(_spread(builder, total, half, n // 2, 1) for half in (0, n // 2)))
        n //= 2
    # A half, and what is lost on average where products are cut off.
    total = builder.add(total, ir.Constant(four, [16 + 3 * count // 4] * 4))
    total = builder.ashr(total, ir.Constant(four, [5] * 4))
    low, high = ir.Constant(four, [0] * 4), ir.Constant(four, [255] * 4)
    total = builder.select(builder.icmp_signed(">", total, low), total, low)
    total = builder.select(builder.icmp_signed("<", total, high), total, high)
    return builder.bitcast(builder.trunc(total, ir.VectorType(ir.IntType(8), 4)), ir.IntType(32))


@intrinsic  # type: ignore[untyped-decorator]
def _four_by_four(typing: Any, address: Any, stride: Any, x: Any, y: Any) -> Any:
    """A packed pixel from 4×4 of four bytes, the first at `address`; x and y are the addresses of their weights."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _weighed(builder, args[0], args[1], args[2], args[3], 0, 4)

    return types.uint32(types.intp, types.intp, types.intp, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def _two_by_two(typing: Any, address: Any, stride: Any, x: Any, y: Any) -> Any:
    """The same from 2×2, by the middle two of the weights."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _weighed(builder, args[0], args[1], args[2], args[3], 1, 2)

    return types.uint32(types.intp, types.intp, types.intp, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def _room(typing: Any) -> Any:
    """The address of 4×4 packed pixels of room."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        room = cgutils.alloca_once(builder, ir.ArrayType(ir.IntType(32), 16))
        return builder.ptrtoint(room, context.get_value_type(types.intp))

    return types.intp(), generate


@intrinsic  # type: ignore[untyped-decorator]
def _copy4(typing: Any, address: Any, other: Any) -> Any:
    """Copy a packed pixel to an address from another one."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to, come = (builder.inttoptr(a, ir.IntType(32).as_pointer()) for a in args)
        builder.store(builder.load(come, align=1), to, align=1)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


def shows(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What the 4×4 pixels from one before on show of an alpha (H, W): 0 nothing, 2 nothing else, else 1."""
    four = np.ones((4, 4), np.uint8)
    some, all_ = cv2.dilate(alpha, four, anchor=(1, 1)) > 0, cv2.erode(alpha, four, anchor=(1, 1)) == 255
    return some.astype(np.uint8) + all_


@compiled(inner=True)
def _inside(at: int, size: int, mirrored: bool) -> int:
    """The pixel of a line of `size` that stands for one beyond its ends."""
    if at < 0:
        at = -at if mirrored else 0
    if at >= size:
        at = 2 * size - 2 - at if mirrored else size - 1
    return min(max(at, 0), size - 1)


@compiled(fast=True, inner=True)
def at_border(data: int, h: int, w: int, sx: int, sy: int, table: int, mirrored: bool) -> int:
    """What `_four_by_four` gives at (sx, sy), with 16 bits of fraction, where some of the sixteen may lie outside.

    `data` and `table` are the addresses of a picture (h, w, 4) and of CUBIC or LINEAR."""
    ix, iy = (sx >> 16) - 1, (sy >> 16) - 1
    room = _room()
    for i in range(4):
        line = data + 4 * w * _inside(iy + i, h, mirrored)
        for j in range(4):
            _copy4(room + 16 * i + 4 * j, line + 4 * _inside(ix + j, w, mirrored))
    return _four_by_four(
        room, 16, table + (((sx >> (16 - FINE)) & MASK) << 3), table + (((sy >> (16 - FINE)) & MASK) << 3)
    )


def _storing(count: int) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def store(typing: Any, address: Any, value: Any) -> Any:
        """Write a whole number of 16 bits `count` times from an address on."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = ir.VectorType(ir.IntType(16), count)
            one = builder.insert_element(ir.Constant(kind, ir.Undefined), args[1], ir.Constant(ir.IntType(32), 0))
            many = _spread(builder, one, 0, 1, count)
            builder.store(many, builder.inttoptr(args[0], kind.as_pointer()), align=2)
            return context.get_dummy_value()

        return types.void(types.intp, types.int16), generate

    return store


_store_1, _store_4, _store_8, _store_16 = (_storing(n) for n in (1, 4, 8, 16))


@compiled(inner=True)
def _fill(at: int, value: int, count: int) -> None:
    """Write a whole number of 16 bits `count` times, at least once, from the address `at` on."""
    end = at + 2 * count
    if count >= 16:
        while at + 32 <= end:
            _store_16(at, value)
            at += 32
        _store_16(end - 32, value)
    elif count >= 8:
        _store_8(at, value)
        _store_8(end - 16, value)
    elif count >= 4:
        _store_4(at, value)
        _store_4(end - 8, value)
    else:
        while at < end:
            _store_1(at, value)
            at += 2


@compiled(fast=True, inner=True)
def placed(dst: NDArray, tris: NDArray, t: int, x0: float, y0: float, inv: float, height: int, width: int) -> Any:
    """Corners of a triangle in pixels of a map (`height`, `width`), as x, y, x, y, x, y, and its first and last row.

    The map samples the plane of `dst` (N, 2) from (x0, y0) on, `inv` pixels for each of the plane's; of a triangle
    beside it the first row comes after the last."""
    ax, ay = (dst[tris[t, 0], 0] - x0) * inv, (dst[tris[t, 0], 1] - y0) * inv
    bx, by = (dst[tris[t, 1], 0] - x0) * inv, (dst[tris[t, 1], 1] - y0) * inv
    cx, cy = (dst[tris[t, 2], 0] - x0) * inv, (dst[tris[t, 2], 1] - y0) * inv
    i0 = max(0, int(np.ceil(min(ay, by, cy) - 1e-3)))
    i1 = min(height - 1, int(np.floor(max(ay, by, cy) + 1e-3)))
    if max(ax, bx, cx) < -1e-3 or min(ax, bx, cx) > width - 1 + 1e-3:
        i1 = i0 - 1
    return ax, ay, bx, by, cx, cy, i0, i1


@compiled(fast=True)
def cover(
    dst: NDArray,
    tris: NDArray,
    order: NDArray,
    area: NDArray,
    x0: float,
    y0: float,
    step: float,
    ids: NDArray,
    left: int,
    top: int,
    right: int,
    bottom: int,
) -> None:
    """Paint the numbers of triangles in `order`, later ones over earlier ones, into a box of `ids` (H, W) int16.

    The box's pixel (j, i) lies at (x0 + j·step, y0 + i·step) of the target plane."""
    H, W = bottom - top, right - left
    inv, stride = 1.0 / step, ids.strides[0]
    base = ids.ctypes.data + top * stride + 2 * left
    for n in range(order.shape[0]):
        t = order[n]
        if area[t] == 0.0:
            continue
        ax, ay, bx, by, cx, cy, i0, i1 = placed(dst, tris, t, x0, y0, inv, H, W)
        number = np.int16(t)
        if ay > by:
            ax, ay, bx, by = bx, by, ax, ay
        if by > cy:
            bx, by, cx, cy = cx, cy, bx, by
        if ay > by:
            ax, ay, bx, by = bx, by, ax, ay
        long = (cx - ax) / max(cy - ay, 1e-6)
        first, second = (bx - ax) / max(by - ay, 1e-6), (cx - bx) / max(cy - by, 1e-6)
        for i in range(i0, i1 + 1):
            lo, hi = 1e9, -1e9
            if cy - ay >= 1e-6:
                lo = hi = ax + (min(max(i, ay), cy) - ay) * long
            if i <= by + 1e-3:
                if by - ay < 1e-6:
                    lo, hi = min(lo, ax, bx), max(hi, ax, bx)
                else:
                    x = ax + (min(max(i, ay), by) - ay) * first
                    lo, hi = min(lo, x), max(hi, x)
            if i >= by - 1e-3:
                if cy - by < 1e-6:
                    lo, hi = min(lo, bx, cx), max(hi, bx, cx)
                else:
                    x = bx + (min(max(i, by), cy) - by) * second
                    lo, hi = min(lo, x), max(hi, x)
            j0, j1 = max(0, int(np.ceil(lo - 1e-3))), min(W - 1, int(np.floor(hi + 1e-3)))
            if j1 >= j0:
                _fill(base + i * stride + 2 * j0, number, j1 + 1 - j0)


@compiled(fast=True)
def triangles(
    points: NDArray, source: NDArray, depth: NDArray, tris: NDArray, outer: int, rest: NDArray, moved: float,
    x0: int, y0: int, x1: int, y1: int, affine: NDArray, area: NDArray, still: NDArray, key: NDArray,
) -> Any:  # fmt: skip
    """Affine maps of the triangles under a target, and the part x0..y1 of the picture that moves.

    `points` (N, 2) pixels of the target, `source` of the source, `depth` (N,); `rest` (N, 2) the places of the source
    against which a vertex counts as `moved` by so many pixels. The maps `affine` (T, 6) lead from the target's plane to
    pixels of the source from (x0, y0) on; `key` (T,) sorts triangles from far to near, the first `outer` ones first;
    `still` those that map onto themselves. Returns a box relative to (x0, y0), empty where nothing moved."""
    left, up, right, down = 1e9, 1e9, -1e9, -1e9
    for t in range(tris.shape[0]):
        a, b, c = tris[t, 0], tris[t, 1], tris[t, 2]
        ux, uy = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1]
        vx, vy = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1]
        det = ux * vy - uy * vx
        key[t] = -(depth[a] + depth[b] + depth[c]) / 3.0 - (1e6 if t < outer else 0.0)
        most, off = 0.0, 0.0
        for n in range(3):
            v = tris[t, n]
            most = max(most, abs(points[v, 0] - rest[v, 0]), abs(points[v, 1] - rest[v, 1]))
            off = max(off, abs(points[v, 0] - source[v, 0]), abs(points[v, 1] - source[v, 1]))
        if most > moved:
            for n in range(3):
                v = tris[t, n]
                left = min(left, points[v, 0], rest[v, 0])
                right = max(right, points[v, 0], rest[v, 0])
                up = min(up, points[v, 1], rest[v, 1])
                down = max(down, points[v, 1], rest[v, 1])
        area[t] = det
        still[t] = off < 0.01
        if abs(det) < 1e-6:
            area[t] = 0.0
            continue
        if still[t]:
            affine[t, 0], affine[t, 1], affine[t, 2] = 1.0, 0.0, -x0
            affine[t, 3], affine[t, 4], affine[t, 5] = 0.0, 1.0, -y0
            continue
        for k in range(2):
            p = source[b, k] - source[a, k]
            q = source[c, k] - source[a, k]
            gx = (p * vy - q * uy) / det
            gy = (q * ux - p * vx) / det
            affine[t, 3 * k] = gx
            affine[t, 3 * k + 1] = gy
            affine[t, 3 * k + 2] = source[a, k] - (x0 if k == 0 else y0) - gx * points[a, 0] - gy * points[a, 1]
    if right < left:
        return 0, 0, 0, 0
    i0, j0 = max(int(np.floor(up - y0)) - 2, 0), max(int(np.floor(left - x0)) - 2, 0)
    i1, j1 = min(int(np.ceil(down - y0)) + 3, y1 - y0), min(int(np.ceil(right - x0)) + 3, x1 - x0)
    return j0, i0, max(j1, j0), max(i1, i0)


@compiled(fast=True)
def places(
    ids: NDArray, affine: NDArray, x0: int, y0: int, a: int, b: int, step: int, map_x: NDArray, map_y: NDArray
) -> None:
    """Where the pixels from (a, b) on, every `step`-th, come from: maps of the size of that many.

    `ids` (H, W) starts at (x0, y0) of the target's plane, and so does the source."""
    for i in range(map_x.shape[0]):
        y = b + i * step
        for j in range(map_x.shape[1]):
            x = a + j * step
            t = ids[y, x]
            if t < 0:
                map_x[i, j], map_y[i, j] = x, y
            else:
                map_x[i, j] = affine[t, 0] * (x + x0) + affine[t, 1] * (y + y0) + affine[t, 2]
                map_y[i, j] = affine[t, 3] * (x + x0) + affine[t, 4] * (y + y0) + affine[t, 5]


@compiled(fast=True, inner=True)
def uncovered(
    coarse: NDArray, row: int, next_row: int, fv: float, across: float, near: int, hidden: int
) -> int:  # fmt: skip
    """How much of the fill shows, 0..255; see `paint`. `across` and the rows are places in `coarse`."""
    if near == 0:
        return hidden
    m = coarse.shape[1]
    across = max(0.0, across)
    at = min(int(across), m - 1)
    beside, fu = min(at + 1, m - 1), across - at
    upper = coarse[row, at] + fu * (float(coarse[row, beside]) - float(coarse[row, at]))
    lower = coarse[next_row, at] + fu * (float(coarse[next_row, beside]) - float(coarse[next_row, at]))
    shown = int(upper + fv * (lower - upper) + 0.5)
    return max(hidden, (shown * near + 127) // 255)


@compiled(fast=True, inner=True)
def _gated(gate: NDArray, across: float, near: int, hidden: int) -> int:
    """The same along one row of it, `gate` (m + 1,)."""
    if near == 0:
        return hidden
    across = max(np.float32(0), across)
    at = np.uintp(min(np.int64(across), len(gate) - 2))
    fu = across - np.float32(at)
    shown = np.int64(gate[at] + fu * (gate[at + np.uintp(1)] - gate[at]) + HALF)
    return max(hidden, (shown * near + 127) // 255)


def _three(builder: Any, address: Any) -> Any:
    """Three bytes at an address, as four floats."""
    word, rest = ir.IntType(32), builder.add(address, ir.Constant(address.type, 2))
    low, high = (
        builder.zext(builder.load(builder.inttoptr(at, kind.as_pointer()), align=1), word)
        for at, kind in ((address, ir.IntType(16)), (rest, ir.IntType(8)))
    )
    return _floats(builder, builder.or_(low, builder.shl(high, ir.Constant(word, 16))))


def _floats(builder: Any, packed: Any) -> Any:
    """The four bytes of a packed pixel as floats."""
    four = builder.zext(builder.bitcast(packed, ir.VectorType(ir.IntType(8), 4)), ir.VectorType(ir.IntType(32), 4))
    return builder.sitofp(four, ir.VectorType(ir.FloatType(), 4))


def _all(builder: Any, value: Any) -> Any:
    """A whole number as a share of 255, four times."""
    share = builder.fmul(builder.sitofp(value, ir.FloatType()), ir.Constant(ir.FloatType(), float(np.float32(1 / 255))))
    one = ir.Constant(ir.VectorType(ir.FloatType(), 4), ir.Undefined)
    return _spread(builder, builder.insert_element(one, share, ir.Constant(ir.IntType(32), 0)), 0, 1, 4)


def _written(builder: Any, address: Any, packed: Any) -> None:
    """The first three bytes of a packed pixel, put at an address."""
    for kind, shift in ((ir.IntType(16), 0), (ir.IntType(8), 16)):
        value = builder.trunc(builder.lshr(packed, ir.Constant(packed.type, shift)), kind)
        at = builder.add(address, ir.Constant(address.type, shift // 8))
        builder.store(value, builder.inttoptr(at, kind.as_pointer()), align=1)


@intrinsic  # type: ignore[untyped-decorator]
def _lay(typing: Any, out: Any, source: Any, fill: Any, packed: Any, g: Any) -> Any:
    """A pixel at the address `out`: a packed one with alpha over what is behind it, `g` of 255 of `fill`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        own, behind, filled = _floats(builder, args[3]), _three(builder, args[1]), _three(builder, args[2])
        shown = _all(builder, builder.lshr(args[3], ir.Constant(args[3].type, 24)))
        behind = builder.fadd(behind, builder.fmul(builder.fsub(filled, behind), _all(builder, args[4])))
        total = builder.fadd(behind, builder.fmul(builder.fsub(own, behind), shown))
        total = builder.fadd(total, ir.Constant(total.type, [0.5] * 4))
        whole = builder.trunc(builder.fptosi(total, ir.VectorType(ir.IntType(32), 4)), ir.VectorType(ir.IntType(8), 4))
        _written(builder, args[0], builder.bitcast(whole, ir.IntType(32)))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp, types.uint32, types.intp), generate


@intrinsic  # type: ignore[untyped-decorator]
def _alike(typing: Any, address: Any, value: Any) -> Any:
    """How many of the ALIKE whole numbers of 16 bits at an address are `value`, before the first that is not."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        many, bits = ir.VectorType(ir.IntType(16), ALIKE), ir.IntType(ALIKE)
        seen = builder.load(builder.inttoptr(args[0], many.as_pointer()), align=2)
        one = builder.insert_element(ir.Constant(many, ir.Undefined), args[1], ir.Constant(ir.IntType(32), 0))
        other = builder.bitcast(builder.icmp_unsigned("!=", seen, _spread(builder, one, 0, 1, ALIKE)), bits)
        return builder.zext(builder.cttz(other, ir.Constant(ir.IntType(1), 0)), ir.IntType(64))

    return types.intp(types.intp, types.int16), generate


@compiled(inner=True)
def run_end(line: NDArray, j: int, last: int) -> int:
    """The end, at most `last`, of the run of equal numbers in a line (W,) int16 that begins at `j`."""
    t = line[j]
    end = np.uintp(j + np.uintp(1))
    while end + np.uintp(ALIKE) <= last:
        more = _alike(line.ctypes.data + 2 * np.intp(end), t)
        end = np.uintp(end + np.uintp(more))
        if more < ALIKE:
            return end
    while end < last and line[end] == t:
        end = np.uintp(end + np.uintp(1))
    return end


@intrinsic  # type: ignore[untyped-decorator]
def _common(typing: Any, address: Any, other: Any) -> Any:
    """How many of the ALIKE whole numbers of 16 bits at two addresses are the same, before the first that is not."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        many, bits = ir.VectorType(ir.IntType(16), ALIKE), ir.IntType(ALIKE)
        one, two = (builder.load(builder.inttoptr(a, many.as_pointer()), align=2) for a in args)
        apart = builder.bitcast(builder.icmp_unsigned("!=", one, two), bits)
        return builder.zext(builder.cttz(apart, ir.Constant(ir.IntType(1), 0)), ir.IntType(64))

    return types.intp(types.intp, types.intp), generate


@compiled(inner=True)
def same_run(line: NDArray, other: NDArray, j: int, last: int) -> int:
    """The first place from `j` on, at most `last`, at which two lines (W,) int16 differ."""
    while j + np.uintp(ALIKE) <= last:
        more = _common(line.ctypes.data + 2 * np.intp(j), other.ctypes.data + 2 * np.intp(j))
        j = np.uintp(j + np.uintp(more))
        if more < ALIKE:
            return j
    while j < last and line[j] == other[j]:
        j = np.uintp(j + np.uintp(1))
    return j


@intrinsic  # type: ignore[untyped-decorator]
def _put4(typing: Any, address: Any, packed: Any) -> Any:
    """Write a packed pixel."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[1], builder.inttoptr(args[0], args[1].type.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.intp, types.uint32), generate


@intrinsic  # type: ignore[untyped-decorator]
def _put(typing: Any, address: Any, packed: Any) -> Any:
    """Write the first three bytes of a packed pixel."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _written(builder, args[0], args[1])
        return context.get_dummy_value()

    return types.void(types.intp, types.uint32), generate


def blocks(kind: NDArray[np.uint8], rows: int, least: bool = False) -> NDArray[np.uint8]:
    """The largest, or `least`, of every block of `rows` by BLOCK of values (H, W)."""
    h, w = kind.shape
    by, bx = np.arange(0, h, rows), np.arange(0, w, BLOCK)
    how = np.minimum if least else np.maximum
    return np.asarray(how.reduceat(how.reduceat(kind, bx, axis=1), by, axis=0))


@compiled(fast=True)
def paint(
    ids: NDArray, affine: NDArray, still: NDArray, x0: int, y0: int, a: int, b: int, c: int, d: int, picture: NDArray,
    cx: int, cy: int, kind: NDArray, least: NDArray, most: NDArray, mirrored: bool, cubic: bool, weights: NDArray,
    source: NDArray, fill: NDArray, near: NDArray, hidden: NDArray, busy: NDArray, coarse: NDArray, gate: NDArray,
    fixed: NDArray, out: NDArray,
) -> None:  # fmt: skip
    """The person, moved, over the background: pixels (a, b) to (c, d) of `out` (H, W, 3), which holds `source` there.

    `ids` (H, W) numbers of triangles, from (x0, y0) of the target's plane on; `affine` (T, 6) their maps and
    `still` (T,) which of them stay. `picture` (h, w, 4) is the person with alpha, perhaps continued beyond the
    source's borders, whose corner then lies at (cx, cy) in it; `kind` (h, w) is 0 where the 4×4 pixels from one before
    on show nothing of it, 2 where nothing else, and `least` and `most` are its `blocks`. `weights` are CUBIC or LINEAR,
    as `cubic` says. `source` and `fill` (H, W, 3). How much of the fill shows: `coarse` (n, m), enlarged over the box,
    times `near` (H, W), at least `hidden` (H, W); in each row, blocks where both are nothing are not `busy`; `gate`
    (m + 1,) and `fixed` (T, 6) int64 are room. out = p·warp + (1 - p)·[g·fill + (1 - g)·source]."""
    W = ids.shape[1]
    h, w = picture.shape[0], picture.shape[1]
    data, stride, table = picture.ctypes.data, 4 * w, weights.ctypes.data
    out_at, source_at, fill_at = out.ctypes.data, source.ctypes.data, fill.ctypes.data
    n, m = coarse.shape
    one, half = np.int64(65536), np.int64(32768)
    for t in range(affine.shape[0]):  # with 32 bits of fraction; half a unit of the 16 that are kept lies in the places
        for k in range(6):
            fixed[t, k] = np.int64(affine[t, k] * 4294967296.0)
        fixed[t, 2] += half + (cx << 32)
        fixed[t, 5] += half + (cy << 32)
    scale = np.float32(m / (c - a))
    for i in range(b, d):
        f = max(0.0, (i - b + 0.5) * n / (d - b) - 0.5)
        row = min(int(f), n - 1)
        next_row, fv = min(row + 1, n - 1), np.float32(f - row)
        upper, lower = coarse[row], coarse[next_row]
        for k in range(m):
            gate[k] = np.float32(upper[k]) + fv * (np.float32(lower[k]) - np.float32(upper[k]))
        gate[m] = gate[m - 1]
        line, close, under, about = ids[i], near[i], hidden[i], busy[i]
        first, below, above = out_at + i * 3 * W, source_at + i * 3 * W, fill_at + i * 3 * W
        j = np.uintp(a)
        last = np.uintp(c)
        while j < last:
            end = run_end(line, j, last)
            t = np.uintp(line[j])
            if line[j] < 0 or still[t]:
                x = j
                while x < end:
                    if about[x >> BITS] == 0:
                        x = ((x >> BITS) + np.uintp(1)) << BITS
                        continue
                    if close[x] != 0 or under[x] != 0:
                        g = _gated(gate, (np.float32(x - np.uintp(a)) + HALF) * scale - HALF, close[x], under[x])
                        own = picture[i + cy, x + cx]
                        if g > 0 and own[3] < 255:
                            packed = np.uint32(own[0]) | np.uint32(own[1]) << np.uint32(8)
                            packed |= np.uint32(own[2]) << np.uint32(16) | np.uint32(own[3]) << np.uint32(24)
                            _lay(first + 3 * np.intp(x), below + 3 * np.intp(x), above + 3 * np.intp(x), packed, g)
                    x = np.uintp(x + np.uintp(1))
                j = end
                continue
            steps, map_ = np.intp(end - j) - 1, fixed[t]
            along, across = np.intp(j) + x0, i + y0
            sx = (map_[0] * along + map_[1] * across + map_[2]) >> 16
            sy = (map_[3] * along + map_[4] * across + map_[5]) >> 16
            dx, dy = (map_[0] + half) >> 16, (map_[3] + half) >> 16
            left, right = min(sx, sx + dx * steps), max(sx, sx + dx * steps)
            up, down = min(sy, sy + dy * steps), max(sy, sy + dy * steps)
            whole = left >= one and right < (w - 2) * one and up >= one and down < (h - 2) * one
            fewest, largest = 0, 2
            if whole:
                fewest, largest = 2, 0
                for p in range(up >> (16 + BITS), (down >> (16 + BITS)) + 1):
                    for q in range(left >> (16 + BITS), (right >> (16 + BITS)) + 1):
                        fewest = min(fewest, least[np.uintp(p), np.uintp(q)])
                        largest = max(largest, most[np.uintp(p), np.uintp(q)])
            if largest == 0:  # nothing but what is behind
                x = j
                while x < end:
                    if about[x >> BITS] == 0:
                        x = ((x >> BITS) + np.uintp(1)) << BITS
                        continue
                    if close[x] != 0 or under[x] != 0:
                        g = _gated(gate, (np.float32(x - np.uintp(a)) + HALF) * scale - HALF, close[x], under[x])
                        _lay(first + 3 * np.intp(x), below + 3 * np.intp(x), above + 3 * np.intp(x), np.uint32(0), g)
                    x = np.uintp(x + np.uintp(1))
                j = end
                continue
            if fewest == 2:  # nothing but the person
                at = first + 3 * np.intp(j)
                for k in range(steps + 1):
                    wx = table + (((sx >> (16 - FINE)) & MASK) << 3)
                    wy = table + (((sy >> (16 - FINE)) & MASK) << 3)
                    ix, iy = sx >> 16, sy >> 16
                    if cubic:
                        packed = _four_by_four(data + (iy - 1) * stride + 4 * (ix - 1), stride, wx, wy)
                    else:
                        packed = _two_by_two(data + iy * stride + 4 * ix, stride, wx, wy)
                    if k < steps:  # what is written beyond it, the next one writes anew
                        _put4(at, packed)
                    else:
                        _put(at, packed)
                    at += 3
                    sx += dx
                    sy += dy
                j = end
                continue
            for x in range(j, end):
                ix, iy = sx >> 16, sy >> 16
                shown = 1
                packed = np.uint32(0)
                if whole or (ix >= 1 and iy >= 1 and ix < w - 2 and iy < h - 2):
                    shown = kind[np.uintp(iy), np.uintp(ix)]
                    if shown > 0:
                        wx = table + (((sx >> (16 - FINE)) & MASK) << 3)
                        wy = table + (((sy >> (16 - FINE)) & MASK) << 3)
                        if cubic:
                            packed = _four_by_four(data + (iy - 1) * stride + 4 * (ix - 1), stride, wx, wy)
                        else:
                            packed = _two_by_two(data + iy * stride + 4 * ix, stride, wx, wy)
                else:
                    packed = at_border(data, h, w, sx, sy, table, mirrored)
                sx += dx
                sy += dy
                if shown == 2:
                    _put(first + 3 * np.intp(x), packed)
                elif shown != 0 or close[x] != 0 or under[x] != 0:
                    g = _gated(gate, (np.float32(x - np.uintp(a)) + HALF) * scale - HALF, close[x], under[x])
                    _lay(first + 3 * np.intp(x), below + 3 * np.intp(x), above + 3 * np.intp(x), packed, g)
            j = end


@compiled(fast=True)
def paint_fine(
    ids: NDArray, times: int, affine: NDArray, x0: int, y0: int, a: int, b: int, picture: NDArray, cx: int, cy: int,
    mirrored: bool, weights: NDArray, edge_x: NDArray, edge_y: NDArray, total: NDArray, out: NDArray,
) -> None:  # fmt: skip
    """Pixels of `out` (H, W, 3) from (a, b) on, the mean of `times`² samples each, by their alpha over what is there.

    `ids` (times·h, times·w) numbers of triangles; `edge_x` (w,), `edge_y` (h,): their product is how much shows;
    `total` (w, 4) is room for a row's colours times alpha, and alpha. For the others see `paint`."""
    h, w = picture.shape[0], picture.shape[1]
    data, stride, table = picture.ctypes.data, 4 * w, weights.ctypes.data
    share, shift = 1.0 / times, 0.5 / times - 0.5
    count, wide = times * times, len(edge_x)
    one = 65536.0
    for i in range(len(edge_y)):
        if edge_y[i] <= 0:
            continue
        for j in range(wide):
            total[j, 0] = total[j, 1] = total[j, 2] = total[j, 3] = 0
        for m in range(times * i, times * (i + 1)):
            line = ids[m]
            y = b + shift + m * share
            n, last = np.uintp(0), np.uintp(times * wide)
            while n < last:
                end = run_end(line, n, last)
                t = np.intp(line[n])
                ax, bx, cx_ = 1.0, 0.0, -float(x0)
                ay, by, cy_ = 0.0, 1.0, -float(y0)
                if t >= 0:
                    ax, bx, cx_ = affine[t, 0], affine[t, 1], affine[t, 2]
                    ay, by, cy_ = affine[t, 3], affine[t, 4], affine[t, 5]
                x = a + shift + np.intp(n) * share
                u0, v0 = ax * (x + x0) + bx * (y + y0) + cx_, ay * (x + x0) + by * (y + y0) + cy_
                sx, sy = np.int64(np.floor((u0 + cx) * one + 0.5)), np.int64(np.floor((v0 + cy) * one + 0.5))
                dx, dy = np.int64(np.floor(ax * share * one + 0.5)), np.int64(np.floor(ay * share * one + 0.5))
                for k in range(np.intp(n), np.intp(end)):
                    ix, iy = sx >> 16, sy >> 16
                    if ix >= 1 and iy >= 1 and ix < w - 2 and iy < h - 2:
                        wx = table + (((sx >> (16 - FINE)) & MASK) << 3)
                        wy = table + (((sy >> (16 - FINE)) & MASK) << 3)
                        packed = _four_by_four(data + (iy - 1) * stride + 4 * (ix - 1), stride, wx, wy)
                    else:
                        packed = at_border(data, h, w, sx, sy, table, mirrored)
                    p = packed >> np.uint32(24)
                    sum_ = total[np.uintp(k // times)]
                    sum_[0] += (packed & np.uint32(255)) * p
                    sum_[1] += ((packed >> np.uint32(8)) & np.uint32(255)) * p
                    sum_[2] += ((packed >> np.uint32(16)) & np.uint32(255)) * p
                    sum_[3] += p
                    sx += dx
                    sy += dy
                n = end
        target = out[b + i]
        for j in range(wide):
            e = edge_x[j] * edge_y[i]
            if e <= 0:
                continue
            q, half = e / np.float32(255 * count), np.float32(0.5)
            r = np.float32(1) - q * np.float32(total[j, 3])
            k = a + j
            for c in range(3):
                target[k, c] = np.uint8(target[k, c] * r + np.float32(total[j, c]) * q + half)


@compiled(fast=True)
def about_window(
    ids: NDArray, affine: NDArray, stretch: NDArray, x0: int, y0: int, alpha: NDArray, near: NDArray, coarse: NDArray,
    step: int, size: float, left: float, top: float, unit: float, out: NDArray,
) -> None:  # fmt: skip
    """What the dense motion does at the pixels of a window: `out` (6, s, s).

    It begins at (left, top) and has pixels `size` wide. The planes: where from, in quarters of a `unit`, x and y; the
    `stretch` (T,) of the triangle there; `alpha` (H, W) of the person, moved; whether the fill may show, `coarse`
    (n, m) about each `step`-th pixel times `near` (H, W); and how far things moved, of 0.03 units. `ids` (H, W) starts
    at (x0, y0) of the target's plane. What lies outside is nothing."""
    h, w = ids.shape
    side, rows, columns = out.shape[1], coarse.shape[0], coarse.shape[1]
    for i in range(side):
        y = top + size * i
        for j in range(side):
            x = left + size * j
            if x < 0 or y < 0 or x > w - 1 or y > h - 1:
                for k in range(6):
                    out[k, i, j] = 0
                continue
            n, m = int(x + 0.5), int(y + 0.5)
            t = ids[m, n]
            u, v, wide = x, y, 0.0
            if t >= 0:
                u = affine[t, 0] * (x + x0) + affine[t, 1] * (y + y0) + affine[t, 2]
                v = affine[t, 3] * (x + x0) + affine[t, 4] * (y + y0) + affine[t, 5]
                wide = stretch[t]
            dx, dy = (u - x) / unit, (v - y) / unit
            out[0, i, j], out[1, i, j], out[2, i, j] = min(2.0, max(-2.0, 4 * dx)), min(2.0, max(-2.0, 4 * dy)), wide
            u, v = min(max(u, 0.0), w - 1.001), min(max(v, 0.0), h - 1.001)
            a, b = int(u), int(v)
            fu, fv = u - a, v - b
            upper = alpha[b, a] + fu * (alpha[b, a + 1] - alpha[b, a])
            out[3, i, j] = upper + fv * (alpha[b + 1, a] + fu * (alpha[b + 1, a + 1] - alpha[b + 1, a]) - upper)
            u = min(max((x - step // 2) / step, 0.0), columns - 1.0)
            v = min(max((y - step // 2) / step, 0.0), rows - 1.0)
            a, b = int(u), int(v)
            fu, fv, a_, b_ = u - a, v - b, min(a + 1, columns - 1), min(b + 1, rows - 1)
            upper = coarse[b, a] + fu * (float(coarse[b, a_]) - float(coarse[b, a]))
            upper += fv * (coarse[b_, a] + fu * (float(coarse[b_, a_]) - float(coarse[b_, a])) - upper)
            out[4, i, j] = upper * near[m, n] / 65025
            out[5, i, j] = min(1.0, math.sqrt(dx * dx + dy * dy) / 0.03)


@compiled(fast=True)
def folded(planes: NDArray, scale: float, zero: float, out: NDArray) -> None:
    """Planes (C, s, s) as bytes, two by two pixels together: `out` (4 C, s/2, s/2)."""
    count, half = planes.shape[0], out.shape[1]
    inverse, most, least = np.float32(1) / scale, np.float32(255), np.float32(0)
    for c in range(count):
        for i in range(half):
            for k in range(2):
                row, even, odd = planes[c, 2 * i + k], out[2 * k * count + c, i], out[(2 * k + 1) * count + c, i]
                for j in range(half):
                    even[j] = np.uint8(min(most, max(least, np.rint(row[2 * j] * inverse) + zero)))
                    odd[j] = np.uint8(min(most, max(least, np.rint(row[2 * j + 1] * inverse) + zero)))


@compiled()
def unfolded(whole: NDArray, source: NDArray, table: NDArray, out: NDArray) -> None:
    """The planes (P, s, s) that bytes (s/2, s/2, 4 S) stand for, by the `table` (P, 256) of each of them, where plane
    `source` (P,) of the bytes is looked up."""
    for p in range(out.shape[0]):
        known, first = table[p], 4 * source[p]
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                out[p, i, j] = known[whole[i >> 1, j >> 1, first + ((i & 1) << 1) + (j & 1)]]


@compiled(fast=True)
def corrections(
    answer: NDArray, support: NDArray, trust: float, steer: float, colour: float, gentle: float, largest: float,
    matrix: NDArray, out: NDArray,
) -> Any:  # fmt: skip
    """What a network answered (C, s, s) as corrections of a picture: `out` (s, s, C), in grey levels and pixels.

    Residuals are at most `largest`; where `colour` is below 1 they are `gentle` and bring less of their own. `matrix`
    (2, 3) turns the answer's shifts, of which `steer` counts, into the picture's axes. `support` (s, s) and `trust` are
    how much shows. Returns the box x0, y0, x1, y1 outside which all of it is nothing."""
    count, side = answer.shape[0], answer.shape[1]
    x0, y0, x1, y1 = side, side, 0, 0
    strength = gentle + (1 - gentle) * colour
    for i in range(side):
        for j in range(side):
            share = np.float32(trust * support[i, j])
            if share <= 0:
                out[i, j] = 0
                continue
            x0, y0, x1, y1 = min(x0, j), min(y0, i), max(x1, j + 1), max(y1, i + 1)
            grey = 0.0
            for c in range(3):
                v = min(largest, max(-largest, answer[c, i, j] * 127.5))
                out[i, j, c] = v
                grey += v / 3
            for c in range(3):
                v = out[i, j, c]
                out[i, j, c] = share * (v if colour >= 1 else strength * (grey + colour * (v - grey)))
            if count > 3:
                u, v = answer[3, i, j] * steer, answer[4, i, j] * steer
                out[i, j, 3] = share * (matrix[0, 0] * u + matrix[0, 1] * v)
                out[i, j, 4] = share * (matrix[1, 0] * u + matrix[1, 1] * v)
    return x0, y0, x1, y1


@compiled(fast=True)
def correct(
    picture: NDArray, x0: int, y0: int, planes: NDArray, matrix: NDArray, weights: NDArray, out: NDArray
) -> None:  # fmt: skip
    """Move and colour a part of `out` (H, W, 3) from (x0, y0) on, of which `picture` (h, w, 4) is a copy.

    `planes` (s, s, 3 or 5) are colours to add and places to sample instead, seen in a window into which `matrix` (2, 3)
    takes the pixels of `out`; `weights` are CUBIC."""
    h, w = picture.shape[0], picture.shape[1]
    side, count, mirrored = planes.shape[0], planes.shape[2], h < 0  # a literal would have more compiled
    data, stride, table = picture.ctypes.data, 4 * w, weights.ctypes.data
    for i in range(h):
        for j in range(w):
            u = matrix[0, 0] * (x0 + j) + matrix[0, 1] * (y0 + i) + matrix[0, 2]
            v = matrix[1, 0] * (x0 + j) + matrix[1, 1] * (y0 + i) + matrix[1, 2]
            if u < 0 or v < 0 or u >= side - 1 or v >= side - 1:
                continue
            m, n = int(v), int(u)
            fx, fy = np.float32(u - n), np.float32(v - m)
            one = np.float32(1)
            a, b, c, d = (one - fx) * (one - fy), fx * (one - fy), (one - fx) * fy, fx * fy
            red = a * planes[m, n, 0] + b * planes[m, n + 1, 0] + c * planes[m + 1, n, 0] + d * planes[m + 1, n + 1, 0]
            green = a * planes[m, n, 1] + b * planes[m, n + 1, 1] + c * planes[m + 1, n, 1]
            green += d * planes[m + 1, n + 1, 1]
            blue = a * planes[m, n, 2] + b * planes[m, n + 1, 2] + c * planes[m + 1, n, 2]
            blue += d * planes[m + 1, n + 1, 2]
            px = py = np.float32(0)
            if count > 3:
                px = a * planes[m, n, 3] + b * planes[m, n + 1, 3] + c * planes[m + 1, n, 3]
                px += d * planes[m + 1, n + 1, 3]
                py = a * planes[m, n, 4] + b * planes[m, n + 1, 4] + c * planes[m + 1, n, 4]
                py += d * planes[m + 1, n + 1, 4]
            if red == 0 and green == 0 and blue == 0 and px == 0 and py == 0:
                continue
            sx, sy = np.int64(np.floor((j + px) * 65536.0 + 0.5)), np.int64(np.floor((i + py) * 65536.0 + 0.5))
            ix, iy = sx >> 16, sy >> 16
            if ix >= 1 and iy >= 1 and ix < w - 2 and iy < h - 2:
                wx = table + (((sx >> (16 - FINE)) & MASK) << 3)
                wy = table + (((sy >> (16 - FINE)) & MASK) << 3)
                packed = _four_by_four(data + (iy - 1) * stride + 4 * (ix - 1), stride, wx, wy)
            else:
                packed = at_border(data, h, w, sx, sy, table, mirrored)
            half, low, high = np.float32(0.5), np.float32(0), np.float32(255)
            out[y0 + i, x0 + j, 0] = np.uint8(min(high, max(low, (packed & np.uint32(255)) + red + half)))
            out[y0 + i, x0 + j, 1] = np.uint8(
                min(high, max(low, ((packed >> np.uint32(8)) & np.uint32(255)) + green + half))
            )
            out[y0 + i, x0 + j, 2] = np.uint8(
                min(high, max(low, ((packed >> np.uint32(16)) & np.uint32(255)) + blue + half))
            )
