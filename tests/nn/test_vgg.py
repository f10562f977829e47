"""VGG-19: torchvision's numbering, normalisation, loading."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402, N812

from infinex.errors import WeightsError  # noqa: E402
from infinex.nn.vgg import MEAN, STAGES_16, STD, VGG16, VGG19, VGGPerceptualLoss, torchvision_indices  # noqa: E402


@pytest.fixture(scope="module")
def state() -> dict:
    torch.manual_seed(0)
    out = {"classifier.0.weight": torch.zeros(4, 4)}
    for conv, index in zip(VGG19().convs, torchvision_indices()):
        out[f"features.{index}.weight"] = torch.randn_like(conv.weight) * (2 / conv.weight[0].numel()) ** 0.5
        out[f"features.{index}.bias"] = torch.randn_like(conv.bias) * 0.1
    return out


def _by_hand(state: dict, image: torch.Tensor) -> list[torch.Tensor]:
    """torchvision's `features`, layer by layer up to relu5_1, number 29."""
    x = (image - torch.tensor(MEAN).reshape(1, 3, 1, 1)) / torch.tensor(STD).reshape(1, 3, 1, 1)
    out = []
    for n in range(30):
        if n in (4, 9, 18, 27):
            x = F.max_pool2d(x, 2)
        elif f"features.{n}.weight" in state:
            x = F.conv2d(x, state[f"features.{n}.weight"], state[f"features.{n}.bias"], padding=1)
        else:
            x = F.relu(x)
        if n in (1, 6, 11, 20, 29):
            out.append(x)
    return out


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_reads_torchvision_weights(state: dict, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"vgg19{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        pytest.importorskip("safetensors.torch").save_file(state, path)
    net = VGG19.load(path)
    image = torch.rand(1, 3, 32, 32)
    for ours, theirs in zip(net(image), _by_hand(state, image), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
    assert not any(p.requires_grad for p in net.parameters())


def test_vgg16_has_the_layers_of_torchvision() -> None:
    """relu1_2, 2_2, 3_3 and 4_3 by torchvision's numbers, on narrow stages; without normalisation as well."""
    stages = [[w // 16 for w in stage] for stage in STAGES_16[:4]]
    torch.manual_seed(1)
    net, bare = VGG16(stages), VGG16(stages, normalised=False)
    state = {
        f"features.{i}.{k}": v
        for c, i in zip(net.convs, torchvision_indices(stages))
        for k, v in c.state_dict().items()
    }
    bare.read(state, "state", "VGG-16")
    image = torch.rand(1, 3, 32, 32)
    normal = (image - torch.tensor(MEAN).reshape(1, 3, 1, 1)) / torch.tensor(STD).reshape(1, 3, 1, 1)
    x, wanted = normal, []
    for n in range(23):
        if n in (4, 9, 16):
            x = F.max_pool2d(x, 2)
        elif f"features.{n}.weight" in state:
            x = F.conv2d(x, state[f"features.{n}.weight"], state[f"features.{n}.bias"], padding=1)
        else:
            x = F.relu(x)
        if n in (3, 8, 15, 22):
            wanted.append(x)
    for a, b, c in zip(net(image), bare(normal), wanted, strict=True):
        assert torch.allclose(a, c, atol=1e-5) and torch.allclose(b, c, atol=1e-5)
    with pytest.raises(WeightsError, match="no VGG-16"):
        VGG16().read(state, "state", "VGG-16")


def test_perceptual_loss_is_the_mean_difference_of_features() -> None:
    net = VGG19()
    a, b = torch.rand(1, 3, 16, 16, requires_grad=True), torch.rand(1, 3, 16, 16)
    terms = VGGPerceptualLoss(net)(a, b)
    for term, fa, fb in zip(terms, net(a), net(b), strict=True):
        assert torch.allclose(term, (fa - fb).abs().mean())
    sum(terms).backward()
    assert a.grad is not None


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        VGG19.load(tmp_path / "none.pth")
    for name in ("bad.pth", "bad.safetensors"):
        (tmp_path / name).write_bytes(b"no weights at all")
        with pytest.raises(WeightsError, match="truncated"):
            VGG19.load(tmp_path / name)
    torch.save({"layer.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="no VGG-19"):
        VGG19.load(tmp_path / "other.pth")
