"""Weights of CrossID-GAN: our own files; the authors published none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infinex.errors import WeightsError
from infinex.nn.files import Networks, State
from infinex.nn.stored import Layout
from infinex.systems.crossid_gan.model import AT_WORK, CONFIGS, CrossIdConfig, networks_of

CrossIdWeights = Networks[CrossIdConfig]


def _published(data: Any, path: Path) -> dict[str, State]:
    raise WeightsError(f"{path} is no file of ours; the authors of CrossID-GAN published no weights")


LAYOUT = Layout(CrossIdConfig, CONFIGS, networks_of, "CrossID-GAN", "infinex-crossid-gan-1", AT_WORK, _published)
