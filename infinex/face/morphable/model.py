"""The parametric face: shape and skin as linear models, lit by spherical harmonics, seen by a perspective camera.

Its axes are those of the published models: x to the subject's left, y up, z towards the viewer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from infinex.face.morphable.light import Hard, hardness, harmonic_changes, harmonics
from infinex.face.morphable.surface import Indices, normal_changes, normals, rings

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Camera:
    """A pinhole: `focal` length and `centre` in pixels. Points before it have z above 0."""

    focal: float
    centre: tuple[float, float]

    def project(self, points: Array) -> NDArray[np.float64]:
        """Pixels (N, 2) of points (N, 3)."""
        return np.asarray(self.focal * points[:, :2] / points[:, 2:] + self.centre)

    def changes(self, points: Array, moved: Array) -> NDArray[np.float64]:
        """Derivatives (N, 2, K) of `project` where the points move by `moved` (N, 3, K)."""
        z = points[:, 2, None, None]
        ahead = points[:, :2, None] / z
        return np.asarray(self.focal / z * (moved[:, :2] - ahead * moved[:, 2:]))


def euler(angles: Array) -> NDArray[np.float64]:
    """Rotation Rz · Ry · Rx of three angles in radians (pitch, yaw, roll), right-handed."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(z @ y @ x)


@dataclass(frozen=True)
class MorphableFace:
    """Mean and linear bases over V vertices.

    `mean` (V, 3); `identity` (K, V, 3), whose weights are about N(0, 1); `expression` (E, V, 3), whose weights have the
    standard deviations `spread` (E,) and lie in `low`..`high`; `skin` (V, 3) RGB in 0..1; `reflectance` (B, V, 3),
    whose weights are about N(0, 1); `triangles` (F, 3) counter-clockwise from outside; `names` (E,) of the
    expressions, where they have any. `ring` (V, n) lists the triangles around each vertex,
    where that is not made of `triangles`."""

    mean: Array
    identity: Array
    expression: Array
    skin: Array
    reflectance: Array
    triangles: Indices
    spread: Array
    low: float = -np.inf
    high: float = np.inf
    names: tuple[str, ...] = ()
    ring: Indices | None = None
    title: str = ""

    @cached_property
    def around(self) -> Indices:
        """For each vertex its triangles."""
        return rings(self.triangles, len(self.mean)) if self.ring is None else self.ring

    @cached_property
    def mates(self) -> NDArray[np.intp]:
        """(E,) for each expression the same one on the other side of the face, itself where there is none."""
        other = {"_L": "_R", "_R": "_L"}
        at = {name: k for k, name in enumerate(self.names)}
        own = range(len(self.expression))
        return np.array([at.get(n[:-2] + other.get(n[-2:], "  "), k) for k, n in enumerate(self.names)] or own, np.intp)

    def shape(self, identity: Array, expression: Array) -> NDArray[np.float64]:
        """Vertices (V, 3) of weights (K,) and (E,); fewer weights than there are leave the rest at 0."""
        out = np.asarray(self.mean, np.float64)
        out = out + np.tensordot(identity, self.identity[: len(identity)], 1)
        return np.asarray(out + np.tensordot(expression, self.expression[: len(expression)], 1))

    def albedo(self, weights: Array) -> NDArray[np.float64]:
        """The skin's own colours (V, 3), about 0..1."""
        return np.asarray(self.skin + np.tensordot(weights, self.reflectance[: len(weights)], 1))

    def normals(self, shape: Array) -> NDArray[np.float64]:
        """Unit normals (V, 3) of vertices (V, 3)."""
        return normals(shape, self.triangles, self.around)

    def look(
        self, identity: Array, expression: Array, albedo: Array, rotation: Array, shift: Array, light: Array,
        ends: bool = False,
    ) -> Appearance:  # fmt: skip
        """The face with skin `albedo` (V, 3) under a `rotation` (3, 3), then a `shift` (3,), and `light` (3, 9), which
        `ends` where skin turns away from it, as a lamp's does and as few harmonics cannot tell."""
        shape = self.shape(identity, expression)
        own = self.normals(shape)
        return Appearance(
            self,
            shape,
            own,
            np.asarray(albedo, np.float64),
            own @ rotation.T,
            shape @ rotation.T + shift,
            np.asarray(light),
            ends,
        )


@dataclass(frozen=True)
class Appearance:
    """One look of a face: `shape` (V, 3) and its `own` normals, `albedo` (V, 3), then turned: `normals` (V, 3) and
    vertices before the `camera` (V, 3), and the `light` (3, 9)."""

    face: MorphableFace
    shape: NDArray[np.float64]
    own: NDArray[np.float64]
    albedo: NDArray[np.float64]
    normals: NDArray[np.float64]
    camera: NDArray[np.float64]
    light: NDArray[np.float64]
    ends: bool = False

    @cached_property
    def harmonics(self) -> NDArray[np.float64]:
        """(V, 9), with what the light has beyond them where it `ends`."""
        plain = harmonics(self.normals)
        return plain if self._hard is None else plain + self._hard.added(self.normals)

    @cached_property
    def _hard(self) -> Hard | None:
        return hardness(self.light) if self.ends else None

    @cached_property
    def colour(self) -> NDArray[np.float64]:
        """Lit colours (V, 3)."""
        return np.asarray(self.albedo * (self.harmonics @ self.light.T))

    def colour_changes(self, rotation: Array, turned: Array) -> NDArray[np.float64]:
        """Derivatives (V, 3, n) of `colour` by identity, expression, skin, the three numbers of which `turned`
        (3, 3, 3) are the derivatives of the rotation, light (by channel) and the shift, which changes no colour."""
        face, V = self.face, len(self.shape)
        basis = np.concatenate([face.identity, face.expression])
        K, B = len(basis), len(face.reflectance)
        out = np.zeros((V, 3, K + B + 3 + 27 + 3))
        own = normal_changes(self.shape, face.triangles, face.around, basis)
        slope = self.slope
        out[..., :K] = slope @ (rotation @ own)
        lit = self.harmonics @ self.light.T
        out[..., K : K + B] = lit[..., None] * np.moveaxis(face.reflectance, 0, 2)
        out[..., K + B : K + B + 3] = slope @ np.einsum("kij,vj->vik", turned, self.own)
        for c in range(3):
            at = K + B + 3 + 9 * c
            out[:, c, at : at + 9] = self.albedo[:, c, None] * self.harmonics
        return out

    @property
    def slope(self) -> NDArray[np.float64]:
        """Derivatives (V, 3, 3) of the colours by the turned normals."""
        changes = harmonic_changes(self.normals)
        if self._hard is not None:
            changes += self._hard.changes(self.normals)
        return np.asarray(self.albedo[:, :, None] * np.einsum("cb,vbi->vci", self.light, changes))
