"""The fast blocks compute what the plain ones compute."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from infinex.nn.fast import (  # noqa: E402
    FastConv,
    FastOut,
    FastUp,
    Winograd,
    accelerate,
    doubling_weights,
)
from infinex.nn.hourglass import Hourglass  # noqa: E402
from infinex.nn.layers import ConvBlock, DownBlock, ResBlock, UpBlock  # noqa: E402


def _lived(module: nn.Module) -> nn.Module:
    """In evaluation, with statistics as after training."""
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.normal_(m.running_mean, std=0.3)
            nn.init.uniform_(m.running_var, 0.5, 2)
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.normal_(m.bias, std=0.3)
    return module.eval()


@pytest.mark.parametrize("size", [(8, 8), (12, 20), (5, 7), (68, 64)])
def test_winograd_is_the_convolution(size: tuple[int, int]) -> None:
    weight, bias = torch.randn(6, 5, 3, 3) / 7, torch.randn(6)
    x = torch.randn(2, 5, *size)
    net = Winograd(weight, bias)
    for _ in range(2):  # the second time in used memory
        assert torch.allclose(net(x), F.conv2d(x, weight, bias, padding=1), atol=1e-4)


def test_winograd_keeps_sizes_apart_that_share_memory() -> None:
    weight = torch.randn(4, 4, 3, 3)
    net = Winograd(weight, torch.zeros(4))
    for size in (8, 7, 8, 6, 5):  # all padded to 8 × 8
        x = torch.randn(1, 4, size, size)
        assert torch.allclose(net(x), F.conv2d(x, weight, padding=1), atol=1e-4)


def test_doubling_is_one_transposed_convolution() -> None:
    weight = torch.randn(4, 3, 3, 3)
    x = torch.randn(2, 3, 5, 6)
    plain = F.conv2d(F.interpolate(x, scale_factor=2.0), weight, padding=1)
    fast = F.conv_transpose2d(x, doubling_weights(weight), stride=2, padding=1)
    assert torch.allclose(fast, plain, atol=1e-5)


def test_few_outputs_by_blocks_of_pixels() -> None:
    weight, bias = torch.randn(3, 4, 7, 7) / 14, torch.randn(3)
    x = torch.randn(2, 4, 8, 12)
    assert torch.allclose(FastOut(weight, bias)(x), F.conv2d(x, weight, bias, padding=3), atol=1e-5)


@pytest.mark.parametrize("winograd", [False, True])
@pytest.mark.parametrize("block", [ConvBlock(64, 64), DownBlock(64, 48), UpBlock(48, 64), ResBlock(48)])
def test_blocks_agree(block: nn.Module, winograd: bool) -> None:
    block = _lived(block)
    channels = next(m for m in block.modules() if isinstance(m, nn.Conv2d)).in_channels
    x = torch.randn(2, channels, 8, 8)
    with torch.inference_mode():
        assert torch.allclose(accelerate(block, winograd)(x), block(x), atol=1e-4)


def test_a_whole_network_agrees_and_stays_untouched() -> None:
    net = _lived(Hourglass(5, 8, 2, 32))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    fast = accelerate(net, winograd=False)
    x = torch.randn(1, 5, 16, 16)
    with torch.inference_mode():
        assert torch.allclose(fast(x), net(x), atol=1e-4)
    assert isinstance(fast.down[0][0], FastConv)
    assert isinstance(fast.up[0], FastUp)
    fast.half()
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
