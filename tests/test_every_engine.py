"""The battery that every engine passes, whichever folders there are."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infinex.drivers.contract import Drive
from infinex.drivers.motion import load_motion
from infinex.engine import Engine, Setting, Source, load_engine
from infinex.errors import InfinexError, InputError, MissingDependencyError, WeightsError
from infinex.evaluation.reenact import without_the_driver
from infinex.face.topology import mean_face
from infinex.face.tracker import Face
from infinex.motion import Move, Rest
from infinex.options import Options
from infinex.panel import panel_frame, panel_size
from infinex.spec import with_engines
from infinex.stage import Stage

NAMES = list(with_engines())
STILL = Move(0.0, np.zeros(3), np.zeros(3), 1.0, np.zeros((478, 3)), np.zeros(2))


@pytest.fixture(scope="module", params=NAMES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Each in turn, with the weights that come along; without any, with those its smallest recipe begins with, or
    that its `weights.untrained` writes where they are of several recipes."""
    name = request.param
    system = with_engines()[name].system
    films = system.films and name != "mesh"  # it draws into the film of one person alone
    if system.knows or system.album or films:
        pytest.skip(f"{name} wants a film of one person; its own tests have one")
    try:
        return load_engine(name, Options(engine=name))
    except MissingDependencyError as error:
        pytest.skip(str(error))
    except WeightsError as error:
        assert re.search(r"infinex train \S+ ", str(error)), error
    found, path = with_engines()[name], tmp_path_factory.mktemp(name) / "weights.safetensors"
    weights = found.load("weights", "the test")
    if hasattr(weights, "untrained"):
        weights.untrained(path)
    else:
        recipes = found.load("recipe", "the test")
        recipes.task(recipes.RECIPES[f"{name}-tiny"]).save(path)
    return load_engine(name, Options(engine=name), str(path))


def picture(width: int = 320, height: int = 280, seed: int = 0) -> np.ndarray:
    """Soft noise, in which every pixel tells where it is from."""
    import cv2

    small = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def portrait(width: int = 320, height: int = 280, x: float = 160, size: float = 50) -> Source:
    """A face of average proportions in such a picture."""
    return Source(picture(width, height), Face(mean_face() * size + [x, height / 2, 0]))


def performer() -> tuple[np.ndarray, np.ndarray]:
    """A frame of a driver and the landmarks in it."""
    return picture(240, 200, 1), mean_face() * 38 + [120, 100, 0]


def begun(engine: Engine, source: Source) -> Stage:
    """A stage on which a performance began as a film's does."""
    stage = Stage([source], engine)
    stage.begin(Rest.neutral(), *performer())
    return stage


def moved(index: int = 40) -> Move:
    """An instant of a real performance."""
    return load_motion("surprise").relative().at(index)


def filmed(move: Move) -> Drive:
    """The same with a frame of the performer."""
    image, points = performer()
    return Drive(move, np.roll(image, 3, axis=0), points + np.array([0, 3, 0]))


def test_nothing_outside_its_box_changes(engine: Engine) -> None:
    source = portrait()
    stage = begun(engine, source)
    canvas, _ = stage.render(filmed(moved()))
    x0, y0, x1, y1 = stage.faces[0].box
    assert 0 <= x0 < x1 <= 320 and 0 <= y0 < y1 <= 280
    outside = np.ones(canvas.shape[:2], bool)
    outside[y0:y1, x0:x1] = False
    assert np.array_equal(canvas[outside], source.image[outside])
    assert not np.array_equal(canvas, source.image)


def test_rest_is_the_source_or_the_engine_says_not(engine: Engine) -> None:
    source = portrait()
    stage = begun(engine, source)
    image, points = performer()
    canvas, _ = stage.render(Drive(STILL, image, points))
    if engine.own_rest:
        assert np.array_equal(canvas, source.image)
    else:
        assert np.isfinite(canvas.astype(float)).all()


def test_a_performer_who_is_lost_is_found_again(engine: Engine) -> None:
    stage = begun(engine, portrait())
    first = stage.render(filmed(moved()))[0].copy()
    gone = stage.render(Drive(replace(moved(), valid=False)))[0].copy()
    again = stage.render(filmed(moved()))[0].copy()
    assert gone.shape == first.shape and np.abs(again.astype(int) - first).mean() < 1


def test_drivers_without_frames_move_it(engine: Engine) -> None:
    source = portrait()
    stage = Stage([source], engine)
    stage.begin(Rest.neutral())
    assert not np.array_equal(stage.render(Drive(moved()))[0], source.image)


def test_two_faces_share_a_canvas(engine: Engine) -> None:
    image = picture(560, 280)
    sources = [Source(image, Face(mean_face() * 42 + [x, 140, 0])) for x in (140, 420)]
    stage = Stage(sources, engine)
    stage.begin(Rest.neutral(), *performer())
    canvas, shown = stage.render(filmed(moved()))
    changed = (canvas != image).any(-1)
    assert len(shown) == 2 and changed[:, :240].any() and changed[:, 320:].any()
    stage.render([filmed(STILL), filmed(moved())])  # each its own


def test_a_panel_shows_it(engine: Engine) -> None:
    stage = begun(engine, portrait())
    drive = filmed(moved())
    canvas, shown = stage.render(drive)
    panel = panel_frame(stage, drive, canvas, shown)
    assert panel.shape == (*panel_size(320, 280)[::-1], 3)
    occlusion = shown[0].occlusion
    if occlusion is not None:
        x0, y0, x1, y1 = stage.faces[0].box
        assert occlusion.shape == (y1 - y0, x1 - x0) and occlusion.dtype == np.uint8


@pytest.mark.parametrize("size", [(96, 96, 16), (301, 199, 30), (900, 700, 120)])
def test_pictures_of_any_size(engine: Engine, size: tuple[int, int, int]) -> None:
    width, height, unit = size
    source = portrait(width, height, width / 2, unit)
    stage = begun(engine, source)
    assert stage.render(filmed(moved()))[0].shape == (height, width, 3)


def test_a_face_at_the_border(engine: Engine) -> None:
    stage = begun(engine, portrait(x=20))
    assert stage.render(filmed(moved()))[0].shape == (280, 320, 3)


def test_a_prepared_face_knows_its_own(engine: Engine) -> None:
    face = engine.prepare(portrait(), Setting())
    assert face.face.face.shape == (478, 3) and engine.needs in ("motion", "frames")


@pytest.mark.parametrize("name", NAMES)
def test_what_an_engine_does_not_know_is_refused_by_name(name: str) -> None:
    known = with_engines()[name].system.options
    strange = {"mouth": "own", "wrinkles": "none", "refine": False, "absolute": True}
    for option, value in strange.items():
        options = Options(engine=name, **{option: value})
        if option in known:
            options.check()
        else:
            with pytest.raises(InputError, match=f"the engine {name} does not know it"):
                options.check()
    with pytest.raises(InputError, match=f"the engine {name} does not know it"):
        Options(engine=name, own={"no-such-thing": "1"}).check()


@pytest.mark.parametrize("name", NAMES)
def test_what_it_states_is_what_it_takes(name: str) -> None:
    found = with_engines()[name]
    try:
        module = found.load(found.system.engine, "the test")
    except MissingDependencyError as error:
        pytest.skip(str(error))
    assert set(found.system.options) <= set(module.OPTIONS.__dataclass_fields__)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "mesh"])
def test_weights_that_are_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(InfinexError, match=r"no such file|needs"):
        load_engine(name, Options(engine=name), str(tmp_path / "nothing.safetensors"))


@pytest.mark.parametrize("name", NAMES)
def test_what_an_evaluation_asks_is_known(name: str) -> None:
    asked = without_the_driver(name, True)
    asked.check()
    assert asked.absolute is ("absolute" in with_engines()[name].system.options)
