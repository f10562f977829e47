"""Loading GANimation's weights: three published layouts, our own files, and what users hand over by mistake."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from infinex.errors import WeightsError  # noqa: E402
from infinex.systems.ganimation import weights as W  # noqa: E402, N812
from infinex.systems.ganimation.model import CONFIGS, GanimationConfig  # noqa: E402

TINY = CONFIGS["ganimation-tiny"]
LAYOUTS = {
    "authors": {"trunk": "main", "color": "img_reg.0", "attention": "attetion_reg.0", "patch": "conv1",
                "expression": "conv2", "block": "main"},
    "stargan": {"trunk": "main", "color": "im_reg.0", "attention": "im_att.0", "patch": "conv1",
                "expression": "conv2", "block": "main"},
    "replicate": {"trunk": "model", "color": "color_top.0", "attention": "au_top.0", "patch": "dis_top",
                  "expression": "aus_top", "block": "conv_block"},
}  # fmt: skip


def _theirs(state: dict, layout: str) -> dict:
    names = LAYOUTS[layout]
    out = {}
    for key, value in state.items():
        head, _, rest = key.partition(".")
        rest = re.sub(r"^(\d+)\.main\.", rf"\1.{names['block']}.", rest)
        out[f"{names[head]}.{rest}"] = value
    return out


@pytest.fixture(scope="module")
def networks() -> dict:
    torch.manual_seed(0)
    out = {n: net.state_dict() for n, net in W.networks_of(TINY).items()}
    for key, value in out["generator"].items():  # norms away from what they begin with
        if value.ndim == 1:
            out["generator"][key] = value + 0.1 * torch.randn_like(value)
    return out


@pytest.mark.parametrize("layout", ["authors", "stargan"])
def test_reads_published_layouts(networks: dict, layout: str, tmp_path: Path) -> None:
    paths = {}
    for name, state in networks.items():
        theirs = {f"module.{k}": v for k, v in _theirs(state, layout).items()}
        if name == "generator":  # what old releases and debugging left in the file
            theirs["module.main.1.running_mean"] = torch.zeros(8)
            theirs["module.main.1.running_var"] = torch.ones(8)
            theirs["module.debug1.0.weight"] = torch.zeros(8, 20, 7, 7)
        paths[name] = tmp_path / f"{name}.pth"
        torch.save(theirs, paths[name])
    weights = W.LAYOUT.read_published(paths["generator"], paths["critic"])
    assert weights.config == TINY
    for name, state in networks.items():
        assert set(weights.networks[name]) == set(state)
        assert all(torch.equal(weights.networks[name][k], v) for k, v in state.items())
    alone = W.LAYOUT.read(paths["generator"])
    assert alone.config.size == 128  # nothing in a generator tells it
    assert alone.config.width == TINY.width
    with pytest.raises(WeightsError, match="no critic"):
        W.LAYOUT.network(alone, "critic")
    with pytest.raises(WeightsError, match="no generator"):
        W.LAYOUT.read(paths["critic"])


def test_norms_without_scale_and_shift(networks: dict, tmp_path: Path) -> None:
    """The layout with biases and plain norms computes the same picture after conversion."""
    plain = {}
    for key, value in _theirs(networks["generator"], "replicate").items():
        if value.ndim == 4:
            plain[key] = value
            if key.startswith("model"):
                outputs = 1 if key.startswith(("model.10", "model.13")) else 0  # those two are transposed
                plain[key.replace(".weight", ".bias")] = torch.randn(value.shape[outputs])
    torch.save(plain, tmp_path / "30_net_gen.pth")
    weights = W.LAYOUT.read(tmp_path / "30_net_gen.pth")

    class Biased(torch.nn.Module):
        """Adds the biases back, so that the norms have something to remove."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = W.LAYOUT.network(weights, "generator")
            for name, module in self.inner.named_modules():
                if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d) and name.startswith("trunk"):
                    key = re.sub(r"^trunk", "model", name).replace(".main.", ".conv_block.") + ".bias"
                    module.bias = torch.nn.Parameter(plain[key])

    image, units = torch.rand(1, 3, 32, 32) * 2 - 1, torch.rand(1, 17)
    with torch.no_grad():
        a, b = W.LAYOUT.network(weights, "generator")(image, units), Biased().inner(image, units)
    assert torch.allclose(a.image, b.image, atol=1e-5)


@pytest.mark.parametrize("half", [False, True])
def test_own_files(networks: dict, half: bool, tmp_path: Path) -> None:
    weights = W.LAYOUT.fit(networks, TINY, origin={"data": "mine"})
    weights.name = "ganimation-tiny"
    path = tmp_path / "w.safetensors"
    W.LAYOUT.save(path, weights, half)
    again = W.LAYOUT.read(path)
    assert again.config == TINY
    assert again.name == "ganimation-tiny"
    assert again.origin == {"data": "mine"}
    for name, state in networks.items():
        for key, value in state.items():
            assert torch.allclose(again.networks[name][key], value, atol=1e-3 if half else 0)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_converts_once(networks: dict, tmp_path: Path) -> None:
    torch.save(_theirs(networks["generator"], "authors"), tmp_path / "net_epoch_30_id_G.pth")
    W.LAYOUT.convert(tmp_path / "net_epoch_30_id_G.pth", tmp_path / "w.safetensors", "mine")
    again = W.LAYOUT.load(tmp_path / "w.safetensors")
    assert again.name == "mine"
    assert len(again.origin["sha256"]) == 64
    assert torch.equal(again.networks["generator"]["color.weight"], networks["generator"]["color.weight"])


def _told(path: Path, *words: str) -> None:
    with pytest.raises(WeightsError) as caught:
        W.LAYOUT.read(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    assert all(w in text for w in words), text


def test_refuses_what_is_something_else(networks: dict, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    _told(path, "does not exist")
    path.write_bytes(b"")
    _told(path, "empty")
    path.write_bytes(b"<html>quota</html>")
    _told(path, "web page")
    torch.save({"generator": {"a": torch.zeros(1)}}, path)
    _told(path, "another model")
    torch.save({"layer.weight": torch.zeros(1)}, path)
    _told(path, "another model")
    theirs = _theirs(networks["generator"], "authors")
    torch.save({**theirs, "main.3.weight": torch.zeros(4, 4, 4, 4)}, path)
    _told(path, "expected")
    torch.save({k: v for k, v in theirs.items() if k != "attetion_reg.0.weight"}, path)
    _told(path, "lacks attention.weight")
    torch.save({**theirs, "extra.weight": torch.zeros(1)}, path)
    _told(path, "unknown entry")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    _told(path, "truncated")


def test_code_in_a_checkpoint_is_refused(harm: Any, tmp_path: Path) -> None:
    torch.save({"main.0.weight": harm}, tmp_path / "w.pth")
    _told(tmp_path / "w.pth", "holds code")
    assert not harm.trace.exists()


def test_refuses_damaged_own_files(networks: dict, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    W.LAYOUT.save(path, W.LAYOUT.fit(networks, TINY))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    _told(path, "truncated")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, path)
    _told(path, "no GANimation")
    save_file({"a": torch.zeros(1)}, path, metadata={"format": W.LAYOUT.layout, "config": "{"})
    _told(path, "damaged header")
    save_file({"generator.a": torch.zeros(1)}, path, metadata={"format": W.LAYOUT.layout, "config": '{"depth": 3}'})
    _told(path, "newer version")


def test_published_sizes() -> None:
    """The parameter counts of the authors' networks at 128 pixels."""
    with torch.device("meta"):
        count = {n: sum(p.numel() for p in net.parameters()) for n, net in W.networks_of(GanimationConfig()).items()}
    assert count == {"generator": 8_471_296, "critic": 44_860_352}
