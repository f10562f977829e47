"""What lies beneath a portrait's lids: the white of an eye without its iris, and the iris as a whole disc.

A glance that goes far would smear what surrounds an iris, were the picture only drawn along with it; and what a lid
hides of an iris comes out beside it. So both are taken apart once: white is continued beneath the iris along rows,
since lids shade it by height, and the hidden parts of the iris are those opposite.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face.interior import lab_of, ramp
from infinex.mesh.layers import polygon_mask

ROOM = (0.25, 0.40)  # eye widths beside the corners and above them that are held
FINENESS = (48, 320)  # samples an eye's width
RIM = (0.97, 1.12)  # of its radius over which an iris ends
OUTER, LIGHT = (0.65, 0.85), (0.5, 0.8)  # of a radius, and of the way to white, over which it is none of the iris
SOFT = 0.02  # ... and over which what is seen of it goes over into what is not
LID = 0.06  # eye widths above and below which a lid's edge is taken for none of the iris
WHITE_FROM = 1.16  # of its radius from where on white is white
ALONG = (0.30, 0.03)  # eye widths over which white goes on beneath the iris, aside and in height; rows are kept apart
LEAST_WHITE = 0.2  # share of an open eye that is none of its iris, or no white is known
WHITEST = (40, 75)  # percentiles of white over which it counts: the rest are lashes and lids
# Where an iris is sought: eye widths aside and in height, and times the radius that it was tracked with.
SOUGHT = (np.linspace(-0.10, 0.10, 11), np.linspace(-0.06, 0.06, 7), np.linspace(0.8, 1.4, 13))
TRUSTED = (0.09, 0.04, 0.3)  # how far, likely, trackers are off it
ACROSS, SIDES = (0.90, 1.14), 24  # of a radius, between which it becomes light; directions looked at on each side
ONE_SIDE = 0.25  # how much it counts where only one side becomes light
STEEPEST = 30.0  # lightness: no highlight counts more
UNLIKE = 12.0  # Lab distance of white and iris at least
COLOURED, LIKE_IRIS = 8.0, 0.35  # of an iris beside its white; share of the white beside it with that colour at most
TURNS, RINGS = 96, 24  # samples of an iris around its centre and from it to beyond its edge
SHADED = 0.8  # light of the parts of an iris that a lid hides, of that opposite


class Eyeball:
    """One eye of a picture, taken apart in the eye's own coordinates: 0 and 1 at the corners of its lids."""

    def __init__(
        self, image: NDArray[np.uint8], ring: NDArray, a: complex, e: complex, iris: complex, radius: float
    ) -> None:
        """Of `image` (H, W, 3): lids `ring` (N, 2) in its pixels, where `a + e·z` lies the point z of the eye; the
        centre `iris` and `radius` of the iris in the eye's coordinates."""
        self.scale = k = float(np.clip(abs(e), *FINENESS))
        self.corner = complex(ROOM[0], ROOM[1]) * k  # of the eye's origin in `white`
        w, h = round((1 + 2 * ROOM[0]) * k), round(2 * ROOM[1] * k)
        z = (np.arange(w) - self.corner.real + 1j * (np.arange(h) - self.corner.imag)[:, None]) / k
        at = a + e * z
        picture = cv2.remap(
            image, at.real.astype(np.float32), at.imag.astype(np.float32), cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ).astype(np.float32)  # fmt: skip
        lids = (ring[:, 0] + 1j * ring[:, 1] - a) / e * k + self.corner
        open_ = polygon_mask(h, w, np.stack([lids.real, lids.imag], -1)) > 0.5
        inside = cv2.erode(open_.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=max(1, round(0.02 * k))) > 0
        lab = lab_of(picture)
        self.iris, self.radius = iris, radius = self._found(lab[..., 0], inside, iris, radius)
        away = np.abs(z - iris) / radius
        white = inside & (away > WHITE_FROM)
        beside = white & (away < 1.6) & (np.abs((z - iris).imag) < 0.6 * np.abs((z - iris).real))
        self.known = white.sum() > LEAST_WHITE * inside.sum() and self._apart(lab, beside, inside & (away < 0.95))
        self.white = self._continued(picture, white, open_, away)
        # Lids have an edge, as light as skin or dark with lashes.
        edge = np.ones((2 * max(1, round(LID * k)) + 1, 1), np.uint8)
        self.disc, self.middle = self._whole(picture, inside & (cv2.erode(open_.astype(np.uint8), edge) > 0), away)

    def _found(self, light: NDArray, inside: NDArray, iris: complex, radius: float) -> tuple[complex, float]:
        """Centre and radius of the iris: of circles about where the tracker has it, the one across whose sides it
        becomes light most (after Daugman, 1993); the tracker takes drawn eyes for people's."""
        aside, down, wide = np.meshgrid(*SOUGHT, indexing="ij")
        centres, radii = (iris + aside + 1j * down).ravel(), radius * wide.ravel()
        angle = np.concatenate([np.linspace(-0.8, 0.8, SIDES), np.pi + np.linspace(-0.8, 0.8, SIDES)])
        way = np.exp(1j * angle)

        def seen(share: float) -> tuple[NDArray, NDArray]:
            at = (centres[:, None] + share * radii[:, None] * way) * self.scale + self.corner
            x = np.clip(np.round(at.real).astype(int), 0, light.shape[1] - 1)
            y = np.clip(np.round(at.imag).astype(int), 0, light.shape[0] - 1)
            return light[y, x], inside[y, x]

        (dark, there), (bright, beyond) = seen(ACROSS[0]), seen(ACROSS[1])
        both = there & beyond
        low, high = np.percentile(light[inside], (10, 90)) if inside.any() else (0.0, 1.0)
        as_white = ramp(bright, low, max(high, low + 1)) ** 3  # a pupil becomes light, too, but not white
        rises = (np.clip(bright - dark, -STEEPEST, STEEPEST) * as_white * both).reshape(-1, 2, SIDES).sum(2)
        rises /= np.maximum(both.reshape(-1, 2, SIDES).sum(2), SIDES / 2)
        rise = np.sqrt(np.maximum(rises, 0).prod(1)) + ONE_SIDE * rises.mean(1)
        off = aside.ravel() / TRUSTED[0], down.ravel() / TRUSTED[1], np.log(wide.ravel()) / TRUSTED[2]
        unlike = sum(way * way for way in off)
        best = int(np.argmax(rise * np.exp(-unlike / 2)))
        return complex(centres[best]), float(radii[best])

    @staticmethod
    def _apart(lab: NDArray, beside: NDArray, disc: NDArray) -> bool:
        """Whether what lies beside a disc is unlike it, a coloured one in its colour: else it is more of the iris."""
        if not beside.any() or not disc.any():
            return False
        light = lab[beside][:, 0]
        bright = lab[beside][light >= np.percentile(light, 60)].mean(0)
        way = lab[disc].mean(0) - bright
        if float(np.linalg.norm(way)) < UNLIKE:
            return False
        way, bright = way[1:], bright[1:]
        if float(np.hypot(*way)) < COLOURED:
            return True
        share = (lab[beside][:, 1:] - bright) @ way / float(way @ way)
        return bool((share > 0.5).mean() < LIKE_IRIS)

    def _continued(self, picture: NDArray, white: NDArray, open_: NDArray, away: NDArray) -> NDArray[np.float32]:
        """White (h, w, 3) that goes on beneath the iris, and beyond the lids as far as it does."""
        light = lab_of(picture)[..., 0]
        dark, bright = np.percentile(light[white], WHITEST) if white.any() else (0.0, 1.0)
        weight = (white * (0.1 + 0.9 * ramp(light, dark, max(bright, dark + 1)))).astype(np.float32)
        total, share = np.zeros_like(picture), np.zeros_like(weight)
        for (x, y), trust in ((ALONG, 1.0), ((ALONG[0], ALONG[0]), 1e-3)):
            for sums, values in ((total, picture * weight[..., None]), (share, weight)):
                sums += trust * cv2.GaussianBlur(values, (0, 0), x * self.scale, sigmaY=y * self.scale)
        filled = total / np.maximum(share, 1e-9)[..., None]
        around = (white | (open_ & (away > WHITE_FROM))).astype(np.float32)
        own = cv2.GaussianBlur(around, (0, 0), max(0.8, 0.012 * self.scale))
        own = np.minimum(own, np.clip((away - RIM[1]) / 0.2, 0, 1).astype(np.float32))
        return np.asarray(filled + own[..., None] * (picture - filled), np.float32)

    @staticmethod
    def _as_white(picture: NDArray, inside: NDArray, away: NDArray) -> NDArray:
        """How much pixels (h, w) are as light as the white of an eye beside its iris, 0..1."""
        light = lab_of(picture)[..., 0]
        disc, white = light[inside & (away < 0.7)], light[inside & (away > WHITE_FROM)]
        if not len(disc) or not len(white):
            return np.zeros_like(light)
        dark, bright = float(np.median(disc)), float(np.percentile(white, 70))
        return ramp((light - dark) / max(bright - dark, 1e-6), *LIGHT) * (bright > dark + UNLIKE)

    def _whole(self, picture: NDArray, inside: NDArray, away: NDArray) -> tuple[NDArray[np.float32], complex]:
        """The iris without lids, (n, n, 4) with how much of it is there, and its centre in it."""
        k, r = self.scale, self.radius * self.scale
        centre = self.iris * k + self.corner
        angle = 2 * np.pi * np.arange(TURNS) / TURNS
        far = (np.arange(RINGS) + 0.5) / RINGS * RIM[1]
        polar = centre + r * far * np.exp(1j * angle)[:, None]
        where = polar.real.astype(np.float32), polar.imag.astype(np.float32)
        colours = cv2.remap(picture, *where, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        outer = ramp(away, *OUTER) * self._as_white(picture, inside, away)  # a circle fits no iris wholly
        own = (inside * (1 - outer)).astype(np.float32)
        seen = cv2.remap(own, *where, cv2.INTER_LINEAR, borderValue=0)
        # Where white is seen beside an iris, nothing is hidden of it beyond.
        ends = np.maximum.accumulate(cv2.remap(np.float32(inside * outer), *where, cv2.INTER_LINEAR), axis=1)
        turns = np.arange(TURNS)
        whole, trust = colours * seen[..., None], seen
        for other in (-turns % TURNS, (TURNS // 2 + turns) % TURNS):  # below for above, then opposite
            more = (1 - trust) * seen[other]
            whole += SHADED * more[..., None] * colours[other]
            trust = trust + more
        mean = (colours * seen[..., None]).sum(0) / np.maximum(seen.sum(0), 1e-3)[:, None]
        lost = np.flatnonzero(seen.sum(0) < 1e-3)  # rings that nobody sees are as the next
        for i in lost:
            near = np.flatnonzero(seen.sum(0) >= 1e-3)
            mean[i] = mean[near[np.abs(near - i).argmin()]] if len(near) else colours[:, i].mean(0)
        whole += (1 - trust)[..., None] * SHADED * mean
        n = 2 * int(np.ceil(RIM[1] * r)) + 3
        middle = complex((n - 1) / 2, (n - 1) / 2)
        own = np.arange(n) - middle.real + 1j * (np.arange(n) - middle.imag)[:, None]
        rho = np.abs(own) / r
        whole = np.dstack([whole, 255 * (1 - ends)])
        around = np.vstack([whole[-1:], whole, whole[:1]])
        at = (np.angle(own) % (2 * np.pi)) / (2 * np.pi) * TURNS + 1
        disc = cv2.remap(
            around.astype(np.float32), (rho / RIM[1] * RINGS - 0.5).astype(np.float32), at.astype(np.float32),
            cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        # What is seen stays as sharp as it is.
        offset = centre - middle
        grid = np.array([[1, 0, offset.real], [0, 1, offset.imag]], np.float32)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        sharp = cv2.warpAffine(picture, grid, (n, n), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        clear = cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
        clear = cv2.warpAffine(cv2.GaussianBlur(clear, (0, 0), max(0.8, SOFT * k)), grid, (n, n), flags=flags)
        clear = np.clip(2 * clear - 1, 0, 1)
        disc, kept = disc[..., :3], disc[..., 3] / 255
        disc = disc + clear[..., None] * (sharp - disc)
        alpha = np.clip((RIM[1] - rho) / (RIM[1] - RIM[0]), 0, 1)
        alpha *= kept
        return np.dstack([disc, alpha * alpha * (3 - 2 * alpha)]).astype(np.float32), middle
