"""Weights of X2Face: the authors' key names, published files, and our own files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from infinex.errors import WeightsError
from infinex.nn.files import Networks, State, read_checkpoint, state_dict_of
from infinex.nn.stored import Layout
from infinex.systems.x2face.model import CONFIGS, X2FaceConfig, networks_of

X2FaceWeights = Networks[X2FaceConfig]
SYSTEM = "X2Face"
_PREFIX = {"pix2pixUnwrapped.netG.model.": "embedding", "pix2pixSampler.netG.model.": "driving"}
_KEY = re.compile(r"^((?:submodule\.)*)(down|up)\.(\d)\.(\w+)$")


def rename(state: Mapping[str, Tensor]) -> dict[str, State]:
    """The two ladders of a published state dict under our key names: one level deeper for each `submodule`.

    Raises WeightsError for keys of another model."""
    out: dict[str, State] = {}
    for key, tensor in state.items():
        prefix = next((p for p in _PREFIX if key.startswith(p)), None)
        match = _KEY.match(key.removeprefix(prefix)) if prefix else None
        if prefix is None or match is None:
            raise WeightsError(f"the checkpoint is no {SYSTEM}: {key:.60} is not among its entries")
        level, way, place, name = match[1].count("submodule"), match[2], int(match[3]), match[4]
        # Convolutions stand at 0 or 1 on the way down and at 2 on the way up; norms one further.
        norm = place == (2 if way == "down" else 3)
        ours = f"{way}_norm.{level - 1}.{name}" if norm else f"{way}.{level}.{name}"
        network = out.setdefault(_PREFIX[prefix], {})
        network[ours] = tensor
        if name == "running_var":  # releases of that time did not count their batches
            network.setdefault(f"{ours.removesuffix(name)}num_batches_tracked", torch.tensor(0))
    return out


def published(data: Any, path: Path) -> dict[str, State]:
    """Networks of `x2face_model.pth`, and of the authors' two small files for poses where they lie beside it.

    Raises WeightsError."""
    networks = rename(state_dict_of(data, str(path)))
    reader, writer = path.with_name("posereg.pth"), path.with_name("posetobottle.pth")
    if reader.is_file() and writer.is_file():
        state = state_dict_of(read_checkpoint(reader), str(reader))
        networks["reader"] = {k.removeprefix("posefrombottle."): v for k, v in state.items()}
        networks["writer"] = state_dict_of(read_checkpoint(writer), str(writer))
        networks["writer"].setdefault("1.num_batches_tracked", torch.tensor(0))
    return networks


LAYOUT = Layout(X2FaceConfig, CONFIGS, networks_of, SYSTEM, "infinex-x2face-1", ("embedding", "driving"), published)
convert = LAYOUT.convert
