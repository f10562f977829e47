"""MarioNETte in training and at work, on the smallest networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from infinex.drivers.contract import Drive  # noqa: E402
from infinex.engine import Source, load_engine  # noqa: E402
from infinex.errors import InputError, WeightsError  # noqa: E402
from infinex.face.topology import mean_face  # noqa: E402
from infinex.face.tracker import Face  # noqa: E402
from infinex.motion import Move, Rest  # noqa: E402
from infinex.options import Options  # noqa: E402
from infinex.systems.marionette.engine import MarionetteEngine, MarionetteOptions  # noqa: E402
from infinex.systems.marionette.losses import LossWeights, flows_apart  # noqa: E402
from infinex.systems.marionette.model import CONFIGS, Critic, Marionette  # noqa: E402
from infinex.systems.marionette.recipe import RECIPES, MarionetteTask, outline, task  # noqa: E402
from infinex.systems.marionette.weights import LAYOUT, MarionetteWeights, networks_of  # noqa: E402
from infinex.training.embedded import embedded_points  # noqa: E402

TINY = RECIPES["marionette-tiny"]
S = CONFIGS["marionette-tiny"].size


class Plain:
    """Stands for Lightning Fabric."""

    def backward(self, tensor: torch.Tensor) -> None:
        tensor.backward()


def batch(count: int = 2, pictures: int = 2) -> dict[str, torch.Tensor]:
    """Soft pictures of two people, with outlines at different places."""
    torch.manual_seed(0)
    small = torch.rand(count, 3, 8, 8)
    image = torch.nn.functional.interpolate(small, size=(S, S), mode="bicubic").clamp(0, 1)
    lines = [
        torch.from_numpy(outline(mean_face() * 24 + [32 + i, 34, 0], S)).permute(2, 0, 1) / 255
        for i in range(1 + pictures)
    ]
    shifted = torch.stack([torch.roll(image, i, 3) for i in range(1, 1 + pictures)], 1)
    return {
        "image": image, "outline": lines[0].expand(count, -1, -1, -1).float(), "images": shifted,
        "outlines": torch.stack(lines[1:])[None].expand(count, -1, -1, -1, -1).float(), "who": torch.arange(count),
        "surface": surface(0)[None].expand(count, -1, -1),
        "surfaces": torch.stack([surface(i) for i in range(1, 1 + pictures)])[None].expand(count, -1, -1, -1),
    }  # fmt: skip


def surface(shift: int) -> torch.Tensor:
    """The tracked points (468, 2) of such an outline, in -1..1."""
    return torch.from_numpy((mean_face() * 24 + [32 + shift, 34, 0])[:468, :2] * 2 / (S - 1) - 1).float()


def test_it_learns_a_few_pictures() -> None:
    torch.manual_seed(0)
    made = MarionetteTask(replace(TINY, rate_generator=3e-3, weights=replace(TINY.weights, adversarial=0.0)))
    one = batch()
    terms = [made.step(one, Plain()) for _ in range(20)]
    assert set(terms[0]) == {"critic", "objects", "pixels", "feature_matching"}
    assert terms[-1]["pixels"] < 0.7 * terms[0]["pixels"]
    assert set(made.measure(one)) == {"l1", "l1_static"}
    assert made.sample_panel(one).shape == (2 * S, 4 * S, 3)


def test_a_tracked_face_teaches_the_flows() -> None:
    torch.manual_seed(0)
    recipe = replace(RECIPES["marionette-face"], rate_generator=3e-3)
    made, one = MarionetteTask(recipe), batch(pictures=1)
    terms = [made.step(one, Plain()) for _ in range(40)]
    assert set(terms[0]) == {"pixels", "edges", "taught"}
    assert terms[-1]["taught"] < 0.7 * terms[0]["taught"] and terms[-1]["pixels"] < 0.8 * terms[0]["pixels"]
    assert made.origin() and not MarionetteTask(RECIPES["marionette-face-no-alignment"]).origin()


def test_flows_are_apart_by_as_much_as_they_are_wrong() -> None:
    """Where everything is in one place, reading in place is right."""
    middle = torch.from_numpy(embedded_points())[None]
    still = torch.zeros(1, 2, 16, 16)
    assert float(flows_apart(still, [still], middle, middle)) < 1e-5
    off = still + torch.tensor([0.1, 0.0])[:, None, None]
    # Half of the sum of both directions is the mean; the held frame counts 0.3 beside it.
    assert float(flows_apart(off, [still], middle, middle)) == pytest.approx(0.05 * 1.3, rel=0.01)


def test_the_published_hinge_teaches_the_critic_nothing() -> None:
    torch.manual_seed(0)
    for adversary, learns in (("published", False), ("hinge", True)):
        made = MarionetteTask(replace(TINY, adversary=adversary))  # type: ignore[arg-type]
        before = made.networks["critic"].state_dict()["score.parametrizations.weight.original"].clone()
        assert "generator_gan" in made.step(batch(), Plain())
        after = made.networks["critic"].state_dict()["score.parametrizations.weight.original"]
        assert torch.equal(before, after) is not learns


def test_the_critic_knows_people_by_its_projection() -> None:
    torch.manual_seed(0)
    image, lines = torch.rand(2, 3, S, S), torch.rand(2, 3, S, S)
    config = replace(CONFIGS["marionette-tiny"], identities=3)
    critic = Critic(config).eval()
    same, other = (critic(image, lines, torch.tensor(w)).score for w in ([0, 0], [0, 2]))
    assert torch.allclose(same[0], other[0]) and not torch.allclose(same[1], other[1])


@torch.no_grad()
def test_any_number_of_pictures_in_any_order() -> None:
    torch.manual_seed(0)
    network = Marionette(CONFIGS["marionette-tiny"]).double().eval()
    b = batch(1, 3)
    outlined, images, lines = (b[k].double() * 2 - 1 for k in ("outline", "images", "outlines"))
    once = network(outlined, images, lines)[0].image
    turned = network(outlined, images[:, [2, 0, 1]], lines[:, [2, 0, 1]])[0].image
    assert torch.allclose(once, turned, atol=1e-5)
    assert not torch.allclose(once, network(outlined, images[:, :1], lines[:, :1])[0].image, atol=1e-3)


def test_ablations_lack_what_they_are_without() -> None:
    names = {
        k: set(networks_of(RECIPES[f"marionette-small-no-{k}"].sizes)["generator"].state_dict())
        for k in ("attention", "alignment")
    }
    assert not any("query" in n for n in names["attention"]) and any("flow" in n for n in names["attention"])
    assert not any("flow" in n for n in names["alignment"]) and any("query" in n for n in names["alignment"])
    made = MarionetteTask(replace(TINY, attend=False, align=False))
    assert made.sample_panel(batch()).shape == (2 * S, 4 * S, 3)


def test_weights_come_back(tmp_path: Path) -> None:
    made, path = task(TINY), tmp_path / "w.safetensors"
    made.save(path)
    stored = LAYOUT.read(path)
    assert stored.config == TINY.sizes and stored.name == "marionette-tiny"
    other = task(TINY)
    other.load_file(path)
    for name, network in made.networks.items():
        for key, tensor in network.state_dict().items():
            assert torch.equal(tensor, other.networks[name].state_dict()[key])
    # Another number of people costs the critic, nothing else.
    task(replace(TINY, people=5)).load_file(path)
    with pytest.raises(WeightsError, match="does not fit the generator"):
        task(replace(TINY, attend=False)).load_file(path)
    LAYOUT.save(path, MarionetteWeights(TINY.sizes, {"critic": stored.networks["critic"]}))
    with pytest.raises(WeightsError, match="no generator"):
        LAYOUT.read(path)


def test_wrong_numbers_are_refused() -> None:
    for change in ({"config": "huge"}, {"pictures": 0}):
        with pytest.raises(InputError):
            task(replace(TINY, **change))


def portrait(x: float = 120.0) -> Source:
    """A face in a soft picture."""
    rng = np.random.default_rng(0)
    image = np.kron(rng.integers(0, 255, (24, 30, 3)), np.ones((10, 10, 1))).astype(np.uint8)
    return Source(image, Face(mean_face() * 50 + [x, 110, 0]))


def test_further_pictures_of_a_person_are_looked_at() -> None:
    torch.manual_seed(0)
    networks = {"generator": Marionette(CONFIGS["marionette-tiny"]).state_dict()}
    engine = MarionetteEngine(MarionetteWeights(CONFIGS["marionette-tiny"], networks), MarionetteOptions())
    alone, other = engine.prepare(portrait()), portrait(150.0)
    more = engine.prepare(Source(portrait().image, portrait().face, views=(other,)))
    assert alone.known.codes.shape[1] == 1 and more.known.codes.shape[1] == 2
    points = mean_face() * 20 + [32, 32, 0]
    assert not np.array_equal(alone.made(points), more.made(points))
    assert alone.proportions == "landmark-transformer"


def test_the_portraits_own_pixels_are_moved_by_the_weights_that_come_along() -> None:
    """At rest they are hardly moved; without `detail` what is shown is as coarse as the networks."""
    steps = {}
    for detail in ("yes", "no"):
        face = load_engine("marionette", Options(engine="marionette", own={"detail": detail})).prepare(portrait())
        face.begin(Rest.neutral(), None, None)
        canvas = portrait().image.copy()
        face.draw(canvas, Drive(Move(0.0, np.zeros(3), np.zeros(3), 1.0, np.zeros((478, 3)), np.zeros(2))))
        x0, y0, x1, y1 = face.box
        inside = canvas[(3 * y0 + y1) // 4 : (y0 + 3 * y1) // 4, (3 * x0 + x1) // 4 : (x0 + 3 * x1) // 4]
        steps[detail] = np.abs(np.diff(inside.astype(float), axis=1)).mean()
    assert steps["yes"] > 1.2 * steps["no"]


def test_recipes_weigh_as_the_paper_does() -> None:
    assert LossWeights() == LossWeights(1.0, 10.0, 0.01, 10.0, 0.0)
    assert RECIPES["marionette"].pictures == 4 and RECIPES["marionette"].sizes.size == 256


def test_a_recogniser_of_faces_is_read_in_either_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from infinex.nn import vgg
    from infinex.systems.marionette import losses

    small = tuple((4,) * len(stage) for stage in vgg.STAGES_16)
    monkeypatch.setattr(losses, "STAGES_16", small)
    net = vgg.VGG16(small)
    names = [f"conv{i}_{k}" for i, stage in enumerate(small, 1) for k in range(1, len(stage) + 1)]
    index = vgg.torchvision_indices(small)
    for layout in (names, [f"features.{i}" for i in index]):
        state = {f"{n}.{p}": v for n, conv in zip(layout, net.convs) for p, v in conv.state_dict().items()}
        torch.save(state, tmp_path / "face.pth")
        read_back = losses.face_recogniser(tmp_path / "face.pth")
        assert all(torch.equal(a.weight, b.weight) for a, b in zip(net.convs, read_back.convs))
    torch.save({"conv1_1.weight": torch.zeros(1)}, tmp_path / "face.pth")
    with pytest.raises(WeightsError, match="no VGG-16"):
        losses.face_recogniser(tmp_path / "face.pth")
