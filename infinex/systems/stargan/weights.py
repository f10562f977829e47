"""Weights of StarGAN: the authors' key names, and our own files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from infinex.errors import WeightsError
from infinex.nn.files import Networks, State, state_dict_of
from infinex.nn.stored import Layout
from infinex.systems.stargan.model import CELEBA, CONFIGS, EMOTIONS, Critic, Generator, StarganConfig

StarganWeights = Networks[StarganConfig]
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def rename(state: Mapping[str, Tensor]) -> State:
    """The authors' keys of a generator or a critic to ours; running statistics, which nobody used, are dropped."""
    kept = {k.removeprefix("module."): v.float() for k, v in state.items() if k.rpartition(".")[2] not in _STATISTICS}
    numbers = [int(m.group(1)) for k in kept if (m := re.match(r"main\.(\d+)\.", k))]
    if not numbers:
        return kept
    # The generator's last layer stands in a row with the rest; a critic has heads beside it.
    last = f"main.{max(numbers)}." if "conv1.weight" not in kept else ""
    out: State = {}
    for key, tensor in kept.items():
        key = f"color.{key.removeprefix(last)}" if last and key.startswith(last) else key
        for theirs, ours in (("main.", "trunk."), ("conv1.", "patch."), ("conv2.", "labels.")):
            key = re.sub(rf"^{re.escape(theirs)}", ours, key)
        out[key] = tensor
    return out


def names_for(count: int) -> tuple[str, ...]:
    """Names of so many labels: those of the published files (5 attributes, 8 expressions), else numbers."""
    return {len(CELEBA): CELEBA, len(EMOTIONS): EMOTIONS}.get(count, tuple(f"label{i}" for i in range(count)))


def sizes_of(networks: Mapping[str, State]) -> StarganConfig:
    """Sizes of networks under our key names. Two sets are told by a critic that reads two numbers less than the
    generator is told; how many labels are whose no tensor says, so that the first set is taken for the published
    one of five. The picture's side is the published one where no critic tells it.

    Raises KeyError, IndexError or ValueError for what is no generator or critic of this kind."""
    generator, critic = networks["generator"], networks.get("critic")
    first = generator["trunk.0.weight"]
    told = first.shape[1] - 3
    values: dict[str, Any] = {
        "width": first.shape[0],
        "labels": names_for(told),
        "blocks": len({k.split(".")[1] for k in generator if re.match(r"trunk\.\d+\.main\.", k)}),
    }
    if critic:
        read = critic["labels.weight"].shape[0]
        if read == told - 2 and read > len(CELEBA):
            values |= {"labels": CELEBA, "second": names_for(read - len(CELEBA))}
        values["critic_width"] = critic["trunk.0.weight"].shape[0]
        values["critic_depth"] = sum(k.startswith("trunk.") and v.ndim == 4 for k, v in critic.items())
        values["size"] = critic["labels.weight"].shape[-1] * 2 ** values["critic_depth"]
    return StarganConfig(**values)


def networks_of(config: StarganConfig) -> dict[str, nn.Module]:
    """Freshly initialised networks under the names this module stores them by."""
    return {"generator": Generator(config), "critic": Critic(config)}


def published(data: Any, path: Path) -> dict[str, State]:
    """A generator such as `200000-G.ckpt`, or a critic such as `200000-D.ckpt`. Raises WeightsError."""
    state = rename(state_dict_of(data, str(path)))
    if "color.weight" not in state and "labels.weight" not in state:
        raise WeightsError(f"{path} is a checkpoint of another model: neither generator nor critic of StarGAN")
    return {"generator" if "color.weight" in state else "critic": state}


LAYOUT = Layout(
    StarganConfig, CONFIGS, networks_of, "StarGAN", "infinex-stargan-1", ("generator",), published, measured=sizes_of
)
convert = LAYOUT.convert
