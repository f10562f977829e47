"""Weights of MarioNETte: key names of the public re-implementation, and our own files; nobody published weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from infinex.errors import WeightsError
from infinex.nn.files import (
    Networks,
    State,
    is_safetensors,
    misfit,
    read_checkpoint,
    read_networks,
    sha256,
    state_dict_of,
    write_networks,
)
from infinex.systems.marionette.model import CONFIGS, Critic, Marionette, MarionetteConfig

FORMAT = "infinex-marionette-1"
NAME = "MarioNETte"

# The re-implementation's names on the left, ours on the right; applied in this order to every key.
_RENAME: list[tuple[str, str]] = [
    (r"\.nn_conv2d\.", "."),
    (r"\.residual_connection\.[01]\.", ".skip."),
    (r"\.(conv_downsample\.1|conv_upsample\.3|conv\.0)\.", ".first."),
    (r"\.(conv_downsample\.3|conv_upsample\.6|conv\.3)\.", ".second."),
    (r"^(driver_encoder\.)blocks\.", r"\1down."),
    (r"^(target_encoder\.)downsampling_blocks\.", r"\1down."),
    (r"^(target_encoder\.)upsampling_blocks\.", r"\1up."),
    (r"^(target_encoder\.)output_conv\.", r"\1flow."),
    (r"^blocks\.", "down."),
    (r"(^|\.)(input_conv|conv_merger\.conv_projection)\.", r"\1first."),
    (r"^blender\.self_attnblock\.q_proj\.", "blender.query."),
    (r"^blender\.self_attnblock\.k_proj\.", "blender.key."),
    (r"^blender\.self_attnblock\.v_proj\.", "blender.value."),
    (r"^blender\.self_attnblock\.px_proj\.", "blender.query_place."),
    (r"^blender\.self_attnblock\.py_proj\.", "blender.key_place."),
    (r"^decoder\.decoder_blocks\.(\d+)\.res_upsample_block\.", r"decoder.blocks.\1.up."),
    (r"^decoder\.decoder_blocks\.(\d+)\.warp_alignment\.conv\.", r"decoder.blocks.\1.flow."),
    (r"^decoder\.output_conv\.", "decoder.last."),
    (r"^output_conv\.", "score."),
    (r"\.weight_orig$", ".parametrizations.weight.original"),
    (r"\.weight_([uv])$", r".parametrizations.weight.0._\1"),
]


def rename(state: Mapping[str, Tensor]) -> State:
    """State dict of a generator or a critic from the re-implementation's key names to ours."""
    out: State = {}
    for name, tensor in state.items():
        new = name.removeprefix("module.")
        for pattern, replacement in _RENAME:
            new = re.sub(pattern, replacement, new)
        out[new] = tensor.float()
    return out


@dataclass
class MarionetteWeights(Networks[MarionetteConfig]):
    """`generator`, and `critic` where there is one, with their sizes."""

    def generator(self) -> Marionette:
        """The generator with these weights, in evaluation mode."""
        network = Marionette(self.config)
        network.load_state_dict(self.networks["generator"])
        return network.eval()

    def critic(self) -> Critic:
        """The critic with these weights, in evaluation mode. Raises WeightsError where there is none."""
        if "critic" not in self.networks:
            raise WeightsError(f"{self.name or 'these weights'}: there is no critic among them")
        network = Critic(self.config)
        network.load_state_dict(self.networks["critic"])
        return network.eval()


def networks_of(config: MarionetteConfig) -> dict[str, nn.Module]:
    """Freshly initialised networks under the names this module stores them by."""
    return {"generator": Marionette(config), "critic": Critic(config)}


def _widths(state: Mapping[str, Tensor], part: str) -> tuple[int, ...]:
    """Widths of a first convolution and of the blocks after it."""
    out = [state[f"{part}first.bias"].shape[0]]
    while (key := next((k for k in state if k.startswith(f"{part}down.{len(out) - 1}.second.bias")), "")) != "":
        out.append(state[key].shape[0])
    return tuple(out)


def sizes_of(generator: Mapping[str, Tensor], critic: Mapping[str, Tensor] | None = None) -> MarionetteConfig:
    """Sizes of published networks under our key names; the side is the published one, which no tensor tells.

    Raises KeyError or IndexError for what are none of this kind."""
    target = _widths(generator, "target_encoder.")
    decoder = tuple(generator[f"decoder.blocks.{i}.up.second.bias"].shape[0] for i in range(4))
    return MarionetteConfig(
        driver=_widths(generator, "driver_encoder."), target=target,
        flow_widths=tuple(generator[f"target_encoder.up.{i}.second.bias"].shape[0] for i in range(4)),
        decoder=decoder, attention=generator["blender.query.weight"].shape[0],
        critic=_widths(critic, "") if critic else MarionetteConfig.critic,
        softmax="item", pairing="reversed", flow="absolute", aligned=False, sigmoid=True,
    )  # fmt: skip


def fit(
    networks: Mapping[str, State],
    config: MarionetteConfig | None = None,
    what: str = "the checkpoint",
    origin: Mapping[str, str] | None = None,
) -> MarionetteWeights:
    """Weights under our key names, checked against `config` or the sizes the tensors themselves tell."""
    if not networks.get("generator"):
        raise WeightsError(f"{what} is no {NAME}: it has no generator")
    if config is None:
        try:
            config = sizes_of(networks["generator"], networks.get("critic"))
        except (KeyError, IndexError, ValueError):
            raise WeightsError(f"{what} is a checkpoint of another model") from None
    with torch.device("meta"):
        expected = {n: net.state_dict() for n, net in networks_of(config).items()}
    for network, state in networks.items():
        if network not in expected:
            raise WeightsError(f"{what} holds the unknown network {network}")
        if why := misfit(state, expected[network]):
            raise WeightsError(f"{what} does not fit: {network} {why}")
    return MarionetteWeights(config, {k: dict(v) for k, v in networks.items()}, origin=dict(origin or {}))


def read_published(path: str | Path, critic: str | Path | None = None) -> MarionetteWeights:
    """State dicts of the re-implementation's generator and, if named, its discriminator. Raises WeightsError."""
    path = Path(path)
    networks = {"generator": rename(state_dict_of(read_checkpoint(path), str(path)))}
    if critic is not None:
        networks["critic"] = rename(state_dict_of(read_checkpoint(Path(critic)), str(critic)))
    return fit(networks, None, str(path), {"file": path.name, "sha256": sha256(path)})


def save(path: str | Path, weights: MarionetteWeights) -> None:
    """Write our own file, whole or not at all. Raises WeightsError."""
    write_networks(Path(path), FORMAT, weights)


def load(path: str | Path) -> MarionetteWeights:
    """Read a file of `save`. Raises WeightsError."""
    stored = read_networks(Path(path), FORMAT, MarionetteConfig, NAME)
    states = {n: {k: v.float() for k, v in state.items()} for n, state in stored.networks.items()}
    weights = fit(states, stored.config, str(path), stored.origin)
    weights.name = stored.name
    return weights


def read(path: str | Path) -> MarionetteWeights:
    """Either kind of file, told apart by its first bytes. Raises WeightsError."""
    return load(path) if is_safetensors(Path(path)) else read_published(path)


__all__ = ["CONFIGS", "FORMAT", "MarionetteWeights", "fit", "load", "networks_of", "read", "read_published", "rename",
           "save", "sizes_of"]  # fmt: skip
