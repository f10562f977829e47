"""The networks of Neural Voice Puppetry (Thies et al., ECCV 2020): voices to expressions, expressions to pictures."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn

from infinex.nn.layers import normal_
from infinex.nn.pix2pix import NestedUNet

STEPS, NOW = 8, 3  # windows of sound that are looked at, and which of them is the frame's own
ROWS = 16  # of a window, at the rate of the video
SCALE = 10.0  # of expressions over what the mapping makes
CLOSER = 1.4  # how much larger a face is in a square around its lower part
FAINT, KEPT = 0.1, 0.8  # of a texture that begins as skin: how much of chance is left, and the kernel's middle
EDGE = 4  # pixels over which what the texture shows begins, where the networks add to it
DIVISIONS = 5  # levels of the renderer's networks


@dataclass(frozen=True)
class VoiceConfig:
    """Sizes of the network that hears."""

    features: int = 29  # numbers in a row of sound: logits of DeepSpeech
    subspace: int = 32
    identities: int = 116
    expressions: int = 76


@dataclass(frozen=True)
class PuppetConfig:
    """Sizes of the renderer, and of the network that hears."""

    size: int = 256
    texture: int = 256  # texels a side
    channels: int = 16
    width: int = 64
    kind: str = "expression"  # what the texture changes with: expression, audio or nothing
    bilinear: bool = False
    lower: bool = False  # only the lower face is drawn, in a square around it; the rest stays the film's
    added: bool = False  # the networks add to what the texture shows, instead of drawing it anew
    expressions: int = 55
    features: int = 288
    subspace: int = 32


CONFIGS: dict[str, PuppetConfig] = {
    "neural-voice-puppetry": PuppetConfig(),
    "neural-voice-puppetry-128": PuppetConfig(128, 128, 16, 16, lower=True, added=True),
}


def sound_trunk(features: int) -> nn.Sequential:
    """Windows of sound (N, features, 16, 1) to (N, 64, 1, 1)."""
    layers: list[nn.Module] = []
    for a, b, slope in ((features, 32, 0.02), (32, 32, 0.02), (32, 64, 0.2), (64, 64, 0.2)):
        layers += [nn.Conv2d(a, b, (3, 1), (2, 1), (1, 0)), nn.LeakyReLU(slope)]
    return nn.Sequential(*layers)


def dense(inputs: int, outputs: int) -> nn.Sequential:
    """Three layers; what comes out lies in -1..1."""
    return nn.Sequential(
        nn.Linear(inputs, 128), nn.LeakyReLU(0.02), nn.Linear(128, 64), nn.LeakyReLU(0.02), nn.Linear(64, outputs),
        nn.Tanh(),
    )  # fmt: skip


class VoiceNet(nn.Module):
    """Sound to expressions: what each window says, averaged by attention, mapped to a person's own coefficients."""

    def __init__(self, config: VoiceConfig) -> None:
        super().__init__()
        self.config = config
        self.mapping = nn.Parameter(torch.randn(config.identities, config.expressions, config.subspace))
        self.windows = sound_trunk(config.features)
        self.says = dense(64, config.subspace)
        narrow: list[nn.Module] = []
        widths = [config.subspace, 16, 8, 4, 2, 1]
        for a, b in pairwise(widths):
            narrow += [nn.Conv1d(a, b, 3, 1, 1), nn.LeakyReLU(0.02)]
        self.attends = nn.Sequential(*narrow)
        self.weighs = nn.Linear(STEPS, STEPS)

    def features(self, sound: Tensor) -> Tensor:
        """(N, 16, features) to (N, 64)."""
        return self.windows(sound.transpose(1, 2).unsqueeze(3)).flatten(1)

    def heard(self, sound: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sound (B, 8, 16, features) to audio expressions (B, subspace), those of each window (B, 8, subspace) and how
        much each window counts (B, 8)."""
        B = len(sound)
        each = self.says(self.features(sound.flatten(0, 1))).view(B, STEPS, -1)
        share = torch.softmax(self.weighs(self.attends(each.transpose(1, 2)).flatten(1)), 1)
        return (each * share[..., None]).sum(1), each, share

    def mapped(self, heard: Tensor, identity: Tensor) -> Tensor:
        """Expressions (B, E) of people (B,) for audio expressions (B, subspace)."""
        return SCALE * torch.einsum("bek,bk->be", self.mapping[identity], heard)

    def forward(self, sound: Tensor, identity: Tensor) -> tuple[Tensor, Tensor]:
        """Expressions (B, E), and those of one window alone: the published code takes that after the frame's own."""
        heard, each, _ = self.heard(sound)
        return self.mapped(heard, identity), self.mapped(each[:, NOW + 1], identity)


class SpokenMouth(nn.Module):
    """Ours: mouths as the network of `--speech` hears them, mapped to one person's expressions."""

    def __init__(self, mouths: int, expressions: int) -> None:
        super().__init__()
        self.config = VoiceConfig(mouths, mouths, 1, expressions)
        self.map = nn.Linear(mouths, expressions)

    def forward(self, sound: Tensor, identity: Tensor) -> tuple[Tensor, Tensor]:
        """As of `VoiceNet`: of windows (B, 8, 16, K) the frame's own row counts."""
        said = self.map(sound[:, NOW, ROWS // 2])
        return said, said


class NeuralTexture(nn.Module):
    """Features on the face (channels, side, side) that a kernel, made of what is heard or shown, changes."""

    def __init__(self, channels: int, side: int, kind: str, expressions: int = 76, features: int = 29,
                 inner: int = 0) -> None:  # fmt: skip
        """`inner` channels are kept, as many as come out where 0."""
        super().__init__()
        self.kind, self.channels = kind, channels
        self.inner = channels if kind == "nothing" else inner or channels
        self.data = nn.Parameter(torch.randn(1, self.inner, side, side))
        if kind == "audio":
            self.windows = sound_trunk(features)
        if kind != "nothing":
            self.kernel = dense(64 if kind == "audio" else expressions, self.inner * channels * 16)

    @torch.no_grad()
    def begin(self, skin: Tensor) -> None:
        """Begin with `skin` (N, side, side) in -1..1 in as many of the first channels as there are, which the kernel
        hardly changes, and with little in the others."""
        self.data.mul_(FAINT)
        n = min(len(skin), self.inner)
        self.data[0, :n] = skin[:n]
        if self.kind != "nothing":
            last = next(m for m in reversed(self.kernel) if isinstance(m, nn.Linear))
            same = torch.zeros(self.channels, self.inner, 4, 4)
            same[range(self.channels), range(self.channels), 2, 2] = KEPT
            last.weight *= FAINT
            last.bias.copy_(torch.atanh(same).flatten())
            self.data.div_(KEPT)

    def forward(self, uv: Tensor, said: Tensor | None = None) -> Tensor:
        """`uv` (B, 2, H, W) in -1..1 and what was `said`, expressions (B, E) or sound (B, 16, features), to features
        (B, channels, H, W)."""
        grid, B = uv.permute(0, 2, 3, 1), len(uv)
        if self.kind == "nothing":
            texture = self.data.expand(B, -1, -1, -1)
        else:
            assert said is not None
            if self.kind == "audio":
                said = self.windows(said.transpose(1, 2).unsqueeze(3)).flatten(1)
            kernels = self.kernel(said).view(B, self.channels, self.inner, 4, 4)
            texture = torch.cat([F.conv2d(self.data, k, padding=2) for k in kernels])
        return F.grid_sample(texture, grid, "bilinear", "border", align_corners=True)


def valid_in(uv: Tensor) -> Tensor:
    """(B, 1, H, W) 1 where a `uv` map (B, 2, H, W) shows the face: elsewhere both are -1."""
    return 1 - (uv == -1).all(1, keepdim=True).to(uv.dtype)


def background_mask(uv: Tensor, grow: float = 1.0) -> Tensor:
    """(B, 1, H, W) 1 where the target's own picture stays: beyond the face and what moves with it. `grow` is 1 for
    pictures of the published size."""
    hole = valid_in(uv)
    throat, forehead, sides = (int(v * grow) for v in (40, 8, 15))
    for pad, kernel in (
        ((0, 0, throat, 0), (throat + 1, 1)), ((0, 0, 0, forehead), (forehead + 1, 1)),
        ((sides, sides, 0, 0), (1, 2 * sides + 1)),
    ):  # fmt: skip
        hole = F.max_pool2d(F.pad(hole, pad), kernel, 1)
    return 1 - hole


class Puppet(nn.Module):
    """The deferred renderer of one person: texture, decoder, inpainter."""

    def __init__(self, config: PuppetConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        self.texture = NeuralTexture(c.channels, c.texture, c.kind, c.expressions, c.features)
        widths = [c.width * k for k in (1, 2, 4, 8, 8)][:DIVISIONS]
        self.decoder = normal_(NestedUNet(c.channels + 3, 3, widths, c.bilinear))
        self.inpainter = normal_(NestedUNet(6, 3, widths, c.bilinear))

    def forward(self, uv: Tensor, said: Tensor | None, target: Tensor) -> Drawn:
        """`uv` (B, 2, S, S), what was `said` as the texture wants it, the `target`'s picture (B, 3, S, S) in -1..1."""
        grow = target.shape[-1] / 256 * (CLOSER if self.config.lower else 1)
        return render(self.texture, self.decoder, self.inpainter, uv, said, target, grow, self.config.added)


@dataclass
class Drawn:
    """Features of the face (B, C, S, S), the decoder's picture and the result (B, 3, S, S); the `mask` (B, 1, S, S) is
    1 where the target's own picture stays."""

    features: Tensor
    intermediate: Tensor
    picture: Tensor
    mask: Tensor
    background: Tensor


def render(
    texture: NeuralTexture, decoder: nn.Module, inpainter: nn.Module, uv: Tensor, said: Tensor | None, target: Tensor,
    grow: float, added: bool = False,
) -> Drawn:  # fmt: skip
    """One picture: features sampled on the face, decoded over the background, the hole around it filled. What the
    networks make is `added` to the first features and to what was decoded, if that is said."""
    mask = background_mask(uv, grow)
    background = target * mask
    features = texture(uv, said)
    intermediate = decoder(torch.cat([features, background], 1))
    if added:
        share = F.avg_pool2d(valid_in(uv), 2 * EDGE + 1, 1, EDGE, count_include_pad=False)
        intermediate = intermediate + features[:, :3] * (2 * share - 1).clamp(min=0)
    made = inpainter(torch.cat([intermediate, background], 1))
    if added:
        made = made + intermediate
    return Drawn(features, intermediate, made * (1 - mask) + background, mask, background)
