"""Edges at which one part hides another, and what lies behind a forehead."""

from __future__ import annotations

import numpy as np

from infinex.face import topology as top
from infinex.face.pose import Pose
from infinex.face.surroundings import Surroundings, SurroundingsShape
from infinex.mesh.edges import beside, doubtful, finer
from infinex.mesh.kernel import cover
from infinex.mesh.raster import affines


def test_an_edge_over_something_else_has_no_steps() -> None:
    """A white triangle from one end of the picture over what comes from the dark other end."""
    side = 40
    person = np.full((side, side, 4), 255, np.uint8)
    person[:, :20, :3], person[:, 20:, :3] = 0, 240
    far = np.array([[-1.0, -1], [41, -1], [41, 41], [-1, 41]])  # all of the target shows the dark half ...
    near = np.array([[5.3, 35.2], [34.1, 24.7], [20.2, 4.4]])  # ... and this the bright one
    points = np.vstack([far, near])
    source = np.vstack([[[2.0, 2], [12, 2], [12, 30], [2, 30]], [[25.0, 5], [35, 5], [30, 30]]])
    tris = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6]])
    affine, area = np.zeros((3, 6)), np.zeros(3)
    affines(points, source, tris, affine, area)
    order = np.arange(3)
    ids = np.full((side, side), -1, np.int16)
    cover(points, tris, order, area, 0.0, 0.0, 1.0, ids, 0, 0, side, side)
    plain = np.where(ids[..., None] == 2, 240, 0).repeat(3, -1).astype(np.uint8)
    out, nothing = plain.copy(), np.zeros((side, side), np.uint8)
    look = np.empty((side, 2), np.int64)
    across = beside(tris, 0)
    assert across.tolist() == [[-1, -1, 1], [0, -1, -1], [-1, -1, -1]]
    across[2] = -2  # a part with an end of its own
    doubtful(points, tris, across, affine, np.zeros(2), look)
    assert look[3].tolist() == [3, 37] and look[0].tolist() == [1 << 30, -1]  # about the second alone
    many = finer(points, tris, order, affine, look, ids, np.zeros(2), np.array([0, 0, side, side]),
                 person, person[..., :3].copy(), person[..., :3].copy(), nothing, nothing, nothing[:10, :10],
                 nothing.copy(), np.empty_like(look), np.empty(9, np.int64), out)  # fmt: skip
    fine = 16  # the truth: how much of each pixel the triangle covers
    y, x = (np.mgrid[: side * fine, : side * fine] + 0.5) / fine - 0.5
    a, b, c = near
    inside = np.ones(x.shape, bool)
    for p, q in ((a, b), (b, c), (c, a)):
        inside &= (q[0] - p[0]) * (y - p[1]) - (q[1] - p[1]) * (x - p[0]) <= 0
    truth = 240 * inside.reshape(side, fine, side, fine).mean((1, 3))
    assert 60 < many < 300
    assert np.abs(out[..., 0] - truth).max() < 0.25 * 240
    assert np.abs(out[..., 0] - truth).mean() < 0.3 * np.abs(plain[..., 0] - truth).mean()


def test_a_forehead_goes_on_without_a_crease() -> None:
    face, pose = top.mean_face(), Pose(100.0, np.eye(3), np.array([300.0, 300, 0]))
    oval = pose.to_image(face)[top.OVAL][:, :2]
    up = np.linspace(0.02, 1.0, 50)
    highest = oval[oval[:, 1].argmin()]
    places = highest - np.stack([0 * up, 100 * up], -1)
    depth = Surroundings(face, pose, places, up, oval, SurroundingsShape()).canonical[:, 2]
    slope = np.diff(depth) / np.diff(up)
    assert (slope > 0).all() and depth[-1] > -0.35  # back to the middle of the head ...
    assert slope[0] < 0.6  # ... as flat at first as the forehead is
