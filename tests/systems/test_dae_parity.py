"""Deforming autoencoders against the outputs of the authors' code."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from parity import assert_close, read_reference, states, word  # noqa: E402

from infinex.systems.dae_gan.deforming import (  # noqa: E402
    Decoders,
    DeformingConfig,
    Encoders,
    bias,
    residual,
    shading_smoothness,
    smoothness,
)

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("name", ["dense", "small", "small_batchnorm", "intrinsic"])
@torch.no_grad()
def test_deforming_autoencoder(name: str) -> None:
    file = read_reference("deforming_autoencoder")
    text = str(file["config"])
    config = DeformingConfig(
        size=int(word(text, "imgSize")), kind="small" if "small" in name else "dense",
        norm="batch" if "batch" in name else "instance", width=int(word(text, "ngf")), code=int(word(text, "zdim")),
        texture=int(word(text, "tdim" if name == "intrinsic" else "idim")), warp=int(word(text, "wdim")),
        shading=int(word(text, "sdim")) if name == "intrinsic" else 0, kept=2,
    )  # fmt: skip
    networks = Encoders(config).eval(), Decoders(config).eval()
    for network, part in zip(networks, ("encoders", "decoders")):
        state = states(file)[f"{name}_{part}"]
        network.load_state_dict({k: v.reshape(()) if "num_batches" in k else v for k, v in state.items()})
    image = torch.from_numpy(file["in/image"])
    codes = networks[0](image)
    letters = {"z": "z", "I": "zImg", "S": "zShade", "T": "zTexture", "W": "zWarp"}
    for letter, ours in codes.items():
        assert_close(ours, file[f"out/{name}/{letters[letter]}"])
    assert_close(networks[1].decoderW(codes["W"]) * 5 / 64, file[f"out/{name}/offsets"])
    texture, grid, output = networks[1](codes)
    assert_close(texture, file[f"out/{name}/texture"])
    assert_close(grid.permute(0, 3, 1, 2), file[f"out/{name}/warp"])
    assert_close(residual(grid), file[f"out/{name}/residual_warp"])
    assert_close(output, file[f"out/{name}/output"])
    losses = {
        "reconstruction": (output - image).abs().mean(), "tv_warp": 1e-6 * smoothness(residual(grid)),
        "bias_reduce": 1e-2 * bias(residual(grid)),
    }  # fmt: skip
    if name == "intrinsic":
        shading = networks[1].decoderS(codes["S"])
        assert_close(shading, file["out/intrinsic/shading"])
        assert_close(networks[1].decoderT(codes["T"]), file["out/intrinsic/albedo"])
        losses["smooth_shading"] = 1e-6 * shading_smoothness(shading)
    for key, ours in losses.items():
        assert_close(ours.reshape(1), file[f"out/loss/{name}/{key}"], relative=True)


def test_published_sizes_with_layers_that_nothing_reaches() -> None:
    with torch.device("meta"):
        networks = Encoders(DeformingConfig()), Decoders(DeformingConfig())
        reached = Encoders(DeformingConfig(kept=1)), Decoders(DeformingConfig(kept=1))

    def millions(pair: tuple) -> list[float]:
        return [round(sum(p.numel() for p in n.parameters()) / 1e6, 2) for n in pair]

    assert millions(networks) == [13.57, 28.95]
    assert millions(reached) == [0.88, 3.57]
