"""The GANimation engine: crop, edit, paste back; and the measures of its edits."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from infinex.engine import Drive, Source  # noqa: E402
from infinex.errors import FaceNotFoundError, InputError, WeightsError  # noqa: E402
from infinex.face.pose import Pose  # noqa: E402
from infinex.face.topology import mean_face  # noqa: E402
from infinex.face.tracker import Face  # noqa: E402
from infinex.face.units import basis  # noqa: E402
from infinex.motion import Move, Rest  # noqa: E402
from infinex.systems.ganimation import evaluate as E  # noqa: E402, N812
from infinex.systems.ganimation.engine import GanimationEngine, Masks, interpolated  # noqa: E402
from infinex.systems.ganimation.labels import UNITS  # noqa: E402
from infinex.systems.ganimation.model import CONFIGS, GanimationConfig  # noqa: E402
from infinex.systems.ganimation.weights import LAYOUT, networks_of  # noqa: E402


def _engine(config: GanimationConfig = CONFIGS["ganimation-tiny"]) -> GanimationEngine:
    torch.manual_seed(0)
    return GanimationEngine(LAYOUT.fit({"generator": networks_of(config)["generator"].state_dict()}, config))


@pytest.fixture(scope="module")
def engine() -> GanimationEngine:
    return _engine()


@pytest.fixture
def source() -> Source:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (300, 260, 3), dtype=np.uint8)
    c, s = np.cos(0.2), np.sin(0.2)
    pose = Pose(70.0, np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]), np.array([130.0, 140.0, 0]))
    return Source(image, Face(pose.to_image(mean_face())))


def _drive(amount: float) -> Drive:
    b = basis()
    amounts = np.zeros(len(b.names))
    amounts[[n == "AU12" for n in b.names]] = amount
    return Drive(Move(0.0, np.zeros(3), np.zeros(3), 1.0, b.offsets(amounts), np.zeros(2)))


def test_rest_is_the_source(engine: GanimationEngine, source: Source) -> None:
    prepared = engine.prepare(source)
    prepared.begin(Rest.neutral(), None, None)
    canvas = np.zeros_like(source.image)
    canvas[:] = source.image
    x0, y0, x1, y1 = prepared.box
    canvas[y0:y1, x0:x1] = 7
    prepared.draw(canvas, _drive(0.0))
    assert prepared.masks is None
    assert np.array_equal(canvas, source.image)


def test_edits_inside_its_box_without_an_edge(engine: GanimationEngine, source: Source) -> None:
    prepared = engine.prepare(source)
    prepared.begin(Rest.neutral(), None, None)
    canvas = source.image.copy()
    prepared.draw(canvas, _drive(0.9))
    assert prepared.masks is not None
    assert prepared.masks.attention.shape == (32, 32)
    changed = (canvas != source.image).any(-1)
    x0, y0, x1, y1 = prepared.box
    assert changed[y0:y1, x0:x1].mean() > 0.3
    changed[y0:y1, x0:x1] = False
    assert not changed.any()
    # The rim of the crop is the source's own, so that no box can be seen.
    inside = prepared._inside
    assert inside[0].max() < 0.05
    assert inside[16, 16] == pytest.approx(1, abs=1e-3)


def test_attention_decides(engine: GanimationEngine, source: Source) -> None:
    smooth = np.full_like(source.image, 90)
    smooth[:, ::2] += 6  # fine detail
    prepared = engine.prepare(Source(smooth, source.face))
    color = np.full((32, 32, 3), 255, np.uint8)
    keep = Masks(prepared.crop, color, np.ones((32, 32), np.float32), np.zeros(17))
    x0, y0, x1, y1 = prepared.box
    assert np.array_equal(prepared._pasted(keep, 1.0), smooth[y0:y1, x0:x1])
    mouth, nose = source.face.landmarks[13, :2], source.face.landmarks[168, :2]
    u, v = np.round(mouth @ prepared.window.matrix[:, :2].T + prepared.window.matrix[:, 2]).astype(int)
    mask = np.ones((32, 32), np.float32)
    mask[v - 3 : v + 4, u - 4 : u + 5] = 0
    out = prepared._pasted(Masks(prepared.crop, color, mask, np.zeros(17)), 1.0)
    x, y = np.round(mouth - [x0, y0]).astype(int)
    assert out[y - 3 : y + 3, x - 3 : x + 3].min() > 240
    x, y = np.round(nose - [x0, y0]).astype(int)
    assert np.array_equal(out[y, x], smooth[y0 + y, x0 + x])


def test_says_more_the_further_from_rest(engine: GanimationEngine, source: Source) -> None:
    prepared = engine.prepare(source)
    last = 0.0
    for step in (0.01, 0.04, 0.1):
        canvas = source.image.copy()
        units = prepared.units.copy()
        units[8] = np.clip(units[8] + step, 0, 1)
        prepared.edit(canvas, units)
        change = float(np.abs(canvas.astype(float) - source.image).mean())
        assert change > last
        last = change


def test_relative_and_absolute(source: Source) -> None:
    engine = _engine()
    prepared = engine.prepare(source)
    relative = prepared.wanted(_drive(0.6))
    engine.absolute = True
    absolute = prepared.wanted(_drive(0.6))
    assert np.allclose(relative, np.clip(absolute + prepared.units, 0, 1))
    assert absolute[UNITS.index("AU12")] > 0.3


def test_interpolation() -> None:
    rows = interpolated(np.zeros(17), np.ones(17), 5)
    assert rows[:, 3].tolist() == [0, 0.25, 0.5, 0.75, 1]
    with pytest.raises(InputError, match="at least 2"):
        interpolated(np.zeros(17), np.ones(17), 1)


def test_shows_its_masks(engine: GanimationEngine, source: Source) -> None:
    prepared = engine.prepare(source)
    prepared.begin(Rest.neutral(), None, None)
    canvas = source.image.copy()
    x0, y0, x1, y1 = prepared.box
    attention = prepared.draw(canvas, _drive(0.8)).occlusion
    assert attention is not None
    assert attention.shape == (y1 - y0, x1 - x0)
    assert 60 < attention.mean() < 200  # untrained: about a half everywhere
    assert not np.array_equal(prepared.colors(), source.image)
    attention = prepared.draw(canvas, _drive(0.0)).occlusion
    assert attention is not None and attention.min() == 255
    assert np.array_equal(prepared.colors(), source.image)


def test_refuses_other_pictures_and_weights(engine: GanimationEngine, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="32x32x3"):
        engine.masks(np.zeros((16, 16, 3), np.uint8), np.zeros(17))
    with pytest.raises(WeightsError, match="12 units"):
        _engine(GanimationConfig(32, 12, 8, 1, 8, 4))
    with pytest.raises(WeightsError, match="no such file"):
        GanimationEngine(tmp_path / "none.safetensors")


def test_expressions_of_the_paper() -> None:
    happy = E.expression_units("happy")
    assert happy.shape == (17,)
    assert happy[UNITS.index("AU12")] > 0.5
    assert happy[UNITS.index("AU04")] == 0
    assert all(E.expression_units(n).max() > 0.3 for n in E.EXPRESSIONS)


def test_rows_of_the_table(tmp_path: Path) -> None:
    assert E._named(None) == {"ganimation": None}
    assert E._named("full=a.safetensors,b.pth") == {"full": "a.safetensors", "b": "b.pth"}
    with pytest.raises(InputError, match="two rows"):
        E._named("mesh=a")
    with pytest.raises(InputError, match="no such folder"):
        E.portraits(tmp_path / "none")
    with pytest.raises(InputError, match="no picture or clip"):
        E.portraits(tmp_path)


@pytest.mark.slow
def test_measures_a_portrait(portrait: Path, tmp_path: Path) -> None:
    pytest.importorskip("dlib")
    import shutil

    if importlib.util.find_spec("face_recognition_models") is None:
        pytest.skip("the identity network is not installed")

    people = tmp_path / "people"
    people.mkdir()
    shutil.copy(portrait, people / "hopper.jpg")
    config = CONFIGS["ganimation-tiny"]
    torch.manual_seed(0)
    LAYOUT.save(
        tmp_path / "w.safetensors", LAYOUT.fit({"generator": networks_of(config)["generator"].state_dict()}, config)
    )
    summary = E.evaluate(people, tmp_path / "out", f"random={tmp_path / 'w.safetensors'}")
    mean = summary["mean"]
    assert mean["static"]["acd"] == 0
    assert mean["mesh"]["ed"] < mean["static"]["ed"]  # the mesh does what it is told
    assert mean["mesh"]["acd"] < mean["random"]["acd"]  # and does not make noise of the face
    assert (tmp_path / "out" / "report.json").is_file()
    assert (tmp_path / "out" / "table2.png").is_file()
    text = E.lines(summary)
    assert len(text) == 5
    assert "ED" in text[1]


def test_a_portrait_whose_face_is_lost_is_left_out_and_named(
    portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    if importlib.util.find_spec("face_recognition_models") is None:
        pytest.skip("the identity network is not installed")
    people = tmp_path / "people"
    people.mkdir()
    for name in ("ada", "grace"):
        shutil.copy(portrait, people / f"{name}.jpg")
    find = E._face_in

    def lose_ada(finder: Any, image: Any, source: Any, name: str) -> Any:
        if name == "ada":
            raise FaceNotFoundError("the face of ada was lost in an edit")
        return find(finder, image, source, name)

    monkeypatch.setattr(E, "_face_in", lose_ada)
    monkeypatch.setattr(E, "EXPRESSIONS", ("happy",))
    summary = E.evaluate(people, tmp_path / "out")
    assert summary["portraits"] == 1 and list(summary["left_out"]) == ["ada"]
    assert {e["portrait"] for e in summary["edits"]} == {"grace"}
    assert E.lines(summary)[-1] == "left out: the face of ada was lost in an edit"
    monkeypatch.setattr(E, "_face_in", lambda *_: (_ for _ in ()).throw(FaceNotFoundError("lost")))
    with pytest.raises(FaceNotFoundError, match="in no portrait"):
        E.evaluate(people, tmp_path / "none")
