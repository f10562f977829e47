"""Weights of MarioNETte: key names of the public re-implementation, and our own files; nobody published weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from infinex.nn.files import Networks, State, state_dict_of
from infinex.nn.stored import Layout
from infinex.systems.marionette.model import CONFIGS, Critic, Marionette, MarionetteConfig

MarionetteWeights = Networks[MarionetteConfig]

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


def networks_of(config: MarionetteConfig) -> dict[str, nn.Module]:
    """Freshly initialised networks under the names this module stores them by."""
    return {"generator": Marionette(config), "critic": Critic(config)}


def _widths(state: Mapping[str, Tensor], part: str) -> tuple[int, ...]:
    """Widths of a first convolution and of the blocks after it."""
    out = [state[f"{part}first.bias"].shape[0]]
    while (key := next((k for k in state if k.startswith(f"{part}down.{len(out) - 1}.second.bias")), "")) != "":
        out.append(state[key].shape[0])
    return tuple(out)


def sizes_of(networks: Mapping[str, State]) -> MarionetteConfig:
    """Sizes of published networks under our key names; the side is the published one, which no tensor tells.

    Raises KeyError or IndexError for what are none of this kind."""
    generator, critic = networks["generator"], networks.get("critic")
    target = _widths(generator, "target_encoder.")
    decoder = tuple(generator[f"decoder.blocks.{i}.up.second.bias"].shape[0] for i in range(4))
    return MarionetteConfig(
        driver=_widths(generator, "driver_encoder."), target=target,
        flow_widths=tuple(generator[f"target_encoder.up.{i}.second.bias"].shape[0] for i in range(4)),
        decoder=decoder, attention=generator["blender.query.weight"].shape[0],
        critic=_widths(critic, "") if critic else MarionetteConfig.critic,
        softmax="item", pairing="reversed", flow="absolute", aligned=False, sigmoid=True,
    )  # fmt: skip


def published(data: Any, path: Path) -> dict[str, State]:
    """The state dict of the re-implementation's generator or of its discriminator. Raises WeightsError."""
    state = rename(state_dict_of(data, str(path)))
    return {"critic" if "score.weight" in state or "score.bias" in state else "generator": state}


LAYOUT = Layout(
    MarionetteConfig, CONFIGS, networks_of, "MarioNETte", "infinex-marionette-1", ("generator",), published,
    measured=sizes_of,
)  # fmt: skip
