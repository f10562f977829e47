"""Weights of Deep Video Portraits: the networks, and who they were taught."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from infinex.errors import WeightsError
from infinex.nn.files import Networks, misfit, read_networks, write_networks
from infinex.systems.deep_video_portraits.model import PortraitConfig, Renderer, Retouch, networks_of, renderer_of
from infinex.systems.puppet import Likeness
from infinex.systems.recall import Recall

FORMAT = "infinex-deep-video-portraits-1"
PERSON, ALBUM = "person", "album"  # networks of the file that are none


@dataclass
class PortraitWeights(Networks[PortraitConfig]):
    """`renderer`, `critic` where there is one, `person`, see `Likeness`, and `album`, see `Recall`, where one is
    kept."""

    def likeness(self) -> Likeness:
        """Who it is."""
        return Likeness.of({k: v.numpy() for k, v in self.networks[PERSON].items()})

    def album(self) -> Recall | None:
        """What was seen of them, where that is kept."""
        return Recall.of({k: v.numpy() for k, v in self.networks[ALBUM].items()}) if self.config.album else None

    def renderer(self) -> Renderer | Retouch:
        """The network with these weights, in evaluation mode."""
        network = renderer_of(self.config)
        network.load_state_dict(self.networks["renderer"])
        return network.eval()


def collected(
    networks: dict[str, nn.Module], person: Likeness, album: Recall | None = None
) -> dict[str, dict[str, Tensor]]:
    """Networks, person and album as they go into a file."""
    states = {n: {k: v.detach().cpu().float() for k, v in net.state_dict().items()} for n, net in networks.items()}
    known = {PERSON: person.arrays()} | ({} if album is None else {ALBUM: album.arrays()})
    return states | {n: {k: torch.from_numpy(v.copy()) for k, v in a.items()} for n, a in known.items()}


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
        found.album()
    except (KeyError, ValueError, IndexError):
        raise WeightsError(f"{path} does not say whom it was taught, or a face of another topology") from None
    return found
