"""StarGAN at work: what it learns from, one step, resuming in turn, files, and the engine's choice of expression."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from infinex.drivers.units import EMOTIONS as UNITS_OF  # noqa: E402
from infinex.engine import Drive  # noqa: E402
from infinex.errors import InputError, WeightsError  # noqa: E402
from infinex.jobs.source import load_source  # noqa: E402
from infinex.media.image import write_image  # noqa: E402
from infinex.motion import Move  # noqa: E402
from infinex.nn.losses import bare  # noqa: E402
from infinex.systems.stargan.engine import StarganEngine, StarganOptions, open_engine, prototypes, shares  # noqa: E402
from infinex.systems.stargan.faces import ATTRIBUTES, Faces, Labelled, read_faces  # noqa: E402
from infinex.systems.stargan.model import CELEBA, EMOTIONS, told  # noqa: E402
from infinex.systems.stargan.recipe import RECIPES, LabelledFaces, StarganTask  # noqa: E402
from infinex.systems.stargan.weights import LAYOUT  # noqa: E402
from infinex.training.data import Kept  # noqa: E402

TINY = RECIPES["stargan-tiny"]


class Direct:
    """Backward passes as they are."""

    def backward(self, tensor: torch.Tensor) -> None:
        tensor.backward()


def picture(seed: int, side: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)


@pytest.fixture
def celeba(tmp_path: Path) -> Path:
    """Pictures with attributes, more of them than the published test set takes."""
    folder = tmp_path / "celeba"
    folder.mkdir()
    rows = [f"{i:06d}.png " + " ".join("1" if (i >> b) & 1 else "-1" for b in range(6)) for i in range(2100)]
    names = "Smiling Black_Hair Blond_Hair Brown_Hair Male Young"
    (folder / ATTRIBUTES).write_text("\n".join([str(len(rows)), names, *rows]) + "\n")
    for i in range(2100):  # a few of them lie there
        if i % 25 == 0:
            write_image(folder / f"{i:06d}.png", picture(i))
    return folder


def batch(config, kind: str = "categories", seed: int = 0) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    n = len(config.labels)
    labels, wanted = (torch.eye(n)[torch.randint(n, (4,), generator=g)] for _ in range(2))
    image = torch.nn.functional.interpolate(torch.rand(4, 3, 4, 4, generator=g), size=config.size, mode="bilinear")
    out = {"image": image, "labels": labels, "wanted": wanted, "target": image.flip(0), "paired": torch.ones(4, 1)}
    if config.second:
        m = len(config.second)
        out |= {f"second_{k}": v for k, v in out.items()}
        out |= {f"second_{k}": torch.eye(m)[torch.randint(m, (4,), generator=g)] for k in ("labels", "wanted")}
    return out


def test_labels_of_celeba_are_read(celeba: Path) -> None:
    train, test = (read_faces(celeba, CELEBA, split) for split in ("train", "test"))
    assert train.kind == "binary" and train.framed
    assert len(train.pictures) + len(test.pictures) == 84
    assert not {p.path for p in train.pictures} & {p.path for p in test.pictures}
    for p in test.pictures:
        number = int(p.path.stem)
        assert p.labels == tuple(float((number >> (b + 1)) & 1) for b in range(5))
    with pytest.raises(InputError, match="knows no Hat"):
        read_faces(celeba, ("Hat",), "train")
    sample = LabelledFaces(replace(TINY, labels=CELEBA, kind="binary"), celeba, "test").get(0, np.random.default_rng(0))
    assert sample["image"].shape == (3, 32, 32) and sample["image"].dtype == np.float32


def test_folders_of_labels(tmp_path: Path) -> None:
    for name in ("happy", "sadness"):
        for split in ("train", "test"):
            (tmp_path / split / name).mkdir(parents=True)
            write_image(tmp_path / split / name / "a.png", picture(1))
    found = read_faces(tmp_path, ("happy", "sad"), "train")
    assert [p.labels for p in found.pictures] == [(1.0, 0.0), (0.0, 1.0)]
    with pytest.raises(InputError, match="no folder for angry"):
        read_faces(tmp_path, ("angry", "happy"), "train")
    with pytest.raises(InputError, match="categories labels"):
        LabelledFaces(replace(TINY, labels=("happy", "sad"), kind="binary"), tmp_path, "train")


def test_people_of_stimuli_are_held_back_whole(tmp_path: Path) -> None:
    (tmp_path / "stimuli.csv").write_text("portrait\n")
    for person in range(10):
        (tmp_path / f"p{person}").mkdir()
        for name in ("happy", "neutral", "AU12_E"):
            write_image(tmp_path / f"p{person}" / f"{name}.png", picture(person))
    train, test = (read_faces(tmp_path, ("happy", "neutral"), s) for s in ("train", "test"))
    assert len(train.pictures) == 16 and len(test.pictures) == 4
    assert not {p.person for p in train.pictures} & {p.person for p in test.pictures}


def test_stressed_labels_are_wanted_three_times_as_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stimuli.csv").write_text("portrait\n")
    (tmp_path / "p").mkdir()
    labels = ("happy", "neutral", "sad")
    for name in labels:
        write_image(tmp_path / "p" / f"{name}.png", picture(0))
    monkeypatch.setattr(LabelledFaces, "_face", lambda self, which, place: picture(place, self.size))
    samples = LabelledFaces(replace(TINY, labels=labels, pairs=1.0, stressed=("sad",)), tmp_path, "train")
    rng = np.random.default_rng(0)
    wanted = np.mean([samples.get(0, rng)["wanted"] for _ in range(400)], axis=0)  # of the happy face
    assert wanted[0] == 0 and 0.68 < wanted[2] < 0.82


@pytest.mark.parametrize("second", [False, True])
def test_steps_take_turns_and_learn(second: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = replace(TINY, critic_steps=2, second="elsewhere" if second else "", second_labels=("a", "b"))
    torch.manual_seed(0)
    task = StarganTask(recipe)
    data = batch(task.config)
    before = {n: bare(net).color.weight.clone() for n, net in task.networks.items() if n == "generator"}
    first = task.step(data, Direct())
    assert first["generator_gan"] == 0 and torch.equal(task.networks["generator"].color.weight, before["generator"])
    terms = task.step(data, Direct())
    assert terms["cycle"] > 0 and not torch.equal(task.networks["generator"].color.weight, before["generator"])
    assert ("second_cycle" in terms) == second
    assert set(first) == set(terms)
    figures = task.measure(data)
    assert 0 <= figures["read"] <= 1 and figures["pairs_static"] > 0
    assert task.sample_panel(data).shape == (4 * 32, 4 * 32, 3)
    data["image"][0, 0, 0, 0] = float("nan")
    with pytest.raises(FloatingPointError):
        task.step(data, Direct())


def test_a_few_pictures_are_learnt_by_heart() -> None:
    torch.manual_seed(0)
    recipe = replace(TINY, critic_steps=1, rate=5e-3)
    task = StarganTask(recipe)
    data = batch(task.config)
    losses = [task.step(data, Direct())["cycle"] for _ in range(30)]
    assert min(losses[-8:]) < 0.8 * losses[0]


def test_files(tmp_path: Path) -> None:
    task = StarganTask(replace(TINY, second="elsewhere", second_labels=("a", "b")))
    task.save(tmp_path / "w.safetensors")
    weights = LAYOUT.load(tmp_path / "w.safetensors")
    assert weights.config == task.config and weights.config.second == ("a", "b")
    again = StarganTask(task.recipe)
    again.load_file(tmp_path / "w.safetensors")
    for name, network in again.networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, task.networks[name].state_dict()[key])
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.ckpt")
    with pytest.raises(WeightsError):
        LAYOUT.read_published(tmp_path / "other.ckpt")


def test_what_the_generator_is_told_of_two_sets() -> None:
    config = replace(StarganTask(TINY).config, labels=("a", "b"), second=("c", "d", "e"))
    assert told(torch.tensor([[1.0, 0]]), config).tolist() == [[1, 0, 0, 0, 0, 1, 0]]
    assert told(torch.tensor([[0.0, 0, 1]]), config, 1).tolist() == [[0, 0, 0, 0, 1, 0, 1]]


@pytest.mark.parametrize("name", [n for n in EMOTIONS if n != "neutral"])
def test_the_nearest_expression_is_asked_for_as_strongly_as_it_is_performed(name: str) -> None:
    for strength in (0.4, 1.0):
        got = shares(prototypes((name,))[0] * strength, EMOTIONS)
        assert got[EMOTIONS.index(name)] == pytest.approx(strength, abs=1e-6)
        assert got.sum() == pytest.approx(1)
    assert set(UNITS_OF) >= set(EMOTIONS)


def test_the_engine_says_what_it_lacks(tmp_path: Path) -> None:
    task = StarganTask(replace(TINY, labels=CELEBA, kind="binary"))
    task.save(tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="say which hold"):
        StarganEngine(tmp_path / "w.safetensors")
    StarganTask(replace(TINY, labels=("neutral",))).save(tmp_path / "neutral.safetensors")
    with pytest.raises(InputError, match="neutral alone"):
        StarganEngine(tmp_path / "neutral.safetensors")
    with pytest.raises(InputError, match="know no Hat"):
        StarganEngine(tmp_path / "w.safetensors", StarganOptions(labels="Hat"))
    assert StarganEngine(tmp_path / "w.safetensors", StarganOptions(labels="Young, Male"))._fixed.tolist() == [
        0,
        0,
        0,
        1,
        1,
    ]


def test_the_weights_that_come_along_show_expressions_and_leave_a_face_at_rest(portrait: Path) -> None:
    source = load_source(portrait, size=320)[0]

    def drawn(**options: Any) -> np.ndarray:
        canvas, still = source.image.copy(), np.zeros(3)
        move = Move(0.0, still, still, 1.0, np.zeros((len(source.face.landmarks), 3)), np.zeros(2))
        open_engine(StarganOptions(**options), "").prepare(source).draw(canvas, Drive(move))
        return canvas

    assert (drawn() == source.image).all() and (drawn(labels="neutral") == source.image).all()
    assert not (drawn(labels="neutral", whole=True) == source.image).all()
    x0, y0, x1, y1 = (int(v) for v in source.face.box)
    surprised, sad = (drawn(labels=n).astype(int)[y0:y1, x0:x1] for n in ("surprised", "sad"))
    assert abs(surprised - source.image[y0:y1, x0:x1]).mean() > 1 and abs(surprised - sad).mean() > 1


def test_no_face_is_no_sample(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", picture(0))
    samples = LabelledFaces.__new__(LabelledFaces)
    samples.recipe, samples.split, samples.size = TINY, "test", 32
    samples.sets = [Faces([Labelled(tmp_path / "a.png", "", (1.0,) + (0.0,) * 7)], EMOTIONS, "categories", False)]
    samples._cache, samples._alike = Kept(), [{"": [0]}]
    with pytest.raises(InputError, match="config=none: there are stargan,"):
        replace(RECIPES["stargan-tiny"], config="none").sizes  # noqa: B018
    with pytest.raises(InputError, match="none of the pictures shows a face"):
        samples.get(0, np.random.default_rng(0))
