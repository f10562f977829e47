"""StarGAN against the outputs of the authors' code, sizes taken from the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from infinex.systems.stargan.losses import HAIR, LossWeights, critic_terms, display_labels, generator_terms  # noqa: E402
from infinex.systems.stargan.model import CELEBA, told  # noqa: E402
from infinex.systems.stargan.weights import LAYOUT, StarganWeights, rename, sizes_of  # noqa: E402

pytestmark = pytest.mark.parity
TOLERANCE = 1e-4
CASES = {
    # kind, set, suffix of the networks, place of the outputs, labels (source, wanted)
    "attributes": ("binary", 0, "", "", "label"),
    "categories": ("categories", 0, "", "categories/", "category"),
    "first of two": ("binary", 0, "_two", "two_first/", "label"),
    "second of two": ("categories", 1, "_two", "two_second/", "category2"),
}


@pytest.fixture(scope="module")
def file(parity_dir: Path) -> Mapping[str, np.ndarray]:
    path = parity_dir / "stargan.npz"
    if not path.is_file():
        pytest.skip(f"no {path.name} in {parity_dir}: set INFINEX_PARITY_DIR")
    with np.load(path, allow_pickle=False) as data:
        return dict(data)


def weights_of(file: Mapping[str, np.ndarray], suffix: str) -> StarganWeights:
    networks = {}
    for theirs, ours in ((f"generator{suffix}", "generator"), (f"discriminator{suffix}", "critic")):
        prefix = f"state/{theirs}/"
        state = {k.removeprefix(prefix): torch.from_numpy(v) for k, v in file.items() if k.startswith(prefix)}
        networks[ours] = rename(state)
    return LAYOUT.fit(networks)


def tensor(file: Mapping[str, np.ndarray], name: str) -> torch.Tensor:
    return torch.from_numpy(np.asarray(file[name]))


def labels_of(file: Mapping[str, np.ndarray], name: str, count: int) -> torch.Tensor:
    value = tensor(file, f"in/{name}")
    return value if value.dim() == 2 else torch.nn.functional.one_hot(value.long(), count).float()


def test_sizes_are_read_off_the_tensors(file: Mapping[str, np.ndarray]) -> None:
    one, two = weights_of(file, ""), weights_of(file, "_two")
    assert (one.config.size, one.config.width, one.config.blocks, one.config.critic_depth) == (64, 8, 2, 4)
    assert one.config.labels == CELEBA and not one.config.second
    assert (two.config.width, len(two.config.labels), len(two.config.second)) == (4, 5, 4)
    assert (
        replace(sizes_of({"generator": one.networks["generator"]}), size=64, critic_width=8, critic_depth=4)
        == one.config
    )


@pytest.mark.parametrize("case", CASES)
def test_pictures_and_both_players(file: Mapping[str, np.ndarray], case: str) -> None:
    kind, which, suffix, place, name = CASES[case]
    weights = weights_of(file, suffix)
    config = weights.config
    count = len(config.second if which else config.labels)
    # Losses follow the networks in training mode, as published; there is nothing in them that differs by mode.
    generator, critic = (LAYOUT.network(weights, n) for n in ("generator", "critic"))
    image, alpha = tensor(file, "in/image"), tensor(file, "in/alpha").reshape(-1)
    labels, wanted = (labels_of(file, f"{name}_{end}", count) for end in ("source", "target"))

    terms, made = generator_terms(LossWeights(), generator, critic, image, labels, wanted, kind, which)  # type: ignore[arg-type]
    assert (made - tensor(file, f"out/{place}image")).abs().max() < TOLERANCE
    back = generator(made, told(labels, config, which))
    assert (back - tensor(file, f"out/{place}reconstruction")).abs().max() < TOLERANCE
    for ours, theirs, weight in (("generator_gan", "g_fake", 1), ("labels", "g_cls", 1), ("cycle", "g_rec", 10)):
        assert float(terms[ours]) / weight == pytest.approx(float(file[f"out/{place}loss/{theirs}"]), abs=TOLERANCE)
    generator.zero_grad()
    sum(terms.values()).backward()
    grad = file[f"out/{place}grad/generator.main.0.weight"]
    first = dict(generator.named_parameters())["trunk.0.weight"].grad
    assert first is not None
    assert (first - torch.from_numpy(grad)).abs().max() < 1e-3 * np.abs(grad).max()

    said = critic_terms(LossWeights(), critic, image, made, labels, kind, which, alpha)  # type: ignore[arg-type]
    loss = {k: float(file[f"out/{place}loss/{k}"]) for k in ("d_real", "d_fake", "d_cls", "d_gp")}
    assert float(said["critic_gan"]) == pytest.approx(loss["d_real"] + loss["d_fake"], abs=TOLERANCE)
    assert float(said["critic_labels"]) == pytest.approx(loss["d_cls"], abs=TOLERANCE)
    assert float(said["critic_penalty"]) == pytest.approx(10 * loss["d_gp"], rel=TOLERANCE)
    critic.zero_grad()
    sum(said.values()).backward()
    grad = file[f"out/{place}grad/discriminator.conv1.weight"]
    assert critic.patch.weight.grad is not None
    assert (critic.patch.weight.grad - torch.from_numpy(grad)).abs().max() < 1e-3 * np.abs(grad).max()


def test_critic(file: Mapping[str, np.ndarray]) -> None:
    with torch.no_grad():
        verdict = LAYOUT.network(weights_of(file, ""), "critic")(tensor(file, "in/image"))
    assert (verdict.score - tensor(file, "out/critic")[:, 0]).abs().max() < TOLERANCE
    assert (verdict.labels - tensor(file, "out/class_logits")).abs().max() < TOLERANCE


def test_running_statistics_are_not_used(file: Mapping[str, np.ndarray]) -> None:
    weights = weights_of(file, "")
    with torch.no_grad():
        made = LAYOUT.network(weights, "generator")(tensor(file, "in/image"), tensor(file, "in/label_target"))
    assert (made - tensor(file, "out/image_if_running_statistics_were_used")).abs().max() > 0.01


def test_labels_that_are_shown(file: Mapping[str, np.ndarray]) -> None:
    shown = display_labels(tensor(file, "in/label_source"), CELEBA, HAIR)
    assert np.array_equal(shown.numpy(), file["out/target_labels_binary"])
