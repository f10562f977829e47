"""Neural Voice Puppetry: sound, the mapping of one person, a puppet that learns, and the engine."""

from __future__ import annotations

import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from people import SIDE, clip_and_fit, person, picture  # noqa: E402
from test_every_engine import STILL  # noqa: E402

from infinex.drivers.contract import Drive  # noqa: E402
from infinex.engine import Setting, Source, load_engine  # noqa: E402
from infinex.errors import InputError, WeightsError  # noqa: E402
from infinex.face.tracker import Face  # noqa: E402
from infinex.motion import Rest  # noqa: E402
from infinex.options import Options  # noqa: E402
from infinex.systems.neural_voice_puppetry import model, weights  # noqa: E402
from infinex.systems.neural_voice_puppetry.recipe import (  # noqa: E402
    PuppetRecipe,
    Speech,
    VoiceRecipe,
    mapping_of,
    mouth_mask,
    prepare,
    samples,
    spoken_by,
    task,
)  # fmt: skip
from infinex.systems.neural_voice_puppetry.sound import in_step, mouths_in, read_rows, rows_in, samples_of, windows  # noqa: E402
from infinex.systems.oneperson import Part, prepared  # noqa: E402
from infinex.systems.puppet import Cut, Likeness, uv_map  # noqa: E402

NAME = "neural-voice-puppetry"
TINY = model.PuppetConfig(64, 16, 4, 4)
RECIPE = PuppetRecipe(config="tiny", part=Part(shortest=0.4), held=0.25, batch_size=3, rate=4e-3, voice_rate=4e-3)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setitem(model.CONFIGS, "tiny", TINY)


class Plain:
    """Fabric's part in a step."""

    def backward(self, tensor: torch.Tensor) -> None:
        tensor.backward()


def test_windows_lie_around_their_frame() -> None:
    rows = np.arange(40, dtype=np.float32)[:, None]
    w = windows(rows, np.array([20, 0, 39]))
    assert w.shape == (3, 8, 16, 1)
    assert w[0, 3, 8, 0] == 20 and w[0, 0, 8, 0] == 17 and w[0, 7, 8, 0] == 24
    assert (w[0, 1, :-1] == w[0, 0, 1:]).all()  # they shift by one row
    assert w[1].min() == 0 and w[1, 0, 8, 0] == 0 and w[2].max() == 39


def test_rows_are_at_the_rate_of_the_video(tmp_path: Path) -> None:
    t = np.arange(16000) / 16000
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((np.sin(300 * t * (1 + t)) * 9000).astype("<i2").tobytes())
    samples = samples_of(tmp_path / "a.wav", (0.0, None))
    rows = rows_in(samples, 25)
    assert rows.shape == (25, 288) and np.isfinite(rows).all() and rows.std(0).max() > 0
    assert (in_step(samples, 5)[:9000] == samples[1600:10600]).all() and not in_step(samples, -2)[:640].any()
    assert len(rows_in(samples, 30, 40)) == 40 and mouths_in(samples, 30, 40).shape == (40, 6)
    np.save(tmp_path / "rows.npy", rows[:, :29])
    assert read_rows(tmp_path / "rows.npy", 29).shape == (25, 29)
    with pytest.raises(InputError, match=r"rows of sound \(frames, 288\) are wanted"):
        read_rows(tmp_path / "rows.npy", 288)


def test_a_persons_mapping_is_found() -> None:
    rng = np.random.default_rng(0)
    heard, true = rng.normal(0, 3e-3, (300, 32)), rng.normal(0, 1, (55, 32))
    wanted = 10 * heard @ true.T
    off = 10 * heard @ mapping_of(heard, wanted).T - wanted
    assert np.abs(off).max() < 0.02 * np.abs(wanted).max()


def test_the_face_rolled_out() -> None:
    found = person(2)
    p = Likeness.from_person(found, Cut(0, 0, SIDE), np.zeros(0))
    uv = torch.from_numpy(uv_map(p, p.state, 64)[None])
    valid = model.valid_in(uv)[0, 0]
    assert 0.1 < float(valid.mean()) < 0.7 and uv[0][:, valid > 0].abs().max() < 0.96
    stays = model.background_mask(uv, 0.25)[0, 0]
    assert float((stays * valid).sum()) == 0  # all of the face is drawn anew ...
    rows = torch.nonzero(valid)[:, 0].max(), torch.nonzero(1 - stays)[:, 0].max()
    assert rows[1] == min(63, rows[0] + 10)  # ... and the throat below it
    below = torch.from_numpy(uv_map(p, p.state, 64, lower=True)[None])
    shown = model.valid_in(below)[0, 0]
    assert 0.3 < float(shown.sum() / valid.sum()) < 0.7
    ring = p.surface(p.state, 64)[1][[13, 14]].mean(0).round().astype(int)  # between the lips: a place of its own
    u, v = below[0, :, ring[1], ring[0]].tolist()
    assert abs(u) < 0.2 and 0.3 < v < 0.9 and float(valid[ring[1], ring[0]]) == 0
    mask = mouth_mask()
    assert mask[13] > 0.9 and mask[10] < 0.01


def test_mouths_of_speech_are_mapped_to_a_person() -> None:
    rng = np.random.default_rng(0)
    heard = rng.normal(2, 3, (400, 6)).astype(np.float32)
    true = rng.normal(0, 0.1, (6, 55))
    wanted = 0.3 + (heard - 2) @ true
    network = spoken_by(heard, wanted)
    said = network(torch.from_numpy(windows(heard, np.arange(400))), torch.zeros(400, dtype=torch.long))[0]
    said = said.detach().numpy()
    assert np.abs(said.mean(0) - wanted.mean(0)).max() < 1e-4
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(said.T, wanted.T)]
    assert min(r) > 0.98 and 0.9 < (said - said.mean(0)).std() / (wanted - wanted.mean(0)).std() < 1.1
    kept = weights.PuppetWeights(TINY, {"voice": network.state_dict()}).voice()
    assert (kept.map.weight == network.map.weight).all()  # type: ignore[union-attr]
    with pytest.raises(InputError, match="kind=audio"):
        _ = replace(RECIPE, kind="audio", voice="speech").sizes
    with pytest.raises(InputError, match="hears the clip itself"):
        _ = replace(RECIPE, sound="rows.npy", voice="speech").sizes


def test_a_texture_begins_as_skin(tmp_path: Path) -> None:
    clip, fitted = clip_and_fit(tmp_path)
    own = replace(TINY, lower=True, added=True)
    model.CONFIGS["own"] = own
    recipe = replace(RECIPE, config="own", skin=True, voice="speech", person=str(fitted))
    rows = np.random.default_rng(0).normal(size=(12, 6)).astype(np.float32)
    prepared(clip, tmp_path / "p", recipe.part, str(fitted), 64, print, None, shown=False, lower=True)
    np.save(tmp_path / "p" / "sound.npy", rows)
    recipe = replace(recipe, folder=str(tmp_path / "p"))
    drawn = samples(recipe, tmp_path / "p", "train")
    got = drawn.get(4, np.random.default_rng(0))
    batch = {k: torch.from_numpy(np.asarray(v))[None] for k, v in got.items()}

    def off(skin: bool) -> float:
        puppet = task(replace(recipe, skin=skin)).networks["puppet"].eval()
        with torch.no_grad():
            made = puppet(batch["uv"], batch["wanted"][:, 0], batch["frame"])
        valid = model.valid_in(batch["uv"])
        return float(((made.features[:, :3] - batch["frame"]).abs() * valid).sum() / valid.sum())

    assert off(True) < 0.2 * off(False)  # before anything is learned
    del model.CONFIGS["own"]


def test_a_puppet_learns_and_speaks(tmp_path: Path) -> None:
    clip, fitted = clip_and_fit(tmp_path)
    rng = np.random.default_rng(1)
    known = person(12)
    jaw = np.array([s.expression[known.face.names.index("jawOpen")] for s in known.states])
    rows = rng.normal(0, 0.1, (12, 288)).astype(np.float32)
    rows[:, :100] += 4 * jaw[:, None]  # a voice that tells how far the mouth is open
    np.save(tmp_path / "rows.npy", rows)
    recipe = replace(RECIPE, person=str(fitted), sound=str(tmp_path / "rows.npy"))
    with pytest.raises(InputError, match="has no sound"):
        prepare(replace(recipe, sound=""), clip, tmp_path / "none", lambda _: None, None)
    recipe, folder = prepare(recipe, clip, tmp_path / "run", lambda _: None, None)  # type: ignore[assignment]
    drawn = samples(recipe, folder, "train")
    job = task(recipe)
    got = [drawn.get(i, rng) for i in (0, 3, 6)]
    batch = {k: torch.from_numpy(np.stack([g[k] for g in got])) for k in got[0]}
    before = job.measure(batch)
    for _ in range(12):
        terms = job.step(batch, Plain())
    assert set(terms) == {"texture", "decoder", "result", "style", "absolute", "relative"}
    after = job.measure(batch)
    assert after["l1"] < 0.8 * before["l1"] and after["mouth"] < before["mouth"]
    assert job.sample_panel(batch).shape == (3 * 64, 4 * 64, 3)
    job.save(tmp_path / "run" / "weights.safetensors")
    again = task(recipe)
    again.load_file(tmp_path / "run" / "weights.safetensors")
    assert again.measure(batch) == after
    with pytest.raises(WeightsError, match="does not fit the puppet of"):
        task(replace(recipe, kind="nothing")).load_file(tmp_path / "run" / "weights.safetensors")
    # A voice that was taught others is kept, and mapped to this person.
    sizes = model.VoiceConfig(288, 8, 4, 55)
    state = {k: v.detach().clone() for k, v in model.VoiceNet(sizes).state_dict().items()}
    weights.save_voice(tmp_path / "voice.safetensors", weights.VoiceWeights(sizes, {"voice": state}))
    fixed = task(replace(recipe, voice=str(tmp_path / "voice.safetensors")))
    assert set(fixed.networks) == {"puppet"} and "absolute" not in fixed.step(batch, Plain())
    assert fixed.measure(batch)["mouth"] < 1.2 * before["mouth"]
    deep = model.VoiceConfig(29, 8, 4, 76)
    state = {k: v.detach().clone() for k, v in model.VoiceNet(deep).state_dict().items()}
    weights.save_voice(tmp_path / "deep.safetensors", weights.VoiceWeights(deep, {"voice": state}))
    with pytest.raises(InputError, match="hears rows of 29 numbers"):
        task(replace(recipe, voice=str(tmp_path / "deep.safetensors")))
    # The engine: the voice moves the mouth, the rest of the picture stays.
    engine = load_engine(NAME, Options(engine=NAME, own={"sound": str(tmp_path / "rows.npy")}), str(tmp_path / "run"))
    engine.hear(tmp_path / "any.wav", (0.0, None))
    image = picture(known, 0)
    wide, points = np.full((SIDE, SIDE + 60, 3), 90, np.uint8), known.points[0].astype(np.float64)
    wide[:, :SIDE] = image
    face = engine.prepare(Source(image, Face(points)), Setting(film=True))
    face.begin(Rest.neutral(), None, None)
    shown = []
    for t in (0, 3):
        canvas = image.copy()
        face.draw(canvas, Drive(replace(STILL, time=t / 25)))
        shown.append(canvas.astype(int))
    assert (shown[0][:6, :6] == image[:6, :6]).all() and (shown[0] != shown[1]).any()
    one, other = (engine.wanted(Drive(replace(STILL, time=t / 25)), face.state)[0] for t in (0, 3))
    eyes = [i for i, n in enumerate(known.face.names) if n.startswith("eye")]
    assert (one[eyes] == other[eyes]).all() and (one != other).any()
    # Without a voice a performer moves it, and rows of sound stand for nothing.
    silent = load_engine(NAME, Options(engine=NAME, own={"sound": str(tmp_path / "rows.npy")}), str(tmp_path / "run"))
    with pytest.raises(InputError, match="these rows stand for a recording"):
        silent.begin(Rest.neutral(), wide, points, False)
    engine = load_engine(NAME, Options(engine=NAME), str(tmp_path / "run"))
    face = engine.prepare(Source(wide, Face(points)))
    face.begin(Rest.neutral(), wide, points)
    canvas = wide.copy()
    face.draw(canvas, Drive(STILL, wide, points))
    assert (canvas[:, SIDE + 30 :] == 90).all() and (canvas != wide).any()


def test_the_voice_of_many(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", rows=rng.normal(size=(20, 288)).astype(np.float32),
                 expressions=rng.random((20, 55)).astype(np.float32), valid=np.ones(20, bool))  # fmt: skip
    speech = Speech([("x", tmp_path / "a.npz"), ("y", tmp_path / "b.npz")])
    assert len(speech) == 40 and speech.get(25, rng)["identity"] == 1
    job = task(VoiceRecipe(people=2, rate=2e-3))
    batch = {k: torch.from_numpy(np.stack([speech.get(i, rng)[k] for i in (3, 30)])) for k in speech.get(0, rng)}
    first = job.step(batch, Plain())
    for _ in range(15):
        last = job.step(batch, Plain())
    assert last["absolute"] < first["absolute"]
    job.save(tmp_path / "v.safetensors")
    assert weights.read_voice(tmp_path / "v.safetensors").config.identities == 2
    with pytest.raises(WeightsError, match=r"does not fit: the voice has says\.4"):
        task(VoiceRecipe(people=2, subspace=8)).load_file(tmp_path / "v.safetensors")
    torch.save({"x": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="checkpoint of another model"):
        weights.read_voice(tmp_path / "other.pth")


def test_weights_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is taught one person: infinex train"):
        load_engine(NAME, Options(engine=NAME))
    with pytest.raises(WeightsError, match="no such file"):
        load_engine(NAME, Options(engine=NAME), str(tmp_path / "none.safetensors"))
