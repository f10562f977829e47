"""Deep Video Portraits: what the network is shown, that it learns one person, and the engine."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

import test_every_engine  # noqa: E402
from people import clip_and_fit, person, picture  # noqa: E402

from infinex.drivers.contract import Drive  # noqa: E402
from infinex.engine import Source, load_engine  # noqa: E402
from infinex.errors import InputError, WeightsError  # noqa: E402
from infinex.face.tracker import Face  # noqa: E402
from infinex.motion import Rest  # noqa: E402
from infinex.options import Options  # noqa: E402
from infinex.systems.deep_video_portraits import model, weights  # noqa: E402
from infinex.systems.deep_video_portraits.engine import PortraitEngine, PortraitOptions  # noqa: E402
from infinex.systems.deep_video_portraits.losses import LossWeights, focused  # noqa: E402
from infinex.systems.deep_video_portraits.recipe import PortraitRecipe, prepare, samples, task  # noqa: E402
from infinex.systems.oneperson import Part, focus_of  # noqa: E402
from infinex.systems.puppet import Cut, Likeness, Performer, beyond_fit, carried, conditions  # noqa: E402

TINY = model.PortraitConfig(
    32, 3, 8, 3, 16, last=6, norm="instance", dropout=0, critic_width=8, critic_blocks=2
)  # fmt: skip
ALBUM = model.PortraitConfig(64, 1, 8, 3, 16, critic_width=8, critic_blocks=2, tracked=True, album=6)
RECIPE = PortraitRecipe(
    config="tiny", part=Part(shortest=0.4), held=0.25, batch_size=3, rate=4e-3, weights=LossWeights(focus=1.0)
)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setitem(model.CONFIGS, "tiny", TINY)
    monkeypatch.setitem(model.CONFIGS, "tiny-album", ALBUM)


def known(t: int = 0) -> Likeness:
    found = person(4)
    return Likeness.from_person(replace(found, valid=np.arange(4) == t), Cut(0, 0, 112), np.zeros(0))


# -- what it is shown -----------------------------------------------------------------------------


def test_conditions_show_skin_places_and_eyes() -> None:
    p = known()
    shown = conditions(p, p.state, p.eyes, 96)
    skin, places, eyes = (shown[..., i : i + 3].astype(int) for i in (0, 3, 6))
    face = skin.any(-1)
    assert 0.1 < face.mean() < 0.7 and (places[face].any(-1)).all() and not shown[0, 0].any()
    # White with a blue disc, where the picture of the skin has holes.
    blue = (eyes[..., 2] > 200) & (eyes[..., 0] < 60)
    white = (eyes > 200).all(-1)
    assert blue.sum() > 8 and white.sum() > 4 and face[blue | white].mean() < 0.5
    other = conditions(p, p.state, p.eyes + np.array([0.2, 0]), 96)
    moved = (other[..., 8] > 200) & (other[..., 6] < 60)
    assert np.nonzero(moved)[1].mean() > np.nonzero(blue)[1].mean() + 0.5
    # A place keeps its colour whatever the face does; skin does not where its light changes.
    darker = conditions(p, replace(p.state, light=p.state.light * 0.5), p.eyes, 96)
    assert (darker[..., 3:6] == shown[..., 3:6]).all() and darker[..., :3].sum() < 0.6 * skin.sum()


def test_what_a_performer_does_is_carried_over() -> None:
    found = person(4)
    p = known()
    images = [picture(found, t) for t in range(4)]
    points = found.points.astype(np.float64)
    move = test_every_engine.STILL
    mine = Performer(p, Rest.neutral(), images[0], points[0], own=True)
    for t in (1, 2):
        state, _ = carried(mine(Drive(move, images[t], points[t])), p.state, p.eyes, p, absolute=True)
        drawn = p.surface(state, 112)[1][:468]
        assert np.abs(drawn - points[t, :468, :2]).mean() < 1.5  # pixels
        assert (state.light == p.state.light).all()
    # Somebody else's turn is added to the pose that the person has.
    turned = replace(p.state, rotation=found.states[3].rotation)
    theirs = Performer(p, Rest.neutral(), images[0], points[0], own=False)
    state, _ = carried(theirs(Drive(move, images[1], points[1])), turned, p.eyes, p)
    wanted = found.states[1].rotation @ found.states[0].rotation.T @ turned.rotation
    assert np.abs(state.rotation - wanted).max() < 0.08
    # Without frames, a move's points say it.
    jaw = p.face.expression[list(found.face.names).index("jawOpen")].astype(np.float64)
    offsets = np.zeros((478, 3))
    offsets[:468] = 0.8 * jaw[:468] * [1, -1, -1]
    state, _ = carried(theirs(Drive(replace(move, offsets=offsets))), p.state, p.eyes, p)
    assert state.expression[found.face.names.index("jawOpen")] > 0.4


def test_conditions_lie_where_the_tracker_sees_the_face() -> None:
    found, p = person(4), known()
    points = found.points[2].astype(np.float64)
    points[13, :2] += [2, 5]  # pixels
    off = beyond_fit(p.face, p.person, p.state, points, p.size)
    assert np.abs(p.tracked(p.state, off) - points[:468]).max() < 1e-6
    drawn = p.surface(p.state, 112, off)[1]
    assert np.abs(drawn[:468] - points[:468, :2]).max() < 0.05  # one unit for all depths
    there = conditions(p, p.state, p.eyes, 112, off)
    assert (there != conditions(p, p.state, p.eyes, 112)).any()
    # What a performer's points do beyond the fit goes over: of the person as it is, of others from rest on.
    images = [picture(found, t) for t in range(2)]
    for own in (True, False):
        performer = Performer(p, Rest.neutral(), images[0], found.points[0], own)
        acted = performer(Drive(test_every_engine.STILL, images[1], found.points[1].astype(np.float64)))
        assert (acted.off is not None) == own and acted.beside.shape == (468, 3)
        if acted.off is not None and acted.state is not None:
            assert np.abs(p.tracked(acted.state, acted.off) - found.points[1, :468]).max() < 1e-3
    # Without frames all that points do arrives, whatever expressions make of it.
    offsets = np.zeros((478, 3))
    offsets[[13, 14], 1] = -0.1, 0.1
    acted = Performer(p, Rest.neutral(), None, None, False)(Drive(replace(test_every_engine.STILL, offsets=offsets)))
    shown = np.einsum("e,enc->nc", acted.expression, p.face.expression[:, :468]) * [1, -1, -1]
    assert np.abs(shown + acted.beside - offsets[:468]).max() < 1e-6


def test_a_likeness_survives_its_arrays() -> None:
    p = known()
    back = Likeness.of(p.arrays())
    assert back.window == p.window and back.size == p.size and back.focal == pytest.approx(p.focal)
    assert (conditions(back, back.state, back.eyes, 64).astype(int) - conditions(p, p.state, p.eyes, 64)).max() <= 2
    broken = p.arrays()
    broken["neutral"] = broken["neutral"][:50]
    with pytest.raises(ValueError, match="another topology"):
        Likeness.of(broken)


# -- networks -------------------------------------------------------------------------------------


def test_named_sizes() -> None:
    config = model.CONFIGS["deep-video-portraits"]
    with torch.device("meta"):
        networks = model.networks_of(config)
    assert config.inputs == 99 and config.widths == [64, 128, 256, 512, 512, 512, 512, 512]
    renderer = networks["renderer"]
    # Mirrored connections: every stage but the last sees what the encoder saw at its size.
    assert [s.refine1.in_channels for s in renderer.up] == [1024] * 4 + [512, 256, 128, 3]  # type: ignore[union-attr]
    small = model.CONFIGS["deep-video-portraits-128"]
    made = model.Renderer(small).eval()(torch.zeros(1, small.inputs, 128, 128))
    assert made.shape == (1, 3, 128, 128)


def test_dark_and_bright_can_be_made() -> None:
    made = model.Renderer(TINY)(torch.randn(2, TINY.inputs, 32, 32))
    assert made.min() < 0 < made.max() and made.abs().max() <= 1


def test_mouth_and_eyes_count_more() -> None:
    made, frame = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    made[..., 0, 0] = 1
    focus = torch.zeros(1, 1, 4, 4)
    focus[..., 0, 0] = 1
    assert focused(made, frame, focus, 0.0) == pytest.approx(1 / 16)
    assert focused(made, frame, focus, 3.0) == pytest.approx(4 / 19)
    points = person(1).points[0, :, :2]
    chosen = focus_of(points, 112)
    assert chosen[tuple(np.round(points[13]).astype(int)[::-1])] == 1 and 0.01 < chosen.mean() < 0.3


# -- learning -------------------------------------------------------------------------------------


class Plain:
    """Fabric's part in a step."""

    def backward(self, tensor: torch.Tensor) -> None:
        tensor.backward()


def test_it_learns_one_person_and_the_engine_shows_them(tmp_path: Path) -> None:
    clip, fitted = clip_and_fit(tmp_path)
    recipe, folder = prepare(replace(RECIPE, person=str(fitted)), clip, tmp_path / "run", lambda _: None, None)
    drawn = samples(recipe, folder, "train")
    assert len(drawn) == 9 and len(samples(recipe, folder, "test")) == 3
    first, fifth = drawn.get(0, None), drawn.get(5, None)  # type: ignore[arg-type]
    assert first["window"].shape == (27, 32, 32) and first["frame"].shape == (3, 32, 32)
    assert (first["window"][:9] == first["window"][18:]).all()  # the first instant stands for those before it
    assert (fifth["window"][18:] == drawn.get(6, None)["window"][9:18]).all()  # type: ignore[arg-type]
    job = task(recipe)
    batch = {k: torch.from_numpy(np.stack([drawn.get(i, None)[k] for i in (0, 3, 6)])) for k in first}  # type: ignore
    before = job.measure(batch)["l1"]
    for _ in range(40):
        terms = job.step(batch, Plain())
    assert set(terms) == {"critic", "likeness", "adversarial"}
    assert job.measure(batch)["l1"] < 0.6 * before
    assert job.sample_panel(batch).shape == (3 * 32, 5 * 32, 3)
    job.save(tmp_path / "run" / "weights.safetensors")
    again = task(recipe)
    again.load_file(tmp_path / "run" / "weights.safetensors")
    assert again.measure(batch) == job.measure(batch)
    engine = load_engine("deep-video-portraits", Options(engine="deep-video-portraits"), str(tmp_path / "run"))
    p = person(12)
    source = Source(picture(p, 0), Face(p.points[0].astype(np.float64)))
    face = engine.prepare(source)
    face.begin(Rest.neutral(), source.image, source.face.landmarks)
    canvas = source.image.copy()
    face.draw(canvas, Drive(test_every_engine.STILL, source.image, source.face.landmarks))
    assert np.abs(canvas.astype(int) - source.image).mean() < 20
    with pytest.raises(InputError, match="multiple of 8"):
        replace(RECIPE, size=20).sizes  # noqa: B018


def test_it_mends_what_an_album_recalls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infinex.systems.oneperson.GAP", 0.02)  # the clip is shorter than a second
    clip, fitted = clip_and_fit(tmp_path)
    losses = LossWeights(adversarial=0.0, focus=1.0)
    recipe = replace(RECIPE, config="tiny-album", weights=losses, rate=2e-3, person=str(fitted))
    recipe, folder = prepare(recipe, clip, tmp_path / "run", lambda _: None, None)
    drawn = samples(recipe, folder, "train")
    first = drawn.get(0, None)  # type: ignore[arg-type]
    assert first["window"].shape == (18, 64, 64) and drawn.get(3, None)["frame"].shape == (3, 64, 64)  # type: ignore
    job = task(recipe)
    assert list(job.networks) == ["renderer"]
    batch = {k: torch.from_numpy(np.stack([drawn.get(i, None)[k] for i in (0, 3, 6)])) for k in first}  # type: ignore
    # At first it is the mean of the three pictures; the recalled ones are before the conditions.
    made = job.networks["renderer"](batch["window"])
    assert torch.allclose(made, batch["window"][:, :9].reshape(3, 3, 3, 64, 64).mean(1), atol=1e-5)
    path = tmp_path / "run" / "weights.safetensors"
    job.save(path)
    again = task(recipe)
    again.load_file(path)
    assert again.measure(batch) == job.measure(batch)
    engine = load_engine(
        "deep-video-portraits", Options(engine="deep-video-portraits", absolute=True), str(path.parent)
    )
    assert isinstance(engine, PortraitEngine) and engine.recaller is not None
    assert len(engine.recaller.kept.pictures) in (6, 7)  # evenly spread, and the usual one
    p = person(12)
    source = Source(picture(p, 0), Face(p.points[0].astype(np.float64)))
    face = engine.prepare(source)
    face.begin(Rest.neutral(), source.image, source.face.landmarks)
    for t in (0, 5):
        canvas = source.image.copy()
        face.draw(canvas, Drive(test_every_engine.STILL, picture(p, t), p.points[t].astype(np.float64)))
        assert np.abs(canvas.astype(int) - picture(p, t)).mean() < 8
    engine.person = replace(engine.person, who=np.zeros(0, np.float32))  # anybody will do
    test_every_engine.test_nothing_outside_its_box_changes(engine)
    test_every_engine.test_drivers_without_frames_move_it(engine)
    whole = weights.load(path)
    damaged = {"album": {k: v[:2] if k == "points" else v for k, v in whole.networks["album"].items()}}
    weights.save(tmp_path / "bad.safetensors", replace(whole, networks=whole.networks | damaged))
    with pytest.raises(WeightsError, match="does not say whom"):
        weights.load(tmp_path / "bad.safetensors")
    # What the pictures lack is added: here they lack some red.
    batch["frame"] = batch["frame"] + 0.3 * torch.tensor([1.0, 0, 0]).reshape(1, 3, 1, 1)
    before = job.measure(batch)["l1"]
    for _ in range(30):
        terms = job.step(batch, Plain())
    assert set(terms) == {"likeness"} and job.measure(batch)["l1"] < 0.5 * before


def test_a_run_makes_what_it_learns_from_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lightning_fabric")
    from infinex.systems.deep_video_portraits import recipe as module
    from infinex.training.trainer import train

    clip, fitted = clip_and_fit(tmp_path)
    monkeypatch.setitem(module.RECIPES, "deep-video-portraits-128", RECIPE)
    run = tmp_path / "run"
    settings = [f"person={fitted}", "max_steps=2", "tensorboard=false"]
    done = train("deep-video-portraits-128", clip, run, settings)
    assert done.step == 2 and (run / "person" / "frames-32.npy").is_file() and list((run / "panels").iterdir())
    stamp = (run / "person" / "conditions-32.npy").stat().st_mtime_ns
    fitted.unlink()  # the run has its own
    (run / "person" / "who.npy").unlink()  # as if it had been stopped before the last file was written
    more = train("deep-video-portraits-128", None, run, ["max_steps=3"], resume=True)
    assert more.step == 3 and (run / "person" / "conditions-32.npy").stat().st_mtime_ns > stamp
    stamp = (run / "person" / "conditions-32.npy").stat().st_mtime_ns
    again = train("deep-video-portraits-128", None, run, ["max_steps=4"], resume=True)
    assert again.step == 4 and (run / "person" / "conditions-32.npy").stat().st_mtime_ns == stamp
    assert weights.load(run / "weights.safetensors").likeness().size == (112, 112)
    # What cannot be learned from leaves no run behind.
    with pytest.raises(InputError, match="at least 9 s are needed"):
        train("deep-video-portraits-128", clip, tmp_path / "other", ["part.shortest=9"])
    assert not (tmp_path / "other").exists()


def test_what_cannot_be_learned_from(tmp_path: Path, portrait: Path) -> None:
    clip, fitted = clip_and_fit(tmp_path)
    for data, why in ((tmp_path / "none.mp4", "no such clip"), (portrait, "a clip of one person is wanted")):
        with pytest.raises(InputError, match=why):
            prepare(RECIPE, data, tmp_path / "run", lambda _: None, None)
    long = replace(RECIPE, part=Part())
    for person_file in ("", str(fitted)):
        with pytest.raises(InputError, match=r"0\.5 s; at least 4 s are needed"):
            prepare(replace(long, person=person_file), clip, tmp_path / "run2", lambda _: None, None)
    other = replace(person(12), size=(64, 64))
    other.save(tmp_path / "other.npz")
    with pytest.raises(InputError, match="no fit of"):
        prepare(replace(RECIPE, person=str(tmp_path / "other.npz")), clip, tmp_path / "run3", lambda _: None, None)


# -- the engine -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine() -> PortraitEngine:
    """With weights that were never taught."""
    torch.manual_seed(0)
    states = weights.collected(model.networks_of(TINY), known())
    return PortraitEngine(weights.PortraitWeights(TINY, states), PortraitOptions())


def test_what_every_engine_keeps(engine: PortraitEngine) -> None:
    test_every_engine.test_nothing_outside_its_box_changes(engine)
    test_every_engine.test_drivers_without_frames_move_it(engine)


@pytest.mark.slow
def test_the_battery_of_all_engines(engine: PortraitEngine) -> None:
    battery = {n: f for n, f in vars(test_every_engine).items() if n.startswith("test_")}
    passed = [f(engine) for f in battery.values() if list(inspect.signature(f).parameters) == ["engine"]]
    assert len(passed) >= 8


def test_weights_are_asked_for_and_checked(tmp_path: Path, engine: PortraitEngine) -> None:
    options = Options(engine="deep-video-portraits")
    with pytest.raises(WeightsError, match="is taught one person: infinex train"):
        load_engine("deep-video-portraits", options)
    states = weights.collected(model.networks_of(TINY), known())
    whole = weights.PortraitWeights(TINY, states, "tiny")
    weights.save(tmp_path / "w.safetensors", whole)
    assert weights.load(tmp_path / "w.safetensors").likeness().size == (112, 112)
    for wrong, why in (
        ({"person": {k: v[:40] if k == "neutral" else v for k, v in states["person"].items()}}, "another topology"),
        ({"renderer": {"x": torch.zeros(1)}}, "renderer lacks"),
    ):
        weights.save(tmp_path / "bad.safetensors", replace(whole, networks=states | wrong))
        with pytest.raises(WeightsError, match=why):
            load_engine("deep-video-portraits", options, str(tmp_path / "bad.safetensors"))


def test_another_person_is_refused(engine: PortraitEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    found = person(2)
    source = Source(picture(found, 0), Face(found.points[0].astype(np.float64)))
    taught = PortraitEngine.__new__(PortraitEngine)
    taught.__dict__.update(engine.__dict__)
    taught.person = replace(engine.person, who=np.zeros(128, np.float32))
    monkeypatch.setattr("infinex.systems.oneperson.identity", lambda *_: np.full(128, 0.2))
    with pytest.raises(InputError, match="taught another person than the portrait shows"):
        taught.prepare(source)
    monkeypatch.setattr("infinex.systems.oneperson.identity", lambda *_: np.full(128, 0.01))
    assert taught.prepare(source).box == (0, 0, 112, 112)
