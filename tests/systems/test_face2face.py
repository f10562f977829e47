"""Face2Face: expressions carried to another face, mouths found in its own frames, and the engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from people import SIDE, person, picture
from test_every_engine import STILL

from infinex.drivers.contract import Drive
from infinex.engine import Setting, Source, load_engine
from infinex.errors import InputError
from infinex.face.morphable.transfer import Transfer
from infinex.face.tracker import Face
from infinex.mesh.album import cut_out
from infinex.motion import Rest
from infinex.options import Options
from infinex.systems.face2face.engine import RIDGE, Face2FaceEngine, carry
from infinex.systems.face2face.target import OPEN, Target, gap, learned

FRAMES = 10


@pytest.fixture(scope="module")
def target() -> Target:
    """Somebody of whom ten frames were seen."""
    found = person(FRAMES)
    points = found.points.astype(np.float64)
    return Target(found, {t: cut_out(picture(found, t), points[t]) for t in range(FRAMES)})


@pytest.fixture
def engine(target: Target, monkeypatch: pytest.MonkeyPatch) -> Face2FaceEngine:
    monkeypatch.setattr("infinex.systems.face2face.engine.check_same_person", lambda *_: None)
    return Face2FaceEngine(target, Path("clip.mp4"))


def source(t: int) -> Source:
    found = person(FRAMES)
    return Source(picture(found, t), Face(found.points[t].astype(np.float64)))


def test_the_mouth_that_is_like_it_is_found(target: Target) -> None:
    found = target.person
    jaw = found.face.names.index("jawOpen")
    for t in (3, 4):
        target.mouths.forget()
        wanted = gap(found.points[t])
        assert wanted > OPEN
        view = target.mouths(found.states[t], found.points[t].astype(np.float64), wanted)
        assert view is not None
        chosen = min(range(FRAMES), key=lambda i: float(np.abs(target.views[i].points - view.points).max()))
        assert abs(found.states[chosen].expression[jaw] - found.states[t].expression[jaw]) < 0.25
    assert target.mouths(found.states[0], found.points[0].astype(np.float64), 0.0) is None


def test_expressions_are_carried_over(target: Target, engine: Face2FaceEngine) -> None:
    found, s = target.person, source(0)
    engine.begin(Rest.neutral(), s.image, s.face.landmarks, source(1))
    assert engine._performer is not None
    matrix = carry(engine._performer, target)
    # On a face of like proportions, the same muscles do it.
    jaw = found.face.names.index("jawOpen")
    assert matrix.shape == (55, 55) and matrix[jaw].argmax() == jaw and 0.6 < matrix[jaw, jaw] < 1.5
    # One product does what solving for every frame would.
    performer = engine._performer.face
    assert performer is not None
    some = np.random.default_rng(0).random(55) * 0.4
    transfer = Transfer(
        performer.mean, found.face.shape(found.who.identity, np.zeros(0)), found.face.expression.astype(np.float64),
        found.face.triangles, RIDGE,
    )  # fmt: skip
    solved = transfer(performer.mean + np.tensordot(some, performer.expression, 1)) - transfer(performer.mean)
    assert np.abs(matrix @ some - solved).max() < 1e-6
    wide = source(3)
    onto = np.zeros(55)
    got = engine.wanted(Drive(STILL, wide.image, wide.face.landmarks), onto)
    assert got[jaw] > 0.4 and got.min() >= 0
    # Out of sight the last one stays; without frames the points tell.
    assert (engine.wanted(Drive(replace(STILL, valid=False)), onto) == got).all()
    engine.begin(Rest.neutral(), None, None, s)
    offsets = np.zeros((478, 3))
    offsets[:468] = 0.7 * found.face.expression[jaw, :468] * np.array([1, -1, -1])
    assert engine.wanted(Drive(replace(STILL, offsets=offsets)), onto)[jaw] > 0.4


def test_of_the_person_expressions_count_as_they_are(target: Target, engine: Face2FaceEngine) -> None:
    wide, s = source(3), source(2)
    engine.begin(Rest.neutral(), wide.image, wide.face.landmarks, wide)
    jaw = target.names.index("jawOpen")
    got = engine.wanted(Drive(STILL, wide.image, wide.face.landmarks), np.zeros(55))
    assert abs(got[jaw] - target.person.states[3].expression[jaw]) < 0.25 and got[jaw] > 0.6
    assert (engine.wanted(Drive(replace(STILL, valid=False)), s.image[0, 0, 0] * np.ones(55)) == got).all()


def test_the_film_keeps_its_head_and_shows_the_performers_mouth(target: Target, engine: Face2FaceEngine) -> None:
    s, performer = source(0), [source(t) for t in (0, 3)]
    face = engine.prepare(s, Setting(film=True))
    rest = Rest.neutral()
    face.begin(rest, performer[0].image, performer[0].face.landmarks)
    x0, y0, x1, y1 = face.box
    canvas = s.image.copy()
    shown = face.draw(canvas, Drive(STILL, performer[1].image, performer[1].face.landmarks))
    assert shown.points is not None and gap(shown.points) > gap(s.face.landmarks) + 0.05
    assert np.linalg.norm(shown.points[[10, 33, 263], :2] - s.face.landmarks[[10, 33, 263], :2], axis=1).max() < 1.5
    outside = np.ones((SIDE, SIDE), bool)
    outside[y0:y1, x0:x1] = False
    assert (canvas[outside] == s.image[outside]).all() and (canvas != s.image).any()
    # Its own state is known: it is one of the frames that were fitted.
    assert face.state is target.person.states[0]
    # A frame later the performance goes on.
    performer_before = engine._performer
    face = engine.prepare(source(1), Setting(film=True))
    face.begin(rest, performer[0].image, performer[0].face.landmarks)
    assert engine._performer is performer_before


def test_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs more than one picture of the person"):
        load_engine("face2face", Options(engine="face2face"))
    with pytest.raises(InputError, match="no such folder or clip"):
        load_engine("face2face", Options(engine="face2face", album=str(tmp_path / "none")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no face found in"):
        learned(tmp_path / "empty")
    with pytest.raises(InputError, match="has none, it learns from"):
        load_engine("face2face", Options(engine="face2face", album=str(tmp_path)), "some.safetensors")
