"""DAE-GAN: its recipe learns, its files come back, its engine follows a performer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from learned import Plain, comes_back, smooth  # noqa: E402

from infinex.drivers.contract import Drive  # noqa: E402
from infinex.engine import load_engine  # noqa: E402
from infinex.errors import InputError, WeightsError  # noqa: E402
from infinex.options import Options  # noqa: E402
from infinex.systems.dae_gan.deforming import Encoders, summed  # noqa: E402
from infinex.systems.dae_gan.model import CONFIGS, DaeConfig  # noqa: E402
from infinex.systems.dae_gan.recipe import RECIPES, DaeRecipe, DaeTask, LossWeights, task  # noqa: E402
from infinex.systems.dae_gan.weights import LAYOUT, deforming_state  # noqa: E402

SMALL = DaeConfig(size=64, width=4, code=16, texture=16, warp=16, generator_width=8, generator_max=16,
                  critic_width=8, critic_max=16, critic_blocks=2)  # fmt: skip


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, "small", SMALL)
    torch.manual_seed(0)


def _recipe(**changes: object) -> DaeRecipe:
    return replace(DaeRecipe(config="small", batch_size=2, frames=2), **changes)


def _batch() -> dict:
    pictures = smooth(6, 64).unflatten(0, (2, 3))
    return {"frames": pictures[:, :2], "driving": pictures[:, 2]}


def test_a_step_moves_every_network() -> None:
    made = task(_recipe())
    before = {n: [p.detach().clone() for p in net.parameters()] for n, net in made.networks.items()}
    terms = made.step(_batch(), Plain())
    assert {"frames", "pose", "smoothness", "bias", "reconstruction", "generator_gan", "feature_matching",
            "discriminator_gan"} == set(terms)  # fmt: skip
    for name, network in made.networks.items():
        moved = [not torch.equal(a, b) for a, b in zip(before[name], network.parameters())]
        assert sum(moved) > 0.8 * len(moved), name
    assert made.sample_panel(_batch()).shape == (128, 320, 3)
    assert all(r.config in CONFIGS for r in RECIPES.values())


@pytest.mark.slow
def test_losses_fall() -> None:
    made = DaeTask(_recipe(rate=3e-3, weights=LossWeights(generator_gan=0.0)))
    traces = [made.step(_batch(), Plain())["reconstruction"] for _ in range(25)]
    assert traces[-1] < 0.7 * traces[0]


def test_warps_never_go_back() -> None:
    grid = summed(torch.rand(2, 2, 16, 16))
    assert (grid[..., 0].diff(dim=2) >= 0).all() and (grid[..., 1].diff(dim=1) >= 0).all()
    assert float(grid.min()) == -1.0 and float(grid.max()) <= 1.0


def test_layers_that_nothing_reaches_are_kept_or_dropped() -> None:
    full, bare = replace(SMALL.deforming, kept=3), SMALL.deforming
    state = Encoders(full).state_dict()
    assert deforming_state(state, full, "a file", "encoders").keys() == state.keys()
    kept = deforming_state(state, bare, "a file", "encoders")
    assert kept.keys() == Encoders(bare).state_dict().keys() and len(kept) < len(state)
    with pytest.raises(WeightsError, match="a file is no deforming autoencoder of these sizes: it lacks"):
        deforming_state({k: v for k, v in state.items() if "zW" not in k}, full, "a file", "encoders")


def test_its_engine_follows_the_performer(tmp_path: Path) -> None:
    from test_every_engine import begun, filmed, moved, portrait

    made, path = DaeTask(_recipe()), tmp_path / "weights.safetensors"
    comes_back(made, task(_recipe()), path)
    stage = begun(load_engine("dae-gan", Options(engine="dae-gan"), str(path)), portrait())
    drive = filmed(moved())
    first = stage.render(drive)[0].copy()
    other = stage.render(Drive(drive.move, 255 - drive.image, drive.points))[0]
    assert not np.array_equal(first, other)
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="published no weights"):
        LAYOUT.read(tmp_path / "other.pth")
    with pytest.raises(InputError, match="--album: these weights move one picture"):
        load_engine("dae-gan", Options(engine="dae-gan", album=str(tmp_path)))
