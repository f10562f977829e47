"""A portrait's sockets with no eye in them: the skin that shut lids are painted with.

What a lid that comes down shows was folded away. It is guessed from the skin all around - beneath the brow, beside both
corners, below the lower lid - as the smoothest surface that joins them: a lid goes over into whatever light, shade or
paint lies beside it, and no edge of a patch can stand there. Lashes, liner and rims are left out by weights that fall
where the picture is far from that surface (iteratively reweighted least squares). Lengths are in widths of the eye.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face.interior import lab_of, ramp

Array = NDArray[np.float64]
Plane = NDArray[np.float32]
Image = NDArray[np.uint8]
ACROSS, UP = (-0.42, 1.26), (-0.40, 0.85)  # what is laid out: along the eye, and upright
FINEST = 84  # columns at most
ROOM = 0.05  # below a brow that stays as it is
AROUND = 0.07  # how far from an eye lashes, liner and rims are looked for
OUTWARD = 0.23  # ... and farther beside the outer corner
FRAME = (0.12, 0.03)  # above the lid's edge where a frame may begin; what of OVER is looked at below it
OVER = 0.04  # ... above its crease, where what is dark is shade
ROUNDS = 3
EVEN, STEPS, EXACT = 1e-6, 60, 1e-4  # of the solver: weight of nothing, most steps, and what may be left over
SHADE = 0.05  # what is narrower than that beside it is lashes and lines, not shade
BULGES = 0.6  # how much of the light that a lid's lower edge has falls on all of it
HELD = 0.5  # weight of what shows against smoothness
DARKER, LIGHTER = 5.0, 9.0  # lightness by which what is no skin is away from it
HUE, BEGUN = 8.0, 2.5  # ... and hue; how many times that it may be from most of it at first
OTHER, GLINT = (3.0, 9.0), (8.0, 18.0)  # ... over which it is replaced, darker and lighter


@dataclass(frozen=True)
class Outline:
    """Curves of an open eye, heights (n,) at places `u` (n,)."""

    u: Array
    upper: Array
    lower: Array  # where the lids meet
    crease: Array
    brow: Array  # its lower edge


class Socket:
    """One of them, laid out in the eye's own frame: colours, and how far they stand for the picture when it is shut."""

    def __init__(self, seen: Image, inside: Plane, lines: Outline, lid: Plane, glasses: bool) -> None:
        """`seen` (m, n, 3) shows it by `grid`, `inside` (m, n) where that is face at all; `lid` (n, 3) in Lab is what
        the lower edge of the lid is to look like; behind `glasses` less is looked at."""
        m, n = self._shape = inside.shape
        u, h = grid(m, n)
        cell = (ACROSS[1] - ACROSS[0]) / (n - 1)
        upper, lower, crease, brow = (
            np.interp(u, lines.u, c) for c in (lines.upper, lines.lower, lines.crease, lines.brow)
        )
        hh = h[:, None]
        within = (u > -0.03) & (u < 1.05)
        top = np.maximum(crease, upper + 0.05) + 0.02
        if glasses:
            top = np.minimum(top, upper + FRAME[0])
        top = np.minimum(top, np.maximum(brow - ROOM, upper + 0.06))
        core = (hh < top) & (hh > lower - 0.01) & within
        far = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, 5) * cell
        inside = np.maximum(inside, far < 0.03)
        skin = (hh < np.maximum(brow - ROOM, upper + 0.08)) & (inside > 0.5)
        lab = lab_of(cv2.medianBlur(seen, 3))
        under = (hh <= lower) & (hh > lower - 0.06) & (u > 0.05) & (u < 0.95)
        lab[under] = np.broadcast_to(lid[None], lab.shape)[under]
        held = np.where(skin & ~core, HELD, 0.0)
        reach = AROUND - (AROUND - (FRAME[1] if glasses else OVER)) * ramp(u, 0.05, 0.2) * ramp(-u, -0.95, -0.8) * (
            hh > lower
        )
        beside = np.broadcast_to(ramp(-u, 0.0, 0.08), far.shape) * (hh < crease + 0.12)
        reach = reach + (0.0 if glasses else OUTWARD) * beside
        near = (far < reach) & ~under
        ring = near & (held > 0)
        usual = lab[ring].reshape(-1, 3)
        usual = np.median(usual[usual[:, 0] >= np.median(usual[:, 0])], 0) if len(usual) else lab.mean((0, 1))
        weight = np.where(near, held / (1 + _apart(lab, usual, BEGUN) ** 4), held)
        colour = lab
        for _ in range(ROUNDS):
            colour = _surface(lab, weight)
            weight = np.where(near, held / (1 + _apart(lab, colour) ** 4), held)
        away = lab_of(seen)[..., 0] - colour[..., 0]
        other = np.where(away < 0, ramp(-away, *OTHER), ramp(away, *GLINT))
        alpha = np.maximum(ramp(0.04 - far, 0, 0.04), other * ramp(reach - far, 0, 0.05)) * skin
        alpha = np.minimum(alpha, np.maximum(ramp(brow - ROOM - hh, 0, 0.08), far <= 0))
        alpha = cv2.dilate(alpha.astype(np.float32), np.ones((3, 3), np.uint8))
        alpha = cv2.GaussianBlur(alpha, (0, 0), max(1.0, 0.025 / cell))
        # Shade that goes on beyond what is replaced goes on within it, fading, or a disc's edge would stand there.
        sure = ((1 - alpha) * skin * (1 - beside * (away < -OTHER[1]))).astype(
            np.float32
        )  # what is dark there is liner
        wide = SHADE / cell
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (round(3 * wide) | 1,) * 2)
        rest = lab_of(cv2.morphologyEx(cv2.medianBlur(seen, 3), cv2.MORPH_CLOSE, disc)) - colour
        broad = (
            cv2.GaussianBlur(rest * sure[..., None], (0, 0), wide)
            / np.maximum(cv2.GaussianBlur(sure, (0, 0), wide), 1e-3)[..., None]
        )
        colour = colour + _surface(broad, HELD * sure)
        # A lid bulges out of the shade into the light that its lower edge has.
        up = np.clip((hh - lower) / np.maximum(crease - lower, 0.1), 0, 1)
        out = np.sin(np.pi * np.clip(up, 0.25, 1)) ** 0.7 * ramp(up, -0.05, 0.1)
        out = BULGES * out * np.sin(np.pi * np.clip(u, 0, 1))
        colour = colour + (out * (lid[None, :, 0] > colour[..., 0]))[..., None] * (lid[None] - colour)
        self.laid: Plane = np.dstack([cv2.cvtColor(np.asarray(colour, np.float32), cv2.COLOR_LAB2RGB) * 255, alpha])

    def at(self, u: Plane, h: Plane) -> Plane:
        """Colours in RGB and shares in 0..1, (..., 4), at places and heights."""
        m, n = self._shape
        x = (u - np.float32(ACROSS[0])) * np.float32((n - 1) / (ACROSS[1] - ACROSS[0]))
        y = (np.float32(UP[1]) - h) * np.float32((m - 1) / (UP[1] - UP[0]))
        return np.asarray(cv2.remap(self.laid, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _apart(lab: Plane, skin: NDArray, times: float = 1.0) -> Array:
    """How far colours (m, n, 3) are from those of skin, 1 where that begins to be much."""
    light, hue = lab[..., 0] - skin[..., 0], lab[..., 1:] - skin[..., 1:]
    return np.hypot(light / np.where(light < 0, DARKER, LIGHTER), np.hypot(hue[..., 0], hue[..., 1]) / HUE) / times


def _surface(lab: Plane, weight: Array) -> Plane:
    """The smooth surface through colours (m, n, 3) that count `weight` (m, n): neighbours differ as little as may be.

    By conjugate gradients, each step made as long as if all counted the same: of that, cosines are the solution."""
    m, n = weight.shape
    (rows, slow), (columns, fast) = _waves(m), _waves(n)
    even = float(weight.mean()) + EVEN
    spread = 1 / (slow[:, None] + fast + even)

    def solved(right: Array) -> Array:
        return np.asarray(rows.T @ (rows @ right @ columns.T * spread) @ columns)

    def product(x: Array) -> Array:
        out = (weight + EVEN) * x
        for axis in (1, 2):
            step = np.diff(x, axis=axis)
            front, back = [slice(None)] * 3, [slice(None)] * 3
            front[axis], back[axis] = slice(None, -1), slice(1, None)
            out[tuple(front)] -= step
            out[tuple(back)] += step
        return out

    right = weight * lab.transpose(2, 0, 1).astype(np.float64)  # (3, m, n)
    x = np.broadcast_to(right.sum((1, 2), keepdims=True) / max(float(weight.sum()), 1e-9), right.shape).copy()
    r = right - product(x)
    z = solved(r)
    p, energy = z, (r * z).sum((1, 2), keepdims=True)
    least = EXACT**2 * np.maximum(energy, 1e-12)
    for _ in range(STEPS):
        if (energy <= least).all():
            break
        q = product(p)
        k = energy / np.maximum((p * q).sum((1, 2), keepdims=True), 1e-30)
        x, r = x + k * p, r - k * q
        z = solved(r)
        before, energy = energy, (r * z).sum((1, 2), keepdims=True)
        p = z + energy / np.maximum(before, 1e-30) * p
    return np.asarray(x.transpose(1, 2, 0), np.float32)


@cache
def _waves(n: int) -> tuple[Array, Array]:
    """Cosines (n, n), each a row of unit length, and by how much the neighbours of n places differ in each, (n,)."""
    k = np.arange(n, dtype=np.float64)
    rows = np.sqrt(2 / n) * np.cos(np.pi * k[:, None] * (k + 0.5) / n)
    rows[0] = np.sqrt(1 / n)
    return rows, np.asarray(2 - 2 * np.cos(np.pi * k / n))


def grid(m: int, n: int) -> tuple[Array, Array]:
    """Places (n,) and heights (m,), from above, that are laid out."""
    return np.linspace(*ACROSS, n), np.linspace(UP[1], UP[0], m)


def size(width: float) -> tuple[int, int]:
    """Rows and columns for an eye of so many pixels."""
    n = int(np.clip((ACROSS[1] - ACROSS[0]) * width, 40, FINEST))
    return round(n * (UP[1] - UP[0]) / (ACROSS[1] - ACROSS[0])), n
