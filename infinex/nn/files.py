"""Weights files: reading without running what they may hold, writing whole or not at all."""

from __future__ import annotations

import hashlib
import pickle
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import torch

from infinex.errors import MissingDependencyError, WeightsError


def sha256(path: Path) -> str:
    """Hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_checkpoint(path: Path) -> Any:
    """A PyTorch checkpoint, without running any code it may hold; every way to fail is told in one line."""
    if path.is_dir():
        if next(path.rglob("data.pkl"), None) or (path / "storages").exists() or (path / "pickle").exists():
            raise WeightsError(
                f"{path} is an unpacked checkpoint: despite its name a .pth.tar is not an archive, "
                "give the file as it was downloaded"
            )
        raise WeightsError(f"{path} is a folder, not a checkpoint")
    if not path.exists():
        raise WeightsError(f"{path} does not exist")
    with path.open("rb") as file:
        head = file.read(512).lstrip()
    if not head:
        raise WeightsError(f"{path} is empty: download it again")
    if head.startswith(b"<"):
        raise WeightsError(f"{path} is a web page, not a checkpoint: try the download again later")
    if head[:2] == b"PK" and not zipfile.is_zipfile(path):
        raise WeightsError(f"{path} is truncated: download it again")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # PyTorch names the class or function it refused; anything else is a damaged stream.
        refused = re.search(r"(?:GLOBAL|unrecognized function|Unsupported class) (\S+)", str(error))
        if refused:
            raise WeightsError(
                f"{path} holds code ({refused.group(1)}) and is refused: weights are data only"
            ) from None
        raise WeightsError(f"{path} is damaged or no PyTorch checkpoint: download it again") from None
    except (EOFError, OSError, RuntimeError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        if head[:2] != b"PK" and tarfile.is_tarfile(path):
            raise WeightsError(f"{path} is a repacked archive: give the .pth.tar file as it was downloaded") from None
        raise WeightsError(f"{path} is truncated or no PyTorch checkpoint: download it again") from None


def safetensors() -> Any:
    """The library, with its `torch` part. Raises MissingDependencyError where it is not installed."""
    try:
        import safetensors.torch
    except ImportError:
        raise MissingDependencyError("reading weights needs safetensors: pip install 'infinex[train]'") from None
    return safetensors
