"""Edges at which one part of the person hides another, drawn again and finer: triangles end there in steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from infinex.compiled import compiled
from infinex.mesh.kernel import run_end, same_run, uncovered

SAMPLES = 4  # along each side of a pixel that is drawn again
APART = 0.75  # pixels by which a part that hides another breaks the picture
SMOOTH = 0.25  # pixels a pixel by which the maps of two neighbours may part: around a corner that adds up to less


@compiled(fast=True, inner=True)
def _off(affine: NDArray, t: int, other: int, x: float, y: float) -> float:
    """How far apart, squared, two triangles have it where a place comes from."""
    ex = (affine[other, 0] - affine[t, 0]) * x + (affine[other, 1] - affine[t, 1]) * y
    ey = (affine[other, 3] - affine[t, 3]) * x + (affine[other, 4] - affine[t, 4]) * y
    ex += affine[other, 2] - affine[t, 2]
    ey += affine[other, 5] - affine[t, 5]
    return ex * ex + ey * ey


def beside(tris: NDArray[np.int64], outer: int) -> NDArray[np.int64]:
    """The triangle across each edge of triangles (T, 3), from their first corner to their second on.

    Where there is none it is -1 between corners from `outer` on, which are of the frame, and else -2."""
    across: dict[tuple[int, int], int] = {}
    out = np.full(tris.shape, -2, np.int64)
    for t, corners in enumerate(tris.tolist()):
        for k in range(3):
            a, b = corners[k], corners[(k + 1) % 3]
            edge = (min(a, b), max(a, b))
            if edge in across:
                other, n = divmod(across.pop(edge), 3)
                out[t, k], out[other, n] = other, t
            else:
                across[edge] = 3 * t + k
    for edge, at in across.items():
        if edge[0] >= outer:
            out[at // 3, at % 3] = -1
    return out


@compiled(fast=True, inner=True)
def _turn(dst: NDArray, tris: NDArray, t: int) -> float:
    a, b, c = tris[t, 0], tris[t, 1], tris[t, 2]
    return (dst[b, 0] - dst[a, 0]) * (dst[c, 1] - dst[a, 1]) - (dst[b, 1] - dst[a, 1]) * (dst[c, 0] - dst[a, 0])


@compiled(fast=True)
def doubtful(
    dst: NDArray, tris: NDArray, beside: NDArray, affine: NDArray, corner: NDArray, spans: NDArray
) -> None:  # fmt: skip
    """Where in each row a part may hide another: `spans` (H, 2), first and last pixel; the last first for nowhere.

    A mesh without holes lies over itself only where some of its triangles are turned over. Elsewhere two neighbours
    agree along their edge, and away from it they part as fast as their maps differ across it."""
    whole = 0.0
    for t in range(tris.shape[0]):
        whole += _turn(dst, tris, t)
    height = spans.shape[0]
    for i in range(height):
        spans[i, 0], spans[i, 1] = 1 << 30, -1
    for t in range(tris.shape[0]):
        doubt = _turn(dst, tris, t) * whole <= 0
        for k in range(3):
            u = beside[t, k]
            if doubt or u == -1:
                continue
            if u < 0 or _turn(dst, tris, u) * whole <= 0:
                doubt = True
                continue
            a, b = tris[t, k], tris[t, (k + 1) % 3]
            x, y = dst[b, 0] - dst[a, 0], dst[b, 1] - dst[a, 1]
            dx = (affine[u, 1] - affine[t, 1]) * x - (affine[u, 0] - affine[t, 0]) * y
            dy = (affine[u, 4] - affine[t, 4]) * x - (affine[u, 3] - affine[t, 3]) * y
            doubt = dx * dx + dy * dy > SMOOTH * SMOOTH * (x * x + y * y)
        if not doubt:
            continue
        p, q, r = tris[t, 0], tris[t, 1], tris[t, 2]
        left, right = min(dst[p, 0], dst[q, 0], dst[r, 0]), max(dst[p, 0], dst[q, 0], dst[r, 0])
        top, bottom = min(dst[p, 1], dst[q, 1], dst[r, 1]), max(dst[p, 1], dst[q, 1], dst[r, 1])
        first, last = int(np.floor(left - corner[0])) - 2, int(np.ceil(right - corner[0])) + 2
        for i in range(max(0, int(top - corner[1]) - 3), min(height, int(bottom - corner[1]) + 4)):
            spans[i, 0], spans[i, 1] = min(spans[i, 0], first), max(spans[i, 1], last)


@compiled(fast=True, inner=True)
def broken(
    ids: NDArray, affine: NDArray, look: NDArray, corner: NDArray, left: int, top: int, right: int, bottom: int,
    flags: NDArray, spans: NDArray,
) -> None:  # fmt: skip
    """Set `flags` (H, W) where a neighbour comes from elsewhere, see `finer`; `spans` (H, 2) get where in each row.

    Rows are gone through where `look` (H, 2) has them."""
    limit = APART * APART
    first, last = left, right
    for i in range(top - 1, bottom + 1):
        spans[i, 0], spans[i, 1] = right, left - 1
    for i in range(top - 1, bottom):
        left, right = max(first, look[i, 0]), min(last, look[i, 1])
        if right <= left:
            continue
        y = i + corner[1]
        line, below = ids[i], ids[i + 1]
        if i >= top:
            j = np.uintp(left - 1)
            while True:
                end = run_end(line, j, np.uintp(right + 1))
                if end > right:
                    break
                t, other = line[end - np.uintp(1)], line[end]
                if t >= 0 and other >= 0:
                    x = np.intp(end) + corner[0]
                    if _off(affine, np.uintp(t), np.uintp(other), x, y) > limit:
                        _set(flags, spans, i, np.intp(end) - 1)
                    if _off(affine, np.uintp(t), np.uintp(other), x - 1, y) > limit:
                        _set(flags, spans, i, np.intp(end))
                j = end
        j = np.uintp(left)
        while True:
            j = same_run(line, below, j, right)
            if j >= right:
                break
            t, other = line[j], below[j]
            if t >= 0 and other >= 0:
                x = np.intp(j) + corner[0]
                if _off(affine, np.uintp(t), np.uintp(other), x, y + 1) > limit:
                    _set(flags, spans, i, np.intp(j))
                if _off(affine, np.uintp(t), np.uintp(other), x, y) > limit:
                    _set(flags, spans, i + 1, np.intp(j))
            j = np.uintp(j + np.uintp(1))


@compiled(inner=True)
def _set(flags: NDArray, spans: NDArray, i: int, j: int) -> None:
    flags[i, j] = 1
    spans[i, 0], spans[i, 1] = min(spans[i, 0], j), max(spans[i, 1], j)


@compiled(fast=True)
def finer(
    dst: NDArray,
    tris: NDArray,
    rank: NDArray,
    affine: NDArray,
    look: NDArray,
    ids: NDArray,
    corner: NDArray,
    box: NDArray,
    person: NDArray,
    source: NDArray,
    fill: NDArray,
    near: NDArray,
    hidden: NDArray,
    coarse: NDArray,
    flags: NDArray,
    spans: NDArray,
    about: NDArray,
    out: NDArray,
) -> int:
    """Draw again, from `SAMPLES`^2 places each, the pixels at which one part hides another; how many there were.

    Such are those whose neighbour comes from more than `APART` pixels off where their own triangle would have it.
    `rank` (T,) is the place of each triangle in the order of drawing, `look` (H, 2) what is `doubtful`, `corner` (2,)
    the target's pixel of the first of `ids` (H, W), `box` (4,) the part of them to look at, `flags` (H, W) room, all 0
    before and after, `spans` (H, 2) and `about` (9,) room; all else as in `kernel.paint`."""
    H, W = ids.shape
    many = 0
    n, m = coarse.shape
    top, bottom, left, right = max(box[1], 1), min(box[3], H - 1), max(box[0], 1), min(box[2], W - 1)
    if bottom <= top or right <= left:
        return 0
    broken(ids, affine, look, corner, left, top, right, bottom, flags, spans)
    for i in range(top, bottom):
        for j in range(max(left, spans[i, 0]), min(right, spans[i, 1] + 1)):
            if flags[i, j] == 0:
                continue
            t = ids[i, j]
            # The triangles about it, the last drawn first.
            count = 0
            for p in range(-1, 2):
                for q in range(-1, 2):
                    u = ids[i + p, j + q]
                    if u < 0:
                        continue
                    known = False
                    for k in range(count):
                        known |= about[k] == u
                    if known:
                        continue
                    k = count
                    while k > 0 and rank[about[k - 1]] < rank[u]:
                        about[k] = about[k - 1]
                        k -= 1
                    about[k] = u
                    count += 1
            red = green = blue = 0.0
            inside = True
            f = max(0.0, (i - box[1] + 0.5) * n / (box[3] - box[1]) - 0.5)
            row = min(int(f), n - 1)
            g = uncovered(
                coarse, row, min(row + 1, n - 1), f - row, (j - box[0] + 0.5) * m / (box[2] - box[0]) - 0.5, near[i, j],
                hidden[i, j],
            )  # fmt: skip
            for p in range(SAMPLES):
                for q in range(SAMPLES):
                    y = i + corner[1] + (p + 0.5) / SAMPLES - 0.5
                    x = j + corner[0] + (q + 0.5) / SAMPLES - 0.5
                    chosen = t
                    for k in range(count):
                        a, b, c = tris[about[k], 0], tris[about[k], 1], tris[about[k], 2]
                        ab = (dst[b, 0] - dst[a, 0]) * (y - dst[a, 1]) - (dst[b, 1] - dst[a, 1]) * (x - dst[a, 0])
                        bc = (dst[c, 0] - dst[b, 0]) * (y - dst[b, 1]) - (dst[c, 1] - dst[b, 1]) * (x - dst[b, 0])
                        ca = (dst[a, 0] - dst[c, 0]) * (y - dst[c, 1]) - (dst[a, 1] - dst[c, 1]) * (x - dst[c, 0])
                        if (ab >= 0 and bc >= 0 and ca >= 0) or (ab <= 0 and bc <= 0 and ca <= 0):
                            chosen = about[k]
                            break
                    sx = affine[chosen, 0] * x + affine[chosen, 1] * y + affine[chosen, 2]
                    sy = affine[chosen, 3] * x + affine[chosen, 4] * y + affine[chosen, 5]
                    u, v = int(np.floor(sx)), int(np.floor(sy))
                    if u < 0 or v < 0 or u >= W - 1 or v >= H - 1:
                        inside = False
                        break
                    fx, fy = sx - u, sy - v
                    w00, w01, w10, w11 = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
                    alpha = (
                        w00 * person[v, u, 3] + w01 * person[v, u + 1, 3]
                        + w10 * person[v + 1, u, 3] + w11 * person[v + 1, u + 1, 3]
                    ) / 255  # fmt: skip
                    for c in range(3):
                        own = (
                            w00 * person[v, u, c] + w01 * person[v, u + 1, c]
                            + w10 * person[v + 1, u, c] + w11 * person[v + 1, u + 1, c]
                        )  # fmt: skip
                        back = (source[i, j, c] * (255.0 - g) + fill[i, j, c] * float(g)) / 255
                        shown = own * alpha + back * (1 - alpha)
                        red += shown if c == 0 else 0.0
                        green += shown if c == 1 else 0.0
                        blue += shown if c == 2 else 0.0
                if not inside:
                    break
            if inside:
                many += 1
                share = 1.0 / (SAMPLES * SAMPLES)
                out[i, j, 0] = np.uint8(min(255.0, red * share + 0.5))
                out[i, j, 1] = np.uint8(min(255.0, green * share + 0.5))
                out[i, j, 2] = np.uint8(min(255.0, blue * share + 0.5))
    for i in range(top - 1, bottom + 1):
        for j in range(spans[i, 0], spans[i, 1] + 1):
            flags[i, j] = 0
    return many
