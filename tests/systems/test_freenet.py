"""FReeNet: both stages learn and go on, its weights reach the engine, and the engine carries expressions over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tracked

torch = pytest.importorskip("torch")

from infinex.engine import Drive, Source, load_engine  # noqa: E402
from infinex.errors import InputError, WeightsError  # noqa: E402
from infinex.face import drawn  # noqa: E402
from infinex.face.portrait import SourceFace  # noqa: E402
from infinex.face.topology import mean_face  # noqa: E402
from infinex.face.tracker import Face  # noqa: E402
from infinex.motion import Move, Rest  # noqa: E402
from infinex.options import Options  # noqa: E402
from infinex.stage import Stage  # noqa: E402
from infinex.systems.freenet import recipe as recipes  # noqa: E402
from infinex.systems.freenet.engine import composed  # noqa: E402
from infinex.systems.freenet.landmarks import Performer, discs, in_unit  # noqa: E402
from infinex.systems.freenet.losses import misplaced  # noqa: E402
from infinex.systems.freenet.model import CONFIGS, between, networks_of, warped, xavier_  # noqa: E402
from infinex.systems.freenet.weights import LAYOUT  # noqa: E402
from infinex.training.recipes import Entry  # noqa: E402

LOOKS = 8
CONFIG = CONFIGS["freenet-64"]
SMALL = {"config": "freenet-64", "looks": LOOKS, "repeats": 10}
RUN = ["ema=0", "tensorboard=false", "panel_every=1000", "checkpoint_every=1000"]


def entry(recipe: recipes.FreenetRecipe) -> Entry:
    return Entry("try", recipe, recipes.task, recipes.samples)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tracked.make(tmp_path_factory.mktemp("faces") / "data", LOOKS)


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The converter, then the generator, a few steps each."""
    pytest.importorskip("lightning_fabric")
    from infinex.training.trainer import train

    folder = tmp_path_factory.mktemp("runs")
    train(entry(recipes.ConverterRecipe(**SMALL)), data, folder / "converter", [*RUN, "max_steps=40"])
    start = f"start_from={folder / 'converter' / 'weights.safetensors'}"
    generator = recipes.GeneratorRecipe(**SMALL, rate=2e-3)
    train(entry(generator), data, folder / "generator", [*RUN, "max_steps=24", start])
    return {n: folder / n for n in ("converter", "generator")}


def column(run: Path, name: str) -> np.ndarray:
    rows = [r.split(",") for r in (run / "metrics.csv").read_text().splitlines()]
    return np.array([float(r[rows[0].index(name)]) for r in rows[1:]])


def test_both_stages_learn(runs: dict[str, Path]) -> None:
    for stage, name, share in (("converter", "points", 0.7), ("converter", "cycle", 0.7), ("generator", "pixels", 0.8)):
        values = column(runs[stage], name)
        assert values[-6:].mean() < share * values[:4].mean(), (stage, name, values)
    assert {"triplet", "gan", "critic"} <= set(
        (runs["generator"] / "metrics.csv").read_text().split("\n")[0].split(",")
    )


def test_the_converter_is_handed_on_as_it_was(runs: dict[str, Path]) -> None:
    before, after = (LAYOUT.load(r / "weights.safetensors") for r in runs.values())
    assert set(before.networks) == {"converter", "pair", "single"}
    assert set(after.networks) == {"converter", "generator", "critic"}
    assert all(torch.equal(v, after.networks["converter"][k]) for k, v in before.networks["converter"].items())


def test_a_run_goes_on_where_it_was(data: Path, tmp_path: Path) -> None:
    """Two steps and two more are four steps."""
    pytest.importorskip("lightning_fabric")
    from infinex.training.trainer import train

    recipe = recipes.GeneratorRecipe(**SMALL, converter=False)
    whole = train(entry(recipe), data, tmp_path / "whole", [*RUN, "max_steps=4"])
    train(entry(recipe), data, tmp_path / "parts", [*RUN, "max_steps=2"])
    parts = train(entry(recipe), None, tmp_path / "parts", ["max_steps=4"], resume=True)
    assert parts.step == 4 and parts.terms == pytest.approx(whole.terms, rel=1e-5)
    assert LAYOUT.load(tmp_path / "whole" / "weights.safetensors").origin == {"converter": "no"}


def test_ablations_leave_out_what_they_say(data: Path) -> None:
    small = recipes.RECIPES["freenet-128"]
    without = recipes.RECIPES["freenet-128-no-triplet"]
    assert without.weights.triplet == 0 and replace(without, weights=small.weights) == small
    assert not recipes.RECIPES["freenet-128-no-converter"].converter
    task = recipes.task(recipes.GeneratorRecipe(**SMALL, converter=False))
    assert set(task.networks) == {"generator", "critic"}


def test_an_expression_goes_onto_another_face() -> None:
    """At rest the other face stays as it is; an open mouth opens it, in its own place and width."""
    frames = np.stack([tracked.landmarks(0, t) * 64 for t in range(8)])
    performer = Performer(frames)
    other = SourceFace(tracked.landmarks(1, 0) * 200 + [30, 0, 0])
    assert np.allclose(performer.onto(performer.neutral, other), other.points, atol=1e-6)
    own = SourceFace(frames[performer.neutral])
    gap = [f[14, 1] - f[13, 1] for f in frames]
    wide = int(np.argmax(gap))
    opened = performer.onto(wide, other)
    assert (
        opened[14, 1] - opened[13, 1] > 0.5 * (gap[wide] - gap[performer.neutral]) * other.pose.scale / own.pose.scale
    )
    assert np.abs(opened[[127, 356], 0] - other.points[[127, 356], 0]).max() < 0.1 * other.pose.scale


def test_discs_are_those_of_the_drawing_module() -> None:
    """Landmarks lie in a square of 512 whatever the picture, and their picture is what NumPy draws."""
    landmarks = mean_face() * 40 + [70, 60, 0]
    points = in_unit(landmarks, 128, CONFIG)
    twice = in_unit(landmarks * 2 + [0.5, 0.5, 0], 256, CONFIG)
    assert np.allclose(points, twice, atol=1e-3) and points.min() > 0 and points.max() < 512
    places = drawn.through(points.reshape(-1, 2).astype(np.float64), drawn.scaled(512, CONFIG.map_size))
    wanted = drawn.dots(places, CONFIG.map_size, 5.0 * CONFIG.map_size / 512)
    made = discs(torch.from_numpy(points)[None], CONFIG)
    assert made.shape == (1, 3, 16, 16) and np.abs((made[0, 0].numpy() + 1) / 2 - wanted).max() < 1e-4


def shown(engine: object, opened: float = 0.0) -> np.ndarray:
    """A frame of the engine for a performer whose mouth is open."""
    image = np.random.default_rng(1).integers(0, 255, (200, 220, 3), dtype=np.uint8)
    stage = Stage([Source(image, Face(mean_face() * 40 + [110, 95, 0]))], engine)  # type: ignore[arg-type]
    film = np.zeros((160, 160, 3), np.uint8)
    points = mean_face() * 30 + [80, 75, 0]
    stage.begin(Rest.neutral(), film, points)
    points[[14, 87, 317, 17, 152], 1] += opened
    still = Move(0.0, np.zeros(3), np.zeros(3), 1.0, np.zeros((478, 3)), np.zeros(2))
    return stage.render(Drive(still, film, points))[0].copy()


def test_the_engine_opens_a_run_and_follows_landmarks(runs: dict[str, Path]) -> None:
    made = {}
    for how in ("auto", "yes", "no"):
        engine = load_engine("freenet", Options(engine="freenet", own={"converter": how}), str(runs["generator"]))
        made[how] = shown(engine)
        assert (shown(engine, 9.0) != made[how]).any() and np.array_equal(made[how], shown(engine))
    assert np.array_equal(made["auto"], made["yes"]) and (made["no"] != made["yes"]).any()


def points(size: float, x: float, y: float) -> torch.Tensor:
    """Landmarks (1, 212) of an average face."""
    return torch.from_numpy(in_unit(mean_face() * size + [x, y, 0], 512, CONFIG))[None]


def test_a_converter_that_counts_from_rest_sees_neither_place_nor_size() -> None:
    """Untrained it adds what changed, in the other face's size; the performer's place and size never matter."""
    net = xavier_(networks_of(CONFIGS["freenet-face"])["converter"])
    rest, own = points(80, 200, 220), points(120, 260, 300)
    change = 6 * torch.sin(torch.arange(212.0))[None]
    with torch.no_grad():
        assert torch.allclose(net(rest + change, own, rest), own + 1.5 * change, atol=1e-3)
        net.fusion_flow[-1].weight.normal_()
        made = net(rest + change, own, rest)
        assert (made - own - 1.5 * change).abs().max() > 0.1
        assert torch.allclose(net(2 * (rest + change) - 90, own, 2 * rest - 90), made, atol=0.01)


def test_pixels_go_where_landmarks_go() -> None:
    """The face moves by what its landmarks moved by, what is far from it stays; the finished picture has the portrait's
    own pixels, at its own resolution."""
    own, wanted = points(70, 200, 200), points(70, 224, 200)
    flow = between(own, wanted, 64)
    mesh = torch.from_numpy(mean_face()[:, :2] * 70).float()[None]
    k = 2 / 512
    where = [(mesh + torch.tensor([x, 200.0]) + 0.5) * k - 1 for x in (200, 224)]
    assert misplaced(flow, *where) < 0.1 * misplaced(torch.zeros_like(flow), *where)
    assert flow[0, :, -4:, -4:].abs().max() < 0.1 * flow.abs().max()
    net = networks_of(CONFIGS["freenet-face"])["generator"].eval()
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    assert torch.allclose(warped(image, torch.zeros_like(flow)), image, atol=1e-5)
    with torch.no_grad():
        net.model3[-2].weight.zero_()
        net.model3[-2].bias.copy_(torch.tensor([0, 0, 0, -40.0, 0, 0]))  # nothing is painted
        made = net(image, own, own)
    assert torch.allclose(made.image, image, atol=1e-4)
    full = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    assert np.abs(composed(full, made, between(own, own, 200)).astype(int) - full).max() <= 1
    shifted = composed(full, made, torch.full((1, 2, 200, 200), 0.1))  # ten pixels of 200
    assert np.abs(shifted[:190, :190].astype(int) - full[10:, 10:]).max() <= 1


def test_a_small_recipe_learns_to_move_and_to_paint(data: Path) -> None:
    pytest.importorskip("lightning_fabric")
    recipe = replace(recipes.RECIPES["freenet-face"], start_from="", converter=False, looks=LOOKS, batch_size=4)
    task = recipes.task(recipe)
    assert set(task.networks) == {"generator"}
    samples = recipes.samples(recipe, data, "train")
    rng = np.random.default_rng(0)
    drawn_now = [samples.get(i, rng) for i in range(4)]
    batch = {k: torch.from_numpy(np.stack([s[k] for s in drawn_now])) for k in drawn_now[0]}

    class Plain:
        def backward(self, tensor: torch.Tensor) -> None:
            tensor.backward()

    terms = [task.step(batch, Plain()) for _ in range(12)]
    for name in ("pixels", "moved", "taught"):
        assert terms[-1][name] < 0.8 * terms[0][name], (name, terms)
    kept = recipes.samples(replace(recipes.RECIPES["freenet-face-converter"], looks=LOOKS), data, "train")
    first, again = kept.get(3, np.random.default_rng(1)), kept.get(3, np.random.default_rng(2))
    assert all(np.array_equal(v, again[k]) for k, v in first.items())


def test_what_does_not_fit_is_said(data: Path, runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no generator among them; infinex train freenet"):
        load_engine("freenet", None, str(runs["converter"]))
    with pytest.raises(InputError, match="config=big"):
        recipes.task(recipes.ConverterRecipe(config="big"))
    with pytest.raises(WeightsError, match="does not fit the converter of freenet-128"):
        recipes.task(recipes.ConverterRecipe(config="freenet-128")).load_file(runs["converter"] / "weights.safetensors")
    alone = tracked.make(tmp_path / "alone", LOOKS, people=2, held=1)
    with pytest.raises(InputError, match="there is one in training"):
        recipes.samples(recipes.ConverterRecipe(**SMALL), alone, "train")


def test_published_files_are_read(tmp_path: Path) -> None:
    """`best.pth` with the critics, and the generator with or without dropout, which moves the numbers of its layers."""
    nets = networks_of(CONFIG)
    folder = tmp_path / "theirs"
    folder.mkdir()
    states = {"net_G": "converter", "net_D": "pair", "net_Dr": "single"}
    torch.save({k: nets[v].state_dict() for k, v in states.items()} | {"epoch": 3}, folder / "best.pth")
    torch.save(nets["generator"].state_dict(), folder / "latest_net_G.pth")
    read = LAYOUT.read_published(folder)
    assert read.config == replace(CONFIG, size=256, critic_width=64) and len(read.networks) == 4
    assert load_engine("freenet", None, str(folder)).size == 256
    plain = networks_of(replace(CONFIG, dropout=0.0))["generator"]
    torch.save(plain.state_dict(), tmp_path / "plain.pth")
    assert LAYOUT.read_published(tmp_path / "plain.pth").config.dropout == 0
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="another model"):
        LAYOUT.read_published(tmp_path / "other.pth")
