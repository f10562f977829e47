"""CrossID-GAN in training and at work, on the smallest networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from infinex.engine import Drive, Source, find_engine, load_engine  # noqa: E402
from infinex.errors import InputError, WeightsError  # noqa: E402
from infinex.face.pose import to_matrix  # noqa: E402
from infinex.face.topology import mean_face  # noqa: E402
from infinex.face.tracker import Face  # noqa: E402
from infinex.motion import Move, Rest  # noqa: E402
from infinex.options import Options  # noqa: E402
from infinex.systems.crossid_gan.model import AT_WORK, CONFIGS, read, through  # noqa: E402
from infinex.systems.crossid_gan.recipe import RECIPES, CrossIdTask, LossWeights, motion_picture, task  # noqa: E402
from infinex.systems.crossid_gan.weights import LAYOUT, CrossIdWeights  # noqa: E402

TINY = replace(RECIPES["crossid-gan-tiny"], people=4, ramp=0)
S, L = TINY.sizes.size, TINY.sizes.lines


class Plain:
    """Stands for Lightning Fabric."""

    def backward(self, tensor: torch.Tensor) -> None:
        tensor.backward()


def face(who: int, mouth: float) -> np.ndarray:
    """Landmarks of somebody narrow or wide, whose mouth is open so far."""
    out = mean_face() * np.array([1 + 0.06 * (who - 1.5), 1, 1]) * 11 + [16, 17, 0]
    out[mean_face()[:, 1] > mean_face()[14, 1], 1] += mouth
    return out


def batch(count: int = 4, seed: int = 0) -> dict[str, torch.Tensor]:
    """Soft pictures of four people under each other's motion."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    image = torch.nn.functional.interpolate(torch.rand(count, 3, 6, 6), size=(S, S), mode="bicubic").clamp(0, 1)
    who, others = np.arange(count) % 4, (np.arange(count) + 1) % 4

    def told(people: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        drawn = [[motion_picture(face(p, 3 * rng.random()), S, L) for _ in range(3)] for p in people]
        lines, places = (torch.from_numpy(np.array([[d[k] for d in row] for row in drawn])).float() for k in (0, 1))
        return lines, places

    lines, places = told(who)
    other_lines, other_places = told(others)
    return {
        "image": image, "film": image[:, None].expand(-1, 3, -1, -1, -1), "lines": lines, "places": places,
        "others": other_lines, "others_places": other_places, "who": torch.from_numpy(who),
        "others_who": torch.from_numpy(others), "surface": surfaces(who), "own_surface": surfaces(who + 0.5),
    }  # fmt: skip


def test_it_learns_a_few_pictures() -> None:
    torch.manual_seed(0)
    made = CrossIdTask(replace(TINY, rate=3e-3))
    one = batch(2)
    terms = [made.step(one, Plain()) for _ in range(15)]
    assert {"critic", "film_critic", "reconstruction", "features", "generator_gan", "films_gan", "classifier",
            "reader", "code", "accuracy"} == set(terms[0])  # fmt: skip
    assert terms[-1]["reconstruction"] < 0.6 * terms[0]["reconstruction"]
    assert set(made.measure(one)) == {"l1", "l1_static"}
    assert made.sample_panel(one).shape == (2 * S, 6 * S, 3)


def surfaces(who: np.ndarray) -> torch.Tensor:
    """Tracked points (B, 468, 2) in -1..1."""
    return torch.from_numpy(np.stack([face(w, 0)[:468, :2] * 2 / (S - 1) - 1 for w in who])).float()


def test_a_tracked_face_teaches_the_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    base = RECIPES["crossid-gan-face"]
    monkeypatch.setitem(CONFIGS, "crossid-gan-tiny", replace(CONFIGS["crossid-gan-tiny"], flow=8))
    made = CrossIdTask(replace(TINY, weights=base.weights, rate=3e-3))
    one = {k: v[:, :1] if k in ("film", "lines", "places", "others", "others_places") else v
           for k, v in batch(4).items()}  # fmt: skip
    terms = [made.step(one, Plain()) for _ in range(40)]
    assert set(terms[0]) == {"pixels", "taught", "classifier", "reader", "code", "accuracy"}
    assert terms[-1]["taught"] < 0.5 * terms[0]["taught"]
    assert made.origin() and made.sample_panel(one).shape == (4 * S, 6 * S, 3)


def test_flows_follow_each_other() -> None:
    """What is read half a cell to the right, and then again, is read a cell to the right."""
    step = torch.zeros(1, 2, 8, 8)
    step[:, 0] = 0.1
    assert torch.allclose(through(step, step), 2 * step, atol=1e-6)
    ramp = torch.linspace(-1, 1, 8).expand(1, 1, 8, 8)
    assert torch.allclose(read(ramp, step)[..., 1:-1], ramp[..., 1:-1] + 0.1, atol=1e-5)


def test_the_adversary_turns_the_classifiers_gradient_round() -> None:
    """The classifier learns to tell people, the encoder behind it the opposite, as strongly as is asked."""
    lines = torch.from_numpy(np.stack([motion_picture(face(who, 1.0), S, L)[0] for who in range(4)]))
    slopes: dict[float, dict[str, list[torch.Tensor]]] = {}
    for strength in (0.0, -1.0, 3.0):
        torch.manual_seed(0)
        made = CrossIdTask(replace(TINY, weights=replace(LossWeights(), identity=strength)))
        for p in made.networks["classifier"].parameters():
            made.optimizers()["classifier"].state[p]["step"] = torch.tensor(1.0)  # the ramp is over
        term, accuracy = made.told_apart(made.networks["motion"](lines), torch.arange(4))
        term.backward()
        assert 0 <= accuracy <= 1
        slopes[strength] = {n: [p.grad for p in made.networks[n].parameters()] for n in ("motion", "classifier")}
    for still, plain, turned in zip(*(slopes[s]["motion"] for s in (0.0, -1.0, 3.0))):
        assert not still.any() and plain.any() and torch.allclose(turned, -3 * plain, rtol=1e-4, atol=1e-8)
    for plain, turned in zip(slopes[-1.0]["classifier"], slopes[3.0]["classifier"]):
        assert torch.equal(plain, turned)


def test_the_adversary_comes_in_slowly_and_goes_on_after_a_stop() -> None:
    made = CrossIdTask(replace(TINY, ramp=4))
    seen = []
    for _ in range(3):
        seen.append(made._strength())
        made.step(batch(2), Plain())
    assert seen == pytest.approx([0.0, 0.25, 0.5])
    again = CrossIdTask(replace(TINY, ramp=4))
    again.optimizers()["classifier"].load_state_dict(made.optimizers()["classifier"].state_dict())
    assert again._strength() == pytest.approx(0.75)


def test_only_place_and_size_go_round_the_encoder() -> None:
    one, place = motion_picture(face(1, 0), S, L)
    moved, other = motion_picture(0.7 * face(1, 0) + [5, 3, 0], S, L)
    assert np.abs(one - moved).max() < 0.02 and not np.allclose(place, other)
    assert other[2] - place[2] == pytest.approx(np.log(0.7), abs=1e-3)
    turned, _ = motion_picture(face(1, 0) @ to_matrix(np.array([0, 0, 0.3])).T, S, L)
    opened, _ = motion_picture(face(1, 3), S, L)
    assert np.abs(one - turned).mean() > 0.02 and np.abs(one - opened).mean() > 0.002


def test_weights_come_back(tmp_path: Path) -> None:
    made, path = task(TINY), tmp_path / "w.safetensors"
    made.save(path)
    stored = LAYOUT.read(path)
    assert stored.config == TINY.sizes and set(stored.networks) == set(made.networks)
    task(TINY).load_file(path)
    task(replace(TINY, people=9)).load_file(path)  # whoever is told apart
    LAYOUT.save(path, CrossIdWeights(stored.config, {n: stored.networks[n] for n in AT_WORK}))
    LAYOUT.read(path)
    LAYOUT.save(path, CrossIdWeights(stored.config, {"motion": stored.networks["motion"]}))
    with pytest.raises(WeightsError, match="has no content"):
        LAYOUT.read(path)
    with pytest.raises(InputError):
        task(replace(TINY, config="huge"))


def test_it_is_found_by_the_name_of_the_paper() -> None:
    assert find_engine("crossid-gan").package.endswith("crossid_gan")


def test_the_weights_that_come_along_move_the_portraits_own_pixels_and_paint_where_asked() -> None:
    shade = np.random.default_rng(0).integers(0, 255, (48, 48, 3), np.uint8)
    image = cv2.resize(shade, (240, 240), interpolation=cv2.INTER_NEAREST)
    source = Source(image, Face(mean_face() * 40 + [120, 120, 0]))
    shown = {}
    for paint in ("no", "yes"):
        prepared = load_engine("crossid-gan", Options(engine="crossid-gan", own={"paint": paint})).prepare(source)
        prepared.begin(Rest.neutral(), None, None)
        for turn in (0.0, 0.3):
            canvas = image.copy()
            prepared.draw(
                canvas, Drive(Move(0.0, np.array([0, turn, 0]), np.zeros(3), 1.0, np.zeros((478, 3)), np.zeros(2)))
            )
            shown[paint, turn] = canvas.astype(int)
    at_rest, turned = (np.abs(shown["no", turn] - image).mean() for turn in (0.0, 0.3))
    assert at_rest < 0.6 * turned and turned > 0.8  # of a picture in soft squares
    assert np.abs(shown["yes", 0.3] - shown["no", 0.3]).max() > 3
