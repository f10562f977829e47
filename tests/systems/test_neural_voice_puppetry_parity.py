"""The networks of Neural Voice Puppetry do what the published code does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from infinex.nn.vgg import VGG16, torchvision_indices  # noqa: E402
from infinex.systems.neural_voice_puppetry import losses, weights  # noqa: E402
from infinex.systems.neural_voice_puppetry.model import (  # noqa: E402
    NeuralTexture,
    VoiceNet,
    background_mask,
    render,
    valid_in,
)  # fmt: skip

pytestmark = pytest.mark.parity


def _read(path: Path) -> dict[str, NDArray]:
    with np.load(path, allow_pickle=False) as data:
        return {k: data[k] for k in data.files}


@pytest.fixture(scope="module")
def voice(parity_dir: Path) -> dict[str, NDArray]:
    return _read(parity_dir / "neural_voice_puppetry.npz")


@pytest.fixture(scope="module")
def renderer(parity_dir: Path) -> dict[str, NDArray]:
    return _read(parity_dir / "neural_voice_puppetry_renderer.npz")


def _state(data: dict[str, NDArray], network: str) -> dict[str, torch.Tensor]:
    start = f"state/{network}/"
    return {k.removeprefix(start): torch.from_numpy(v) for k, v in data.items() if k.startswith(start)}


def _of(data: dict[str, NDArray], name: str) -> torch.Tensor:
    return torch.from_numpy(data[name])


@pytest.fixture(scope="module")
def network(voice: dict[str, NDArray], tmp_path_factory: pytest.TempPathFactory) -> VoiceNet:
    """Read from a file as the authors publish it, and from ours."""
    folder = tmp_path_factory.mktemp("voice")
    torch.save(_state(voice, "netG"), folder / "latest_netG.pth")
    weights.convert(folder / "latest_netG.pth", folder / "voice.safetensors", "published")
    return weights.read_voice(folder / "voice.safetensors").voice()


def test_the_voice(voice: dict[str, NDArray], network: VoiceNet) -> None:
    sound, identity = _of(voice, "in/audio"), _of(voice, "in/identity")
    with torch.no_grad():
        heard, each, share = network.heard(sound)
        features = network.features(sound.flatten(0, 1))
        now, unfiltered = network(sound, identity)
        before, _ = network(_of(voice, "in/audio_previous"), identity)
        after, _ = network(_of(voice, "in/audio_next"), identity)
    assert (features - _of(voice, "out/conv_features")).abs().max() < 1e-4
    assert (share - _of(voice, "out/attention")).abs().max() < 1e-5
    assert (heard - _of(voice, "out/audio_expressions")[..., 0]).abs().max() < 1e-5
    assert (each[:, 4] - _of(voice, "out/audio_expressions_unfiltered")[..., 0]).abs().max() < 1e-5
    for made, name in ((now, ""), (unfiltered, "_unfiltered"), (before, "_previous"), (after, "_next")):
        assert (made - _of(voice, f"out/expressions{name}")).abs().max() < 1e-4
    wanted = [_of(voice, f"in/expressions_target{n}") for n in ("", "_previous", "_next")]
    basis, mask = _of(voice, "in/expression_basis"), _of(voice, "in/mouth_mask")
    for measure in ("RMS", "L1", "L2"):
        terms = losses.voice_terms((now, before, after, unfiltered), tuple(wanted), basis, mask, measure)  # type: ignore
        for name in ("absolute", "relative"):
            assert float(terms[name]) == pytest.approx(float(voice[f"out/loss/{measure}/{name}"][0]), rel=1e-4)


def test_the_renderer(renderer: dict[str, NDArray]) -> None:
    uv, target = _of(renderer, "in/uv"), _of(renderer, "in/target")
    assert (background_mask(uv, 0.1) == _of(renderer, "out/background_mask")).all()
    said = {"audio": _of(renderer, "in/audio")[:, 0], "expression": _of(renderer, "in/expressions"), "static": None}
    made = {}
    for kind, heard in said.items():
        state = weights.texture_state(_state(renderer, f"texture_{kind}"))
        texture = NeuralTexture(5, 16, "nothing" if kind == "static" else kind, 76, 29, state["data"].shape[1])
        texture.load_state_dict(state)
        made[kind] = texture.eval()
        with torch.no_grad():
            assert (texture(uv, heard) - _of(renderer, f"out/features/texture_{kind}")).abs().max() < 1e-4
    decoder, inpainter = (
        weights.unet_of(weights.unet_state(_state(renderer, n))) for n in ("texture_decoder", "inpainter")
    )
    with torch.no_grad():
        drawn = render(made["expression"], decoder, inpainter, uv, said["expression"], target, 0.1)
    for got, name in ((drawn.background, "background"), (drawn.intermediate, "intermediate"),
                      (drawn.picture, "prediction")):  # fmt: skip
        assert (got - _of(renderer, f"out/{name}")).abs().max() < 1e-4, name
    w = losses.LossWeights(divided=True)
    terms, weight = losses.picture_terms(w, drawn.features, drawn.intermediate, drawn.picture, target, valid_in(uv))
    assert float(weight) == pytest.approx(float(renderer["out/mask_weight"][0]), rel=1e-5)
    assert float(sum(terms.values())) == pytest.approx(float(renderer["out/loss/L1_rendering"][0]), rel=1e-4)
    stages = ((4, 4), (8, 8), (16,) * 3, (32,) * 3)
    vgg = VGG16(stages, normalised=False)
    state = _state(renderer, "vgg")
    vgg.read({f"features.{k.split('.', 1)[1]}": v for k, v in state.items()}, "the fixture", "VGG-16")
    assert torchvision_indices(stages)[-1] == 21
    style = w.style * losses.style_loss(vgg, drawn.picture, target)
    assert float(style) == pytest.approx(float(renderer["out/loss/VGG_rendering"][0]), rel=1e-4)


def test_the_enlarging_variant(renderer: dict[str, NDArray]) -> None:
    network = weights.unet_of(weights.unet_state(_state(renderer, "bilinear_unet")), bilinear=True)
    x = torch.cat([_of(renderer, "in/target"), _of(renderer, "out/background")], 1)
    with torch.no_grad():
        assert (network(x) - _of(renderer, "out/bilinear_unet")).abs().max() < 1e-4
