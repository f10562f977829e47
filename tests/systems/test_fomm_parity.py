"""The First Order Motion Model against the outputs of the authors' code, sizes taken from the files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from infinex.nn.geometry import ThinPlateTransform  # noqa: E402
from infinex.nn.layers import ImagePyramid  # noqa: E402
from infinex.systems.fomm.animator import FastFomm, movement_scale  # noqa: E402
from infinex.systems.fomm.losses import FommLosses, LossWeights  # noqa: E402
from infinex.systems.fomm.model import (  # noqa: E402
    FommConfig,
    FommModel,
    Keypoints,
    Rendering,
    build_discriminator,
    relative_motion,
)
from infinex.systems.fomm.weights import LAYOUT, PUBLISHED, model_of, rename  # noqa: E402

pytestmark = pytest.mark.parity
TOLERANCE = 1e-4


def _read(name: str) -> Mapping[str, np.ndarray]:
    default = Path(__file__).parents[3] / "shared" / "parity"
    path = Path(os.environ.get("INFINEX_PARITY_DIR", default)) / name
    if not path.is_file():
        pytest.skip(f"no {name} in {path.parent}: set INFINEX_PARITY_DIR")
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def _sizes(text: str) -> tuple[FommConfig, float]:
    """Configuration and scale of the reference from its `key=value` words."""
    v = dict(word.split("=", 1) for word in text.split())
    assert v.get("align_corners", "True") == "True"
    width, most, levels = int(v["block_expansion"]), int(v["max_features"]), int(v["num_blocks"])
    return FommConfig(
        size=int(v["size"]),
        keypoints=int(v["num_kp"]),
        scale=float(v["scale_factor"]),
        detector_width=width,
        detector_max=most,
        detector_levels=levels,
        temperature=float(v["temperature"]),
        motion_width=width,
        motion_max=most,
        motion_levels=levels,
        generator_width=width,
        generator_max=most,
        generator_downs=int(v["num_down_blocks"]),
        generator_blocks=int(v["num_bottleneck_blocks"]),
        critic_width=min(2 * width, most),
        critic_max=most,
        critic_blocks=int(v["disc_num_blocks"]),
        critic_keypoints=v["use_kp"] == "True",
        critic_spectral=v["sn"] == "True",
    ), float(v["scale_factor"])


@dataclass
class Reference:
    """The file, the networks with its weights, and what they make of its inputs."""

    file: Mapping[str, np.ndarray]
    config: FommConfig
    model: FommModel
    discriminator: torch.nn.Module
    source: Keypoints
    driving: Keypoints
    initial: Keypoints
    rendering: Rendering

    def tensor(self, key: str) -> Tensor:
        return torch.from_numpy(self.file[key])


@pytest.fixture(scope="module")
def ref() -> Reference:
    file = _read("fomm.npz")
    config, _ = _sizes(str(file["config"]))
    networks = {}
    for theirs, ours in PUBLISHED.items():
        prefix = f"state/{theirs}/"
        state = {k.removeprefix(prefix): torch.from_numpy(v) for k, v in file.items() if k.startswith(prefix)}
        networks[ours] = rename(ours, state)
    weights = LAYOUT.fit(networks, config)
    model, discriminator = model_of(weights), build_discriminator(config).eval()
    discriminator.load_state_dict(weights.networks["discriminator"])
    pictures = [torch.from_numpy(file[f"in/{k}"]) for k in ("source", "driving", "driving_initial")]
    with torch.no_grad():
        points = [model.detector(p) for p in pictures]
        rendering = model.generator(pictures[0], points[0], points[1])
    return Reference(file, config, model, discriminator, *points, rendering)


@pytest.fixture(scope="module")
def losses_file() -> Mapping[str, np.ndarray]:
    return _read("fomm_losses.npz")


def check(name: str, ours: Tensor, theirs: Tensor | np.ndarray, relative: bool = False) -> None:
    """Largest difference, absolute or relative to the largest value of the reference."""
    theirs = torch.as_tensor(theirs)
    assert ours.shape == theirs.shape
    difference = float((ours.detach() - theirs).abs().max())
    if relative:
        difference /= float(theirs.abs().max())
    print(f"{name}: {difference:.2e}{' relative' if relative else ''}")
    assert difference < TOLERANCE


@pytest.mark.parametrize("which", ["source", "driving", "initial"])
def test_keypoints(ref: Reference, which: str) -> None:
    ours: Keypoints = getattr(ref, which)
    name = "driving_initial" if which == "initial" else which
    check(f"kp_{name} value", ours.value, ref.file[f"out/kp_{name}/value"])
    check(f"kp_{name} jacobian", ours.jacobian, ref.file[f"out/kp_{name}/jacobian"])


def test_motion_and_picture(ref: Reference) -> None:
    out = ref.rendering
    check("mask", out.motion.mask, ref.file["out/generator/mask"])
    check("sparse_deformed", out.motion.sparse_deformed, ref.file["out/generator/sparse_deformed"])
    check("occlusion_map", out.motion.occlusion, ref.file["out/generator/occlusion_map"])
    check("deformed (dense deformation)", out.deformed, ref.file["out/generator/deformed"])
    check("prediction", out.prediction, ref.file["out/generator/prediction"])


def _first(keypoints: Keypoints) -> Keypoints:
    return Keypoints(*(t[:1] for t in keypoints))


def test_relative_motion_with_adapted_scale(ref: Reference) -> None:
    source, driving, initial = map(_first, (ref.source, ref.driving, ref.initial))
    moved = relative_motion(source, driving, initial, movement_scale(source, initial))
    check("kp_relative value", moved.value, ref.file["out/kp_relative/value"])
    check("kp_relative jacobian", moved.jacobian, ref.file["out/kp_relative/jacobian"])
    with torch.no_grad():
        out = ref.model.generator(ref.tensor("in/source")[:1], source, moved)
    check("relative prediction", out.prediction, ref.file["out/relative/prediction"])
    check("relative occlusion_map", out.motion.occlusion, ref.file["out/relative/occlusion_map"])
    check("relative deformed", out.deformed, ref.file["out/relative/deformed"])


@pytest.mark.parametrize("winograd", [False, True])
def test_fast_networks(ref: Reference, winograd: bool) -> None:
    fast = FastFomm(ref.model, winograd)
    with torch.inference_mode():
        for i in range(len(ref.tensor("in/source"))):
            prepared = fast.prepare(ref.tensor("in/source")[i : i + 1])
            driving = fast.keypoints(ref.tensor("in/driving")[i : i + 1])
            out = fast.render(prepared, driving)
            check("fast kp_driving value", driving.value, ref.file["out/kp_driving/value"][i : i + 1])
            check("fast prediction", out.prediction, ref.file["out/generator/prediction"][i : i + 1])
            check("fast occlusion", out.motion.occlusion, ref.file["out/generator/occlusion_map"][i : i + 1])
            check("fast deformed", out.deformed, ref.file["out/generator/deformed"][i : i + 1])


def _pyramid_scales(ref: Reference) -> tuple[float, ...]:
    prefix = "out/pyramid/prediction_"
    return tuple(sorted((float(k.removeprefix(prefix)) for k in ref.file if k.startswith(prefix)), reverse=True))


def test_pyramid(ref: Reference) -> None:
    """The reference pyramid and discriminator maps are those of the driving frame."""
    levels = ImagePyramid(_pyramid_scales(ref))(ref.tensor("in/driving"))
    for scale, level in levels.items():
        check(f"pyramid {scale:g}", level, ref.file[f"out/pyramid/prediction_{scale:g}"])


def test_discriminator(ref: Reference) -> None:
    levels = ImagePyramid(_pyramid_scales(ref))(ref.tensor("in/driving"))
    points = torch.from_numpy(ref.file["out/kp_driving/value"])
    with torch.no_grad():
        verdict = ref.discriminator(levels, points)[ref.config.critic_scales[0]]
    check("discriminator map", verdict.score, ref.file["out/discriminator/prediction_map"], relative=True)
    for i, features in enumerate(verdict.features):
        check(f"discriminator feature {i}", features, ref.file[f"out/discriminator/feature_map_{i}"], True)


def _losses(config: str) -> FommLosses:
    """Weights and scales as the words of the file say."""
    ten = re.search(r"loss weights ([\d.]+) each for equivariance and feature matching", config)
    one = re.search(r"([\d.]+) for the adversarial terms", config)
    scales = re.search(r"scales ([\d., ]+);", config)
    assert ten and one and scales
    w, gan = float(ten.group(1)), float(one.group(1))
    weights = LossWeights(
        equivariance_value=w,
        equivariance_jacobian=w,
        generator_gan=gan,
        discriminator_gan=gan,
        feature_matching=(w,) * 8,
    )
    return FommLosses(None, weights, tuple(float(s) for s in scales.group(1).split(",")))


def test_equivariance(ref: Reference, losses_file: Mapping[str, np.ndarray]) -> None:
    controls = torch.from_numpy(losses_file["in/transform/control_points"])
    transform = ThinPlateTransform(
        torch.from_numpy(losses_file["in/transform/theta"]),
        controls.reshape(1, -1, 2),
        torch.from_numpy(losses_file["in/transform/control_params"]).flatten(1),
    )
    frame = transform.frame(ref.tensor("in/driving"))
    check("transformed_frame", frame, losses_file["out/transformed_frame"])
    with torch.no_grad():
        moved = ref.model.detector(frame)
    check("transformed_kp value", moved.value, losses_file["out/transformed_kp/value"])
    check("transformed_kp jacobian", moved.jacobian, losses_file["out/transformed_kp/jacobian"])
    terms = _losses(str(losses_file["config"])).equivariance(ref.driving, moved, transform)
    for name, term in terms.items():
        check(f"loss {name}", term, losses_file[f"out/loss/{name}"], relative=True)


def test_adversarial_and_feature_matching(ref: Reference, losses_file: Mapping[str, np.ndarray]) -> None:
    losses = _losses(str(losses_file["config"]))
    points = ref.driving.value
    with torch.no_grad():
        real = ref.discriminator(losses.pyramid(ref.tensor("in/driving")), points)
        fake = ref.discriminator(losses.pyramid(ref.rendering.prediction), points)
        terms = losses.generator(real, fake) | losses.discriminator(real, fake)
    theirs = {
        "generator_gan": "gen_gan",
        "discriminator_gan": "disc_gan",
        "feature_matching": "feature_matching",
    }
    for ours, name in theirs.items():
        check(f"loss {ours}", terms[ours], losses_file[f"out/loss/{name}"], relative=True)
