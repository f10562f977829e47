"""The mesh engine: retargeting, warping, layers, eyes and mouth."""

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infinex.drivers.contract import Shot
from infinex.engine import Drive, Shown, Source
from infinex.face import topology as top
from infinex.face.portrait import EYES, SourceFace
from infinex.face.pose import to_matrix
from infinex.face.shape import eye_openness, lip_gaps
from infinex.face.tracker import Face
from infinex.face.units import basis
from infinex.mesh.engine import MeshEngine, MeshOptions, PreparedFace
from infinex.mesh.expression import restrained
from infinex.mesh.mouth import Mouth, MouthTone
from infinex.mesh.retarget import GLANCES, HOLLOW, HOLLOW_LEFT, SLENDER, Retarget, Target
from infinex.motion import Move, Rest
from infinex.pipeline import load_source
from infinex.stage import Stage


def unit(**amounts: float) -> np.ndarray:
    b = basis()
    return b.offsets(np.array([amounts.get(n, 0.0) for n in b.names]))


def move(
    offsets: np.ndarray | None = None, turn: tuple[float, ...] = (0, 0, 0), gaze: tuple[float, ...] = (0, 0)
) -> Move:
    return Move(0.0, np.array(turn, float), np.zeros(3), 1.0, np.zeros((478, 3)) if offsets is None else offsets,
                np.array(gaze, float))  # fmt: skip


@pytest.fixture(scope="module")
def hopper(portrait: Path) -> Source:
    return load_source(portrait)[0]


@pytest.fixture(scope="module")
def prepared(hopper: Source) -> PreparedFace:
    face = PreparedFace(hopper, MeshOptions())
    face.begin(Rest.neutral(), None, None)
    return face


def draw(face: PreparedFace, m: Move) -> np.ndarray:
    canvas = face.source.image.copy()
    face.draw(canvas, Drive(m))
    return canvas


def test_no_motion_reproduces_the_source_exactly(prepared: PreparedFace) -> None:
    assert np.array_equal(draw(prepared, move()), prepared.source.image)


def test_what_was_drawn_goes_as_soon_as_it_is_let_go(prepared: PreparedFace) -> None:
    """Its maps are as large as the picture, and there is one a frame: none may wait for the search for garbage."""
    gc.disable()
    try:
        shown = prepared.draw(prepared.source.image.copy(), Drive(move(turn=(0, 0.1, 0))))
        assert shown.occlusion is not None
        seen = weakref.ref(shown)
        del shown
        assert seen() is None
    finally:
        gc.enable()


def test_a_shot_that_is_expected_begins_once(hopper: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[object] = []
    stage = Stage([hopper], MeshEngine())
    monkeypatch.setattr(stage.faces[0], "begin", lambda rest, *_: begun.append(rest))
    monkeypatch.setattr(stage.faces[0], "draw", lambda *_: Shown())
    one, other = Shot(Rest.neutral()), Shot(Rest.neutral())
    stage.expect(one)
    for shot in (one, None, other, one):
        stage.render(Drive(move(), begins=shot))
    assert [r is one.rest for r in begun] == [True, False, True]
    stage.expect(one)
    stage.render(Drive(move(), begins=other))
    assert [r is one.rest for r in begun[3:]] == [True, False]


def test_a_hair_of_motion_changes_a_hair(prepared: PreparedFace) -> None:
    slight = draw(prepared, move(unit(AU12=0.01), turn=(0, 0.001, 0)))
    assert np.abs(slight.astype(int) - prepared.source.image).mean() < 1.0


def test_nothing_changes_outside_the_box(prepared: PreparedFace) -> None:
    x0, y0, x1, y1 = prepared.box
    image = draw(prepared, move(unit(AU26=1.0, AU25=1.0), turn=(0.1, 0.3, 0.1)))
    outside = np.ones(image.shape[:2], bool)
    outside[y0:y1, x0:x1] = False
    assert np.array_equal(image[outside], prepared.source.image[outside])


def test_somebody_beside_a_head_stays(prepared: PreparedFace) -> None:
    other = prepared.face.points + np.array([1.1 * np.ptp(prepared.face.points[:468, 0]), 0, 0])
    flat = MeshOptions(layers="flat")
    alone = PreparedFace(prepared.source, flat)
    beside = PreparedFace(replace(prepared.source, others=(Face(other),)), flat)
    changes = []
    for one in (alone, beside):
        one.begin(Rest.neutral(), None, None)
        source, points, _ = one.warp.vertices(one.target(move(turn=(0, 0, 0.3))))
        near = np.linalg.norm(source - other[:468, :2].mean(0), axis=1) < 0.4 * one.face.pose.scale
        changes.append(np.abs(points - source)[near].max(initial=0.0) / one.face.pose.scale)
    assert changes[0] > 0.1 > 0.02 > changes[1]


def test_shoulders_go_with_a_neck_that_would_be_drawn_out(prepared: PreparedFace) -> None:
    warp, unit = prepared.warp, prepared.face.pose.scale
    aside = prepared.target(replace(move(), translation=np.array([0.5, 0.0, 0.0]), outline=np.zeros((2, 2, 3))))
    source, points, _ = warp.vertices(aside)
    way = (points - source)[top.POINTS :, 0] / unit
    head = float((aside.pose.translation - prepared.face.pose.translation)[0]) / unit
    body = (warp._around.body > 0.95) & (warp._sides > 0.95) & (warp._held > 0.95)  # below that it stays
    assert body.any() and head > 0.35
    assert way[body].mean() > head - 0.25


def test_hair_on_the_far_side_of_a_head_that_turns_stays_outside_of_its_forehead(
    prepared: PreparedFace, monkeypatch: pytest.MonkeyPatch
) -> None:
    warp = prepared.warp

    def away(degrees: float) -> np.ndarray:
        """How far outside of the outline grid points are, IOD."""
        target = prepared.target(move(turn=(0, np.radians(degrees), 0)))
        _, points, _ = warp.vertices(target)
        return warp._away(points[top.POINTS :], points[top.OVAL])[0] / target.pose.scale

    kept = warp._stays / prepared.face.pose.scale
    near = (kept > 0.05) & (away(0.01) < 0.5)
    turned = np.stack([away(-24.0), away(24.0)])
    assert near.sum() > 5 and (turned[:, near] > kept[near] - 1e-3).all()
    monkeypatch.setattr(warp, "_stays", np.zeros_like(kept))
    without = np.stack([away(-24.0), away(24.0)])
    assert (without[:, near] < kept[near] - 0.01).any()  # it would have gone behind the face
    assert (turned >= without - 1e-9).all()


def test_no_chin_sinks_onto_the_chest(prepared: PreparedFace) -> None:
    low = prepared.target(replace(move(), translation=np.array([0.0, 0.8, 0.0])))
    sunk = float((low.pose.translation - prepared.face.pose.translation)[1]) / prepared.face.pose.scale
    assert 0.2 < sunk < 0.36


@pytest.mark.parametrize(("axis", "degrees"), [(1, 20), (1, -20), (0, 15), (0, -15), (2, 25), (2, -25)])
def test_turned_heads_do_not_fold(prepared: PreparedFace, axis: int, degrees: float) -> None:
    vector = np.zeros(3)
    vector[axis] = np.radians(degrees)
    target = prepared.target(move(turn=tuple(vector)))
    flow = prepared.warp.flow(target)
    face = flow.area[prepared.warp.surface]
    assert -face[face < 0].sum() < 0.05 * np.abs(face).sum()  # only what turns away at the rim
    asked = abs(degrees) - (2.0, 1.0, 1e-6)[axis]
    assert np.degrees(target.turn) > asked
    assert (flow.ids >= 0).all()  # no hole


@pytest.mark.parametrize("name", list(basis().names))
def test_no_unit_folds_the_face(prepared: PreparedFace, name: str) -> None:
    flow = prepared.warp.flow(prepared.target(move(unit(**{name: 1.0}))))
    p = prepared.face.points[top.triangles()][:, :, :2]
    u, v = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
    seen = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0] > 1.0  # the nose hides some of its own
    area = flow.area[prepared.warp.surface][seen]
    assert -area[area < 0].sum() < 0.001 * area.sum()  # slivers of thin lips, smaller than a pixel


def test_lips_meet_when_the_performers_do_whatever_the_proportions() -> None:
    rng = np.random.default_rng(0)
    shape = top.mean_face() * [1.1, 0.9, 1.0]
    shape[top.LIPS_OUTER, 1] += 0.01
    source = SourceFace(shape * 100 + rng.normal(0, 0.05, shape.shape) + [200, 200, 0])
    talking = top.mean_face() + unit(AU25=0.6, AU26=0.3)
    rest = Rest(top.mean_face(), lips_closed=lip_gaps(top.mean_face()) + 0.002)
    retarget = Retarget(source, rest)
    shut = retarget(move(unit(AU12=0.3)))
    wide = retarget(move(talking - top.mean_face()))
    assert np.abs(lip_gaps(shut.face)).max() < 0.0121  # they overlap by that at most
    assert lip_gaps(wide.face)[4] > 0.08


def test_a_tall_opening_is_round_and_a_wide_one_keeps_its_corners() -> None:
    source = SourceFace(top.mean_face() * 100 + [200, 200, 0])
    retarget = Retarget(source, Rest.neutral())
    filled = []
    for units in ({"AU27": 1.0, "AU18": 1.0}, {"AU25": 0.6, "AU12": 1.0}):
        face = retarget(move(unit(**units))).face
        ring = face[top.LIPS_INNER, :2]
        x, y = ring[:, 0], ring[:, 1]
        area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        filled.append((area / (np.ptp(x) * np.ptp(y)), np.ptp(y) / np.ptp(x)))
    (round_, tall), (flat, _) = filled
    assert tall > 0.65 and round_ > 0.72 and flat < 0.7  # an ellipse fills 0.785 of its box


@pytest.mark.parametrize("side", [-1, 1])
def test_the_edges_of_a_filmed_face_that_turns_keep_their_shape(side: int) -> None:
    source = SourceFace(top.mean_face() * 100 + [200, 200, 0])
    mean = top.mean_face()
    jaw = 132 if side < 0 else 361
    offsets = np.zeros((top.POINTS, 3))
    offsets[:, 0] = 0.1 * side * np.exp(-((np.linalg.norm(mean - mean[jaw], axis=1) / 0.25) ** 2))
    retarget = Retarget(source, Rest(mean, lids_open=eye_openness(mean)))
    for turn in (-0.35, 0.35):
        still, turned = (replace(move(turn=(0, angle, 0)), offsets=offsets) for angle in (0.0, turn))
        assert abs(retarget(still).face[jaw, 0] - source.face[jaw, 0]) > 0.05
        for point in (132, 361):
            assert abs(retarget(turned).face[point, 0] - source.face[point, 0]) < 0.03
    speaking = replace(move(turn=(0, 0.35, 0)), offsets=unit(AU26=1.0))
    assert retarget(speaking).face[152, 1] > source.face[152, 1] + 0.1  # the chin still drops


def test_lids_close_when_the_performers_do() -> None:
    source = SourceFace(top.mean_face() * [1.0, 1.1, 1.0] * 90 + [150, 150, 0])
    target = Retarget(source, Rest.neutral())(move(unit(AU45=1.0)))
    gaps = [np.linalg.norm(target.face[u] - target.face[lo]) for u, lo in ((159, 145), (386, 374))]
    assert max(gaps) < 0.03


def strangers(offsets: np.ndarray, gaze: tuple[float, ...] = (0, 0), alike: bool = False) -> tuple[Retarget, Target]:
    """The mean face driven by somebody who was filmed, and what follows it."""
    mean = top.mean_face()
    follows = Retarget(SourceFace(mean * 200), Rest(mean, lids_open=eye_openness(mean)))
    follows.alike = alike
    return follows, follows(move(offsets, gaze=gaze))


def test_a_lip_does_not_roll_over_the_hollow_above_the_chin(monkeypatch: pytest.MonkeyPatch) -> None:
    mean = top.mean_face()
    outer = [181, 84, 17, 314, 405]
    offsets = unit(AU25=0.5, AU26=0.5)
    offsets[outer, 1] += 1.1 * (mean[HOLLOW, 1] - mean[outer, 1])
    left = []
    for share in (HOLLOW_LEFT, 0.0):
        monkeypatch.setattr("infinex.mesh.retarget.HOLLOW_LEFT", share)
        face = strangers(offsets)[1].face
        left.append((face[HOLLOW, 1] - face[outer, 1]) / (mean[HOLLOW, 1] - mean[outer, 1]))
        assert (face[17, 1] - face[14, 1]) > 0.95 * (mean[17, 1] - mean[14, 1])  # and stays a lip
    assert left[0].min() > left[1].min() + 0.05


def test_wide_eyes_stay_wide_in_a_smile() -> None:
    mean, offsets = top.mean_face(), unit(AU12=1.0, AU6=0.3)
    wide = mean.copy()
    for upper, lower in EYES:
        wide[upper[1:-1], 1] -= 0.6 * (mean[lower[1:-1], 1].mean() - mean[upper[1:-1], 1].mean())
    openings = [
        Retarget(SourceFace(mean * 200), Rest(f, lids_open=eye_openness(f)))(move(offsets)).openness
        for f in (mean, wide)
    ]
    assert openings[0].max() < 0.8 and openings[1].min() > 0.9


def test_eyes_laugh_with_a_mouth_that_does_and_not_with_one_that_opens() -> None:
    smile, jaw = unit(AU12=1.0, AU6=0.3), unit(AU26=0.6, AU25=0.6)
    laughing, alike, open_ = strangers(smile)[1], strangers(smile, alike=True)[1], strangers(jaw)[1]
    assert laughing.openness.mean() < min(alike.openness.mean(), open_.openness.mean()) - 0.1
    assert open_.openness == pytest.approx(1.0, abs=0.05)


def test_brows_of_a_laughing_face_hardly_go_down() -> None:
    frown = unit(AU4=1.0)
    held, free = (restrained(frown, 1.0, joy)[[105, 334], 1].mean() for joy in (1.0, 0.0))
    assert 0 < held < 0.5 * free


def test_a_strangers_glance_goes_farther_than_it_was_tracked() -> None:
    far, own = (strangers(np.zeros((478, 3)), (0.3, 0.0), alike)[1].gaze[0] for alike in (False, True))
    assert own == pytest.approx(0.3) and far == pytest.approx(GLANCES * own)


def test_an_opening_is_hardly_more_slender_than_the_performers() -> None:
    """A wide portrait says "oh" with a rounder mouth than it has."""
    wide = top.mean_face().copy()
    lips = [*top.LIPS_OUTER, *top.LIPS_INNER]
    wide[lips, 0] *= 1.25
    performer = Rest(top.mean_face(), lids_open=eye_openness(top.mean_face()))
    oh = move(unit(AU25=0.8, AU26=0.8, AU18=0.7))
    mouths = []
    for share in (0.0, SLENDER[0]):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("infinex.mesh.retarget.SLENDER", (share, SLENDER[1]))
            face = Retarget(SourceFace(wide * 200), performer)(oh).face
        mouths.append(abs(face[78, 0] - face[308, 0]) / lip_gaps(face).max())
    assert mouths[1] < 0.95 * mouths[0]


def test_absolute_motion_of_the_same_face_is_exact() -> None:
    mean = top.mean_face()
    source = SourceFace(mean * 80 + [128, 128, 0])
    offsets = unit(AU26=0.5, AU12=0.3, AU45=0.4)
    rest = Rest(source.face, rotation=np.array([0, 0.02, 0.0]))
    m = Move(0.0, np.array([0, 0.22, 0.0]), np.array([0.1, 0, 0]), 1.05, offsets, np.zeros(2))
    target = Retarget(source, rest, absolute=True)(m)
    assert np.abs((target.face - source.face - offsets)[:468, :2]).mean() < 0.004
    assert np.allclose(target.pose.rotation, to_matrix(np.array([0, 0.2, 0.0])) @ source.pose.rotation, atol=1e-6)
    assert np.isclose(target.pose.scale / source.pose.scale, 1.05)
    elsewhere = Retarget(source, Rest(source.face, rotation=np.array([0, -0.3, 0.0])), absolute=True)(m)
    assert np.allclose(elsewhere.pose.rotation, to_matrix(m.rotation))  # the performer's own pose


def test_gaze_moves_the_iris_and_nothing_else(prepared: PreparedFace) -> None:
    image = draw(prepared, move(gaze=(0.35, 0)))
    changed = np.abs(image.astype(int) - prepared.source.image).max(-1) > 8
    p = prepared.face.points
    eyes = np.zeros_like(changed)
    for ring in (top.RIGHT_EYE, top.LEFT_EYE):
        pad = 0.2 * prepared.face.pose.scale  # lids are touched up together with the eye
        x0, y0 = np.floor(p[ring, :2].min(0) - pad).astype(int)
        x1, y1 = np.ceil(p[ring, :2].max(0) + pad).astype(int)
        eyes[y0:y1, x0:x1] = True
    assert changed[eyes].any() and not changed[~eyes].any()


def darkness(image: np.ndarray, face: PreparedFace, ids: list[int]) -> float:
    p = np.round(face.face.points[ids, :2]).astype(int)
    return float(image[p[:, 1], p[:, 0]].mean())


def test_an_open_mouth_shows_an_inside(prepared: PreparedFace) -> None:
    target = prepared.target(move(unit(AU26=1.0, AU25=0.5)))
    image = draw(prepared, move(unit(AU26=1.0, AU25=0.5)))
    inner = np.round(target.points[top.LIPS_INNER, :2]).astype(int)
    x, y = int(inner[:, 0].mean()), inner[:, 1]
    column = image[y.min() + 2 : y.max() - 1, x].mean(-1)
    skin = prepared.source.image[inner[:, 1].min() - 30, x].mean()
    assert column.min() < 0.45 * skin and column.max() > 0.6 * skin  # a cavity, and teeth


def test_upper_teeth_stay_with_the_skull_and_lower_ones_go_with_the_jaw(hopper: Source) -> None:
    face = SourceFace(hopper.face.landmarks)
    mouth = Mouth(face, MouthTone.measure(hopper.image, face.points))
    retarget = Retarget(face, Rest.neutral())
    shut, wide = (retarget(move(unit(AU26=a, AU25=0.4))) for a in (0.5, 1.0))
    assert wide.face[152, 1] - shut.face[152, 1] > 0.03
    box = (0, 0, 160, 200)
    origin = tuple(int(v) for v in face.points[[13, 14], :2].mean(0) - [80, 70])
    layers = [mouth._render(t, t.points[:, :2] - np.array(origin), box, origin, 160, 200) for t in (shut, wide)]
    bright = [layer.mean(-1)[:, 70:90].mean(1) for layer in layers]
    upper = [60 + int(np.argmin(np.diff(b[60:76]))) for b in bright]  # bright teeth to dark below
    lower = [76 + int(np.argmax(b[76:])) for b in bright]
    assert abs(upper[0] - upper[1]) <= 2
    assert lower[1] - lower[0] > 3


def test_the_mouth_takes_the_pictures_tone(hopper: Source) -> None:
    points = hopper.face.landmarks
    grey = np.repeat(hopper.image.mean(-1, keepdims=True).astype(np.uint8), 3, axis=2)
    dark = (hopper.image * 0.4).astype(np.uint8)
    tones = [MouthTone.measure(i, points) for i in (hopper.image, grey, dark)]
    mouths = [Mouth(SourceFace(points), t) for t in tones]
    assert np.hypot(*mouths[1]._flesh[1:]) < 2 < np.hypot(*mouths[0]._flesh[1:])
    assert mouths[2]._tooth[0] < 0.75 * mouths[0]._tooth[0]


def test_closed_lips_show_no_inside(hopper: Source) -> None:
    face = SourceFace(hopper.face.landmarks)
    mouth = Mouth(face, MouthTone.measure(hopper.image, face.points))
    canvas = hopper.image.copy()
    mouth.draw(canvas, (0, 0), Retarget(face, Rest.neutral())(move(turn=(0, 0.1, 0))))
    assert np.array_equal(canvas, hopper.image)


def test_a_performer_lends_mouth_and_wrinkles(hopper: Source) -> None:
    """Driven by its own warped picture, the portrait takes what that picture shows."""
    model = PreparedFace(hopper, MeshOptions("own", "none"))
    model.begin(Rest.neutral(), None, None)
    m = move(unit(AU26=0.8, AU25=0.5))
    performer = draw(model, m)
    points = model.target(m).points
    face = PreparedFace(hopper, MeshOptions("driver"))
    face.begin(Rest.neutral(), hopper.image, hopper.face.landmarks)
    canvas = hopper.image.copy()
    face.draw(canvas, Drive(m, performer, points))
    own = PreparedFace(hopper, MeshOptions("own", "none"))
    own.begin(Rest.neutral(), hopper.image, hopper.face.landmarks)
    leak_free = hopper.image.copy()
    own.draw(leak_free, Drive(m, performer, points))
    assert np.array_equal(leak_free, performer)  # no pixel of the performer enters
    assert not np.array_equal(canvas, leak_free)
    assert np.abs(canvas.astype(int) - performer).mean() < 3


@pytest.mark.parametrize("same", [True, False])
def test_the_mouth_is_the_performers_where_both_are_one_person(
    hopper: Source, same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def identity(image: np.ndarray, points: np.ndarray) -> np.ndarray:
        seen.append(image)
        return np.full(128, 0.0 if same or image is hopper.image else 0.1)

    monkeypatch.setattr("infinex.face.identity.identity", identity)
    model = PreparedFace(hopper, MeshOptions("own", "none", refine=False))
    model.begin(Rest.neutral(), None, None)
    m = move(unit(AU26=0.8, AU25=0.5))
    performer = 255 - draw(model, m)
    points = model.target(m).points
    shown = {}
    for mouth in ("auto", "own", "driver"):
        face = PreparedFace(hopper, MeshOptions(mouth, "none", refine=False))  # type: ignore[arg-type]
        face.begin(Rest.neutral(), performer, points)
        shown[mouth] = hopper.image.copy()
        face.draw(shown[mouth], Drive(m, performer, points))
    assert len(seen) == 2  # only where it is asked
    assert np.array_equal(shown["auto"], shown["driver" if same else "own"])
    assert not np.array_equal(shown["own"], shown["driver"])


def test_a_portrait_is_at_rest_without_its_own_expression(hopper: Source) -> None:
    model = PreparedFace(hopper, MeshOptions("own", "none", refine=False))
    model.begin(Rest.neutral(), None, None)
    m = move(unit(AU12=0.9, AU25=0.5))
    smiling = Source(draw(model, m), Face(model.target(m).points))
    wide, still = SourceFace(smiling.face.landmarks), move()
    face = PreparedFace(smiling, MeshOptions("own", "none", refine=False, neutral=True))
    face.begin(Rest.neutral(), None, None)
    rest = face.target(still)
    assert wide.gaps[4] > 0.02 and rest.gap[4] < 0.005
    across = [float(np.linalg.norm(f[61] - f[291])) for f in (model.face.face, rest.face, wide.face)]
    assert across[1] < across[0] + 0.6 * (across[2] - across[0])
    assert np.abs(draw(face, still).astype(int) - smiling.image).max() > 30


def test_faces_at_the_rim_of_the_picture(hopper: Source) -> None:
    x0, y0, x1, y1 = (int(v) for v in hopper.face.box)
    image = np.ascontiguousarray(hopper.image[y0 - 5 : y1 + 5, x0 - 5 : x1 + 5])
    face = PreparedFace(Source(image, Face(hopper.face.landmarks - [x0 - 5, y0 - 5, 0])), MeshOptions())
    face.begin(Rest.neutral(), None, None)
    out = draw(face, move(unit(AU26=1.0), turn=(0.1, 0.3, 0.2)))
    assert out.shape == image.shape and np.abs(out.astype(int) - image).mean() > 1


def test_parted_lips_part_little_further_and_meet_when_pressed() -> None:
    shape = top.mean_face().copy()
    shape[top.LIPS_INNER_LOWER[1:-1], 1] += 0.07
    smiling = Retarget(SourceFace(shape * 100 + [200, 200, 0]), Rest.neutral())
    own = lip_gaps(shape)[4]
    more, much, pressed = (
        lip_gaps(smiling(move(unit(**u))).face)[4] for u in ({"AU25": 0.5}, {"AU27": 1.0}, {"AU24": 1.0})
    )
    assert own < more < own + 0.02 and much > own + 0.15
    assert pressed < 0.25 * own
