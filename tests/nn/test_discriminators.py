"""The patch discriminator: sizes, heatmaps, spectral normalisation."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from infinex.nn.discriminators import MultiScaleDiscriminator, PatchDiscriminator, scale_key  # noqa: E402


def test_sizes_and_features() -> None:
    net = PatchDiscriminator(width=8, blocks=3, max_width=16)
    verdict = net(torch.rand(2, 3, 64, 64))
    assert [tuple(f.shape[1:]) for f in verdict.features] == [(8, 30, 30), (16, 13, 13), (16, 10, 10)]
    assert verdict.score.shape == (2, 1, 10, 10)
    assert isinstance(net.norms[0], torch.nn.Identity)  # colours are not normalised away


def test_keypoints_change_the_verdict_and_are_required() -> None:
    net = PatchDiscriminator(width=8, blocks=2, keypoints=2)
    x = torch.rand(1, 3, 32, 32)
    a, b = net(x, torch.zeros(1, 2, 2)), net(x, torch.full((1, 2, 2), 0.5))
    assert not torch.allclose(a.score, b.score)
    with pytest.raises(ValueError, match="keypoints"):
        net(x)


def test_spectral_normalisation_bounds_every_weight() -> None:
    net = PatchDiscriminator(width=8, blocks=2, spectral=True)
    for _ in range(20):  # power iteration, a step per training pass
        net(torch.rand(1, 3, 32, 32))
    net.eval()
    for conv in [*net.convs, net.score]:
        norm = torch.linalg.matrix_norm(conv.weight.detach().flatten(1), ord=2)
        assert norm == pytest.approx(1, abs=0.05)


def test_scales() -> None:
    assert (scale_key(1.0), scale_key(0.5)) == ("1", "0-5")
    net = MultiScaleDiscriminator((1.0, 0.5), width=8, blocks=2)
    pyramid = {1.0: torch.rand(1, 3, 64, 64), 0.5: torch.rand(1, 3, 32, 32)}
    assert list(net(pyramid)) == [1.0, 0.5]
