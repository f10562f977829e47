"""Weights of the speech network: a safetensors file of the training, and the ONNX file that the driver reads."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from infinex.errors import MissingDependencyError, WeightsError
from infinex.media.files import atomic_path
from infinex.nn.files import read_safetensors, sizes_in, write_safetensors
from infinex.systems.speech.listener import HIDDEN
from infinex.systems.speech.model import SpeechConfig, SpeechNet


def save(path: str | Path, state: dict[str, Tensor], config: SpeechConfig) -> None:
    """Write a network's state with its sizes."""
    write_safetensors(Path(path), state, {"system": "speech", "config": json.dumps(asdict(config))})


def read(path: str | Path) -> tuple[dict[str, Tensor], SpeechConfig]:
    """State and sizes. Raises WeightsError for anything that is not such a file."""
    state, header = read_safetensors(Path(path))
    if header.get("system") != "speech":
        raise WeightsError(f"{path} is not a file of the speech network")
    return state, sizes_in(header, SpeechConfig, Path(path))


def export(path: str | Path, folder: str | Path) -> Path:
    """Write `folder`/speech.onnx from a file of weights; the mouth shapes and the listener lie beside it.

    Raises WeightsError where they do not fit, MissingDependencyError without the package onnx."""
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise MissingDependencyError("exporting needs onnx: pip install 'infinex[onnx]'") from None
    state, config = read(path)
    network = SpeechNet(config).eval()
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(f"{path} does not fit its own sizes: {error}") from None
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "speech.onnx"
    with atomic_path(target) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (torch.zeros(1, 200, HIDDEN),), str(temporary), input_names=["rows"],
            output_names=["coefficients", "logits"], opset_version=17, dynamo=False,
            dynamic_axes={"rows": {1: "steps"}, "coefficients": {1: "steps"}, "logits": {1: "steps"}},
        )  # fmt: skip
    return target


if __name__ == "__main__":
    print(export(sys.argv[1], sys.argv[2]))
