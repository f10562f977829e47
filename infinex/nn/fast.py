"""The blocks of `infinex.nn.layers` rewritten for inference on a CPU: same function, less arithmetic.

- Batch normalisation is folded into the convolution before it.
- Wide 3×3 convolutions are computed by Winograd's minimal filtering F(4×4, 3×3) (Lavin and Gray 2016): a tile
  of 4×4 results costs 36 multiplications per pair of channels in place of 144. The three transforms and the
  product are plain matrix multiplications, which is what a CPU does best.
- Doubling the pixels and then convolving 3×3 is a sub-pixel convolution: every result sees only 2×2 distinct
  pixels, 4 multiplications in place of 9. As a transposed convolution of stride 2 it is one call.
- A convolution to three colours leaves most of a vector register idle. Making the 2×2 pixels of a block at
  once, as twelve colours, wastes some taps and is still several times faster.

Results differ from the plain blocks by float rounding alone, some 1e-5 of the range.
"""

from __future__ import annotations

import copy
import threading

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn

from infinex.nn.layers import ConvBlock, DownBlock, ResBlock, UpBlock

WINOGRAD_FROM = 48  # channels on both sides from which the transforms pay
FEW_OUTPUTS = 4  # a vector register holds 16
WINOGRAD_TILES = 256  # per pass, so that they stay in the cache
WINOGRAD_WEIGHTS = 2**18  # product of both beyond which weights, four times as many, outweigh the gain

# F(4×4, 3×3) on the points 0, ±1, ±2 and infinity. Rows of INPUT make 6 mixed samples of 6 neighbours, rows
# of FILTER 6 of 3 taps, rows of OUTPUT take 6 products back to 4 results.
INPUT = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float64,
)
FILTER = torch.tensor(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    dtype=torch.float64,
)
OUTPUT = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    dtype=torch.float64,
)


def fold_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that does both, `norm` after `conv`."""
    scale, shift = norm_line(norm)
    bias = torch.zeros_like(shift) if conv.bias is None else conv.bias.detach()
    return conv.weight.detach() * scale[:, None, None, None], bias * scale + shift


def norm_line(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift per channel that an evaluated batch normalisation amounts to."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias.detach() - norm.running_mean * scale


def doubling_weights(weight: Tensor) -> Tensor:
    """3×3 filters (O, I, 3, 3) for doubled pixels as (I, O, 4, 4) of a transposed convolution of stride 2."""
    # A pixel reaches the rows -1 ... 2 around its own pair; every tap lands on two of them.
    fold = torch.tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]]).to(weight)
    return torch.einsum("ya,xb,oiab->ioyx", fold, fold, weight)


_memory = threading.local()


def _scratch(name: str, shape: tuple[int, ...], like: Tensor, key: tuple[int, ...] = ()) -> Tensor:
    """Memory of one thread that is used again and again, zero at first.

    Fresh memory of this size comes from the system page by page, which costs more than the arithmetic in it.
    """
    kept: dict[tuple, Tensor] = _memory.__dict__.setdefault("kept", {})
    full = (name, shape, key, like.dtype, like.device)
    if full not in kept:
        if len(kept) > 64:
            kept.clear()  # many sizes have passed: start over
        kept[full] = torch.zeros(shape, dtype=like.dtype, device=like.device)
    return kept[full]


def _suits_winograd(weight: Tensor) -> bool:
    o, i, h, w = weight.shape
    return (h, w) == (3, 3) and min(o, i) >= WINOGRAD_FROM and o * i <= WINOGRAD_WEIGHTS


class FastConv(nn.Module):
    """Convolution that keeps the size with weights laid out channels last; optionally then a ReLU."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, relu: bool = False) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().clone(memory_format=torch.channels_last))
        self.register_buffer("bias", bias.detach().clone())
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, H, W) to (B, O, H, W)."""
        y = F.conv2d(x, self.weight, self.bias, padding=self.weight.shape[-1] // 2)
        return y.relu_() if self.relu else y


class FastUp(FastConv):
    """Doubling, convolution and ReLU as one transposed convolution."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__(doubling_weights(weight), bias, relu=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, H, W) to (B, O, 2H, 2W)."""
        return F.conv_transpose2d(x, self.weight, self.bias, stride=2, padding=1).relu_()


class FastOut(nn.Module):
    """Convolution of odd kernel to a handful of maps, 2×2 pixels at a time."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        o, i, k, _ = weight.shape
        blocks = weight.new_zeros(o, 2, 2, i, k + 1, k + 1)
        for r in (0, 1):
            for c in (0, 1):
                blocks[:, r, c, :, r : r + k, c : c + k] = weight.detach()
        blocks = blocks.reshape(4 * o, i, k + 1, k + 1)  # the order of pixel_shuffle
        self.register_buffer("weight", blocks.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias.detach().repeat_interleave(4))
        self.padding = k // 2

    def forward(self, x: Tensor) -> Tensor:
        """(B, I, H, W) to (B, O, H, W), H and W even."""
        return F.pixel_shuffle(F.conv2d(x, self.weight, self.bias, stride=2, padding=self.padding), 2)


class Winograd(nn.Module):
    """A 3×3 convolution that keeps the size, by minimal filtering; optionally then a ReLU."""

    weight: Tensor
    bias: Tensor
    mix: Tensor
    unmix: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, relu: bool = False) -> None:
        super().__init__()
        g = FILTER.to(weight.device)
        mixed = torch.einsum("ya,xb,oiab->yxio", g, g, weight.detach().double())  # (6, 6, I, O)
        self.register_buffer("weight", mixed.flatten(0, 1).to(weight.dtype).contiguous())  # (36, I, O)
        self.register_buffer("bias", bias.detach().clone())
        self.register_buffer("mix", torch.kron(INPUT, INPUT).to(weight))  # (36, 36)
        self.register_buffer("unmix", torch.kron(OUTPUT, OUTPUT).to(weight))  # (16, 36)
        self.relu = relu

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        """(B, I, H, W) to (B, O, H, W), channels last inside and out."""
        b, i, h, w = x.shape
        o = self.weight.shape[2]
        rows, cols = -(-h // 4), -(-w // 4)
        out = x.new_empty(b, rows, 4, cols, 4, o)
        # The border stays zero; only the inside is ever written.
        padded = _scratch("padded", (4 * rows + 2, 4 * cols + 2, i), x, key=(h, w))
        sh, sw, si = padded.stride()
        step = min(rows, max(1, WINOGRAD_TILES // cols))
        for n in range(b):
            padded[1 : h + 1, 1 : w + 1] = x[n].permute(1, 2, 0)
            for r in range(0, rows, step):
                k = min(step, rows - r)
                # Overlapping tiles of 6×6 pixels, 4 apart. The pixel of the tile comes first and the channel
                # last, so that each transform is one matrix product.
                tiles = padded.as_strided((6, 6, k, cols, i), (sh, sw, 4 * sh, 4 * sw, si), 4 * r * sh)
                cut = _scratch("tiles", (6, 6, k, cols, i), x).copy_(tiles).view(36, -1)
                mixed = torch.mm(self.mix, cut, out=_scratch("mixed", (36, k * cols * i), x))
                product = _scratch("product", (36, k * cols, o), x)
                torch.bmm(mixed.view(36, k * cols, i), self.weight, out=product)
                # OUTPUT has a column of ones, the second: what is added there reaches all 16 results alike.
                product[7] += self.bias
                result = _scratch("result", (16, k * cols * o), x)
                torch.mm(self.unmix, product.view(36, -1), out=result)
                out[n, r : r + k] = result.view(4, 4, k, cols, o).permute(2, 0, 3, 1, 4)
        y = out.view(b, 4 * rows, 4 * cols, o)[:, :h, :w].permute(0, 3, 1, 2)
        return y.relu_() if self.relu else y


class FastRes(nn.Module):
    """`ResBlock` with its second normalisation folded away."""

    scale: Tensor
    shift: Tensor

    def __init__(self, block: ResBlock, winograd: bool) -> None:
        super().__init__()
        scale, shift = norm_line(block.norm1)
        self.register_buffer("scale", scale[:, None, None].clone())
        self.register_buffer("shift", shift[:, None, None].clone())
        assert block.conv2.bias is not None
        self.conv1 = _convolution(*fold_norm(block.conv1, block.norm2), relu=True, winograd=winograd)
        self.conv2 = _convolution(block.conv2.weight, block.conv2.bias, relu=False, winograd=winograd)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        y = torch.addcmul(self.shift, x, self.scale).relu_()
        return self.conv2(self.conv1(y)).add_(x)


def _convolution(weight: Tensor, bias: Tensor, relu: bool, winograd: bool) -> nn.Module:
    kind = Winograd if winograd and _suits_winograd(weight) else FastConv
    return kind(weight, bias, relu=relu)


def accelerate(module: nn.Module, winograd: bool) -> nn.Module:
    """A copy of `module`, for inference only, with every block replaced by its fast form.

    `winograd` pays where maps are large and weights few, as in a generator at full size, and not in the deep,
    narrow waist of an hourglass.
    """
    if isinstance(module, ResBlock):
        return FastRes(module, winograd)
    if isinstance(module, ConvBlock):
        weight, bias = fold_norm(module.conv, module.norm)
        if isinstance(module, UpBlock):
            return FastUp(weight, bias)
        conv = _convolution(weight, bias, relu=True, winograd=winograd)
        return nn.Sequential(conv, nn.AvgPool2d(2)) if isinstance(module, DownBlock) else conv
    if isinstance(module, nn.Conv2d) and module.bias is not None:
        same = module.padding == (module.kernel_size[0] // 2,) * 2 and module.stride == (1, 1) and module.groups == 1
        if same:
            few = module.out_channels <= FEW_OUTPUTS
            return (FastOut if few else FastConv)(module.weight, module.bias)
    out = copy.copy(module)
    # A shallow copy would share its tensors, and moving it to another device would move the original's.
    out._parameters = {k: copy.deepcopy(p) for k, p in module._parameters.items()}
    out._buffers = {k: copy.deepcopy(b) for k, b in module._buffers.items()}
    out._modules = {k: accelerate(m, winograd) for k, m in module._modules.items() if m is not None}
    return out
