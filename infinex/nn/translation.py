"""Parts of the residual picture-to-picture generator (Johnson et al. 2016, as in CycleGAN): the way in and the way out.

Several published systems are built of them with norms of their own; the parts are plain lists of layers, so that these
systems' key names, which count layers, come out right.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

Norm = Callable[[int], nn.Module]


def way_in(inputs: int, width: int, norm: Norm, bias: bool) -> list[nn.Module]:
    """Ten layers: 7×7 to `width` channels, then twice half the size and twice the channels."""
    layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(inputs, width, 7, bias=bias), norm(width), nn.ReLU()]
    for channels in (width, 2 * width):
        layers += [nn.Conv2d(channels, 2 * channels, 3, 2, 1, bias=bias), norm(2 * channels), nn.ReLU()]
    return layers


def middle(inputs: int, width: int, norm: Norm, bias: bool, dropout: float = 0.0) -> list[nn.Module]:
    """Two 3×3 convolutions of a residual block without the sum: seven layers, eight with dropout."""
    first = [nn.ReflectionPad2d(1), nn.Conv2d(inputs, width, 3, bias=bias), norm(width), nn.ReLU()]
    between = [nn.Dropout(dropout)] if dropout else []
    return [*first, *between, nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=bias), norm(width)]


def way_out(width: int, outputs: int, norm: Norm, bias: bool, last: nn.Module) -> list[nn.Module]:
    """Nine layers: twice the size and half the channels down to `width`, 7×7 to `outputs`, `last`."""
    layers: list[nn.Module] = []
    for channels in (4 * width, 2 * width):
        layers += [
            nn.ConvTranspose2d(channels, channels // 2, 3, 2, 1, output_padding=1, bias=bias),
            norm(channels // 2),
            nn.ReLU(),
        ]
    return [*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, outputs, 7), last]
