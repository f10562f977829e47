"""The networks of MarioNETte (Ha et al., AAAI 2020): a face drawn from a driver's outline and pictures of a target.

Sizes and names of the parts follow the paper; where the only public code (SerK0/MarioNet, a re-implementation) differs
from it, `MarionetteConfig` has both, and what that code does is the value called published.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from infinex.nn.discriminators import Verdict


@dataclass(frozen=True)
class MarionetteConfig:
    """Sizes, and which of two readings is built. The defaults are the paper's sizes at 128 pixels: the decoder doubles
    four times, as often as the driver's outline is halved; small pictures want fewer.

    `softmax`   keys: over the keys of each query, as written in the paper; item: over all pairs of a sample, and
                batch: over the samples of a batch, both as published, which also lays the result out wrongly
    `pairing`   level: maps of the target meet the decoder at their own size; reversed: the finest ones where it is
                coarsest, as published
    `flow`      offset: what is read lies that far off, 0 at first; absolute: where it lies, as published
    `aligned`   whether -1 and 1 are centres of pixels; False as published (and run on PyTorch since 1.3)
    `sigmoid`   whether the critic ends in one, as published, which a hinge loss cannot use
    """

    size: int = 128
    driver: tuple[int, ...] = (64, 128, 256, 512, 512)
    target: tuple[int, ...] = (64, 128, 256, 512, 512, 512)
    flow_widths: tuple[int, ...] = (512, 512, 256, 128)
    decoder: tuple[int, ...] = (512, 256, 128, 64)
    attention: int = 256
    critic: tuple[int, ...] = (64, 128, 256, 512, 512)
    identities: int = 0  # people that the critic knows by an embedding each (its projection); 0: none
    softmax: Literal["keys", "item", "batch"] = "keys"
    pairing: Literal["level", "reversed"] = "level"
    flow: Literal["offset", "absolute"] = "offset"
    aligned: bool = True
    sigmoid: bool = False
    places: bool = False  # networks are told where in the picture each place is, by which small ones learn flows sooner
    attend: bool = True  # False: the ablation without attention, where the target's codes are averaged in place
    align: bool = True  # False: the ablation without alignment, where the target's maps are shown as they lie


# Small ones for a processor; the widths are ours.
CONFIGS: dict[str, MarionetteConfig] = {
    "marionette": MarionetteConfig(size=256),
    "marionette-128": MarionetteConfig(),
    "marionette-small": MarionetteConfig(
        size=96, driver=(16, 32, 48, 64, 96), target=(16, 32, 48, 64, 96, 96), flow_widths=(96, 64, 48, 32),
        decoder=(96, 64, 48, 32), attention=48, critic=(16, 32, 48, 64, 96),
    ),
    "marionette-face": MarionetteConfig(
        size=64, driver=(8, 16, 40, 64), target=(12, 24, 40, 64, 80), flow_widths=(64, 40, 24),
        decoder=(64, 40, 20), attention=48, critic=(16, 32, 48, 64), places=True,
    ),
    "marionette-tiny": MarionetteConfig(
        size=64, driver=(4, 8, 8, 12, 16), target=(4, 8, 8, 12, 16, 16), flow_widths=(16, 12, 8, 8),
        decoder=(16, 12, 8, 8), attention=8, critic=(4, 8, 8, 12, 16),
    ),
}  # fmt: skip


class Down(nn.Module):
    """A residual block that halves the size: averages after a 1x1 and after two 3x3 convolutions."""

    def __init__(self, inputs: int, outputs: int, spectral: bool = False) -> None:
        super().__init__()
        wrap = spectral_norm if spectral else (lambda c: c)
        self.skip = wrap(nn.Conv2d(inputs, outputs, 1))
        self.first = wrap(nn.Conv2d(inputs, outputs, 3, padding=1))
        self.second = wrap(nn.Conv2d(outputs, outputs, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H/2, W/2)."""
        y = self.second(F.relu(self.first(F.relu(x))))
        return self.skip(F.avg_pool2d(x, 2)) + F.avg_pool2d(y, 2)  # pooled first: the same, and less work


class Up(nn.Module):
    """A residual block that doubles the size; with `beside`, maps of that many channels at the new size join in."""

    def __init__(self, inputs: int, outputs: int, beside: int = 0) -> None:
        super().__init__()
        self.skip = nn.Conv2d(inputs, outputs, 1)
        self.first = nn.Conv2d(inputs + beside, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, 2H, 2W)."""
        y = _doubled(F.relu(F.instance_norm(x)))
        if beside is not None:
            y = torch.cat([y, beside], 1)
        y = self.second(F.relu(F.instance_norm(self.first(y))))
        return _doubled(self.skip(x)) + y  # doubled last: the same, and less work


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)


def _told(x: Tensor, config: MarionetteConfig) -> Tensor:
    """Maps (B, C, H, W), with x and y in -1..1 beside them where networks are told."""
    if not config.places:
        return x
    b, _, h, w = x.shape
    y = torch.linspace(-1, 1, h, device=x.device, dtype=x.dtype)[:, None].expand(b, 1, h, w)
    return torch.cat([x, torch.linspace(-1, 1, w, device=x.device, dtype=x.dtype).expand(b, 1, h, w), y], 1)


class Sampler:
    """Reads maps where a flow says."""

    def __init__(self, config: MarionetteConfig) -> None:
        self.offset, self.aligned = config.flow == "offset", config.aligned

    def __call__(self, maps: Tensor, flow: Tensor) -> Tensor:
        """`maps` (B, C, H, W) at `flow` (B, 2, h, w), x and y in -1..1: (B, C, h, w)."""
        grid = flow.float().permute(0, 2, 3, 1)
        if self.offset:
            still = torch.eye(2, 3, device=grid.device)[None].expand(len(grid), -1, -1)
            grid = grid + F.affine_grid(still, [len(grid), 1, *grid.shape[1:3]], self.aligned)
        return F.grid_sample(maps.float(), grid, align_corners=self.aligned).to(maps.dtype)


def _flow_layer(layer: nn.Conv2d, config: MarionetteConfig) -> nn.Conv2d:
    """A layer that makes a flow: where that is an offset, it begins as none."""
    if config.flow == "offset":
        nn.init.zeros_(layer.weight)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
    return layer


class DriverEncoder(nn.Module):
    """The outline of an expression (B, 3, S, S) to its code (B, C, S/16, S/16) at the paper's depth."""

    def __init__(self, config: MarionetteConfig) -> None:
        super().__init__()
        w, self.config = config.driver, config
        self.first = nn.Conv2d(3 + 2 * config.places, w[0], 3, padding=1)
        self.down = nn.ModuleList(Down(a, b) for a, b in pairwise(w))

    def forward(self, outline: Tensor) -> Tensor:
        """See above."""
        x = self.first(_told(outline, self.config))
        for block in self.down:
            x = block(x)
        return x


class Target(NamedTuple):
    """What a picture of the target tells: its code (N, C, S/32, S/32) at the paper's depth, its maps moved into a pose
    of their own, from the first the decoder is shown to the last, and the flow (N, 2, S/2, S/2) that moved them."""

    code: Tensor
    maps: list[Tensor]
    flow: Tensor


class TargetEncoder(nn.Module):
    """A U-Net over a picture of the target and its outline (N, 3, S, S) each; its flow aligns its own maps."""

    def __init__(self, config: MarionetteConfig) -> None:
        super().__init__()
        w, up = config.target, config.flow_widths
        self.config, self.sample = config, Sampler(config)
        self.first = nn.Conv2d(6 + 2 * config.places, w[0], 3, padding=1)
        self.down = nn.ModuleList(Down(a, b) for a, b in pairwise(w))
        if config.align:
            self.up = nn.ModuleList(Up(a, b, s) for a, b, s in zip((w[-1], *up), up, w[-2:0:-1]))
            self.flow = _flow_layer(nn.Conv2d(up[-1] + 2 * config.places, 2, 3, padding=1), config)

    def forward(self, image: Tensor, outline: Tensor) -> Target:
        """Pictures in -1..1."""
        x = self.first(_told(torch.cat([image, outline], 1), self.config))
        maps = []
        for block in self.down:
            x = block(x)
            maps.append(x)
        *maps, code = maps  # in the paper from 1/2 to 1/16, and 1/32
        if not self.config.align:
            h, w = maps[0].shape[2:]
            return Target(code, maps[::-1], image.new_zeros(len(image), 2, h, w))
        y = code
        for block, beside in zip(self.up, maps[::-1]):
            y = block(y, beside)
        flow = torch.tanh(self.flow(_told(y, self.config)))
        flows = [flow]
        for _ in self.config.decoder[1:]:
            flows.append(F.avg_pool2d(flows[-1], 2))
        if self.config.pairing == "reversed":  # the coarsest maps in the finest flow, the finest in the coarsest
            moved = [self.sample(m, f) for m, f in zip(maps, flows[::-1])]
        else:
            moved = [self.sample(m, f) for m, f in zip(maps[::-1], flows[::-1])]
        return Target(code, moved, flow)


def positions(height: int, width: int, channels: int, like: Tensor) -> Tensor:
    """Sinusoids (height · width, channels) that tell places apart, channels a multiple of 4 (Vaswani et al. 2017)."""
    if channels % 4:
        raise ValueError(f"a code of positions wants a multiple of 4 channels, not {channels}")
    slow = 10000.0 ** (8 * torch.arange(channels // 4, device=like.device) / channels)
    y = 256 * torch.arange(height, device=like.device)[:, None, None] / (height * slow)
    x = 256 * torch.arange(width, device=like.device)[None, :, None] / (width * slow)
    y, x = y.expand(height, width, -1), x.expand(height, width, -1)
    return torch.stack([y.sin(), y.cos(), x.sin(), x.cos()], -1).reshape(height * width, channels).to(like.dtype)


class Blender(nn.Module):
    """The image attention block: every place of the driver's code asks all places of all pictures of the target."""

    def __init__(self, config: MarionetteConfig) -> None:
        super().__init__()
        asks, told, inner = config.driver[-1], config.target[-1], config.attention
        self.config = config
        if config.attend:
            self.query, self.key = nn.Linear(asks, inner), nn.Linear(told, inner)
            self.query_place, self.key_place = nn.Linear(asks, inner), nn.Linear(told, inner)
        self.value = nn.Linear(told, asks)
        self.conv = nn.Conv2d(asks, asks, 3, padding=1)

    def attended(self, code: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """`code` (B, C, h, w) and `targets` (B, K, C', h', w'): what it is told (B, C, h, w), and the weights."""
        b, c, h, w = code.shape
        k, (h2, w2) = targets.shape[1], targets.shape[3:]
        asks = code.flatten(2).transpose(1, 2)
        told = targets.permute(0, 1, 3, 4, 2).flatten(1, 3)  # (B, K·h'·w', C')
        q = self.query(asks) + self.query_place(positions(h, w, c, code))
        here = self.key_place(positions(h2, w2, told.shape[2], code)).repeat(k, 1)
        scores = q @ (self.key(told) + here).transpose(1, 2) / self.config.attention**0.5
        if self.config.softmax == "keys":
            weights = scores.softmax(-1)
            return (weights @ self.value(told)).transpose(1, 2).reshape(b, c, h, w), weights
        weights = scores.softmax(0) if self.config.softmax == "batch" else scores.flatten(1).softmax(1).view_as(scores)
        # Published: places and channels are taken for channels and places.
        return (weights @ self.value(told)).reshape(b, c, h, w), weights

    def forward(self, code: Tensor, targets: Tensor) -> Tensor:
        """What the target's pictures tell the driver's code, (B, C, h, w)."""
        if self.config.attend:
            told = self.attended(code, targets)[0]
        else:
            mean = self.value(targets.mean(1).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            # Without attention nothing of the driver would be left.
            told = code + F.interpolate(mean, size=code.shape[2:], mode="bilinear", align_corners=False)
        x = F.instance_norm(told)
        return F.instance_norm(x + self.conv(x))


class DecoderBlock(nn.Module):
    """Target feature alignment: the target's maps are read where the picture so far wants them; the size doubles."""

    def __init__(self, inputs: int, shown: int, outputs: int, config: MarionetteConfig) -> None:
        super().__init__()
        self.sample, self.config = Sampler(config), config
        self.flow = _flow_layer(nn.Conv2d(inputs + 2 * config.places, 2, 1), config) if config.align else None
        self.up = Up(inputs + shown, outputs)

    def forward(self, x: Tensor, maps: Tensor) -> tuple[Tensor, Tensor | None]:
        """`x` (B, C, h, w) and `maps` (B, C', h, w) to (B, outputs, 2h, 2w), and the flow (B, 2, h, w)."""
        flow = None
        if self.flow is not None:
            flow = torch.tanh(self.flow(_told(x, self.config)))
            maps = self.sample(maps, flow)
        return self.up(torch.cat([x, maps], 1)), flow


class Drawn(NamedTuple):
    """A picture (B, 3, S, S) in -1..1, and the flows (B, 2, h, w) by which the target's maps were read, if any."""

    image: Tensor
    flows: list[Tensor]


class Decoder(nn.Module):
    """The blended code and the target's maps to a picture (B, 3, S, S) in -1..1."""

    def __init__(self, config: MarionetteConfig) -> None:
        super().__init__()
        reverse = config.pairing == "reversed" and config.align
        shown = config.target[1:-1] if reverse else config.target[-2:0:-1]
        widths = (config.driver[-1], *config.decoder)
        self.blocks = nn.ModuleList(DecoderBlock(a, s, b, config) for (a, b), s in zip(pairwise(widths), shown))
        self.last = nn.Conv2d(widths[-1], 3, 1)

    def forward(self, x: Tensor, maps: list[Tensor]) -> Drawn:
        """See above."""
        flows = []
        for block, shown in zip(self.blocks, maps):
            x, flow = block(x, shown)
            if flow is not None:
                flows.append(flow)
        return Drawn(torch.tanh(self.last(x)), flows)


class Known(NamedTuple):
    """A target, once seen: its codes (B, K, C, h, w) one by one, its maps averaged over the pictures, and the flows
    (B, K, 2, S/2, S/2) that aligned these."""

    codes: Tensor
    maps: list[Tensor]
    flows: Tensor


class Marionette(nn.Module):
    """The generator."""

    def __init__(self, config: MarionetteConfig) -> None:
        super().__init__()
        self.config = config
        self.driver_encoder, self.target_encoder = DriverEncoder(config), TargetEncoder(config)
        self.blender, self.decoder = Blender(config), Decoder(config)

    def know(self, images: Tensor, outlines: Tensor) -> Known:
        """Pictures (B, K, 3, S, S) of targets in -1..1, and their outlines."""
        b, k = images.shape[:2]
        seen = self.target_encoder(images.flatten(0, 1), outlines.flatten(0, 1))
        codes = seen.code.reshape(b, k, *seen.code.shape[1:])
        maps = [m.reshape(b, k, *m.shape[1:]).mean(1) for m in seen.maps]
        return Known(codes, maps, seen.flow.reshape(b, k, *seen.flow.shape[1:]))

    def drawn(self, outline: Tensor, known: Known) -> Drawn:
        """The targets with the driver's `outline` (B, 3, S, S)."""
        drawn: Drawn = self.decoder(self.blender(self.driver_encoder(outline), known.codes), known.maps)
        return drawn

    def draw(self, outline: Tensor, known: Known) -> Tensor:
        """Their pictures alone (B, 3, S, S), in -1..1."""
        return self.drawn(outline, known).image

    def forward(self, outline: Tensor, images: Tensor, outlines: Tensor) -> tuple[Drawn, Tensor]:
        """Both at once: what is drawn, and the flows (B, K, 2, S/2, S/2) that aligned the target's maps."""
        known = self.know(images, outlines)
        return self.drawn(outline, known), known.flows


class Critic(nn.Module):
    """Verdicts on patches of a picture beside its outline, and by who it is to be (Miyato and Koyama 2018)."""

    def __init__(self, config: MarionetteConfig) -> None:
        super().__init__()
        w = config.critic
        self.sigmoid = config.sigmoid
        self.first = spectral_norm(nn.Conv2d(6, w[0], 3, padding=1))
        self.down = nn.ModuleList(Down(a, b, spectral=True) for a, b in pairwise(w))
        self.score = spectral_norm(nn.Conv2d(w[-1], 1, 3, padding=1))
        self.who = spectral_norm(nn.Embedding(config.identities, w[-1])) if config.identities else None

    def forward(self, image: Tensor, outline: Tensor, who: Tensor | None = None) -> Verdict:
        """Pictures and outlines (B, 3, S, S) in -1..1, `who` (B,) numbers of people; nobody is asked about without."""
        x = self.first(torch.cat([image, outline], 1))
        features = []
        for block in self.down:
            x = block(x)
            features.append(x)
        score = self.score(x)
        if self.who is not None and who is not None:
            score = score + (x * self.who(who)[..., None, None]).mean(1, keepdim=True)
        return Verdict(torch.sigmoid(score) if self.sigmoid else score, features)
