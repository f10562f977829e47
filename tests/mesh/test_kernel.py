"""The compiled pass over moving pixels beside the plain steps that it replaces."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from infinex.mesh.kernel import BLOCK, CUBIC, LINEAR, blocks, cover, paint, paint_fine, places, shows, triangles
from infinex.mesh.raster import drawn

SIZE = 96
CORNER = (10, 20)  # of the layers in the picture


def smooth(seed: int, channels: int = 3) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).uniform(0, 255, (SIZE, SIZE, channels)).astype(np.float32)
    image = cv2.GaussianBlur(noise, (0, 0), 2.0).reshape(SIZE, SIZE, channels)
    return np.clip((image - 127) * 6 + 127, 0, 255).astype(np.uint8)


def mesh(shift: float) -> tuple[NDArray, NDArray, NDArray]:
    """A grid over the picture, some of whose vertices move: source and target (N, 2), triangles (T, 3)."""
    ticks = np.linspace(0, SIZE - 1, 7)
    source = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2) + CORNER
    moved = np.hypot(*(source - source.mean(0)).T) < 40
    target = source + moved[:, None] * np.random.default_rng(1).uniform(-shift, shift, source.shape)
    cells = np.arange(36) + np.arange(36) // 6
    tris = np.concatenate([np.stack([cells, cells + 1, cells + 7], 1), np.stack([cells + 1, cells + 8, cells + 7], 1)])
    return source, target, tris


def placed(source: NDArray, target: NDArray, tris: NDArray) -> tuple[NDArray, ...]:
    """Numbers, maps, areas and still triangles of a target, and the box that moves."""
    n = len(tris)
    affine, area, still, key = np.zeros((n, 6)), np.zeros(n), np.zeros(n, np.bool_), np.zeros(n)
    x0, y0 = CORNER
    box = triangles(target, source, np.zeros(len(source)), tris, 0, source, 0.05, x0, y0, x0 + SIZE, y0 + SIZE,
                    affine, area, still, key)  # fmt: skip
    ids = np.full((SIZE, SIZE), -1, np.int16)
    cover(target, tris, np.argsort(key), area, float(x0), float(y0), 1.0, ids, 0, 0, ids.shape[1], ids.shape[0])
    return ids, affine, area, still, np.array(box)


def kinds(alpha: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], ...]:
    """What a picture of this alpha shows, by pixel and by block."""
    kind = shows(np.ascontiguousarray(alpha))
    return kind, blocks(kind, BLOCK, least=True), blocks(kind, BLOCK)


def test_triangles_beyond_a_map_paint_nothing_beside_themselves() -> None:
    corners = np.array([[-30.0, 2], [6, 2], [-30, 40], [50, 5], [90, 5], [90, 30]])  # over the left and right border
    tris = np.array([[0, 1, 2], [3, 4, 5]])
    ids = np.full((48, 64), -1, np.int16)
    cover(corners, tris, np.arange(2), np.ones(2), 0.0, 0.0, 1.0, ids, 0, 0, ids.shape[1], ids.shape[0])
    assert (ids[12:] != 0).all() and (ids[2, :7] == 0).all() and (ids == 1).any()
    map_x, map_y, covered = drawn(corners, corners + 5, tris, 0, 0, ids.shape)
    assert np.array_equal(covered, ids >= 0)
    y, x = np.nonzero(covered)
    assert np.allclose(map_x[y, x], x + 5, atol=1e-4) and np.allclose(map_y[y, x], y + 5, atol=1e-4)


@pytest.mark.parametrize("cubic", [True, False])
def test_one_pass_shows_what_the_plain_steps_show(cubic: bool) -> None:
    source, target, tris = mesh(6.0)
    ids, affine, _, still, box = placed(source, target, tris)
    assert (ids >= 0).all() and still.any() and not still.all()
    image, fill = smooth(2), smooth(3)
    alpha = np.clip(smooth(4, 1).astype(int) * 2 - 128, 0, 255).astype(np.uint8)
    alpha[:45, :45], alpha[50:, 50:] = 255, 0  # whole blocks of the person, and of what is behind
    person = np.dstack([image, alpha])
    near = smooth(5, 1)[..., 0]
    near[70:] = 0
    hidden = np.where(near > 200, 90, 0).astype(np.uint8)
    coarse = cv2.resize(smooth(6, 1), (24, 24))
    out = image.copy()
    paint(ids, affine, still, *CORNER, 0, 0, SIZE, SIZE, person, 0, 0, *kinds(alpha[..., 0]), False, cubic,
          CUBIC if cubic else LINEAR, image, fill, near, hidden, blocks(near | hidden, 1), coarse,
          np.empty(25, np.float32), np.empty(affine.shape, np.int64), out)  # fmt: skip
    maps = np.empty((2, SIZE, SIZE), np.float32)
    places(ids, affine, *CORNER, 0, 0, 1, maps[0], maps[1])
    how = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    warped = cv2.remap(person, maps[0], maps[1], how, borderMode=cv2.BORDER_REPLICATE)
    gate = cv2.multiply(cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR), near, scale=1 / 255)
    g, p = (x[..., None].astype(int) for x in (cv2.max(gate, hidden), warped[..., 3]))
    plain = (warped[..., :3].astype(int) * 255 * p + (fill * g + image * (255 - g)) * (255 - p) + 32512) // 65025
    apart = np.abs(out.astype(int) - plain)
    assert apart.max() <= 6 and apart.mean() < 0.5  # OpenCV rounds places to 1/32 of a pixel
    outside = np.ones((SIZE, SIZE), bool)
    outside[box[1] : box[3], box[0] : box[2]] = False
    solid = outside & (shows(alpha[..., 0]) == 2)
    assert np.array_equal(out[solid], image[solid])


def test_what_is_sampled_beyond_a_border_goes_on() -> None:
    source, target, tris = mesh(0.0)
    target = target + np.array([4.0, 0.0])  # everything goes right: the left border comes into view
    ids, affine, _, still, _ = placed(source, target, tris)
    image = smooth(2)
    person = np.dstack([image, np.full((SIZE, SIZE), 255, np.uint8)])
    ids[:, :6] = ids[:, 6:7]  # triangles that go on beyond the border, as the mesh's outermost do
    nothing = np.zeros((SIZE, SIZE), np.uint8)
    wide = cv2.copyMakeBorder(person, 0, 0, 8, 0, cv2.BORDER_REFLECT_101)
    for picture, corner, mirrored in ((person, 0, False), (wide, 8, True)):
        out = image.copy()
        paint(ids, affine, still, *CORNER, 0, 0, SIZE, SIZE, picture, corner, 0,
              *kinds(picture[..., 3]), mirrored, True, CUBIC, image, image,
              nothing, nothing, blocks(nothing, 1), np.zeros((4, 4), np.uint8),
              np.empty(5, np.float32), np.empty(affine.shape, np.int64), out)  # fmt: skip
        assert np.abs(out[:, 4:].astype(int) - image[:, :-4]).max() <= 1
        beyond = image[:, 4:0:-1] if mirrored else np.repeat(image[:, :1], 4, 1)
        assert np.abs(out[:, :4].astype(int) - beyond).max() <= 1


def test_finer_samples_are_their_mean() -> None:
    source, target, tris = mesh(5.0)
    _, affine, area, _, _ = placed(source, target, tris)
    image = smooth(2)
    person = np.dstack([image, np.full((SIZE, SIZE), 255, np.uint8)])
    a, b, w, h, k = 30, 26, 32, 20, 2
    fine = np.full((h * k, w * k), -1, np.int16)
    shift = 0.5 / k - 0.5
    at = CORNER[0] + a + shift, CORNER[1] + b + shift
    cover(target, tris, np.arange(len(tris)), area, *at, 1 / k, fine, 0, 0, w * k, h * k)
    out = np.zeros_like(image)
    one = np.ones(max(w, h), np.float32)
    room = np.empty((w, 4), np.uint32)
    paint_fine(fine, k, affine, *CORNER, a, b, person, 0, 0, False, CUBIC, one[:w], one[:h], room, out)
    y, x = np.mgrid[0 : h * k, 0 : w * k]
    x, y = a + shift + x / k + CORNER[0], b + shift + y / k + CORNER[1]
    m = affine[fine]
    maps = [(m[..., c] * x + m[..., c + 1] * y + m[..., c + 2]).astype(np.float32) for c in (0, 3)]
    plain = cv2.resize(cv2.remap(image, *maps, cv2.INTER_CUBIC), (w, h), interpolation=cv2.INTER_AREA)
    view = out[b : b + h, a : a + w]
    assert np.abs(view.astype(int) - plain).max() <= 4
    assert not out[:b].any() and not out[:, :a].any()
