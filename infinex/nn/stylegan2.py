"""StyleGAN2 generator (Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020).

    z ─► mapping ─► w ─► (one per layer: W+) ─► synthesis ─► picture
                          4×4 constant ─► [modulated convolutions, noise] per resolution, RGB by skip connections

Plain PyTorch, made for processors too: a modulated convolution scales its input and its output instead of
making a kernel for every picture of a batch, which is the same function (section 2.2 of the paper) and lets a
batch share one convolution.

Reads the key names of rosinality's port (`*.pt` with `g_ema`) and those of NVIDIA's PyTorch releases (ADA and
later) from files that hold tensors alone, such as safetensors. NVIDIA's own pickles hold code and are refused.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn

from infinex.errors import WeightsError
from infinex.nn.files import State, misfit, read_weights, state_dict_of

Noise = Literal["stored", "random", "none"]


@dataclass(frozen=True)
class StyleGAN2Config:
    """Sizes of the generator; the defaults are config F of the paper, as trained on FFHQ at 1024 pixels."""

    size: int = 1024  # side of the picture, a power of two
    latent: int = 512  # of z
    style: int = 512  # of w
    layers: int = 8  # of the mapping network
    channels: tuple[int, ...] = (512, 512, 512, 512, 512, 256, 128, 64, 32)  # at 4, 8 ... `size` pixels
    mapping_rate: float = 0.01  # learning rate of the mapping network relative to the rest
    taps: tuple[float, ...] = (1.0, 3.0, 3.0, 1.0)  # of the separable low-pass filter

    def __post_init__(self) -> None:
        if self.size != 4 << (len(self.channels) - 1):
            raise ValueError(
                f"{len(self.channels)} widths make {4 << (len(self.channels) - 1)} pixels, not {self.size}"
            )

    @property
    def styles(self) -> int:
        """How many w the synthesis takes (L of W+): 18 at 1024 pixels."""
        return 2 * len(self.channels)


def config_for(size: int, base: int = 32768, most: int = 512, **changes: Any) -> StyleGAN2Config:
    """Config of a size with the usual widths, min(base / resolution, most)."""
    levels = int(math.log2(size)) - 1
    return StyleGAN2Config(size=size, channels=tuple(min(base // (4 << i), most) for i in range(levels)), **changes)


class PixelNorm(nn.Module):
    """Every vector brought to a mean square of 1."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C) to the same."""
        return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


def scaled_leaky_relu(x: Tensor) -> Tensor:
    """LeakyReLU of slope 0.2, times √2 to keep the variance of a normal input."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


class EqualLinear(nn.Module):
    """Linear layer with an equalised learning rate (Karras et al. 2018): weights of variance 1, scaled in use.

    `rate` scales the learning rate further; `active` adds the bias and the scaled leaky ReLU.
    """

    def __init__(self, inputs: int, outputs: int, rate: float = 1.0, active: bool = False, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), float(bias)))
        self.scale, self.rate, self.active = rate / math.sqrt(inputs), rate, active

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        y = F.linear(x, self.weight * self.scale, self.bias * self.rate)
        return scaled_leaky_relu(y) if self.active else y


def upfirdn(x: Tensor, taps: Sequence[float], up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0)) -> Tensor:
    """Zeros between samples, padding, a separable filter, every `down`-th sample, along both axes.

    x (B, C, H, W) to (B, C, (H·up + pad - taps + 1) / down, likewise W). The filter is used as given: not
    normalised, and reversed as in a convolution. Each axis is a sum of shifted pictures, faster on a processor
    than a convolution with one kernel per channel.
    """
    for axis in (2, 3):
        if up > 1:
            shape = list(x.shape)
            wide = x.new_zeros([*shape[: axis + 1], up, *shape[axis + 1 :]])
            wide.select(axis + 1, 0).copy_(x)
            shape[axis] *= up
            x = wide.reshape(shape)
        x = F.pad(x, (*pad, 0, 0) if axis == 3 else (0, 0, *pad))
        count = (x.shape[axis] - len(taps)) // down + 1
        out: Tensor | None = None
        for i, tap in enumerate(reversed(taps)):
            index = [slice(None)] * 4
            index[axis] = slice(i, i + (count - 1) * down + 1, down)
            part = x[tuple(index)]
            out = part * tap if out is None else out.add(part, alpha=tap)
        assert out is not None
        x = out
    return x


def _normalised(taps: Sequence[float], gain: float = 1.0) -> tuple[float, ...]:
    return tuple(gain * t / sum(taps) for t in taps)


def upsample(x: Tensor, taps: Sequence[float]) -> Tensor:
    """(B, C, H, W) to twice the size, low-pass filtered."""
    spare = len(taps) - 2
    return upfirdn(x, _normalised(taps, 2), up=2, pad=((spare + 1) // 2 + 1, spare // 2))


class ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled by a style, then the result brought back to variance 1.

    y = d · conv(s · x, W), s = affine(w), d_o = 1 / √(Σ (s_i · W_oi)²): equations 1 and 3 of the paper, applied
    to the feature maps. `up` doubles the size by a transposed convolution and a low-pass filter.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        style: int,
        up: bool = False,
        demodulate: bool = True,
        taps: Sequence[float] = (1.0, 3.0, 3.0, 1.0),
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.affine = EqualLinear(style, inputs, bias=1.0)
        self.scale = 1 / math.sqrt(inputs * kernel**2)
        self.up, self.demodulate, self.padding = up, demodulate, kernel // 2
        # A transposed convolution of stride 2 spreads each sample over a quarter of the pixels: hence gain 2 an axis.
        self.taps = _normalised(taps, 2)
        spare = len(taps) - 2 - (kernel - 1)
        self.pad = ((spare + 1) // 2 + 1, spare // 2 + 1)

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        """x (B, inputs, H, W), a style s (B, inputs) = affine(w) to (B, outputs, H, W) or twice that size."""
        weight = self.weight * self.scale
        x = x * s[:, :, None, None]
        if self.up:
            y = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
            y = upfirdn(y, self.taps, pad=self.pad)
        else:
            y = F.conv2d(x, weight, padding=self.padding)
        if self.demodulate:
            power = weight.square().sum(dim=(2, 3))  # (outputs, inputs)
            y = y * torch.rsqrt(s.square() @ power.T + 1e-8)[:, :, None, None]
        return y


class StyledLayer(ModulatedConv):
    """Modulated convolution, noise of a learned strength, bias, scaled leaky ReLU."""

    noise: Tensor

    def __init__(self, inputs: int, outputs: int, size: int, config: StyleGAN2Config, up: bool = False) -> None:
        super().__init__(inputs, outputs, 3, config.style, up=up, taps=config.taps)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.strength = nn.Parameter(torch.zeros(()))
        # Kept with the weights: the same noise for every frame of a clip keeps hair and pores where they are.
        self.register_buffer("noise", torch.randn(size, size))

    def forward(self, x: Tensor, s: Tensor, noise: Tensor | None = None) -> Tensor:
        """`noise` (h, w) or (B, 1, h, w), none: no noise."""
        y = super().forward(x, s)
        if noise is not None:
            y = y + self.strength * noise
        return scaled_leaky_relu(y + self.bias[:, None, None])


class ToRGB(ModulatedConv):
    """Modulated 1×1 convolution to colours, without demodulation, added to the enlarged colours so far."""

    def __init__(self, inputs: int, config: StyleGAN2Config) -> None:
        super().__init__(inputs, 3, 1, config.style, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(3))
        self.enlarge = config.taps

    def forward(self, x: Tensor, s: Tensor, colours: Tensor | None = None) -> Tensor:
        """x (B, inputs, H, W), colours (B, 3, H/2, W/2) to (B, 3, H, W)."""
        y = super().forward(x, s) + self.bias[:, None, None]
        return y if colours is None else y + upsample(colours, self.enlarge)


class MappingNetwork(nn.Module):
    """z to w."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.norm = PixelNorm()
        sizes = [config.latent, *[config.style] * config.layers]
        self.layers = nn.ModuleList(
            EqualLinear(a, b, rate=config.mapping_rate, active=True) for a, b in pairwise(sizes)
        )

    def forward(self, z: Tensor) -> Tensor:
        """(B, latent) to (B, style)."""
        x = self.norm(z)
        for layer in self.layers:
            x = layer(x)
        return x


class StyleGAN2(nn.Module):
    """The generator. `convs[i]` takes the i-th w, `rgbs[k]` the one after that of its resolution's last layer."""

    mean_w: Tensor

    def __init__(self, config: StyleGAN2Config = StyleGAN2Config()) -> None:
        super().__init__()
        self.config = config
        self.mapping = MappingNetwork(config)
        self.register_buffer("mean_w", torch.zeros(config.style))
        widths = config.channels
        self.constant = nn.Parameter(torch.randn(widths[0], 4, 4))
        self.convs = nn.ModuleList([StyledLayer(widths[0], widths[0], 4, config)])
        self.rgbs = nn.ModuleList([ToRGB(widths[0], config)])
        for i, (a, b) in enumerate(pairwise(widths)):
            side = 8 << i
            self.convs.append(StyledLayer(a, b, side, config, up=True))
            self.convs.append(StyledLayer(b, b, side, config))
            self.rgbs.append(ToRGB(b, config))

    def truncate(self, w: Tensor, psi: float, mean: Tensor | None = None, cutoff: int | None = None) -> Tensor:
        """w (B, style) or (B, L, style) drawn towards the mean w, in the first `cutoff` layers of W+ alone if given."""
        mean = self.mean_w if mean is None else mean
        drawn = mean + psi * (w - mean)
        if cutoff is None:
            return drawn
        w, drawn = self.spread(w), self.spread(drawn)
        return torch.cat([drawn[:, :cutoff], w[:, cutoff:]], dim=1)

    def spread(self, w: Tensor) -> Tensor:
        """(B, style) to W+ (B, L, style); what is in W+ stays as it is."""
        return w[:, None].expand(-1, self.config.styles, -1) if w.dim() == 2 else w

    @torch.no_grad()
    def measure_mean(self, count: int = 4096, generator: torch.Generator | None = None) -> Tensor:
        """Set `mean_w` to the mean of `count` random w, where a file comes without it."""
        like = self.constant
        z = torch.randn(count, self.config.latent, generator=generator).to(like)
        self.mean_w.copy_(self.mapping(z).mean(0))
        return self.mean_w

    def forward(self, w: Tensor, noise: Noise | Sequence[Tensor | None] = "stored") -> Tensor:
        """Synthesis: w (B, style) or W+ (B, L, style) to pictures (B, 3, size, size), about -1..1, not clipped.

        `noise`: the one kept with the weights, fresh, none, or one (h, w) or (B, 1, h, w) for each of `convs`.
        """
        return self.draw(self.style_vectors(w), noise)

    def style_vectors(self, w: Tensor) -> list[Tensor]:
        """The style space of w (B, style) or W+ (B, L, style): what scales the channels of each layer in the order of
        drawing, (B, channels) each; every third from the second on belongs to colours (`ToRGB`)."""
        w = self.spread(w)
        if w.shape[1:] != (self.config.styles, self.config.style):
            expected = f"(B, {self.config.styles}, {self.config.style})"
            raise ValueError(f"the generator of {self.config.size} pixels takes {expected}, not {tuple(w.shape)}")
        convs, rgbs = ([cast(ModulatedConv, m).affine for m in layers] for layers in (self.convs, self.rgbs))
        out = [convs[0](w[:, 0]), rgbs[0](w[:, 1])]
        for k in range(1, len(rgbs)):
            i = 2 * k - 1
            out += [convs[i](w[:, i]), convs[i + 1](w[:, i + 1]), rgbs[k](w[:, i + 2])]
        return out

    def draw(self, styles: Sequence[Tensor], noise: Noise | Sequence[Tensor | None] = "stored") -> Tensor:
        """Synthesis from `style_vectors`; see `forward`."""
        batch = len(styles[0])
        noises = self._noises(noise, batch)
        x = self.convs[0](self.constant[None].expand(batch, -1, -1, -1), styles[0], noises[0])
        colours = self.rgbs[0](x, styles[1])
        for k in range(1, len(self.rgbs)):
            i, own = 2 * k - 1, styles[3 * k - 1 :]
            x = self.convs[i](x, own[0], noises[i])
            x = self.convs[i + 1](x, own[1], noises[i + 1])
            colours = self.rgbs[k](x, own[2], colours)
        return colours

    def _noises(self, noise: Noise | Sequence[Tensor | None], batch: int) -> list[Tensor | None]:
        stored = [cast(StyledLayer, layer).noise for layer in self.convs]
        if noise == "stored":
            return list(stored)
        if noise == "none":
            return [None] * len(stored)
        if noise == "random":
            return [torch.randn(batch, 1, *n.shape, device=n.device, dtype=n.dtype) for n in stored]
        if isinstance(noise, str) or len(noise) != len(stored):
            raise ValueError(f"noise is 'stored', 'random', 'none' or {len(stored)} tensors")
        return list(noise)


# --- published key names ------------------------------------------------------------------------------------


def _from_rosinality(state: Mapping[str, Tensor]) -> State:
    """rosinality/stylegan2-pytorch to our names."""
    out: State = {}
    for key, tensor in state.items():
        if m := re.fullmatch(r"style\.(\d+)\.(weight|bias)", key):
            out[f"mapping.layers.{int(m[1]) - 1}.{m[2]}"] = tensor  # place 0 is the normalisation
        elif key == "input.input":
            out["constant"] = tensor[0]
        elif m := re.fullmatch(r"(conv1|convs\.(\d+))\.(.+)", key):
            layer = f"convs.{0 if m[2] is None else int(m[2]) + 1}"
            _layer(out, layer, m[3], tensor)
        elif m := re.fullmatch(r"(to_rgb1|to_rgbs\.(\d+))\.(.+)", key):
            layer = f"rgbs.{0 if m[2] is None else int(m[2]) + 1}"
            _layer(out, layer, m[3], tensor)
        elif m := re.fullmatch(r"noises\.noise_(\d+)", key):
            out[f"convs.{m[1]}.noise"] = tensor[0, 0]
        else:
            out[key] = tensor
    return out


def _layer(out: State, layer: str, name: str, tensor: Tensor) -> None:
    if name == "conv.weight":
        out[f"{layer}.weight"] = tensor[0]
    elif name.startswith("conv.modulation."):
        out[f"{layer}.affine.{name.rpartition('.')[2]}"] = tensor
    elif name == "noise.weight":
        out[f"{layer}.strength"] = tensor.reshape(())
    elif name in ("activate.bias", "bias"):
        out[f"{layer}.bias"] = tensor.flatten()
    elif not name.endswith(".kernel"):  # filters are checked on their own
        out[f"{layer}.{name}"] = tensor


def _from_nvidia(state: Mapping[str, Tensor]) -> State:
    """NVIDIA's PyTorch naming (stylegan2-ada-pytorch and later) to ours."""
    out: State = {}
    for key, tensor in state.items():
        if m := re.fullmatch(r"mapping\.fc(\d+)\.(weight|bias)", key):
            out[f"mapping.layers.{m[1]}.{m[2]}"] = tensor
        elif key == "mapping.w_avg":
            out["mean_w"] = tensor
        elif key == "synthesis.b4.const":
            out["constant"] = tensor
        elif m := re.fullmatch(r"synthesis\.b(\d+)\.(conv0|conv1|torgb)\.(.+)", key):
            level = int(math.log2(int(m[1]))) - 2
            place = {"conv0": 2 * level - 1, "conv1": 2 * level, "torgb": level}[m[2]]
            layer = f"{'rgbs' if m[2] == 'torgb' else 'convs'}.{place}"
            name = {"noise_const": "noise", "noise_strength": "strength"}.get(m[3], m[3])
            if name == "strength":
                tensor = tensor.reshape(())
            if name != "resample_filter":
                out[f"{layer}.{name}"] = tensor
        elif not key.endswith("resample_filter"):
            out[key] = tensor
    return out


def _taps(state: Mapping[str, Tensor], what: str) -> tuple[float, ...]:
    """The low-pass filter a published state dict holds; [1, 3, 3, 1] where it holds none."""
    for key, tensor in state.items():
        if key.endswith(("blur.kernel", "upsample.kernel", "resample_filter")) and tensor.dim() == 2:
            line = tensor.float().sum(0)
            line = line / line[0] if line[0] else line
            square = torch.outer(line, line)
            if not torch.allclose(square / square.sum(), tensor.float() / tensor.float().sum(), atol=1e-4):
                raise WeightsError(f"{what}: the filter {key} is not separable")
            return tuple(round(float(v), 6) for v in line)
    return (1.0, 3.0, 3.0, 1.0)


def _sizes(state: State, taps: tuple[float, ...]) -> StyleGAN2Config:
    """Sizes from a state dict under our names; KeyError where entries are missing."""
    widths = [state["constant"].shape[0]]
    while f"convs.{2 * len(widths)}.weight" in state:
        widths.append(state[f"convs.{2 * len(widths)}.weight"].shape[0])
    layers = 0
    while f"mapping.layers.{layers}.weight" in state:
        layers += 1
    first = state["mapping.layers.0.weight"]
    return StyleGAN2Config(
        size=4 << (len(widths) - 1),
        latent=first.shape[1],
        style=first.shape[0],
        layers=layers,
        channels=tuple(widths),
        taps=taps,
    )


def from_state(state: Mapping[str, Tensor], mean_w: Tensor | None = None, what: str = "the checkpoint") -> StyleGAN2:
    """Generator, in evaluation mode, from a state dict in any of the three layouts, sizes found in it."""
    if isinstance(mean_w, Tensor) and mean_w.dim() > 1:
        mean_w = mean_w.reshape(-1, mean_w.shape[-1])[0]  # some files keep one per layer, all the same
    taps = _taps(state, what)
    if any(k.startswith("mapping.embed") for k in state):
        raise WeightsError(f"{what} is a StyleGAN2 conditioned on a class, which is not supported")
    if "input.input" in state:
        ours = _from_rosinality(state)
    elif "synthesis.b4.const" in state:
        ours = _from_nvidia(state)
    elif "constant" in state and "mapping.layers.0.weight" in state:
        ours = dict(state)
    else:
        found = ", ".join(sorted(state)[:3]) or "nothing"
        raise WeightsError(f"{what} is no StyleGAN2 generator: it holds {found}")
    try:
        config = _sizes(ours, taps)
    except (KeyError, IndexError, ValueError):
        raise WeightsError(f"{what} is an incomplete StyleGAN2 generator") from None
    if mean_w is not None:
        ours["mean_w"] = mean_w
    with torch.device("meta"):
        expected = StyleGAN2(config).state_dict()
    known_mean = "mean_w" in ours
    ours.setdefault("mean_w", torch.zeros(config.style))
    for key, tensor in expected.items():
        if key.endswith(".noise") and key not in ours:
            # Early files were saved without their noise; any fixed one will do.
            seed = torch.Generator().manual_seed(int(key.split(".")[1]))
            ours[key] = torch.randn(tensor.shape, generator=seed)
    if why := misfit(ours, expected):
        raise WeightsError(f"{what} does not fit: it {why}")
    generator = StyleGAN2(config)
    generator.load_state_dict(ours)
    if not known_mean:
        generator.measure_mean(generator=torch.Generator().manual_seed(0))
    return generator.eval()


def load_stylegan2(path: str | Path) -> StyleGAN2:
    """Read a generator: rosinality's `.pt` (`g_ema`, `latent_avg`) or tensors under any of the known names."""
    # Training scripts keep their options in a checkpoint; a Namespace runs nothing when it is read.
    data, mean = read_weights(Path(path), allowed=(argparse.Namespace,)), None
    if isinstance(data, Mapping) and isinstance(data.get("g_ema"), Mapping):
        mean, data = data.get("latent_avg"), data["g_ema"]
    state = state_dict_of(data, str(path), prefixes=("module.", "g_ema.", "G_ema."))
    return from_state(state, mean if isinstance(mean, Tensor) else None, str(path))
