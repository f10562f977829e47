"""What landmarks miss of a filmed expression is put back; what was written is left alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from infinex.drivers.contract import Drive
from infinex.engine import Source
from infinex.face import topology as top
from infinex.face.portrait import SourceFace
from infinex.face.pose import Pose
from infinex.face.shape import lip_gaps
from infinex.face.tracker import FaceFinder
from infinex.face.units import FACE_UNITS, field_of, units_offsets
from infinex.media.image import read_image
from infinex.mesh.engine import MeshOptions, PreparedFace
from infinex.mesh.expression import BORNE, BROWS, CHEEKS, RISE, WIDTH, borne, fuller, read, restrained
from infinex.mesh.furrows import FILMED, of_performer
from infinex.mesh.lids import CREASES
from infinex.mesh.saturate import Saturation, parted, smiled
from infinex.motion import Move, Rest

NONE = np.zeros((top.POINTS, 3))


def units(**amounts: float) -> np.ndarray:
    """A row of intensities."""
    return np.array([amounts.get(n, 0.0) for n in FACE_UNITS])


def test_one_brow_alone_is_held_at_the_same_height() -> None:
    one = np.zeros((478, 3))
    one[[*top.RIGHT_BROW, 9, 107, 66, 105], 1] = -0.2
    held = restrained(one)
    assert -held[top.RIGHT_BROW, 1].mean() < 1.05 * RISE[1]
    np.testing.assert_array_equal(held[top.LEFT_BROW], one[top.LEFT_BROW])


def test_rest_stays_rest_and_no_unit_is_read_in_it() -> None:
    """Nothing moved, nothing added."""
    assert not fuller(NONE, units(AU12=1, AU6=0) * 0).any()
    assert not read(NONE).any()


def test_brows_and_corners_go_farther_and_other_points_as_before() -> None:
    """Gains where they are meant, one elsewhere, and never at the eyes."""
    moved = NONE.copy()
    moved[: top.SURFACE] = [0.02, -0.03, 0.01]
    out = fuller(moved, units())
    assert out[[105, 334], 1] == pytest.approx(-0.03 * BROWS, rel=0.02)
    assert out[[61, 291], 0] == pytest.approx(0.02 * WIDTH, rel=0.02)
    assert out[[1, 168, 159, 145, 386]] == pytest.approx(moved[[1, 168, 159, 145, 386]], rel=0.02)


def test_cheeks_rise_with_a_smile_by_what_was_not_seen_of_them() -> None:
    """A smile that left the cheeks behind lifts them; one that took them along does not lift them twice."""
    smile = units(AU6=1.0, AU12=1.0)
    lifted = fuller(NONE, smile)
    assert lifted[CHEEKS, 1].mean() < -0.06
    assert lifted[[int(top.mirror()[i]) for i in CHEEKS], 1] == pytest.approx(lifted[CHEEKS, 1], abs=1e-3)
    assert np.abs(lifted[[*top.RIGHT_EYE, *top.LEFT_EYE], 1]).max() < 0.01
    done = NONE.copy()
    done[: top.SURFACE, 1] = -0.2
    assert fuller(done, smile)[CHEEKS, 1] == pytest.approx(-0.2, abs=0.01)


def test_units_that_were_read_lay_folds_on_the_side_that_moves() -> None:
    """A frown folds both sides though landmarks hardly move; a one-sided smile folds its own side more."""
    frown = of_performer(units(AU4=0.8), NONE).reshape(-1, 2)
    assert frown.max() == pytest.approx(0.8 * FILMED) and (frown.max(1) > 0).sum() == 1
    left = of_performer(units(AU12=1.0), field_of("AU12L")).reshape(-1, 2)
    row = left[left.max(1).argmax()]
    assert row[1] > 3 * row[0]


@pytest.fixture(scope="module")
def face(portrait: Path) -> PreparedFace:
    """A portrait, prepared."""
    image = read_image(portrait)
    with FaceFinder() as finder:
        return PreparedFace(Source(image, finder.find(image)[0]), MeshOptions("own", refine=False))


def test_only_filmed_performances_are_amended(face: PreparedFace) -> None:
    """Where lids were measured somebody was filmed; moves of units are exact as they are."""
    offsets = units_offsets({"AU2": 0.6})
    rest = Rest(top.mean_face())
    move = Move(0.0, rest.rotation, rest.translation, 1.0, offsets, rest.gaze)
    targets = []
    for start in (rest, replace(rest, lids_open=rest.lids[1], lids_closed=rest.lids[0])):
        face.begin(start, None, None)
        canvas = face.source.image.copy()
        targets.append(face.draw(canvas, Drive(move)).target)
    written, filmed = targets
    brow = top.RIGHT_BROW
    assert filmed.face[brow, 1].mean() < written.face[brow, 1].mean() - 0.002


def test_frames_of_a_film_take_a_smile_alike(face: PreparedFace) -> None:
    """What is read of a film's frames jumps from one to the next, so that it must not change what they are asked."""
    rest = Rest(top.mean_face(), lids_open=np.full(2, 0.3))
    smile = units_offsets({"AU12": 1.0})
    move = Move(0.0, rest.rotation, rest.translation, 1.0, smile, rest.gaze)
    widths = []
    for one in (face, PreparedFace(face.source, face.options, film=True)):
        one.begin(rest, None, None)
        widths.append(float(np.ptp(one.target(move).face[[61, 291], 0])))
    still, filmed = widths
    assert filmed > still + 0.005  # this portrait smiles a little


def test_a_smile_on_a_smile_ends_where_one_does() -> None:
    """A portrait that smiles takes the beginning of a smile as it is, little of its end, and a frown wholly; one that
    does not, or whose performer smiled as much at rest, takes everything."""
    mean = top.mean_face()
    smiling = mean + units_offsets({"AU12": 0.9, "AU6": 0.6})
    corner = [61, 291]

    def spread(offsets: np.ndarray) -> float:
        return float(np.ptp(offsets[corner, 0]) + np.abs(offsets[corner, 1]).mean())

    more = Saturation(smiling, mean)
    assert more.worn.get("AU12", 0) > 0.4
    full, faint = units_offsets({"AU12": 1.0}), units_offsets({"AU12": 0.05})
    assert spread(more(full)) < 0.7 * spread(full)
    assert spread(more(faint)) > 0.85 * spread(faint)
    assert spread(more(full)) > spread(more(0.6 * full)) > spread(more(0.3 * full))
    np.testing.assert_array_equal(more(-full)[corner], -full[corner])
    np.testing.assert_array_equal(Saturation(mean, mean)(full), full)
    np.testing.assert_array_equal(Saturation(smiling, smiling)(full), full)
    # Lips stay in one piece: what holds the corners back takes the lower lip's middle along.
    bent = [np.diff(f[top.LIPS_OUTER_LOWER, 1], 2) for f in (mean + full, mean + more(full))]
    assert np.abs(bent[1]).max() < 1.2 * np.abs(bent[0]).max()


def test_lips_part_as_far_as_the_performers_however_much_of_a_smile_is_held_back() -> None:
    """An upper lip that a portrait raises already is not drawn down over an open mouth."""
    mean = top.mean_face()
    sneering = mean + units_offsets({"AU10": 0.9})
    face = SourceFace(Pose(100.0, np.eye(3), np.zeros(3)).to_image(sneering))
    asked = units_offsets({"AU10": 0.8, "AU25": 0.8})
    held = Saturation(sneering, mean)(asked)
    gaps = [lip_gaps(mean + offsets)[4] for offsets in (asked, held, parted(face, mean, asked, held))]
    assert gaps[1] < gaps[0] - 0.01  # held back, they close
    assert gaps[2] == pytest.approx(gaps[0], abs=1e-6)


def test_a_performer_who_smiles_all_the_time_is_taken_to_smile() -> None:
    """Teeth bared at rest in a wide mouth are a smile; lips that are parted, or a wide shut mouth, are none."""
    mean, lips = top.mean_face(), np.full(9, 0.004)
    grin, parts = units_offsets({"AU12": 0.8}), units_offsets({"AU25": 1.0})
    found = smiled(Rest(mean + grin + parts, lips_closed=lips))
    assert found is not None and 0.3 < np.ptp(found[[61, 291], 0]) / np.ptp(grin[[61, 291], 0]) < 1
    assert smiled(Rest(mean + parts, lips_closed=lips)) is None
    assert smiled(Rest(mean + grin, lips_closed=lip_gaps(mean))) is None
    assert smiled(Rest(mean + grin + parts)) is None  # whose lips part from where they are


def test_brows_are_raised_no_farther_than_a_picture_bears() -> None:
    small, large = (a * units_offsets({"AU1": 1.0, "AU2": 1.0}) for a in (0.2, 2.0))
    brows = [*top.RIGHT_BROW, *top.LEFT_BROW]
    np.testing.assert_array_equal(restrained(small), small)
    assert -restrained(large)[brows, 1].mean() < 1.05 * RISE[1] < -large[brows, 1].mean()
    np.testing.assert_array_equal(restrained(large)[[159, 386, 13, 14]], large[[159, 386, 13, 14]])


def test_brows_above_painted_sockets_rise_less() -> None:
    points = top.mean_face() * 300 + [300, 300, 0]
    image = np.full((600, 600, 3), 190, np.uint8)
    assert borne(image, points) == 1
    for crease in CREASES:
        x, y = np.round(points[crease, :2].mean(0)).astype(int).tolist()
        cv2.circle(image, (x, y), 40, (50, 50, 50), -1)
    assert borne(image, points) == BORNE
    large = 2.0 * units_offsets({"AU1": 1.0, "AU2": 1.0})
    brows = [*top.RIGHT_BROW, *top.LEFT_BROW]
    assert restrained(large, BORNE)[brows, 1].mean() > 0.7 * restrained(large)[brows, 1].mean()
