"""A picture turned into another of the same size under labels: the trunks that StarGAN and GANimation stand on.

Every norm has a scale and a shift and takes the statistics of the picture itself, in training and after: running ones,
which published files of StarGAN hold, were never used to make its pictures. Padding is with zeros on purpose: planes of
one value pass the first norm at the border alone.
"""

from __future__ import annotations

from torch import Tensor, nn


def normed(conv: nn.Module, channels: int, active: bool = True) -> list[nn.Module]:
    """A convolution, an instance norm and, where `active`, a ReLU."""
    layers = [conv, nn.InstanceNorm2d(channels, affine=True)]
    return [*layers, nn.ReLU()] if active else layers


class ResBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x)))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.main = nn.Sequential(*normed(first, channels), *normed(second, channels, active=False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same."""
        return x + self.main(x)


def translator(inputs: int, width: int, blocks: int) -> nn.Sequential:
    """(B, inputs, H, W) to (B, width, H, W): two halvings, `blocks` residual blocks, two doublings (Johnson et al.)."""
    c = width
    layers = normed(nn.Conv2d(inputs, c, 7, padding=3, bias=False), c)
    for _ in range(2):
        layers += normed(nn.Conv2d(c, 2 * c, 4, 2, 1, bias=False), 2 * c)
        c *= 2
    layers += [ResBlock(c) for _ in range(blocks)]
    for _ in range(2):
        layers += normed(nn.ConvTranspose2d(c, c // 2, 4, 2, 1, bias=False), c // 2)
        c //= 2
    return nn.Sequential(*layers)


def critic_trunk(width: int, depth: int) -> nn.Sequential:
    """(B, 3, S, S) to (B, width·2^(depth-1), S/2^depth, S/2^depth).

    Without normalisation, because the gradient penalty holds for every picture by itself."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.01)]
    for k in range(depth - 1):
        layers += [nn.Conv2d(width << k, width << (k + 1), 4, 2, 1), nn.LeakyReLU(0.01)]
    return nn.Sequential(*layers)


def initialize(network: nn.Module) -> None:
    """Convolutions from N(0, 0.02), biases 0, as GANimation's published training began."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
