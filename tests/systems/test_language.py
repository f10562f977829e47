"""Language-guided animation: long sequences, one training step in W+, alignment, encoders, clear refusals."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from infinex.errors import InputError, WeightsError  # noqa: E402
from infinex.nn.e4e import E4e, from_state  # noqa: E402
from infinex.nn.lpips import Lpips, load_lpips  # noqa: E402
from infinex.nn.stylegan2 import StyleGAN2, StyleGAN2Config  # noqa: E402
from infinex.systems.inversion import align  # noqa: E402
from infinex.systems.language import evaluate as measures  # noqa: E402
from infinex.systems.language.engine import StyleganAnimator  # noqa: E402
from infinex.systems.language.model import (  # noqa: E402
    LanguageConfig,
    LanguageModel,
    MotionText,
    RecurrentMotion,
    UnitConfig,
    UnitMotion,
)
from infinex.systems.language.pairs import CHANNELS, captioned, spoken, trajectory  # noqa: E402
from infinex.systems.language.recipe import UnitRecipe, UnitSamples, UnitTask, channel_weights, reached  # noqa: E402
from infinex.systems.language.sentences import held_out, ing, movements, sentence, third, vocabulary  # noqa: E402
from infinex.systems.language.stylegan_task import StyleganRecipe, StyleganTask  # noqa: E402
from infinex.systems.language.units import clauses, generate, laid_out, lasting  # noqa: E402
from infinex.systems.language.weights import load, load_units, save  # noqa: E402

SMALL = StyleGAN2Config(size=16, latent=512, style=512, layers=2, channels=(8, 8, 8))


class TinyClip(torch.nn.Module):
    """What the task and the engine ask of CLIP, small and random."""

    size = 24

    def __init__(self) -> None:
        super().__init__()
        self.look, self.read = torch.nn.Linear(3 * 16, self.size), torch.nn.Embedding(64, self.size)

    def forward(self, x):  # type: ignore[no-untyped-def]
        return self.image(x) if isinstance(x, torch.Tensor) else self.text(x)

    def image(self, x):  # type: ignore[no-untyped-def]
        small = torch.nn.functional.adaptive_avg_pool2d(x, 4).flatten(1)
        return torch.nn.functional.normalize(self.look(small), dim=1)

    def text(self, texts):  # type: ignore[no-untyped-def]
        numbers = torch.tensor([sum(map(ord, t)) % 64 for t in texts])
        return torch.nn.functional.normalize(self.read(numbers), dim=1)


FABRIC = SimpleNamespace(backward=lambda loss: loss.backward())


def test_the_recurrence_goes_on_from_its_last_code() -> None:
    torch.manual_seed(0)
    net = RecurrentMotion(8, 6)
    start, h = torch.randn(2, 8), torch.zeros(2, 6)
    first, z, h1 = net(start, 5, h)
    assert torch.equal(first[:, 0], torch.zeros(2, 8)) and torch.allclose(z, start + first[:, -1])
    more, _, _ = net(z, 5, h1)
    whole, _, _ = net(start, 9, h)
    joined = torch.cat([first, first[:, -1:] + more[:, 1:]], 1)
    assert joined.shape == whole.shape
    assert (net(start, 5, h, "inference")[0][:, -1].norm() < first[:, -1].norm()).all()  # steps shrink


def test_one_step_in_w_plus_moves_all_but_the_generator() -> None:
    torch.manual_seed(0)
    generator = StyleGAN2(SMALL)
    task = StyleganTask(StyleganRecipe(words=("happy", "sad", "angry")), generator, TinyClip(), TinyClip())
    frozen = {k: v.clone() for k, v in generator.state_dict().items()}
    before = {k: v.clone() for k, v in task.networks["language"].state_dict().items()}
    batch = {"word": torch.tensor([0, 1, 1]), "z": torch.randn(3, 512)}
    terms = task.step(batch, FABRIC)
    assert set(terms) == {"content", "path", "contrast"} and all(np.isfinite(v) for v in terms.values())
    assert all(torch.equal(v, frozen[k]) for k, v in generator.state_dict().items())
    after = task.networks["language"].state_dict()
    assert all(not torch.equal(after[k], before[k]) for k in before if k.startswith(("motion.fc2", "textual")))


def test_training_in_w_plus_needs_a_generator() -> None:
    with pytest.raises(InputError, match="generator"):
        StyleganTask(StyleganRecipe())


def test_the_engine_streams_and_its_frames_follow_the_text(portrait: Path) -> None:
    from infinex.pipeline import load_source

    torch.manual_seed(1)
    model = LanguageModel(LanguageConfig(code=24, hidden=12, mapper=16, style=512, styles=6))
    engine = StyleganAnimator(model, StyleGAN2(SMALL), None, TinyClip())  # type: ignore[arg-type]
    source = load_source(portrait)[0]
    prepared = engine.prepare(source.image, source.face.landmarks)
    frames = list(engine.stream(prepared, "smiling", 20))
    assert len(frames) == 20 and frames[0].shape == (16, 16, 3) and frames[0].dtype == np.uint8
    other = list(engine.stream(prepared, "angry", 20))
    assert np.array_equal(frames[3], list(engine.stream(prepared, "smiling", 4))[3])
    assert not np.array_equal(frames[-1], other[-1])
    face = align(source.image, source.face.landmarks, 64)
    assert face.shape == (64, 64, 3) and abs(float(face[24:44, 20:44].mean()) - float(face.mean())) > 1


def test_a_folder_without_weights_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="generator"):
        StyleganAnimator.from_folder(tmp_path)
    with pytest.raises(WeightsError, match="is none"):
        StyleganAnimator.from_folder(tmp_path / "nothing")


def test_mismatched_parts_are_refused() -> None:
    model = LanguageModel(LanguageConfig(code=24, hidden=12, mapper=16, style=512, styles=8))
    with pytest.raises(WeightsError, match="8 codes"):
        StyleganAnimator(model, StyleGAN2(SMALL), None, TinyClip())  # type: ignore[arg-type]


def test_weights_round_trip(tmp_path: Path) -> None:
    config = LanguageConfig(code=24, hidden=12, mapper=16, style=8, styles=6)
    model = LanguageModel(config)
    save(tmp_path / "m.safetensors", model, config)
    again = load(tmp_path / "m.safetensors")
    assert again.config == config
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())
    (tmp_path / "bad.safetensors").write_bytes(b"not a file of weights")
    with pytest.raises(WeightsError, match="safetensors"):
        load(tmp_path / "bad.safetensors")
    with pytest.raises(WeightsError, match="no generator of unit"):
        load_units(tmp_path / "m.safetensors")


def test_e4e_reads_the_authors_keys() -> None:
    torch.manual_seed(0)
    model = E4e(4).eval()
    state = {f"encoder.{k}": v for k, v in model.state_dict().items() if k != "mean"}
    mean = torch.randn(1, 512)
    again = from_state(state, mean)
    with torch.no_grad():
        picture = torch.rand(1, 3, 256, 256) * 2 - 1
        codes = again(picture)
    assert codes.shape == (1, 4, 512)
    assert torch.allclose(codes, model(picture).detach() + mean, atol=1e-4)
    assert "encoder.body.3.res_layer.5.fc1.weight" in state and "encoder.styles.0.convs.0.weight" in state
    with pytest.raises(WeightsError, match="style heads"):
        from_state({"some.weight": mean})


def test_lpips_reads_the_authors_keys(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Lpips()
    state, at = {}, 0
    for stage, widths in enumerate(((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)):
        at += stage > 0
        for _ in widths:
            conv = model.convs[sum(k.endswith("weight") and k.startswith("net") for k in state)]
            key = f"net.slice{stage + 1}.{at}"
            state |= {f"{key}.weight": conv.weight, f"{key}.bias": conv.bias}
            at += 2
        state[f"lin{stage}.model.1.weight"] = torch.rand(1, widths[-1], 1, 1)
    torch.save({k: v.detach() for k, v in state.items()}, tmp_path / "l.pth")
    again = load_lpips(tmp_path / "l.pth")
    a, b = torch.rand(2, 3, 32, 32) * 2 - 1, torch.rand(2, 3, 32, 32) * 2 - 1
    assert torch.equal(again(a, a), torch.zeros(2)) and (again(a, b) > 0).all()
    with pytest.raises(WeightsError, match="convolutions"):
        torch.save({"x": torch.zeros(1)}, tmp_path / "x.pth")
        load_lpips(tmp_path / "x.pth")


# -- in Action Units ------------------------------------------------------------------------------


def test_pairs_are_split_by_their_words() -> None:
    words = {split: {row[0] for row in vocabulary(split)} for split in ("train", "val", "test")}
    assert not words["train"] & words["test"] and not words["val"] & words["test"] and len(words["test"]) > 50
    assert all(held_out(w) for w in words["test"]) and not any(map(held_out, words["train"] | words["val"]))
    parts = {split: {(row[0], row[2]) for row in movements(split)} for split in ("train", "test")}
    assert parts["test"] and not parts["train"] & parts["test"]
    pairs = spoken("test", 12, 16, 10.0)
    assert pairs.motion.shape == (12, 16, len(CHANNELS)) and np.abs(pairs.motion).max() <= 1
    assert (np.abs(pairs.motion[:, 0]).max(1) < 0.2).all()  # they begin at rest
    assert list(spoken("test", 12, 16, 10.0).texts) == list(pairs.texts)


def test_a_gesture_ends_and_an_expression_is_held() -> None:
    wink = trajectory("he winks with his right eye", 48, 12.5)
    assert wink is not None
    right, left = (wink[:, CHANNELS.index(c)] for c in ("AU46R", "AU46L"))
    assert right.max() > 0.9 and right[-1] == 0 and left.max() == 0
    smile = trajectory("she smiles", 48, 12.5)
    both = trajectory("she smiles and winks", 48, 12.5)
    assert smile is not None and smile[-1, CHANNELS.index("AU12")] > 0.6
    assert both is not None and both[-1, CHANNELS.index("AU12")] > 0.6 > 0.1 > both[-1, CHANNELS.index("AU46L")]
    nods = trajectory("he nods twice", 48, 12.5)
    assert nods is not None
    nod = nods[:, CHANNELS.index("nod")]
    assert ((nod[1:-1] > nod[:-2]) & (nod[1:-1] >= nod[2:]) & (nod[1:-1] > 0.2)).sum() == 2


def test_wordings_differ_and_the_grammar_knows_what_is_meant() -> None:
    assert third("shake her head") == "shakes her head" and third("cry") == "cries" and third("press") == "presses"
    assert (
        ing("nod") == "nodding" and ing("smile") == "smiling" and ing("die") == "dying" and ing("frown") == "frowning"
    )
    rng = np.random.default_rng(2)
    said = [sentence("train", rng) for _ in range(120)]
    assert len({text for text, _, _ in said}) > 110
    understood = [trajectory(asked, 16, 10.0) is not None for _, asked, _ in said if asked]
    assert np.mean(understood) > 0.85


def test_channels_that_move_seldom_weigh_more() -> None:
    motion = np.zeros((10, 8, 2), np.float32)
    motion[:, :, 0] = 0.8
    motion[0, :, 1] = 0.8
    often, seldom = channel_weights(motion)
    assert seldom > 2 * often
    assert np.isclose((np.square(motion) * channel_weights(motion)).sum(), np.square(motion).sum(), rtol=1e-3)
    assert reached(motion, motion) == {"shown": 1.0, "stray": 0.0}
    assert reached(np.zeros_like(motion), motion)["shown"] == 0.0
    assert reached(np.full_like(motion, 0.8), motion)["stray"] == 1.0


def test_ordered_pooling_knows_what_comes_first() -> None:
    from infinex.nn.sentence import available, load_encoder

    if not available():
        pytest.skip("the packaged sentence encoder is not installed")
    encoder = load_encoder()
    texts = ["she frowns, then laughs", "she laughs, then frowns", "hi"]
    plain, ordered = encoder(texts), encoder(texts, pooling="ordered")
    assert ordered.shape == (3, 4 * encoder.size) and np.allclose(ordered[:, : encoder.size], plain, atol=1e-5)
    assert np.isfinite(ordered).all()
    parts = ordered.reshape(3, 4, -1)
    assert np.allclose(np.linalg.norm(parts[:2], axis=2), 1, atol=1e-4)
    # Early words of one are near the late words of the other in neither; the mean hardly tells them apart.
    assert (parts[0, 1] @ parts[1, 1]) < plain[0] @ plain[1] + 1e-3


def test_bundled_performances_get_captions(tmp_path: Path) -> None:
    import infinex

    pairs = captioned(Path(infinex.__file__).parent / "motions", 32, 10.0)
    assert pairs.texts and pairs.motion.shape[1:] == (32, len(CHANNELS))
    assert captioned(tmp_path, 32, 10.0).motion.shape == (0, 32, len(CHANNELS))


@pytest.mark.parametrize("recurrence", ["residual", "lstm"])
def test_the_unit_generator_learns(recurrence: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    recipe = UnitRecipe(recurrence=recurrence, frames=12, block=4, rate=6e-3, pooling="mean")  # type: ignore[arg-type]
    pairs = spoken("train", 24, 12, 10.0)
    samples = UnitSamples(pairs, rng.normal(0, 0.05, (24, 384)).astype(np.float32))
    task = UnitTask(recipe)
    batch = torch.utils.data.default_collate([samples.get(i, rng) for i in range(24)])
    first = task.measure(batch)
    for _ in range(80):
        terms = task.step(batch, FABRIC)
    assert set(terms) == {"distance", "velocity", "path", "contrast", "match"}
    last = task.measure(batch)
    assert last["distance"] < 0.7 * first["distance"] and last["distance"] < last["still"]
    task.save(tmp_path / "u.safetensors")
    again = load_units(tmp_path / "u.safetensors")
    made = generate(again.model, samples.vectors[:3], 30)
    assert made.shape == (3, 30, len(CHANNELS)) and np.isfinite(made).all()
    straight = generate(again.model, samples.vectors[:3], straight=True)
    assert np.abs(np.diff(straight, 2, axis=1)).max() < 1e-5


def test_metrics() -> None:
    same = [np.ones(8)] * 3
    assert measures.average_content_distance([same]) == 0
    assert measures.average_content_distance([[np.zeros(2), np.array([3.0, 4.0])]]) == 5
    line = np.linspace(0, 1, 10)[None, :, None]
    assert measures.smoothness(line) < 1e-12 < measures.smoothness(line**3)
    with pytest.raises(ValueError, match="two frames"):
        measures.average_content_distance([[np.ones(2)]])


def test_retrieval_tells_truth_from_noise() -> None:
    rng = np.random.default_rng(0)
    pairs = spoken("train", 96, 16, 10.0)
    _, group = np.unique(pairs.texts, return_inverse=True)
    vectors = rng.normal(0, 1, (group.max() + 1, 32)).astype(np.float32)[group]
    known = type(pairs)(pairs.texts, pairs.motion, group)
    judge = measures.train_judge(known, vectors, steps=100)
    assert isinstance(judge, MotionText)
    first, third = measures.retrieval(judge, pairs.motion, vectors, group)
    noise, _ = measures.retrieval(judge, rng.permutation(pairs.motion), vectors, group)
    assert first > 0.6 and third >= first and noise < 0.3


def test_sentences_are_laid_out_one_after_another() -> None:
    made = np.zeros((2, 32, 2), np.float32)
    made[0, :, 0] = np.linspace(0, 1, 32)
    made[1, :, 1] = -np.linspace(0, 1, 32)  # neither rests before its end
    tracks, frames = laid_out(made, ("AU12", "turn"), 10.0, 25.0)
    assert frames == len(tracks["AU12"]) and tracks["AU12"].argmax() < frames / 2 < tracks["turn"].argmin()
    assert tracks["turn"].min() < -25 and abs(tracks["turn"][-1]) < 0.1 and tracks["AU12"][-1] < 0.01


def test_what_comes_first_is_acted_first() -> None:
    assert clauses("She smiles. Then she nods!") == ["She smiles", "she nods"]
    assert clauses("the old man frowns, then laughs") == ["the old man frowns", "she laughs"]
    assert clauses("he nods before smiling and finally his jaw drops") == ["he nods", "smiling", "his jaw drops"]
    assert clauses("she looks up and gasps") == ["she looks up and gasps"]


def test_a_short_gesture_makes_way_for_the_next_sentence() -> None:
    wink = np.zeros((48, 1), np.float32)
    wink[:9, 0] = np.sin(np.linspace(0, np.pi, 9))
    smile = np.full((48, 1), 0.7, np.float32)
    smile[:6, 0] = np.linspace(0, 0.7, 6)
    assert lasting(wink, 12.5) == pytest.approx(1.2) and lasting(smile, 12.5) == pytest.approx(0.4 + 1.15)
    slow = np.linspace(0, 1, 48, dtype=np.float32)[:, None]
    assert lasting(slow, 12.5) == pytest.approx(48 / 12.5)


def test_sequences_may_be_longer_than_those_of_training() -> None:
    for block in (1, 8):
        model = UnitMotion(UnitConfig(channels=("AU12",), block=block))
        with torch.no_grad():
            long = model(torch.randn(1, 384), 70, phase="inference")
            assert long.shape == (1, 70, 1) and model(torch.randn(1, 384)).shape == (1, 32, 1)
            if block == 1:
                assert abs(long[0, 0, 0]) < 1e-6  # the start is the face at rest


def test_the_shipped_generator_does_what_it_learned() -> None:
    from infinex.nn.sentence import available
    from infinex.systems.language.units import open_sentences

    if not available():
        pytest.skip("the packaged sentence encoder is not installed")
    driver = open_sentences("she looks terrified", still=True)
    names, units = driver.units()
    peak = dict(zip(names, units.max(0)))
    assert peak["AU5"] > 0.5 > 0.2 > peak["AU12"]
    assert driver.frames == len(list(driver)) and "AU5" in driver.explain()
    with pytest.raises(WeightsError, match="does not exist"):
        open_sentences("she smiles", model="/nowhere/else.safetensors")
