"""Weights of CrossID-GAN: our own files; the authors published none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from infinex.errors import WeightsError
from infinex.nn.files import Networks, misfit, read_networks, write_networks
from infinex.systems.crossid_gan.model import AT_WORK, CrossIdConfig, networks_of

FORMAT = "infinex-crossid-gan-1"
NAME = "CrossID-GAN"


@dataclass
class CrossIdWeights(Networks[CrossIdConfig]):
    """The networks of `networks_of`, those of `AT_WORK` at least, with their sizes."""

    def loaded(self, *names: str) -> list[nn.Module]:
        """Networks with these weights, in evaluation mode. Raises WeightsError for one that is not among them."""
        fresh = networks_of(self.config)
        for name in names:
            if name not in self.networks:
                raise WeightsError(f"{self.name or 'these weights'}: there is no {name} among them")
            fresh[name].load_state_dict(self.networks[name])
        return [fresh[n].eval().requires_grad_(False) for n in names]


def save(path: str | Path, weights: CrossIdWeights) -> None:
    """Write a file, whole or not at all. Raises WeightsError."""
    write_networks(Path(path), FORMAT, weights)


def read(path: str | Path) -> CrossIdWeights:
    """Read a file of `save`. Raises WeightsError."""
    stored = read_networks(Path(path), FORMAT, CrossIdConfig, NAME)
    with torch.device("meta"):
        expected = {n: net.state_dict() for n, net in networks_of(stored.config).items()}
    for name in AT_WORK:
        if name not in stored.networks:
            raise WeightsError(f"{path} is no {NAME}: it has no {name}")
    for name, state in stored.networks.items():
        if name not in expected:
            raise WeightsError(f"{path} holds the unknown network {name}")
        if why := misfit(state, expected[name]):
            raise WeightsError(f"{path} does not fit: {name} {why}")
    states = {n: {k: v.float() for k, v in state.items()} for n, state in stored.networks.items()}
    return CrossIdWeights(stored.config, states, stored.name, stored.origin)
