"""The patch discriminator: sizes, heatmaps, spectral normalisation."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from infinex.nn.discriminators import MultiScaleDiscriminator, PatchDiscriminator, PixelPatches, scale_key  # noqa: E402


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


def test_pixel_patches_see_seventy_pixels() -> None:
    """A score depends on 70 by 70 pixels and no more; batch norms replace biases."""
    net = PixelPatches(width=4, norm="none")
    x = torch.rand(1, 3, 128, 128, requires_grad=True)
    score = net(x)
    assert score.shape == (1, 1, 14, 14)
    score[0, 0, 7, 7].backward()
    rows = torch.nonzero(x.grad.abs().sum((0, 1, 3)))[:, 0]
    assert int(rows.max() - rows.min()) + 1 == 70
    batch = PixelPatches(width=4)
    assert [k for k in batch.state_dict() if k.endswith("bias") and "running" not in k] == [
        "model.0.bias", "model.3.bias", "model.6.bias", "model.9.bias", "model.11.bias"]  # fmt: skip
    verdict = batch.eval().verdict(torch.rand(1, 3, 64, 64))
    assert len(verdict.features) == 4 and torch.equal(batch.model[-1](verdict.features[-1]), verdict.score)


def test_pixel_patches_over_time_see_time() -> None:
    """Films keep their length; the same pictures in another order are another film."""
    torch.manual_seed(0)
    net = PixelPatches(width=4, layers=2, norm="instance", dimensions=3, spectral=True)
    film = torch.rand(1, 3, 3, 32, 32)
    assert net(film).shape == (1, 1, 3, 6, 6)
    assert not torch.allclose(net(film), net(film[:, :, [2, 0, 1]]))
