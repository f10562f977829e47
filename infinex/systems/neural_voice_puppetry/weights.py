"""Weights of Neural Voice Puppetry: the authors' key names, their published file of the voice network, and our own."""

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
)  # fmt: skip
from infinex.nn.pix2pix import NestedUNet
from infinex.systems.neural_voice_puppetry.model import Puppet, PuppetConfig, SpokenMouth, VoiceConfig, VoiceNet
from infinex.systems.puppet import Likeness

VOICE, PUPPET = "infinex-voice-puppetry-voice-1", "infinex-voice-puppetry-1"
PERSON = "person"

_VOICE = [
    (r"^convNet\.", "windows."), (r"^fullNet\.", "says."), (r"^attentionConvNet\.", "attends."),
    (r"^attentionNet\.0\.", "weighs."),
]  # fmt: skip
_TEXTURE = [(r"^convNet\.", "windows."), (r"^fullNet\.", "kernel.")]


def voice_state(state: Mapping[str, Tensor]) -> State:
    """The voice network's state from the authors' key names to ours."""
    return {("mapping" if k == "mapping" else _renamed(k, _VOICE)): v[0] if k == "mapping" else v
            for k, v in state.items()}  # fmt: skip


def texture_state(state: Mapping[str, Tensor]) -> State:
    """A texture's state from the authors' key names to ours."""
    return {_renamed(k, _TEXTURE): v for k, v in state.items()}


def unet_state(state: Mapping[str, Tensor]) -> State:
    """A nested U-Net's state from the authors' key names, nested blocks, to ours, level by level."""
    out: State = {}
    for key, value in state.items():
        *path, part = key.removeprefix("model.").split(".")
        numbers = [n for n in path if n != "model"]
        if numbers and numbers[-1] == "1" and value.ndim and len(numbers) > 1 and numbers[-2] in ("3", "4"):
            numbers.pop()  # a convolution behind the enlargement
        level = sum(1 for n in numbers[:-1])
        down = numbers[-1] in ("0", "1")
        # Blocks inside blocks are entry 1 of the outermost and entry 2 of the others.
        out[f"{'down' if down else 'up'}.{level}.{part}"] = value
    return out


def _renamed(key: str, rules: list[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def unet_of(state: State, bilinear: bool = False) -> NestedUNet:
    """The network of a state under our key names."""
    levels = sum(k.startswith("down.") and k.endswith("weight") for k in state)
    widths = [state[f"down.{i}.weight"].shape[0] for i in range(levels)]
    last = state["up.0.weight"]
    network = NestedUNet(state["down.0.weight"].shape[1], last.shape[0 if bilinear else 1], widths, bilinear)
    network.load_state_dict(state)
    return network.eval()


# -- the voice ------------------------------------------------------------------------------------


@dataclass
class VoiceWeights(Networks[VoiceConfig]):
    """`voice`, with its sizes."""

    def voice(self) -> VoiceNet:
        """The network with these weights, in evaluation mode."""
        network = VoiceNet(self.config)
        network.load_state_dict(self.networks["voice"])
        return network.eval()


def voice_sizes(state: Mapping[str, Tensor]) -> VoiceConfig:
    """Sizes that a voice network's state tells. Raises KeyError or ValueError for what is none."""
    identities, expressions, subspace = state["mapping"].shape
    return VoiceConfig(state["windows.0.weight"].shape[1], subspace, identities, expressions)


def read_voice(path: str | Path) -> VoiceWeights:
    """Our own file, or the authors' `latest_netG.pth`. Raises WeightsError."""
    path = Path(path)
    if is_safetensors(path):
        stored = read_networks(path, VOICE, VoiceConfig, "voice of Neural Voice Puppetry")
        state, origin = stored.networks.get("voice", {}), stored.origin
    else:
        data = state_dict_of(read_checkpoint(path), str(path))
        if "mapping" not in data or data["mapping"].ndim != 4:
            raise WeightsError(f"{path} is a checkpoint of another model: it has no mapping to expressions")
        state, origin = voice_state(data), {"file": path.name, "sha256": sha256(path)}
    try:
        config = voice_sizes(state)
    except (KeyError, ValueError, IndexError):
        raise WeightsError(f"{path} is a checkpoint of another model") from None
    with torch.device("meta"):
        expected = VoiceNet(config).state_dict()
    if why := misfit(state, expected):
        raise WeightsError(f"{path} does not fit: the voice {why}")
    return VoiceWeights(config, {"voice": state}, "", origin)


def save_voice(path: str | Path, weights: VoiceWeights) -> None:
    """Write our own file, whole or not at all. Raises WeightsError."""
    write_networks(Path(path), VOICE, weights)


def convert(source: str | Path, target: str | Path, config: str = "") -> VoiceWeights:
    """Turn the published file into our own, once."""
    weights = read_voice(source)
    weights.name = config
    save_voice(target, weights)
    return weights


# -- one person -----------------------------------------------------------------------------------


@dataclass
class PuppetWeights(Networks[PuppetConfig]):
    """`puppet`, `voice` that speaks as this person, and `person`, see `Likeness`."""

    def likeness(self) -> Likeness:
        """Who it is."""
        return Likeness.of({k: v.numpy() for k, v in self.networks[PERSON].items()})

    def puppet(self) -> Puppet:
        """The renderer with these weights, in evaluation mode."""
        network = Puppet(self.config)
        network.load_state_dict(self.networks["puppet"])
        return network.eval()

    def voice(self) -> VoiceNet | SpokenMouth:
        """The voice with these weights, in evaluation mode; the person is its only identity."""
        state = self.networks["voice"]
        heard = state.get("map.weight")
        network = VoiceNet(voice_sizes(state)) if heard is None else SpokenMouth(*reversed(heard.shape))
        network.load_state_dict(state)
        return network.eval()


def collected(networks: Mapping[str, nn.Module], person: Likeness) -> dict[str, State]:
    """Networks and person as they go into a file."""
    states = {n: {k: v.detach().cpu().float() for k, v in net.state_dict().items()} for n, net in networks.items()}
    return states | {PERSON: {k: torch.from_numpy(v.copy()) for k, v in person.arrays().items()}}


def save(path: str | Path, weights: PuppetWeights) -> None:
    """Write a file, whole or not at all. Raises WeightsError."""
    write_networks(Path(path), PUPPET, weights)


def load(path: str | Path) -> PuppetWeights:
    """Read a file of `save`. Raises WeightsError."""
    stored = read_networks(Path(path), PUPPET, PuppetConfig, "Neural Voice Puppetry")
    with torch.device("meta"):
        expected = Puppet(stored.config).state_dict()
    if why := misfit(stored.networks.get("puppet", {}), expected):
        raise WeightsError(f"{path} does not fit: the puppet {why}")
    found = PuppetWeights(stored.config, stored.networks, stored.name, stored.origin)
    try:
        found.likeness()
        found.voice()
    except (KeyError, ValueError, IndexError, RuntimeError):
        raise WeightsError(f"{path} does not say whom it was taught, or how they speak") from None
    return found
