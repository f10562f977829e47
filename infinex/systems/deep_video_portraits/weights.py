"""Weights of Deep Video Portraits: the networks, and who they were taught."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from infinex.errors import WeightsError
from infinex.nn.files import Networks, misfit, read_networks, write_networks
from infinex.systems.deep_video_portraits.model import PortraitConfig, Renderer, networks_of
from infinex.systems.puppet import Likeness

FORMAT = "infinex-deep-video-portraits-1"
PERSON = "person"  # the network of the file that is none


@dataclass
class PortraitWeights(Networks[PortraitConfig]):
    """`renderer`, `critic` where there is one, and `person`, see `Likeness`."""

    def likeness(self) -> Likeness:
        """Who it is."""
        return Likeness.of({k: v.numpy() for k, v in self.networks[PERSON].items()})

    def renderer(self) -> Renderer:
        """The network with these weights, in evaluation mode."""
        network = Renderer(self.config)
        network.load_state_dict(self.networks["renderer"])
        return network.eval()


def collected(networks: dict[str, nn.Module], person: Likeness) -> dict[str, dict[str, Tensor]]:
    """Networks and person as they go into a file."""
    states = {n: {k: v.detach().cpu().float() for k, v in net.state_dict().items()} for n, net in networks.items()}
    return states | {PERSON: {k: torch.from_numpy(v.copy()) for k, v in person.arrays().items()}}


def save(path: str | Path, weights: PortraitWeights) -> None:
    """Write a file, whole or not at all. Raises WeightsError."""
    write_networks(Path(path), FORMAT, weights)


def load(path: str | Path) -> PortraitWeights:
    """Read a file of `save`. Raises WeightsError."""
    stored = read_networks(Path(path), FORMAT, PortraitConfig, "Deep Video Portraits")
    with torch.device("meta"):
        expected = {n: net.state_dict() for n, net in networks_of(stored.config).items()}
    for name, state in expected.items():
        if name not in stored.networks and name != "critic":
            raise WeightsError(f"{path} does not fit: it has no {name}")
        if name in stored.networks and (why := misfit(stored.networks[name], state)):
            raise WeightsError(f"{path} does not fit: {name} {why}")
    found = PortraitWeights(stored.config, stored.networks, stored.name, stored.origin)
    try:
        found.likeness()
    except (KeyError, ValueError, IndexError):
        raise WeightsError(f"{path} does not say whom it was taught, or a face of another topology") from None
    return found
