"""StyleGAN2: the published function, its layouts, and files that are not it."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402, N812
from torch import Tensor  # noqa: E402

from infinex.errors import WeightsError  # noqa: E402
from infinex.nn.files import read_safetensors, write_safetensors  # noqa: E402
from infinex.nn.stylegan2 import (  # noqa: E402
    EqualLinear,
    ModulatedConv,
    PixelNorm,
    StyleGAN2,
    StyleGAN2Config,
    config_for,
    from_state,
    load_stylegan2,
    upfirdn,
    upsample,
)

TINY = StyleGAN2Config(size=16, latent=6, style=8, layers=2, channels=(8, 8, 4))


@pytest.fixture
def tiny() -> StyleGAN2:
    torch.manual_seed(0)
    generator = StyleGAN2(TINY).eval()
    for layer in generator.convs:
        torch.nn.init.constant_(layer.strength, 0.3)
    torch.nn.init.normal_(generator.mean_w)
    return generator


def _rosinality(generator: StyleGAN2) -> dict[str, Tensor]:
    """State dict under the names of the port."""
    out: dict[str, Tensor] = {}
    square = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64
    for key, tensor in generator.state_dict().items():
        if m := re.fullmatch(r"mapping\.layers\.(\d+)\.(\w+)", key):
            out[f"style.{int(m[1]) + 1}.{m[2]}"] = tensor
        elif key == "constant":
            out["input.input"] = tensor[None]
        elif m := re.fullmatch(r"(convs|rgbs)\.(\d+)\.(.+)", key):
            i, conv = int(m[2]), m[1] == "convs"
            if m[3] == "noise":
                out[f"noises.noise_{i}"] = tensor[None, None]
                continue
            name = ("conv1" if conv else "to_rgb1") if i == 0 else f"{'convs' if conv else 'to_rgbs'}.{i - 1}"
            new = {
                "weight": ("conv.weight", tensor[None] if m[3] == "weight" else tensor),
                "strength": ("noise.weight", tensor.reshape(1) if m[3] == "strength" else tensor),
                "bias": ("activate.bias", tensor) if conv else ("bias", tensor.reshape(1, -1, 1, 1)),
            }.get(m[3], (m[3].replace("affine", "conv.modulation"), tensor))
            out[f"{name}.{new[0]}"] = new[1]
            if conv and i % 2:
                out[f"{name}.conv.blur.kernel"] = 4 * square
            elif not conv and i:
                out[f"{name}.upsample.kernel"] = 4 * square
    return out


def _nvidia(generator: StyleGAN2) -> dict[str, Tensor]:
    """State dict under NVIDIA's names."""
    out = {"mapping.w_avg": generator.mean_w, "synthesis.b4.const": generator.constant.data}
    square = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64
    for key, tensor in generator.state_dict().items():
        if m := re.fullmatch(r"mapping\.layers\.(\d+)\.(\w+)", key):
            out[f"mapping.fc{m[1]}.{m[2]}"] = tensor
        elif m := re.fullmatch(r"(convs|rgbs)\.(\d+)\.(.+)", key):
            i = int(m[2])
            level = i if m[1] == "rgbs" else (i + 1) // 2
            name = "torgb" if m[1] == "rgbs" else "conv0" if i % 2 else "conv1"
            new = {"noise": "noise_const", "strength": "noise_strength"}.get(m[3], m[3])
            out[f"synthesis.b{4 << level}.{name}.{new}"] = tensor
            out[f"synthesis.b{4 << level}.resample_filter"] = square
    return out


def _same(a: StyleGAN2, b: StyleGAN2) -> None:
    z = torch.randn(2, TINY.latent)
    assert torch.equal(a.mean_w, b.mean_w)
    with torch.no_grad():
        assert torch.equal(a(a.mapping(z)), b(b.mapping(z)))


@pytest.mark.parity
def test_matches_the_published_generator(parity_dir: Path) -> None:
    path = parity_dir / "stylegan2.npz"
    if not path.is_file():
        pytest.skip(f"no {path.name} in {parity_dir}: set INFINEX_PARITY_DIR")
    with np.load(path, allow_pickle=False) as file:
        data = {k: torch.from_numpy(file[k]) for k in file.files if k != "config"}
        text = str(file["config"])
    state = {k.removeprefix("state/g_ema/"): v for k, v in data.items() if k.startswith("state/g_ema/")}
    generator = from_state(state)
    sizes = {k: int(v) for k, v in re.findall(r"(size|style_dim|n_mlp)=(\d+)", text)}
    c = generator.config
    assert (c.size, c.style, c.layers) == (sizes["size"], sizes["style_dim"], sizes["n_mlp"])
    assert c.taps == tuple(float(t) for t in re.findall(r"blur_kernel=\[([\d,]+)\]", text)[0].split(","))
    assert c.mapping_rate == float(re.findall(r"lr_mlp=([\d.]+)", text)[0])
    with torch.no_grad():
        w = generator.mapping(data["in/z"])
        ours = {
            "out/w": w,
            "out/image_z": generator(w),
            "out/image_truncated": generator(generator.truncate(w, 0.7, w.mean(0))),
            "out/image_w_plus": generator(data["in/w_plus"]),
        }
    assert set(ours) == {k for k in data if k.startswith("out/")}
    for key, tensor in ours.items():
        assert tensor.shape == data[key].shape
        difference = float((tensor - data[key]).abs().max())
        print(f"{key}: {difference:.2e}")
        assert difference < 1e-4


def test_published_sizes() -> None:
    config = config_for(1024)
    assert config == StyleGAN2Config()
    assert config.styles == 18
    assert config_for(512).styles == 16
    with torch.device("meta"):
        count = sum(p.numel() for p in StyleGAN2(config).parameters())
    assert count == 30_370_060
    with pytest.raises(ValueError, match="pixels"):
        StyleGAN2Config(size=512)


@pytest.mark.parametrize(("up", "down", "pad"), [(1, 1, (1, 1)), (2, 1, (2, 1)), (1, 2, (1, 1)), (2, 2, (3, 0))])
def test_filter_is_a_convolution(up: int, down: int, pad: tuple[int, int]) -> None:
    x, taps = torch.randn(2, 3, 5, 7), (1.0, 2.0, 4.0, 3.0)
    wide = torch.zeros(2, 3, 5 * up, 7 * up)
    wide[:, :, ::up, ::up] = x
    kernel = torch.outer(torch.tensor(taps), torch.tensor(taps)).flip(0, 1)[None, None].expand(3, 1, -1, -1)
    expected = F.conv2d(F.pad(wide, (*pad, *pad)), kernel, groups=3)[:, :, ::down, ::down]
    assert torch.allclose(upfirdn(x, taps, up, down, pad), expected, atol=1e-4)


def test_enlarging_keeps_a_flat_picture_flat() -> None:
    y = upsample(torch.ones(1, 1, 8, 8), (1, 3, 3, 1))
    assert y.shape == (1, 1, 16, 16)
    assert torch.allclose(y[..., 2:-2, 2:-2], torch.ones(12, 12))


def test_equalised_linear_and_norm() -> None:
    layer, x = EqualLinear(4, 3, rate=0.01, active=True), torch.randn(5, 4)
    torch.nn.init.normal_(layer.bias)
    y = x @ (layer.weight * 0.01 / 2).T + layer.bias * 0.01
    assert torch.allclose(layer(x), F.leaky_relu(y, 0.2) * 2**0.5, atol=1e-6)
    assert torch.allclose(PixelNorm()(x).square().mean(1), torch.ones(5), atol=1e-5)


@pytest.mark.parametrize("demodulate", [True, False])
def test_modulation_is_of_the_weights(demodulate: bool) -> None:
    """Scaling feature maps is the same as scaling the kernel for each picture, as the paper has it."""
    conv, x, w = ModulatedConv(4, 6, 3, 5, demodulate=demodulate), torch.randn(2, 4, 8, 8), torch.randn(2, 5)
    style = conv.affine(w)
    for i in range(2):
        kernel = conv.weight * conv.scale * style[i][None, :, None, None]
        if demodulate:
            kernel = kernel / kernel.square().sum((1, 2, 3), keepdim=True).sqrt()
        assert torch.allclose(conv(x, style)[i], F.conv2d(x[i : i + 1], kernel, padding=1)[0], atol=1e-5)


def test_noise_and_truncation(tiny: StyleGAN2) -> None:
    w = torch.randn(2, TINY.style)
    with torch.no_grad():
        stored = tiny(w)
        assert torch.equal(stored, tiny(w, [layer.noise for layer in tiny.convs]))
        assert torch.equal(tiny(w, "none"), tiny(w, [None] * 5))
        assert not torch.equal(tiny(w, "random"), tiny(w, "random"))
    assert torch.allclose(tiny.truncate(w, 0.0), tiny.mean_w.expand(2, -1))
    assert torch.equal(tiny.truncate(w, 0.5, cutoff=2)[:, 2:], tiny.spread(w)[:, 2:])
    with pytest.raises(ValueError, match=r"\(B, 6, 8\)"):
        tiny(torch.zeros(1, 5, 8))
    with pytest.raises(ValueError, match="noise is"):
        tiny(w, [None])


def test_gradients_reach_every_style(tiny: StyleGAN2) -> None:
    w = torch.randn(1, 6, 8, requires_grad=True)
    tiny(w).square().sum().backward()
    assert (w.grad.abs().sum(2) > 0).all()


def test_learns_one_picture(tiny: StyleGAN2) -> None:
    target = torch.rand(1, 3, 16, 16)
    w = torch.zeros(1, 6, 8, requires_grad=True)
    optimizer = torch.optim.Adam([w, *tiny.parameters()], lr=0.03)
    losses = []
    for _ in range(60):
        loss = (tiny(w) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


def test_reads_rosinality(tiny: StyleGAN2, tmp_path: Path) -> None:
    path = tmp_path / "ffhq.pt"
    options = argparse.Namespace(size=16)  # as training scripts keep it
    content = {"g_ema": _rosinality(tiny), "latent_avg": tiny.mean_w}
    if hasattr(torch.serialization, "safe_globals"):
        content["args"] = options
    torch.save(content, path)
    generator = load_stylegan2(path)
    assert generator.config == TINY
    assert not generator.training
    _same(tiny, generator)


def test_reads_nvidia_and_own(tiny: StyleGAN2, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    path = tmp_path / "ffhq.safetensors"
    for state in (_nvidia(tiny), {f"G_ema.{k}": v for k, v in _nvidia(tiny).items()}, tiny.state_dict()):
        write_safetensors(path, {k: v.clone() for k, v in state.items()}, {})
        _same(tiny, load_stylegan2(path))


def test_without_mean_or_noise(tiny: StyleGAN2) -> None:
    state = {k: v for k, v in _rosinality(tiny).items() if not k.startswith("noises")}
    a, b = from_state(state), from_state(state)
    assert a.mean_w.abs().sum() > 0
    _same(a, b)


def test_other_files_are_refused(tiny: StyleGAN2, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"

    def told(*words: str) -> None:
        with pytest.raises(WeightsError) as caught:
            load_stylegan2(path)
        text = str(caught.value)
        assert "\n" not in text
        assert all(w in text for w in (str(path), *words)), text

    told("does not exist")
    torch.save({"conv1.weight": torch.zeros(3)}, path)
    told("no StyleGAN2")
    torch.save({"optimizer": 3}, path)
    told("another model")
    torch.save(torch.zeros(3), path)
    told("no named tensors")
    state = _rosinality(tiny)
    torch.save(state | {"mapping.embed.weight": torch.zeros(3)}, path)
    told("conditioned")
    torch.save(state | {"extra": torch.zeros(3)}, path)
    told("unknown entry extra")
    torch.save({k: v for k, v in state.items() if k != "to_rgbs.0.bias"}, path)
    told("lacks rgbs.1.bias")
    torch.save(state | {"to_rgbs.0.bias": torch.zeros(1, 4, 1, 1)}, path)
    told("expected (3,)")
    torch.save({k: v for k, v in state.items() if not k.startswith("style")}, path)
    told("incomplete")
    torch.save(state, path)
    data = path.read_bytes()
    for size in (0, 1, len(data) // 2):
        path.write_bytes(data[:size])
        told("download it again")
    path.write_text("<html>Quota exceeded</html>")
    told("web page")
    path.unlink()
    path.mkdir()
    told("folder")


@pytest.mark.parametrize("zipped", [True, False])
def test_code_inside_is_refused_and_not_run(harm: Any, tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "bad.pt"
    torch.save({"g_ema": harm}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match="holds code"):
        load_stylegan2(path)
    assert not harm.trace.exists()


def test_safetensors_that_are_cut_or_cannot_be_written(tiny: StyleGAN2, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    path = tmp_path / "w.safetensors"
    write_safetensors(path, tiny.state_dict(), {"a": "b"})
    assert read_safetensors(path)[1] == {"a": "b"}
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(WeightsError, match="truncated"):
        load_stylegan2(path)
    with pytest.raises(WeightsError, match="cannot be written"):
        write_safetensors(tmp_path / "no" / "w", tiny.state_dict(), {})
