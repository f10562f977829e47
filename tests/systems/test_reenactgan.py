"""ReenactGAN: its three stages learn and go on, its weights reach the engine, and the engine draws the person."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tracked

torch = pytest.importorskip("torch")

from infinex.engine import Drive, Source, load_engine  # noqa: E402
from infinex.errors import InputError, WeightsError  # noqa: E402
from infinex.face.topology import mean_face, mirror  # noqa: E402
from infinex.face.tracker import Face  # noqa: E402
from infinex.motion import Move, Rest  # noqa: E402
from infinex.options import Options  # noqa: E402
from infinex.stage import Stage  # noqa: E402
from infinex.systems import registry  # noqa: E402
from infinex.systems.reenactgan import recipe as recipes  # noqa: E402
from infinex.systems.reenactgan.augment import Augmentation, drawn, matrix, moved  # noqa: E402
from infinex.systems.reenactgan.model import CONFIGS, networks_of  # noqa: E402
from infinex.systems.reenactgan.samples import boundary_maps  # noqa: E402
from infinex.systems.reenactgan.weights import LAYOUT, model_of  # noqa: E402
from infinex.training.recipes import Entry  # noqa: E402

LOOKS = 8
SMALL = {"config": "reenactgan-64", "looks": LOOKS, "batch_size": 2, "repeats": 20}
RUN = ["ema=0", "tensorboard=false", "panel_every=1000", "checkpoint_every=1000"]


def entry(recipe: recipes.ReenactganRecipe) -> Entry:
    return Entry("try", recipe, recipes.task, recipes.samples)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tracked.make(tmp_path_factory.mktemp("faces") / "data", LOOKS)


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The three stages one after the other, a few steps each."""
    pytest.importorskip("lightning_fabric")
    from infinex.training.trainer import train

    folder = tmp_path_factory.mktemp("runs")
    stages = {
        "boundary": recipes.BoundaryRecipe(**SMALL, rate=3e-3, align_rate=5e-3),
        "decoder": recipes.DecoderRecipe(**SMALL, person="p0", rate=1e-3, critic_width=4),
        "transformer": recipes.TransformerRecipe(**SMALL, person="p0", sources=2, critic_width=4),
    }
    steps, start, out = {"boundary": 16, "decoder": 16, "transformer": 2}, "", {}
    for name, recipe in stages.items():
        settings = [*RUN, f"max_steps={steps[name]}", f"start_from={start}"]
        train(entry(recipe), data, folder / name, settings)
        out[name], start = folder / name, str(folder / name / "weights.safetensors")
    return out


def column(run: Path, name: str) -> np.ndarray:
    rows = [r.split(",") for r in (run / "metrics.csv").read_text().splitlines()]
    return np.array([float(r[rows[0].index(name)]) for r in rows[1:]])


def test_every_stage_learns(runs: dict[str, Path]) -> None:
    for stage, name in (("boundary", "maps"), ("boundary", "landmarks_drawn"), ("decoder", "pixels")):
        values = column(runs[stage], name)
        assert values[-4:].mean() < 0.85 * values[:3].mean(), (stage, name, values)
    assert {"gan", "cycle", "shape", "critic_real", "critic_sources_fake"} <= set(
        (runs["transformer"] / "metrics.csv").read_text().splitlines()[0].split(",")
    )


def test_a_stage_hands_on_what_it_was_given(runs: dict[str, Path]) -> None:
    """Frozen networks come out as they went in, statistics too; the last file has the whole person."""
    files = {n: LAYOUT.load(r / "weights.safetensors") for n, r in runs.items()}
    assert set(files["boundary"].networks) == {"boundary", "align", "pca"}
    assert set(files["transformer"].networks) == {"boundary", "align", "pca", "decoder", "transformer"}
    assert files["transformer"].origin == {"person": "p0", "maps": "network"}
    for name in ("boundary", "align", "pca"):
        before, after = files["boundary"].networks[name], files["transformer"].networks[name]
        assert all(torch.equal(v, after[k]) for k, v in before.items()), name


def test_components_are_those_of_the_landmarks(runs: dict[str, Path]) -> None:
    """Rows are orthonormal, the strongest first, and the mean lies at 0."""
    line = LAYOUT.load(runs["boundary"] / "weights.safetensors").networks["pca"]
    axes, bias = line["pca.0.weight"], line["pca.0.bias"]
    assert torch.allclose(axes @ axes.T, torch.eye(212), atol=1e-4)
    tally = recipes.Tally(3)
    x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.1, 3.0, 1.0]) + 5
    tally(x[:200])
    tally(x[200:])
    mean, axes = tally.axes()
    assert torch.allclose(mean.float(), x.mean(0), atol=1e-4)
    assert axes.abs().argmax(1).tolist() == [1, 2, 0] and bias.shape == (212,)


def test_a_run_goes_on_where_it_was(data: Path, runs: dict[str, Path], tmp_path: Path) -> None:
    """Two steps and two more are four steps."""
    from infinex.training.trainer import train

    start = f"start_from={runs['decoder'] / 'weights.safetensors'}"
    recipe = recipes.TransformerRecipe(**SMALL, person="p0", sources=1, critic_width=4)
    whole = train(entry(recipe), data, tmp_path / "whole", [*RUN, "max_steps=4", start])
    train(entry(recipe), data, tmp_path / "parts", [*RUN, "max_steps=2", start])
    parts = train(entry(recipe), None, tmp_path / "parts", ["max_steps=4"], resume=True)
    assert parts.step == 4 and parts.terms == pytest.approx(whole.terms, rel=1e-5)


def test_without_the_shape_loss_it_is_not_there() -> None:
    recipe = recipes.RECIPES["reenactgan-128-no-shape"]
    assert (
        recipe.weights.shape == 0
        and replace(recipe, weights=recipes.TransformerWeights()) == (recipes.RECIPES["reenactgan-128-transformer"])
    )


def test_what_does_not_fit_is_said(data: Path, runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="person=nobody: name one of the people in training: p0, p1, p2"):
        recipes.samples(recipes.DecoderRecipe(**SMALL, person="nobody"), data, "train")
    with pytest.raises(InputError, match="the data has 2 other people"):
        recipes.samples(recipes.TransformerRecipe(**SMALL, person="p0", sources=3), data, "train")
    with pytest.raises(InputError, match="config=big"):
        recipes.task(recipes.BoundaryRecipe(config="big"))
    with pytest.raises(WeightsError, match="has no decoder"):
        recipes.task(recipes.TransformerRecipe(**SMALL)).load_file(runs["boundary"] / "weights.safetensors")
    with pytest.raises(WeightsError, match="has the decoder of p0: go on by --set person=p0"):
        recipes.task(recipes.TransformerRecipe(**SMALL, person="p1")).load_file(runs["decoder"] / "weights.safetensors")
    other = recipes.task(recipes.TransformerRecipe(**SMALL, person="p0", maps="mesh"))
    with pytest.raises(WeightsError, match="taught with maps=network: go on by --set maps=network"):
        other.load_file(runs["decoder"] / "weights.safetensors")
    with pytest.raises(WeightsError, match="nobody's face can be drawn"):
        load_engine("reenactgan", None, str(runs["boundary"]))
    with pytest.raises(WeightsError, match="infinex train reenactgan-128-boundary"):
        load_engine("reenactgan")


def test_frames_held_back_are_never_trained_on(data: Path) -> None:
    recipe = recipes.DecoderRecipe(**SMALL, person="p1")
    train, test = (recipes.samples(recipe, data, s) for s in ("train", "test"))
    assert set(train.rows).isdisjoint(test.rows) and len(train.rows) + len(test.rows) == 8


def test_maps_follow_a_picture_that_moves(data: Path) -> None:
    """The boundaries of a moved and mirrored picture are those of its moved landmarks: the mirror swaps the sides."""
    config = CONFIGS["reenactgan-64"]
    points = tracked.landmarks(0, 3) * 64 - [0.5, 0.5, 0]
    by = matrix(0, 0, 0, 1, True, 64)
    assert np.allclose(by, [[-1, 0, 64], [0, 1, 0]])
    straight, mirrored = boundary_maps(points, config), boundary_maps(points[mirror()], config, by)
    assert straight.shape == (15, 16, 16)
    assert np.abs(mirrored[1][:, ::-1] - straight[3]).mean() < 0.05  # the right brow is the left one's image
    rng = np.random.default_rng(0)
    for _ in range(5):
        by, _ = drawn(Augmentation(mirror=False), 64, rng)
        assert abs(np.linalg.det(by[:, :2]) - 1) < 0.07 and np.abs(by[:, 2]).max() < 10
    image = tracked.picture(0, tracked.landmarks(0, 3))
    assert np.array_equal(moved(image, np.eye(3)[:2]), image)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "nobody.safetensors"
    LAYOUT.untrained(path, "reenactgan-64")
    return path


def shown(engine: object) -> np.ndarray:
    """A frame of the engine for a performer who moves."""
    image = np.full((200, 220, 3), 90, np.uint8)
    points = mean_face() * 40 + [110, 95, 0]
    stage = Stage([Source(image, Face(points))], engine)  # type: ignore[arg-type]
    film = np.random.default_rng(0).integers(0, 255, (160, 160, 3), dtype=np.uint8)
    driver = mean_face() * 30 + [80, 75, 0]
    stage.begin(Rest.neutral(), film, driver)
    still = Move(0.0, np.zeros(3), np.zeros(3), 1.0, np.zeros((478, 3)), np.zeros(2))
    return stage.render(Drive(still, film, driver))[0].copy()


def test_the_published_evaluation_is_another_picture(file: Path) -> None:
    """Statistics of the picture, and dropout, change what is drawn; every run draws the same again."""
    made = {}
    for how in ("right", "statistics", "published"):
        engine = load_engine("reenactgan", Options(engine="reenactgan", own={"evaluation": how}), str(file))
        made[how] = shown(engine)
        assert np.array_equal(made[how], shown(engine))
    assert (made["right"] != made["statistics"]).any() and (made["statistics"] != made["published"]).any()


def test_boundaries_may_be_drawn_from_the_mesh(runs: dict[str, Path]) -> None:
    """The decoder alone is the person by themselves; what it is given is another thing then."""
    made = {}
    for maps in ("auto", "network", "mesh"):
        engine = load_engine("reenactgan", Options(engine="reenactgan", own={"maps": maps}), str(runs["decoder"]))
        made[maps] = shown(engine)
    assert np.array_equal(made["auto"], made["network"]) and (made["mesh"] != made["network"]).any()


def test_a_published_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The authors' three files become one person of ours, whose sizes are read off them; others are refused."""
    config = CONFIGS["reenactgan-64"]
    nets = networks_of(config)
    folder = tmp_path / "theirs"
    folder.mkdir()
    torch.save({f"model.0.{k}": v for k, v in nets["boundary"].state_dict().items()},
               folder / "v8_net_boundary_detection.pth")  # fmt: skip
    torch.save(nets["decoder"].state_dict(), folder / "Anna_net_decoder.pth")
    with pytest.raises(WeightsError, match="lacks"):
        LAYOUT.read_published(folder)
    torch.save(nets["transformer"].state_dict(), folder / "Anna_net_transformer.pth")
    read = LAYOUT.read_published(folder)
    assert replace(read.config, align=8, align_hidden=64, points=106) == config
    LAYOUT.save(tmp_path / "ours.safetensors", read)
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    again = model_of(LAYOUT.load(tmp_path / "ours.safetensors"))(image)[1]
    assert torch.equal(again, model_of(read)(image)[1])
    assert load_engine("reenactgan", None, str(folder)).name == "reenactgan"
    monkeypatch.setenv("INFINEX_WEIGHTS", str(tmp_path / "store"))
    registry.add("reenactgan-person", folder)
    assert torch.equal(load_engine("reenactgan", None, "reenactgan-person").model(image)[1], again)
    torch.save(nets["decoder"].state_dict(), folder / "Bert_net_decoder.pth")
    with pytest.raises(WeightsError, match="one person's files"):
        LAYOUT.read_published(folder)
