"""MarioNETte against the outputs of its public re-implementation and of the paper's attention, sizes from the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from infinex.nn.losses import feature_matching  # noqa: E402
from infinex.nn.vgg import Stages  # noqa: E402
from infinex.systems.marionette.losses import (  # noqa: E402
    RAW_FACES,
    RAW_OBJECTS,
    critic_hinge,
    features,
    generator_hinge,
    perceptual,
)
from infinex.systems.marionette.model import Marionette, Sampler, positions  # noqa: E402
from infinex.systems.marionette.weights import LAYOUT, MarionetteWeights, rename  # noqa: E402

pytestmark = pytest.mark.parity
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def file(parity_dir: Path) -> Mapping[str, np.ndarray]:
    path = parity_dir / "marionet.npz"
    if not path.is_file():
        pytest.skip(f"no {path.name} in {parity_dir}: set INFINEX_PARITY_DIR")
    with np.load(path, allow_pickle=False) as data:
        return dict(data)


def state(file: Mapping[str, np.ndarray], network: str) -> dict[str, torch.Tensor]:
    """One network's tensors under the authors' names."""
    prefix = f"state/{network}/"
    return {k.removeprefix(prefix): torch.from_numpy(v) for k, v in file.items() if k.startswith(prefix)}


@pytest.fixture(scope="module")
def weights(file: Mapping[str, np.ndarray]) -> MarionetteWeights:
    networks = {"generator": rename(state(file, "marionet")), "critic": rename(state(file, "discriminator"))}
    found = LAYOUT.fit(networks)
    assert found.config.softmax == "item" and found.config.sigmoid and not found.config.aligned
    return found


@pytest.fixture(scope="module")
def inputs(file: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {k.removeprefix("in/"): torch.from_numpy(v) for k, v in file.items() if k.startswith("in/")}


def near(ours: torch.Tensor, theirs: np.ndarray, tolerance: float = TOLERANCE) -> None:
    """Assert that two arrays of one shape are the same."""
    assert tuple(ours.shape) == theirs.shape
    off = float((ours.detach() - torch.from_numpy(np.asarray(theirs))).abs().max())
    assert off < tolerance * max(1.0, float(np.abs(theirs).max())), off


def built(weights: MarionetteWeights, softmax: str) -> Marionette:
    """The generator with another reading of the attention."""
    network = Marionette(replace(weights.config, softmax=softmax))
    network.load_state_dict(weights.networks["generator"])
    return network.eval()


@torch.no_grad()
def test_codes_flow_and_moved_maps(file: Mapping[str, np.ndarray], weights: MarionetteWeights, inputs: dict) -> None:
    network = LAYOUT.network(weights, "generator")
    near(network.driver_encoder(inputs["driver_landmarks"]), file["out/driver_code"])
    seen = network.target_encoder(inputs["target_image"].flatten(0, 1), inputs["target_landmarks"].flatten(0, 1))
    near(seen.code, file["out/target_code"])
    near(seen.flow[:1], file["out/target_flow"])
    near(seen.maps[0][:1], file["out/warped_0_first_item"])
    near(seen.maps[3], file["out/warped_3"])
    for i, maps in enumerate(seen.maps):
        near(maps.mean((2, 3)), file[f"out/warped_{i}_mean"])


def test_places(file: Mapping[str, np.ndarray]) -> None:
    wanted = file["out/positional_encoding"]
    h, w, c = wanted.shape
    near(positions(h, w, c, torch.zeros(1)).reshape(h, w, c), wanted)


@pytest.mark.parametrize(
    ("softmax", "where"), [("item", ""), ("batch", "main_branch/"), ("keys", "as_in_paper/")], ids=lambda v: str(v)
)
@torch.no_grad()
def test_three_readings_of_the_attention(
    softmax: str, where: str, file: Mapping[str, np.ndarray], weights: MarionetteWeights, inputs: dict
) -> None:
    network = built(weights, softmax)
    known = network.know(inputs["target_image"], inputs["target_landmarks"])
    code = network.driver_encoder(inputs["driver_landmarks"])
    told, each = network.blender.attended(code, known.codes)
    near(told, file[f"out/{where}attention_output"])
    if softmax == "keys":
        near(each, file["out/as_in_paper/attention_weights"])
        assert torch.allclose(each.sum(-1), torch.ones(each.shape[:2]))
    near(network.blender(code, known.codes), file[f"out/{where}blended"])
    near(network.draw(inputs["driver_landmarks"], known), file[f"out/{where}image"])


@torch.no_grad()
def test_the_decoder_and_one_picture(file: Mapping[str, np.ndarray], weights: MarionetteWeights, inputs: dict) -> None:
    network = LAYOUT.network(weights, "generator")
    known = network.know(inputs["target_image"], inputs["target_landmarks"])
    x = network.blender(network.driver_encoder(inputs["driver_landmarks"]), known.codes)
    for i, block in enumerate(network.decoder.blocks):
        x = block(x, known.maps[i])[0]
        near(x.mean((2, 3)), file[f"out/decoder_{i}_mean"])
    one = network(inputs["driver_landmarks"], inputs["target_image"][:, :1], inputs["target_landmarks"][:, :1])
    near(one[0].image, file["out/image_one_target"])


@torch.no_grad()
def test_the_critic_and_its_losses(file: Mapping[str, np.ndarray], weights: MarionetteWeights, inputs: dict) -> None:
    critic = LAYOUT.network(weights, "critic")
    real = critic(inputs["driver_image"], inputs["driver_landmarks"])
    fake = critic(torch.from_numpy(file["out/image"]), inputs["driver_landmarks"])
    near(real.score, file["out/discriminator/real"])
    near(fake.score, file["out/discriminator/fake"])
    near(real.features[0][:1], file["out/discriminator/real_feature_0"])
    for i in (1, 2, 3):
        near(real.features[i], file[f"out/discriminator/real_feature_{i}"])
    near(generator_hinge(fake.score), file["out/loss/generator_hinge"])
    near(critic_hinge(real.score, fake.score, "published"), file["out/loss/discriminator_hinge_as_published"])
    near(critic_hinge(real.score, fake.score), file["out/loss/hinge_of_the_paper"])
    near(torch.stack(feature_matching(real.features, fake.features)).sum(), file["out/loss/feature_matching"])


def recogniser(file: Mapping[str, np.ndarray], network: str) -> Stages:
    """A VGG of the file's widths, its pictures as they come."""
    own = state(file, network)
    names = list(own)
    if network == "vgg19":
        names.sort(key=lambda n: int(n.split(".")[1]))
        stages = [[0, 2], [5, 7], [10, 12, 14, 16], [19, 21, 23, 25], [28]]
        widths = [[own[f"features.{i}.weight"].shape[0] for i in stage] for stage in stages]
    else:
        widths = [
            [own[n].shape[0] for n in sorted(names) if n.startswith(f"conv{i}_") and n.endswith("weight")]
            for i in range(1, 6)
        ]
        names.sort()
    out = Stages(widths, (0.0,) * 3, (1.0,) * 3)
    for conv, name in zip(out.convs, [n for n in names if n.endswith("weight")]):
        conv.weight.data.copy_(own[name])
        conv.bias.data.copy_(own[name.replace("weight", "bias")])
    return out


@pytest.mark.parametrize(("network", "raw"), [("vgg19", RAW_OBJECTS), ("vgg_face", RAW_FACES)])
@torch.no_grad()
def test_what_recognisers_see(network: str, raw: tuple[int, ...], file: Mapping[str, np.ndarray], inputs: dict) -> None:
    net, made = recogniser(file, network), torch.from_numpy(file["out/image"])
    real = inputs["driver_image"]
    total = perceptual(net, made, real, raw)
    near(total, file[f"out/loss/perceptual_{network}"])
    for i, maps in enumerate(features(net, real, raw)):
        near(maps.mean((2, 3)), file[f"out/perceptual/{network}_{i}_mean"])


def test_an_offset_of_nothing_reads_in_place(weights: MarionetteWeights) -> None:
    for aligned in (True, False):
        sample = Sampler(replace(weights.config, flow="offset", aligned=aligned))
        maps = torch.rand(2, 3, 8, 6)
        assert torch.allclose(sample(maps, torch.zeros(2, 2, 8, 6)), maps, atol=1e-5)
