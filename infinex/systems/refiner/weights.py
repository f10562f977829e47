"""The refiner's networks as files: safetensors for training, ONNX for the mesh engine."""

from __future__ import annotations

from pathlib import Path

import torch

from infinex.errors import MissingDependencyError, WeightsError
from infinex.media.files import atomic_path
from infinex.nn.files import read_safetensors, write_safetensors
from infinex.systems.refiner.model import CONFIGS, Refiner


def load(path: str | Path, part: str) -> Refiner:
    """The network of `part` with the weights in a safetensors file. Raises WeightsError if they do not fit."""
    network = Refiner(CONFIGS[part])
    try:
        network.load_state_dict(read_safetensors(Path(path))[0])
    except (WeightsError, RuntimeError):
        raise WeightsError(f"{Path(path).name} does not hold the refiner's network for the {part}") from None
    return network.eval()


def save(network: torch.nn.Module, path: str | Path) -> None:
    """Write a network's weights as safetensors."""
    write_safetensors(Path(path), network.state_dict())


def export(network: Refiner, path: str | Path) -> None:
    """Write a network as ONNX, any number of windows a call: `planes` in, `out` out."""
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("exporting needs: pip install onnx") from error
    c = network.config
    planes = torch.zeros(1, c.inputs, c.side, c.side)
    with atomic_path(Path(path)) as temporary:
        torch.onnx.export(
            network.eval(), (planes,), str(temporary), input_names=["planes"], output_names=["out"],
            dynamic_axes={"planes": {0: "n"}, "out": {0: "n"}}, opset_version=17, dynamo=False,
        )  # fmt: skip
