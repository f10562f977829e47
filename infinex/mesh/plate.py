"""The background without the person: the guess joined to what shows, and traces of the person beside her found.

A matte ends too early: single hairs, haloes and soft shadows outside of it would stand in the air once the head has
moved on. Beside the matte the picture is compared with a guess made from farther out; what differs from that towards
the person's own colours, or close to her at all, is a trace of her. The background is then guessed without traces.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.face.surroundings import smoothstep
from infinex.mesh.fill import behind, blurred, push_pull, squared

Image = NDArray[np.uint8]
Map = NDArray[np.float32]
BESIDE = 0.16  # how far beside the matte traces are looked for; IOD
SEEN = 0.02  # alpha from which on somebody is there
SOLID = 0.95  # alpha from which on a colour is hers alone
RIM = 0.02  # about that the picture is tinted by hair all the same; IOD
CLOSE = (0.03, 0.08)  # what is odd so near is a trace whatever it looks like, and beyond no more; IOD
JOIN = 0.06  # over which the guess is brought to the brightness of what shows ...
DEPTH = 0.25  # ... and how far behind the outline; IOD
MOST = 24.0  # levels by which at most ...
SEAM = 60.0  # ... and where what shows is known to be background
SMALL = 2.5  # pixels of a blur's sigma at which what is spread is worked on
GRAIN = 2.5  # levels that any picture varies by
ODD = (1.8, 3.5)  # deviations from the guess at which a pixel begins to be a trace, and is one
LIKE = (0.45, 0.7)  # cosine of the difference with that to the person: not hers, hers
FAINT = 7.0  # levels of difference whose direction says nothing
BUSY = (5.0, 11.0)  # levels of error of a background that is plain, and of one that is not
LAMP = (80.0, 140.0)  # levels off the guess that may be her before a busy background, and that are not
EDGE = (0.03, 0.05)  # but not so near to where somebody surely is: dark hats before a bright sky are as unlike; IOD
CLEAN = (0.1, 0.4)  # share of traces beside a person that is none, and too much
APART = (0.08, 0.12)  # beside a person where hardly anything of her is, and nothing; IOD
WRONG = (20.0, 40.0)  # mean error there, in levels, of a guess that tells what is her, and of one that does not
SOFT = 0.012  # about a trace that goes with it; IOD
LEFT = 0.02  # share of the guess up to which the picture is as it was
WORKING = 48.0  # pixels of an IOD at which the lightness of a plain background is looked at
LOW = 0.08  # over which that varies by itself; IOD
PLAIN = (3.0, 7.0)  # levels by which a background that falls off smoothly varies, and one that does not
FADE = 0.4  # over which a guess that meets the picture goes over into what it was; IOD


def plate(image: Image, alpha: Map, unit: float) -> tuple[Map, Map, Map]:
    """The background alone (H, W, 3) in levels, and where that is to be seen instead of the `image` (H, W, 3).

    `alpha` (H, W) in 0..1 is the person, `unit` the inter-ocular distance in pixels. The second (H, W) is 1 on the
    person and on traces of her; the third is how sure the background is, 0..1."""
    away = cv2.distanceTransform((alpha < SEEN).astype(np.uint8), cv2.DIST_L2, 5) / np.float32(unit)
    near = _ramp(2 - away / np.float32(RIM), 0, 1)
    beside = ((away > 0) & (away < BESIDE)).astype(np.float32)
    if not beside.any():
        return behind(image, alpha, unit).astype(np.float32), near, np.zeros_like(near)
    known = beside * _ramp(away, 0.0, BESIDE)
    far, noise = _joined(image, behind(image, alpha, unit, BESIDE).astype(np.float32), away, known, unit)
    # What is plain is known from there; of what is not, as much as can be seen is to go on behind her. A guess that is
    # wrong where hardly anything of her can be tells nothing about what is closer by.
    wrong = _spread(np.sqrt(squared(image - far)), beside * _ramp(away, *APART), JOIN * unit)
    astray = _ramp(wrong, *WRONG)
    busy = np.maximum(_ramp(noise, *BUSY), astray)
    near = np.maximum(near, (1 - astray) * _traces(image, alpha, far, away, noise, unit))
    if busy.max() > 0:
        closer = behind(image, np.maximum(alpha, near * (near > 0.2)), unit)
        far += busy[..., None] * (closer - far)
        # What is as unlike the guess as this before a busy background is a lamp that was not guessed, no tint of hair.
        lamp = (away > 0) * _ramp(np.sqrt(squared(image - far)), *LAMP)
        near *= 1 - busy * lamp * (1 - at_edge(alpha, unit))
    # Where nothing of her stands beside her, all that shows there is background and goes on without a seam.
    own = _spread(cv2.merge([near * (away > RIM)] * 3), beside, JOIN * unit)[..., :1]
    seamless = _joined(image, far, away, beside * (1 - near), unit, SEAM)[0]
    far += (1 - _ramp(own, *CLEAN)) * (seamless - far)
    far += _lightness(image, far, near, unit)
    # Where the guess begins it meets the picture: a step there would be seen as a line.
    return far + spread(image - far, (near <= LEFT).astype(np.float32), unit), near, 1 - busy


def _lightness(image: Image, guess: Map, near: Map, unit: float) -> Map:
    """What is to be added to a guess (H, W, 3), so that it is as light as a smooth surface that joins its rim.

    Only where the background beside it falls off smoothly: patches of that carry steps along. Texture stays."""
    h, w = near.shape
    k = min(1.0, WORKING / unit)
    size = max(4, round(w * k)), max(4, round(h * k))
    seen, old, known = (
        cv2.resize(x.astype(np.float32), size, interpolation=cv2.INTER_AREA) for x in (image, guess, near <= LEFT)
    )
    known = np.floor(known + np.float32(0.01))
    low = LOW * unit * k
    rough = np.sqrt(np.square(seen - _spread(seen, known, low)).sum(-1))
    known *= 1 / (1 + np.square(rough / np.float32(PLAIN[1])))  # single things that stand there are no texture
    rough = _spread(cv2.merge([rough] * 3), known, 3 * low)[..., :1]
    off = (push_pull(seen, known) - old) * (1 - _ramp(rough, *PLAIN))
    return np.asarray(cv2.resize(off, (w, h), interpolation=cv2.INTER_LINEAR), np.float32)


def spread(off: Map, known: Map, unit: float) -> Map:
    """Differences (H, W, 3) carried on smoothly from where they are `known` (H, W), 0..1, fading out over FADE."""
    depth = cv2.distanceTransform((known < 0.5).astype(np.uint8), cv2.DIST_L2, 5) / np.float32(unit)
    return np.asarray(push_pull(off, known) * np.exp(-depth / FADE)[..., None], np.float32)


def _ramp(x: Map, low: float, high: float) -> Map:
    return smoothstep((x - np.float32(low)) / np.float32(high - low))  # type: ignore[arg-type,return-value]


def _joined(image: Image, guess: Map, away: Map, known: Map, unit: float, most: float = MOST) -> tuple[Map, Map]:
    """A guess (H, W, 3) brought to the colours of the picture where that is `known` (H, W), and how much it still errs.

    `away` (H, W) is the distance from the person, IOD; by `most` levels at most. The error (H, W) is in levels."""
    apart = cv2.GaussianBlur(image, (0, 0), max(0.7, 0.006 * unit)) - guess
    weight, off, noise = known, np.zeros_like(apart), np.zeros_like(known)
    for _ in range(3):  # what stands out of the guess counts less every time
        off = _spread(apart, weight, JOIN * unit)
        rest = np.sqrt(squared(apart - off))
        noise = np.maximum(GRAIN, 1.2 * _spread(rest, weight, 2 * JOIN * unit))
        weight = known / (1 + np.square(np.square(rest / (2 * noise))))
    size = np.sqrt(squared(off))
    depth = cv2.distanceTransform((away == 0).astype(np.uint8), cv2.DIST_L2, 5) / np.float32(unit)
    share = np.exp(-depth / DEPTH) * np.minimum(1, most / np.maximum(size, 1e-3)) * (away < BESIDE)
    off *= share[..., None].astype(np.float32)
    off += guess
    return off, np.asarray(noise, np.float32)


def own_colours(image: Image, alpha: Map, unit: float) -> Map:
    """Colours (H, W, 3) of the person alone, in levels, carried on beyond her; `alpha` (H, W), `unit` pixels of IOD."""
    return blurred(push_pull(image, (alpha > SOLID).astype(np.float32)), 0.05 * unit)


def at_edge(alpha: Map, unit: float) -> Map:
    """Where a matte `alpha` (H, W) surely has somebody, or so near to it that its edge may lie there, (H, W) 0..1."""
    off = cv2.distanceTransform((alpha < 0.5).astype(np.uint8), cv2.DIST_L2, 5) / np.float32(unit)
    return 1 - _ramp(off, *EDGE)


def _traces(image: Image, alpha: Map, back: Map, away: Map, noise: Map, unit: float) -> Map:
    """What of the person stands beside the matte `alpha` (H, W) in 0..1, before the background `back` (H, W, 3).

    `noise` (H, W) is how far that errs anyway, in levels."""
    soft = cv2.GaussianBlur(image, (0, 0), max(0.7, 0.006 * unit)).astype(np.float32)
    diff = soft - back
    size = np.asarray(np.sqrt(squared(diff)), np.float32)
    line = own_colours(image, alpha, unit) - back
    cosine = np.einsum("ijk,ijk->ij", diff, line) / (size * np.sqrt(squared(line)) + FAINT**2)
    cosine = np.asarray(cosine, np.float32)
    hers = np.maximum(_ramp(cosine, *LIKE), 1 - _ramp(away, *CLOSE))
    trace = _ramp(size / noise, *ODD) * hers * (1 - _ramp(away, 0.4 * BESIDE, BESIDE)) * (away > 0)
    radius = max(1, round(SOFT * unit))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.minimum(1, cv2.GaussianBlur(cv2.dilate(trace, disc), (0, 0), max(0.7, 0.5 * radius)))


def _spread(values: Map, weight: Map, reach: float) -> Map:
    """Values (H, W) or (H, W, 3) known by `weight` (H, W), smoothed over about `reach` pixels and spread from there."""
    h, w = weight.shape
    k = min(1.0, SMALL / reach)  # nothing of the result is finer than `reach`
    size, sigma = (max(4, round(k * w)), max(4, round(k * h))), max(k * reach, 0.5)
    total = cv2.multiply(values, weight) if values.ndim == 2 else values * weight[..., None]
    known, total = (
        cv2.GaussianBlur(cv2.resize(v, size, interpolation=cv2.INTER_AREA), (0, 0), sigma) for v in (weight, total)
    )
    share = np.minimum(1, known / 0.05)
    known = np.maximum(known, 1e-4)
    if values.ndim == 2:
        out = push_pull(cv2.merge([total / known] * 3), share)[..., 0]
    else:
        out = push_pull(total / known[..., None], share)
    return np.asarray(cv2.resize(out, (w, h), interpolation=cv2.INTER_CUBIC), np.float32)
