"""Weights files: the two kinds told apart, what is none, sizes in a header, writing whole."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from infinex.errors import WeightsError  # noqa: E402
from infinex.nn import files as F  # noqa: E402, N812


@dataclass
class Box:
    side: int = 1
    scales: tuple[float, ...] = ()


def test_kinds_are_told_apart_by_their_bytes(tmp_path: Path) -> None:
    state = {"a.weight": torch.arange(3.0)}
    torch.save(state, tmp_path / "checkpoint")
    F.write_safetensors(tmp_path / "tensors", state, {"k": "v"})
    assert F.is_safetensors(tmp_path / "tensors")
    assert not F.is_safetensors(tmp_path / "checkpoint")
    assert not F.is_safetensors(tmp_path / "none.safetensors")
    for name in ("checkpoint", "tensors"):
        assert torch.equal(F.read_weights(tmp_path / name)["a.weight"], state["a.weight"])


def test_a_header_whose_length_reads_as_markup_is_no_web_page(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    for spare in range(15300, 15400):
        F.write_safetensors(path, {"a": torch.zeros(1)}, {"k": "x" * spare})
        if path.read_bytes().startswith(b" <"):
            break
    assert path.read_bytes().startswith(b" <")
    assert F.read_safetensors(path)[1] == {"k": "x" * spare}


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_what_is_no_weights_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name

    def told() -> str:
        with pytest.raises(WeightsError) as caught:
            F.read_weights(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
        return str(caught.value)

    assert "does not exist" in told()
    path.write_bytes(b"")
    assert "is empty" in told()
    path.write_bytes(b"<html>quota</html>")
    assert "web page" in told()
    path.write_bytes(b"nothing of the kind")
    assert "truncated or no" in told()
    path.unlink()
    path.mkdir()
    assert "is a folder" in told()


def test_classes_in_a_checkpoint_must_be_allowed(tmp_path: Path) -> None:
    if not hasattr(torch.serialization, "safe_globals"):
        pytest.skip("this PyTorch cannot allow classes")
    torch.save({"args": argparse.Namespace(a=1)}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="holds code"):
        F.read_checkpoint(tmp_path / "w.pt")
    assert F.read_checkpoint(tmp_path / "w.pt", (argparse.Namespace,))["args"].a == 1


def test_tensors_that_share_memory_are_written(tmp_path: Path) -> None:
    a = torch.arange(6.0)
    F.write_safetensors(tmp_path / "w", {"a": a, "b": a[::2]})
    back, header = F.read_safetensors(tmp_path / "w")
    assert back["b"].tolist() == [0, 2, 4]
    assert header == {}
    with pytest.raises(WeightsError, match=r"cannot be written.*does not exist"):
        F.write_safetensors(tmp_path / "no" / "w", {"a": a})
    assert [p.name for p in tmp_path.iterdir()] == ["w"]


def test_sizes_of_a_header() -> None:
    path = Path("w")
    assert F.sizes_in({"config": json.dumps({"side": 3, "scales": [1, 2]})}, Box, path) == Box(3, (1, 2))
    for config, why in (('{"depth": 1}', "newer version: unknown size depth"), ("{", "damaged"), ("[]", "damaged")):
        with pytest.raises(WeightsError, match=why):
            F.sizes_in({"config": config}, Box, path)
    with pytest.raises(WeightsError, match="damaged header"):
        F.sizes_in({}, Box, path)


def test_networks_go_into_a_file_and_out(tmp_path: Path) -> None:
    stored = F.Networks(Box(2), {"a": {"x.y": torch.ones(2)}, "b": {"z": torch.zeros(1)}}, "mine", {"epoch": "3"})
    F.write_networks(tmp_path / "w", "boxes-1", stored)
    back = F.read_networks(tmp_path / "w", "boxes-1", Box, "box")
    assert (back.config, back.name, back.origin) == (stored.config, "mine", {"epoch": "3"})
    assert {n: list(s) for n, s in back.networks.items()} == {"a": ["x.y"], "b": ["z"]}
    with pytest.raises(WeightsError, match="holds no box"):
        F.read_networks(tmp_path / "w", "boxes-2", Box, "box")


def test_misfits_are_told() -> None:
    state = {"a": torch.zeros(2), "b": torch.zeros(3)}
    assert F.misfit(state, state) == ""
    assert F.misfit({"a": state["a"]}, state) == "lacks b"
    assert F.misfit(state | {"c": state["a"]}, state) == "has the unknown entry c"
    assert F.misfit(state | {"b": state["a"]}, state) == "has b of shape (2,), expected (3,)"


def test_only_the_spare_network_may_differ() -> None:
    networks = {"a": torch.nn.Linear(2, 1), "b": torch.nn.Linear(3, 1)}
    states = {n: torch.nn.Linear(2, 1).state_dict() for n in networks}
    before = networks["b"].bias.clone()  # its shape would fit
    F.load_networks(networks, states, "it does not fit", "small", spare="b")
    assert torch.equal(networks["a"].weight, states["a"]["weight"]) and torch.equal(networks["b"].bias, before)
    with pytest.raises(WeightsError, match="it does not fit the b of small"):
        F.load_networks(networks, states, "it does not fit", "small", spare="a")
