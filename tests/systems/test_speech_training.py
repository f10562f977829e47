"""Training the speech network: samples, one update, a short run of the shared trainer, weights and export."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from infinex.errors import InputError, WeightsError  # noqa: E402
from infinex.face import topology as top  # noqa: E402
from infinex.motion import Motion  # noqa: E402
from infinex.systems.speech import data, fit, losses  # noqa: E402
from infinex.systems.speech.listener import AROUND, HIDDEN, STEP, bundled  # noqa: E402
from infinex.systems.speech.model import SpeechConfig, SpeechNet  # noqa: E402
from infinex.systems.speech.recipe import RECIPES, SpeechRecipe, samples, task  # noqa: E402
from infinex.systems.speech.resting import coefficients_of, fit_resting, opening_of, symmetric  # noqa: E402
from infinex.systems.speech.runtime import default_model, default_shapes  # noqa: E402
from infinex.systems.speech.weights import export, read, save  # noqa: E402

SMALL = SpeechConfig(width=32, latent=8)


def talk(identity: str, seed: int, steps: int = 260) -> data.Talk:
    """A made-up talker: bursts of noise, and a mouth that opens with them."""
    rng = np.random.default_rng(seed)
    open_ = (np.sin(np.arange(steps) * 0.25 + seed) > 0.2).astype(float)
    sound = rng.standard_normal(steps * 320) * (0.02 + 0.3 * np.repeat(open_, 320))
    shape = default_shapes()[0]
    offsets = (open_[:, None, None] * shape).astype(np.float32)
    return data.Talk(identity, identity, sound.astype(np.float32), offsets, 0.1 * open_, 0)


@pytest.fixture(scope="module")
def mouths() -> data.Mouths:
    return data.Mouths([talk("a", 1), talk("b", 2)], default_shapes(), 40, 2, 2)


def test_a_step_sees_less_than_a_window_holds_around_it() -> None:
    network = SpeechNet(SpeechConfig(direct=0.5)).eval()
    rows = torch.randn(1, 300, HIDDEN, requires_grad=True)
    network(rows)[0][0, 150].sum().backward()
    seen = torch.nonzero(rows.grad[0].abs().sum(1)).flatten()
    assert 150 - int(seen.min()) == int(seen.max()) - 150 == 6 < AROUND // STEP


def test_content_aware_filter_is_a_weighted_mean() -> None:
    network = SpeechNet(SMALL).heads[0].eval()
    same = torch.full((1, 8, 30), 0.7)
    torch.testing.assert_close(network.filtered(same), same)
    z = torch.randn(2, 8, 30)
    out = network.filtered(z)
    assert out.abs().max() <= z.abs().max() + 1e-6


def test_losses() -> None:
    a, b = torch.zeros(1, 5, 3), torch.zeros(1, 5, 3)
    assert losses.position(a, b) == 0 and losses.change(a, b) == 0
    b[..., 0] = 4.0
    assert losses.position(a, b) == pytest.approx(np.sqrt(16.09) - 0.3, abs=1e-5)
    assert losses.change(a, b) == 0
    ramp = torch.arange(5.0).view(1, 5, 1).expand(1, 5, 3)
    assert losses.change(ramp, a) == pytest.approx(12.0)


def test_samples_pair_sound_with_mouth(mouths: data.Mouths) -> None:
    rng = np.random.default_rng(0)
    heard, seen = [], []
    for _ in range(30):
        s = mouths.get(0, rng)
        assert s["rows"].shape == (40, HIDDEN) and s["coefficients"].shape == (40, 6)
        heard.append(s["rows"])
        seen.append(s["coefficients"][:, 0])
    x, y = np.concatenate(heard), np.concatenate(seen)
    r = ((x - x.mean(0)) * (y - y.mean())[:, None]).mean(0) / (x.std(0) * y.std())
    assert np.abs(r).max() > 0.7  # something that is heard goes with the mouth
    with pytest.raises(InputError, match="nobody"):
        data.Mouths([], default_shapes(), 40, 1, 0)


def test_lag_is_found() -> None:
    rng = np.random.default_rng(0)
    x = np.convolve(rng.standard_normal(400), np.ones(5), "same")
    for lag in (-7, 0, 4):
        found, r = data.lag_of(np.roll(x, lag), x)
        assert found == lag and r > 0.95
    sound = np.arange(3200, dtype=np.float32)
    assert data.shifted(sound, 2, 5)[0] == 640 and len(data.shifted(sound, 2, 50)) == 16000
    assert (data.shifted(sound, -2, 5)[:640] == 0).all()


def test_principal_shapes_are_orthogonal() -> None:
    shapes = data.principal_shapes([talk("a", 1), talk("b", 2)], 1)
    direction = (shapes[0] * data.point_weights()).ravel()
    truth = (data.symmetric(default_shapes()[:1])[0] * data.point_weights()).ravel()
    assert abs(direction @ truth) / np.linalg.norm(direction) / np.linalg.norm(truth) > 0.99
    w = data.point_weights().ravel()
    flat = default_shapes().reshape(6, -1) * w
    gram = flat @ flat.T / (flat[0] @ flat[0])
    np.testing.assert_allclose(gram, np.eye(6), atol=0.02)


def test_training_learns_and_resumes_through_the_trainer(
    mouths: data.Mouths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infinex.training.recipes import Entry
    from infinex.training.trainer import train

    recipe = SpeechRecipe(epochs=8, batch_size=4, config=SMALL, encoder_rate=1.0, rate=5e-3)
    entry = Entry("test", recipe, task, lambda r, f, s: mouths)
    train(entry, tmp_path, tmp_path / "run", ["max_steps=24", "tensorboard=false", "accelerator=cpu"])
    lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    names = lines[0].split(",")
    column = names.index("position")
    values = [float(line.split(",")[column]) for line in lines[1:]]
    assert np.mean(values[-4:]) < 0.8 * np.mean(values[:4])
    state, config = read(tmp_path / "run" / "weights.safetensors")
    assert config == SMALL and set(state) == set(SpeechNet(SMALL).state_dict())


def test_encoder_stays_unless_asked(mouths: data.Mouths) -> None:
    import lightning_fabric

    t = task(SpeechRecipe(config=SMALL))
    before = {k: v.clone() for k, v in t.networks["speech"].state_dict().items()}
    rng = np.random.default_rng(0)
    batch = torch.utils.data.default_collate([mouths.get(0, rng) for _ in range(4)])
    fabric = lightning_fabric.Fabric(accelerator="cpu", devices=1)
    t.networks["speech"].train()
    terms = t.step(batch, fabric)
    after = t.networks["speech"].state_dict()
    assert set(terms) == {"position", "change", "bias", "gain"}
    assert torch.equal(before["first.weight"], after["first.weight"])
    assert torch.equal(before["first_norm.running_mean"], after["first_norm.running_mean"])
    assert not torch.equal(before["heads.0.shape.weight"], after["heads.0.shape.weight"])


def test_weights_round_trip_and_export(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    import onnxruntime

    torch.manual_seed(0)
    network = SpeechNet(SMALL).eval()
    save(tmp_path / "w.safetensors", network.state_dict(), SMALL)
    path = export(tmp_path / "w.safetensors", tmp_path / "out")
    rows = torch.randn(1, 111, HIDDEN)
    with torch.no_grad():
        made, logits = network(rows)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    a, b = session.run(None, {"rows": rows.numpy()})
    np.testing.assert_allclose(a, made.numpy(), atol=1e-4)
    np.testing.assert_allclose(b, logits.numpy(), atol=1e-4)
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="cannot be read"):
        read(tmp_path / "bad.safetensors")


def test_shipped_networks_are_small_and_belong_to_their_shapes() -> None:
    import onnxruntime

    assert (bundled() / "listener.onnx").stat().st_size < 8e6
    assert "MIT License" in (bundled() / "MOONSHINE-LICENSE").read_text(encoding="utf-8")
    file = bundled() / "speech.onnx"
    assert file.stat().st_size < 5e6
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert session.get_outputs()[0].shape[-1] == len(default_shapes()) == RECIPES["speech"].config.coefficients
    outside = np.setdiff1d(np.arange(top.POINTS), np.flatnonzero(np.abs(default_shapes()).sum((0, 2))))
    assert set(top.RIGHT_EYE + top.LEFT_EYE) <= set(outside.tolist())


def test_recipe_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sounds or mouths"):
        task(SpeechRecipe(stage="songs"))
    with pytest.raises(InputError, match="infinex prepare"):
        samples(SpeechRecipe(), tmp_path, "train")


def test_linear_map_is_fitted_in_closed_form() -> None:
    found = [talk("a", 1), talk("b", 2), talk("c", 3)]
    shapes = default_shapes()
    torch.manual_seed(0)
    network = SpeechNet(SMALL).eval()
    rng = np.random.default_rng(0)
    sums = [fit.sums_of(network, t, shapes, 1, rng) for t in found]
    whole = fit.with_direct(network, sums[:2], share=0.999)
    assert whole.config.direct == 0.999
    rows = data.rows_of(found[2].sound)
    with torch.no_grad():
        made = whole(torch.from_numpy(rows)[None])[0][0, :, 0].numpy()
    heard, _ = fit.heard_by(network, rows)
    by_hand = (fit.stacked(heard) @ fit.solve(sums[:2]))[:, 0]
    inside = slice(5, 250)
    assert np.corrcoef(made[inside], by_hand[inside])[0, 1] > 0.999
    seen = found[2].opening
    assert np.corrcoef(made[inside], seen[inside])[0, 1] > 0.7  # a talker it was not fitted to
    # What talkers have in common at rest is not the map's to say.
    for t in found[:2]:
        with torch.no_grad():
            mean = whole(torch.from_numpy(data.rows_of(t.sound))[None])[0][0].mean(0)
        assert mean.abs().max() < 0.25


def test_rest_tells_where_lips_go_when_they_speak() -> None:
    shapes, mean = default_shapes(), top.mean_face()
    rng = np.random.default_rng(0)
    noise = [rng.normal(0, 0.6, 6) for _ in range(40)]
    lean = [float(rng.normal(0, 0.02)) for _ in noise]
    crooked = np.zeros_like(mean)
    crooked[61, 1], crooked[291, 1] = 1.0, -1.0  # one corner down, one up
    rests = [mean + np.tensordot(c, shapes, 1) + k * crooked for c, k in zip(noise, lean)]
    usual = np.array([-0.4, 0.3, 0, 0, 0, 0])
    means = [np.tensordot(usual - 0.5 * c, shapes, 1) - 0.4 * k * crooked for c, k in zip(noise, lean)]
    place = fit_resting(rests, means, [1.0] * len(rests), shapes, stiff=1e-4)
    np.testing.assert_allclose(place.usual, usual, atol=0.02)
    np.testing.assert_allclose(place.back, -0.5 * np.eye(6), atol=0.05)
    assert place.even == pytest.approx(0.4, abs=0.03)
    np.testing.assert_allclose(coefficients_of(place(mean), shapes), usual, atol=0.03)
    portrait = mean + np.tensordot([0, 0.8, 0, 0, 0, 0], shapes, 1) + 0.05 * crooked
    moved = place(portrait)
    change = coefficients_of(moved, shapes) - place.usual
    assert change[1] < -0.1 and abs(float(change @ opening_of(shapes))) < 2e-3  # corners, not how far lips part
    one_sided = moved - symmetric(moved)
    assert one_sided[61, 1] == pytest.approx(-0.4 * 0.05, rel=0.1)


def test_rests_are_measured_from_other_frames_too() -> None:
    shapes = default_shapes()
    t = talk("a", 1)
    still = np.zeros((len(t.offsets), 3))
    motion = Motion(50.0, t.offsets, still, still, np.ones(len(still)), still[:, :2], np.ones(len(still), bool),
                    default_model_rest())  # fmt: skip
    rests = fit.rests_of("a", "a", motion, np.random.default_rng(0))
    assert rests.faces.shape == rests.means.shape == (2 * fit.OTHERS, top.POINTS, 3)
    np.testing.assert_allclose(rests.faces + rests.means, np.broadcast_to(rests.faces[0] + rests.means[0],
                               rests.faces.shape), atol=1e-6)  # fmt: skip
    place = fit.resting_of([rests], shapes)
    np.testing.assert_allclose(place.usual, coefficients_of(rests.means[0], shapes), atol=0.05)


def default_model_rest() -> object:
    from infinex.motion import Rest

    return Rest.neutral()


def test_shipped_resting_place_speaks_with_parted_relaxed_lips() -> None:
    resting = default_model().resting
    assert float(opening_of(resting.shapes) @ resting.usual) > 0.005  # lips that speak are apart on the average
    assert 0.05 < resting.even < 0.8
    mean = top.mean_face()
    np.testing.assert_allclose(resting(mean), resting(), atol=1e-9)
    far = mean + np.tensordot([9.0, -9, 9, 9, -9, 9], resting.shapes, 1)
    assert np.abs(resting(far) - resting()).max() < 0.15  # no face, however odd, is pulled far


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="the speech synthesiser espeak-ng is not installed")
def test_other_languages_know_their_sounds() -> None:
    from infinex.systems.speech import synthetic

    assert synthetic.classes_of("aɪ") == ["aa", "iy"] and synthetic.classes_of("tʃ") == ["sh"]
    assert synthetic.classes_of("iː") == ["iy"] and synthetic.classes_of("(en)") in ([], ["eh", "tdnl"])
    samples, sounds = synthetic.recite("it", "f2", np.random.default_rng(3))
    ends = [end for end, _ in sounds]
    assert ends == sorted(ends) and ends[-1] == pytest.approx(len(samples) / 16000, abs=0.02)
    assert {name for _, name in sounds} <= set(synthetic.CLASSES) and len(sounds) > 20
    level = np.convolve(np.abs(samples), np.ones(320) / 320, "same")
    starts = [0.0, *ends[:-1]]
    loud: dict[bool, list[float]] = {True: [], False: []}
    for start, (end, name) in zip(starts, sounds):
        if end - start > 0.02:
            loud[name in ("aa", "ao", "eh")].append(float(level[int(start * 16000) : int(end * 16000)].mean()))
    assert np.mean(loud[True]) > 1.5 * np.mean(loud[False])


@pytest.mark.skipif(shutil.which("flite") is None, reason="the speech synthesiser flite is not installed")
def test_phrases_know_their_sounds(tmp_path: Path) -> None:
    recipe = SpeechRecipe(stage="sounds", phrases=3, length=50)
    phrases = samples(recipe, tmp_path, "train")
    s = phrases.get(0, np.random.default_rng(0))
    assert s["rows"].shape == (50, HIDDEN) and s["classes"].shape == (50,)
    with np.load(next((tmp_path / ".speech").glob("*.npz"))) as kept:
        heard, silent = kept["rows"].astype(np.float32), kept["classes"] == 0
    apart = np.abs(heard[silent].mean(0) - heard[~silent].mean(0)) / heard.std(0)
    assert apart.max() > 1.5
