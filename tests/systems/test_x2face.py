"""X2Face: its stages learn, its files come back, its engine is driven by picture, pose and voice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from learned import Plain, comes_back, pair  # noqa: E402

from infinex.drivers.contract import Drive  # noqa: E402
from infinex.engine import load_engine  # noqa: E402
from infinex.errors import InputError, WeightsError  # noqa: E402
from infinex.face.pose import to_matrix  # noqa: E402
from infinex.media.audio import write_wav  # noqa: E402
from infinex.motion import Rest  # noqa: E402
from infinex.nn.vgg import CaffeFeatures  # noqa: E402
from infinex.options import Options  # noqa: E402
from infinex.stage import Stage  # noqa: E402
from infinex.systems.speech.listener import HIDDEN  # noqa: E402
from infinex.systems.x2face.data import PoseTeacher  # noqa: E402
from infinex.systems.x2face.losses import Identity  # noqa: E402
from infinex.systems.x2face.model import CONFIGS, X2FaceConfig, networks_of  # noqa: E402
from infinex.systems.x2face.recipe import RECIPES, X2FaceRecipe, X2FaceTask, task  # noqa: E402

SMALL = X2FaceConfig(size=32, levels=5, width=4, waist=8, heard=HIDDEN)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, "small", SMALL)
    torch.manual_seed(0)


def _recipe(**changes: object) -> X2FaceRecipe:
    return replace(X2FaceRecipe(config="small", batch_size=2), **changes)


def _taught(count: int = 2) -> dict:
    generator = torch.Generator().manual_seed(4)
    taught = torch.randn(count, 2, 1, 6, generator=generator)
    heard = {k: torch.randn(count, HIDDEN, generator=generator) for k in ("source_heard", "driving_heard")}
    return pair(32, count) | {"taught": taught} | heard


def test_published_sizes() -> None:
    with torch.device("meta"):
        networks = networks_of(CONFIGS["x2face"])
    millions = {n: round(sum(p.numel() for p in networks[n].parameters()) / 1e6, 2) for n in ("embedding", "driving")}
    assert millions == {"embedding": 39.16, "driving": 25.61}
    assert all(2 ** CONFIGS[r.config].levels == CONFIGS[r.config].size for r in RECIPES.values())


@pytest.mark.parametrize("stage", ["warp", "identity", "pose", "voice"])
def test_a_step_moves_what_its_stage_trains(stage: str) -> None:
    made = task(_recipe(stage=stage, optimizer="adam"))
    before = {n: [p.detach().clone() for p in net.parameters()] for n, net in made.networks.items()}
    terms = made.step(_taught(), Plain())
    assert all(np.isfinite(v) for v in terms.values())
    for name, network in made.networks.items():
        moved = [not torch.equal(a, b) for a, b in zip(before[name], network.parameters())]
        assert any(moved) == (name in made.trains), name
    assert made.sample_panel(_taught()).shape == (64, 128, 3)


def test_losses_fall_on_one_pair() -> None:
    made = X2FaceTask(_recipe(optimizer="adam", rate=3e-3))
    batch = pair(32, 2)
    traces = [made.step(batch, Plain())["reconstruction"] for _ in range(40)]
    assert traces[-1] < 0.6 * traces[0]


@pytest.mark.parametrize(("stage", "term"), [("pose", "angles"), ("voice", "heard")])
def test_the_bottleneck_is_read_and_written(stage: str, term: str) -> None:
    made = X2FaceTask(_recipe(stage=stage, optimizer="adam", rate=2e-2 if stage == "pose" else 2e-3))
    with torch.no_grad():  # bottlenecks that differ, as those of trained networks do
        made.networks["driving"].down[-1].weight.mul_(100)
    traces = [made.step(_taught(2), Plain())[term] for _ in range(80)]
    assert traces[-1] < 0.5 * traces[0]


def test_identity_is_nothing_for_the_same_picture() -> None:
    vgg = CaffeFeatures(((4,), (8,)))
    one, other = pair(32)["source"].split(1)
    for term in (Identity(), Identity(vgg)):
        assert float(term(one, one, lambda x: x)) == 0 < float(term(other, one, lambda x: x))


def test_a_file_comes_back(tmp_path: Path) -> None:
    made = task(_recipe())
    torch.manual_seed(1)
    comes_back(made, task(_recipe()), tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match="the authors' own features"):
        task(X2FaceRecipe(stage="voice"))


def test_a_mirrored_head_turns_the_other_way() -> None:
    rows = np.arange(6, dtype=np.float32).reshape(1, 6) + 1
    assert PoseTeacher().mirrored(rows).ravel().tolist() == [-1, 2, -3, 4, 5, 6]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file whose bottleneck can be read and written."""
    made = X2FaceTask(_recipe(optimizer="adam", rate=1e-2))
    with torch.no_grad():
        for name in ("reader", "voice"):
            for parameter in made.networks[name].parameters():
                parameter.normal_()
        made.networks["driving"].up[0].weight.normal_()
    made.save(tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def test_its_engine_is_driven_by_a_head(weights: Path) -> None:
    from test_every_engine import STILL, moved, portrait

    engine = load_engine("x2face", Options(engine="x2face", own={"by": "pose"}), str(weights))
    stage = Stage([portrait()], engine)
    rest = Rest.neutral()
    stage.begin(rest)
    assert engine.needs == "motion"
    first = stage.render(Drive(STILL))[0].copy()
    turned = replace(STILL, rotation=np.array([0.0, 0.4, 0.0]))
    assert np.linalg.det(to_matrix(turned.rotation)) == pytest.approx(1)
    other = stage.render(Drive(turned))[0].copy()
    assert not np.array_equal(first, other)
    # The lips move no head.
    assert np.array_equal(other, stage.render(Drive(replace(moved(), rotation=turned.rotation)))[0])


def test_its_engine_is_driven_by_a_voice(weights: Path, tmp_path: Path) -> None:
    from test_every_engine import STILL, portrait

    pytest.importorskip("onnxruntime")
    time = np.arange(16000, dtype=np.float32) / 16000
    write_wav(tmp_path / "a.wav", [np.sin(2 * np.pi * (120 + 300 * time) * time).astype(np.float32) * time], 16000)
    own = {"by": "voice", "sound": str(tmp_path / "a.wav")}
    with pytest.raises(InputError, match="a recording drives with"):
        load_engine("x2face", Options(engine="x2face", own={"sound": own["sound"]}), str(weights))
    stage = Stage([portrait()], load_engine("x2face", Options(engine="x2face", own=own), str(weights)))
    stage.begin(Rest.neutral())
    frames = [stage.render(Drive(replace(STILL, time=t)))[0].copy() for t in (0.0, 0.7, 0.7)]
    assert not np.array_equal(frames[0], frames[1]) and np.array_equal(frames[1], frames[2])


def test_several_pictures_make_another_face(weights: Path) -> None:
    from test_every_engine import begun, filmed, moved, picture, portrait

    from infinex.engine import Source

    source = portrait()
    engine = load_engine("x2face", Options(engine="x2face"), str(weights))
    alone = begun(engine, source).render(filmed(moved()))[0].copy()
    view = Source(picture(seed=7), source.face)
    both = begun(engine, replace(source, views=(view,))).render(filmed(moved()))[0]
    assert not np.array_equal(alone, both)


def test_what_weights_have_not_learned_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    X2FaceTask(_recipe()).save(path)
    with pytest.raises(WeightsError, match=r"infinex train small-pose teaches them"):
        load_engine("x2face", Options(engine="x2face", own={"by": "pose"}), str(path))
