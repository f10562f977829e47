"""GANimation against the outputs of the authors' code, sizes taken from the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from infinex.nn.losses import gradient_penalty  # noqa: E402
from infinex.systems.ganimation.model import GanimationConfig  # noqa: E402
from infinex.systems.ganimation.weights import LAYOUT, GanimationWeights, rename  # noqa: E402

pytestmark = pytest.mark.parity
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def file(parity_dir: Path) -> Mapping[str, np.ndarray]:
    path = parity_dir / "ganimation.npz"
    if not path.is_file():
        pytest.skip(f"no {path.name} in {parity_dir}: set INFINEX_PARITY_DIR")
    with np.load(path, allow_pickle=False) as data:
        return dict(data)


@pytest.fixture(scope="module")
def weights(file: Mapping[str, np.ndarray]) -> GanimationWeights:
    networks = {}
    for theirs, ours in (("generator", "generator"), ("discriminator", "critic")):
        prefix = f"state/{theirs}/"
        state = {k.removeprefix(prefix): torch.from_numpy(v) for k, v in file.items() if k.startswith(prefix)}
        networks[ours] = rename(state)
    return LAYOUT.fit(networks)


def distance(name: str, ours: torch.Tensor, theirs: np.ndarray) -> float:
    """Largest absolute difference of two arrays of one shape."""
    assert tuple(ours.shape) == theirs.shape
    difference = float((ours.detach() - torch.from_numpy(np.asarray(theirs))).abs().max())
    print(f"{name}: {difference:.2e}")
    return difference


def test_sizes_are_read_off_the_tensors(file: Mapping[str, np.ndarray], weights: GanimationWeights) -> None:
    v = dict(re.findall(r"(\w+)=(\d+)", str(file["config"])))
    assert weights.config == GanimationConfig(
        size=int(v["size"]), units=int(v["c_dim"]), width=int(v["conv_dim"]), blocks=int(v["generator_repeat"]),
        critic_width=int(v["conv_dim"]), critic_depth=int(v["discriminator_repeat"]),
    )  # fmt: skip


def test_masks_and_picture(file: Mapping[str, np.ndarray], weights: GanimationWeights) -> None:
    with torch.no_grad():
        edit = LAYOUT.network(weights, "generator")(torch.from_numpy(file["in/image"]), torch.from_numpy(file["in/au"]))
    assert distance("color", edit.color, file["out/color"]) < TOLERANCE
    assert distance("attention", edit.attention, file["out/attention"]) < TOLERANCE
    assert distance("fused", edit.image, file["out/fused"]) < TOLERANCE


def test_critic_and_expression_head(file: Mapping[str, np.ndarray], weights: GanimationWeights) -> None:
    with torch.no_grad():
        verdict = LAYOUT.network(weights, "critic")(torch.from_numpy(file["in/image"]))
    assert distance("critic", verdict.score, file["out/critic"]) < TOLERANCE
    assert distance("expression", verdict.units, file["out/expression"]) < TOLERANCE


def test_gradient_penalty(file: Mapping[str, np.ndarray], weights: GanimationWeights) -> None:
    critic = LAYOUT.network(weights, "critic")
    penalty = gradient_penalty(
        lambda x: critic(x).score,
        torch.from_numpy(file["in/image"]),
        torch.from_numpy(file["out/fused"]),
        torch.from_numpy(file["in/alpha"]).reshape(-1),
    )
    assert distance("gradient_penalty", penalty, file["out/gradient_penalty"]) < TOLERANCE
