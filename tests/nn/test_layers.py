"""Blocks and hourglass: sizes, and the formulas behind them."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402, N812

from infinex.nn.hourglass import Hourglass  # noqa: E402
from infinex.nn.layers import AntiAliasDown, DownBlock, ImagePyramid, ResBlock, UpBlock  # noqa: E402


def test_blocks_halve_keep_and_double() -> None:
    x = torch.randn(2, 6, 8, 8)
    assert DownBlock(6, 10)(x).shape == (2, 10, 4, 4)
    assert UpBlock(6, 10)(x).shape == (2, 10, 16, 16)
    assert ResBlock(6)(x).shape == x.shape


def test_residual_block_is_the_identity_with_silent_weights() -> None:
    block = ResBlock(4).eval()
    torch.nn.init.zeros_(block.conv2.weight)
    torch.nn.init.zeros_(block.conv2.bias)
    x = torch.randn(1, 4, 8, 8)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(("scale", "size"), [(0.5, 5), (0.25, 13), (0.125, 29)])
def test_anti_aliasing_blurs_with_a_gaussian_before_it_skips(scale: float, size: int) -> None:
    down = AntiAliasDown(3, scale)
    assert down.weight.shape == (3, 1, size, size)
    sigma = (1 / scale - 1) / 2
    at = torch.arange(size) - size // 2
    line = torch.exp(-(at**2) / (2 * sigma**2))
    kernel = torch.outer(line, line) / line.sum() ** 2
    assert torch.allclose(down.weight[1, 0], kernel, atol=1e-6)
    x = torch.rand(1, 3, 32, 32)
    blurred = F.conv2d(x, kernel.expand(3, 1, -1, -1), padding=size // 2, groups=3)
    step = round(1 / scale)
    assert torch.allclose(down(x), blurred[:, :, ::step, ::step], atol=1e-5)


def test_anti_aliasing_keeps_the_original_and_refuses_odd_scales() -> None:
    x = torch.rand(1, 3, 8, 8)
    assert AntiAliasDown(3, 1.0)(x) is x
    for scale in (0.3, 2.0):
        with pytest.raises(ValueError, match="whole number"):
            AntiAliasDown(3, scale)


def test_pyramid_has_every_scale() -> None:
    levels = ImagePyramid((1.0, 0.5, 0.25))(torch.rand(2, 3, 64, 64))
    assert [tuple(v.shape[2:]) for v in levels.values()] == [(64, 64), (32, 32), (16, 16)]


def test_hourglass_carries_its_input_and_caps_its_width() -> None:
    net = Hourglass(inputs=5, width=4, levels=3, max_width=12)
    assert net.outputs == 9
    x = torch.randn(2, 5, 16, 16)
    y = net(x)
    assert y.shape == (2, 9, 16, 16)
    assert torch.equal(y[:, 4:], x)  # the last skip connection is the input itself
    assert [d.conv.out_channels for d in net.down] == [8, 12, 12]
    assert [u.conv.in_channels for u in net.up] == [12, 24, 16]
