"""Light on skin as nine spherical harmonics of its normal (Ramamoorthi and Hanrahan 2001), of each colour channel.

Under a lamp they are wrong by up to a tenth where skin turns away from it, which a fit takes for a turned head: what
they lack follows from where it comes from, and is added (`Hard`).

Normals have the axes of the published models: x to the subject's left, y up, z towards the viewer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

BANDS = 9
FRONT = 400  # normals by which a light's direction is told
SQUARE = 0.3125  # share of the second band, at its middle, in light from one side
K0, K1, K2 = np.sqrt(np.pi) / 2, np.sqrt(np.pi), np.sqrt(15 * np.pi / 8)
# Band by band, in the order and with the signs of Deep3DFaceRecon.
_GREY = np.concatenate([[1 / K0], np.zeros(BANDS - 1)])


def ambient() -> NDArray[np.float64]:
    """The light (3, 9) under which skin shows its own colour."""
    return np.tile(_GREY, (3, 1))


def harmonics(normals: Array) -> NDArray[np.float64]:
    """Their values (N, 9) for unit normals (N, 3)."""
    x, y, z = np.asarray(normals, np.float64).T
    return np.stack(
        [
            np.full_like(x, K0), -K1 * y, K1 * z, -K1 * x, K2 * x * y, -K2 * y * z,
            K2 / (2 * np.sqrt(3)) * (3 * z * z - 1), -K2 * x * z, K2 / 2 * (x * x - y * y),
        ],
        1,
    )  # fmt: skip


def harmonic_changes(normals: Array) -> NDArray[np.float64]:
    """Derivatives (N, 9, 3) of `harmonics` by the normal."""
    x, y, z = np.asarray(normals, np.float64).T
    out = np.zeros((len(x), BANDS, 3))
    out[:, 1, 1], out[:, 2, 2], out[:, 3, 0] = -K1, K1, -K1
    out[:, 4, 0], out[:, 4, 1] = K2 * y, K2 * x
    out[:, 5, 1], out[:, 5, 2] = -K2 * z, -K2 * y
    out[:, 6, 2] = K2 * np.sqrt(3) * z
    out[:, 7, 0], out[:, 7, 2] = -K2 * z, -K2 * x
    out[:, 8, 0], out[:, 8, 1] = K2 * x, -K2 * y
    return out


@dataclass(frozen=True)
class Hard:
    """Where most of a light comes from, `towards` (3,), and which harmonics (9,) tell how much of it falls from there
    alone."""

    towards: NDArray[np.float64]
    share: NDArray[np.float64]

    def added(self, normals: Array) -> NDArray[np.float64]:
        """What `harmonics` (N, 9) lack of a light that ends where skin turns away from it."""
        x = np.asarray(normals, np.float64) @ self.towards
        lacks = np.maximum(x, 0) - (0.25 + 0.5 * x + SQUARE * (1.5 * x * x - 0.5))
        return np.asarray(lacks[:, None] * self.share)

    def changes(self, normals: Array) -> NDArray[np.float64]:
        """Derivatives (N, 9, 3) of that by the normal."""
        x = np.asarray(normals, np.float64) @ self.towards
        lacks = (x > 0) - (0.5 + 3 * SQUARE * x)
        return np.asarray(lacks[:, None, None] * self.share[:, None] * self.towards)


def hardness(light: Array) -> Hard:
    """How hard a `light` (3, 9) is: a lamp's second band, at its middle, is `SQUARE` of it."""
    return _hard(np.asarray(light, np.float64), direction(light))


def _hard(light: Array, towards: Array) -> Hard:
    there = harmonics(towards[None])[0] / SQUARE
    there[:4] = 0
    return Hard(np.asarray(towards, np.float64), there * ((light @ there).mean() > 0))


def shade(albedo: Array, normals: Array, light: Array) -> NDArray[np.float64]:
    """Colours (N, 3) of skin `albedo` (N, 3) with `normals` (N, 3) under `light` (3, 9): without shadows."""
    return np.asarray(albedo * (harmonics(normals) @ np.asarray(light).T))


def direction(light: Array) -> NDArray[np.float64]:
    """Unit vector (3,) to where most `light` (3, 9) comes from, in the axes above; zeros where it has no direction.

    Harmonics of one order are told from those of the next only by a whole sphere, of which a face shows half: a plane
    through the brightness of the normals that it shows, and that are lit, is what can be known."""
    (normals, plane), light = _front(), np.asarray(light, np.float64)
    even, lit, towards = harmonics(normals) @ light.mean(0), np.ones(len(normals), bool), np.zeros(3)
    bright = even
    for k in range(12):
        A = plane[lit]
        slope = np.linalg.solve(A.T @ A + 1e-9 * np.eye(4), A.T @ bright[lit])[:3]
        length = float(np.linalg.norm(slope))
        if length < 1e-9:
            return np.zeros(3)
        towards = slope / length
        lit = normals @ towards > 0.1
        if k >= 5:  # where it comes from is roughly known, and so what the harmonics lack
            bright = even + _hard(light, towards).added(normals) @ light.mean(0)
    return towards


@cache
def _front() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Normals (n, 3), evenly spread, that a face shows, and the same with ones beside them (n, 4)."""
    k = np.arange(FRONT) + 0.5
    z, turn = 1 - k / FRONT * 0.7, np.pi * (1 + np.sqrt(5)) * k
    normals = np.stack([np.sqrt(1 - z * z) * np.cos(turn), np.sqrt(1 - z * z) * np.sin(turn), z], 1)
    return normals, np.column_stack([normals, np.ones(FRONT)])
