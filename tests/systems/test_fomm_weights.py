"""Loading weights: the authors' names, conversion, and everything a user can hand over by mistake."""

from __future__ import annotations

import json
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from infinex.errors import WeightsError  # noqa: E402
from infinex.systems.fomm import weights as W  # noqa: E402, N812
from infinex.systems.fomm.model import CONFIGS, FommConfig  # noqa: E402
from infinex.systems.fomm.weights import FommWeights  # noqa: E402

TINY = CONFIGS["fomm-tiny"]

# Ours to the authors', for writing files as they do.
_BACK = {
    "detector": [
        (r"^hourglass\.down\.", "predictor.encoder.down_blocks."),
        (r"^hourglass\.up\.", "predictor.decoder.up_blocks."),
        (r"^heatmap\.", "kp."),
        (r"^shrink\.", "down."),
    ],
    "generator": [
        (r"^(down|up)\.", r"\1_blocks."),
        (r"^middle\.", "bottleneck.r"),
        (r"^last\.", "final."),
        (r"^motion\.hourglass\.down\.", "dense_motion_network.hourglass.encoder.down_blocks."),
        (r"^motion\.hourglass\.up\.", "dense_motion_network.hourglass.decoder.up_blocks."),
        (r"^motion\.shrink\.", "dense_motion_network.down."),
        (r"^motion\.", "dense_motion_network."),
    ],
    "discriminator": [
        (r"^at\.(\w+)\.(conv|norm)s\.(\d+)\.", r"discs.\1.down_blocks.\3.\2."),
        (r"^at\.(\w+)\.score\.", r"discs.\1.conv."),
        (r"parametrizations\.weight\.original$", "weight_orig"),
        (r"parametrizations\.weight\.0\._", "weight_"),
    ],
}


def _published(config: FommConfig, prefix: str = "") -> dict:
    torch.manual_seed(0)
    out: dict = {"epoch": 7, "optimizer_generator": {"state": {0: {"step": 3}}, "param_groups": []}}
    for theirs, ours in W.PUBLISHED.items():
        state = {}
        for key, tensor in W.networks_of(config)[ours].state_dict().items():
            for pattern, replacement in _BACK[ours]:
                key = re.sub(pattern, replacement, key)
            state[prefix + key] = tensor
        out[theirs] = state
    return out


@pytest.fixture(scope="module")
def published() -> dict:
    return _published(TINY)


@pytest.fixture
def checkpoint(published: dict, tmp_path: Path) -> Path:
    path = tmp_path / "vox-cpk.pth.tar"
    torch.save(published, path)
    return path


def _same(a: dict, b: dict) -> bool:
    return set(a) == set(b) and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("zipped", [True, False])  # recent PyTorch, and that of the published files
def test_reads_a_published_checkpoint(published: dict, tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "vox-adv-cpk.pth.tar"
    torch.save(published, path, _use_new_zipfile_serialization=zipped)
    weights = W.LAYOUT.read_published(path)
    assert weights.name == "fomm-tiny"
    assert weights.config == TINY
    assert weights.origin["epoch"] == "7"
    assert len(weights.origin["sha256"]) == 64
    theirs = published["generator"]["dense_motion_network.mask.weight"]
    assert torch.equal(weights.networks["generator"]["motion.mask.weight"], theirs)
    assert not W.model_of(weights).training


def test_published_names_of_both_kinds_of_discriminator() -> None:
    for name in ("vox-256", "vox-adv-256"):  # one with spectral normalisation
        with torch.device("meta"):
            state = _published(CONFIGS[name])["discriminator"]
        assert ("discs.1.conv.weight_orig" in state) == CONFIGS[name].critic_spectral
        with torch.device("meta"):
            expected = W.networks_of(CONFIGS[name])["discriminator"].state_dict()
        assert set(W.rename("discriminator", state)) == set(expected)


def test_tolerates_what_old_releases_wrote(published: dict, tmp_path: Path) -> None:
    old: dict = {}
    for network in W.PUBLISHED:
        state = {f"module.{k}": v for k, v in published[network].items() if "num_batches" not in k}
        old[network] = state
    old["discriminator"]["module.discs.1.down_blocks.1.norm.running_mean"] = torch.zeros(48)
    old["discriminator"]["module.discs.1.down_blocks.1.norm.running_var"] = torch.ones(48)
    torch.save(old, tmp_path / "old.pth.tar")
    weights = W.LAYOUT.read_published(tmp_path / "old.pth.tar")
    assert _same(weights.networks["detector"], W.rename("detector", published["kp_detector"]))
    assert "at.1.norms.1.running_mean" not in weights.networks["discriminator"]


def test_inference_only_checkpoints_need_no_discriminator(published: dict, tmp_path: Path) -> None:
    path = tmp_path / "small.pth.tar"
    torch.save({k: published[k] for k in ("generator", "kp_detector")}, path)
    assert set(W.LAYOUT.read_published(path).networks) == {"generator", "detector"}


def test_converts_once_to_safetensors(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "vox.safetensors"
    converted = W.LAYOUT.convert(checkpoint, target)
    again = W.LAYOUT.load(target)
    assert again.config == TINY
    assert again.name == "fomm-tiny"
    assert again.origin == converted.origin
    assert all(_same(again.networks[n], converted.networks[n]) for n in W.PUBLISHED.values())
    assert not [p for p in tmp_path.iterdir() if ".part" in p.name]
    for path in (checkpoint, target):
        assert _same(W.LAYOUT.read(path).networks["generator"], converted.networks["generator"])
    from safetensors import safe_open

    with safe_open(target, framework="pt") as file:
        assert json.loads(file.metadata()["config"])["keypoints"] == 10
        assert json.loads(file.metadata()["origin"])["sha256"] == converted.origin["sha256"]


def _told(path: Path, *words: str, config: str | None = None) -> None:
    """Refused in one line that names the file and says why."""
    with pytest.raises(WeightsError) as caught:
        W.LAYOUT.read_published(path, config=config)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    assert all(w in text for w in words), text


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.99])
def test_truncated(published: dict, tmp_path: Path, zipped: bool, part: float) -> None:
    path = tmp_path / "cut.pth.tar"
    torch.save(published, path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    _told(path, "download it again")


def test_missing_folder_and_web_page(tmp_path: Path) -> None:
    _told(tmp_path / "nothing.pth.tar", "does not exist")
    (tmp_path / "folder").mkdir()
    _told(tmp_path / "folder", "is a folder")
    (tmp_path / "page.pth.tar").write_text("<!DOCTYPE html><html>Quota exceeded</html>")
    _told(tmp_path / "page.pth.tar", "web page")
    (tmp_path / "noise.pth.tar").write_bytes(bytes(range(256)) * 9)
    _told(tmp_path / "noise.pth.tar", "download it again")


def test_unpacked_and_repacked(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unpacked.pth.tar"
    with zipfile.ZipFile(checkpoint) as archive:
        archive.extractall(folder)
    _told(folder, "unpacked", "not an archive")
    packed = tmp_path / "packed.pth.tar"
    with tarfile.open(packed, "w") as archive:
        archive.add(folder, "vox")
    _told(packed, "repacked")


@pytest.mark.parametrize("zipped", [True, False])
def test_code_inside_is_refused_and_not_run(published: dict, harm: Any, tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "bad.pth.tar"
    torch.save({**published, "extra": harm}, path, _use_new_zipfile_serialization=zipped)
    _told(path, "holds code", "open")
    assert not harm.trace.exists()


def test_checkpoint_of_another_model(tmp_path: Path) -> None:
    path = tmp_path / "other.pth.tar"
    torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}, "arch": "resnet"}, path)
    _told(path, "no First Order Motion Model", "arch, state_dict")
    torch.save(torch.zeros(3), path)
    _told(path, "no First Order Motion Model")
    torch.save({"generator": {"a": 1}, "kp_detector": {}}, path)
    _told(path, "not a state dict")


def test_shapes_that_do_not_match(checkpoint: Path) -> None:
    _told(checkpoint, "fomm-small", "expected", config="fomm-small")
    _told(checkpoint, "vox-256", config="vox-256")
    with pytest.raises(WeightsError, match="unknown configuration 'vox'"):
        W.LAYOUT.read_published(checkpoint, config="vox")


def test_shapes_that_match_nothing(published: dict, tmp_path: Path) -> None:
    state = {**published, "kp_detector": dict(published["kp_detector"])}
    state["kp_detector"]["kp.weight"] = torch.zeros(3, 3, 3, 3)
    torch.save(state, tmp_path / "odd.pth.tar")
    _told(tmp_path / "odd.pth.tar", "fits none", "vox-256")
    del state["kp_detector"]["kp.weight"]
    torch.save(state, tmp_path / "odd.pth.tar")
    with pytest.raises(WeightsError, match=r"lacks heatmap\.weight"):
        W.LAYOUT.read_published(tmp_path / "odd.pth.tar", config="fomm-tiny")


def test_own_files_that_are_bad(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "own.safetensors"
    W.LAYOUT.convert(checkpoint, target)
    data = target.read_bytes()
    for size in (4, 1000, len(data) // 2):
        target.write_bytes(data[:size])
        with pytest.raises(WeightsError, match="truncated"):
            W.LAYOUT.load(target)
    import safetensors.torch

    safetensors.torch.save_file({"a": torch.zeros(1)}, target)
    with pytest.raises(WeightsError, match="no First Order Motion Model"):
        W.LAYOUT.load(target)
    safetensors.torch.save_file({"a": torch.zeros(1)}, target, metadata={"format": W.LAYOUT.layout, "config": "{"})
    with pytest.raises(WeightsError, match="damaged header"):
        W.LAYOUT.load(target)
    with pytest.raises(WeightsError, match="does not exist"):
        W.LAYOUT.load(tmp_path / "none")
    with pytest.raises(WeightsError, match="cannot be written"):
        W.LAYOUT.save(tmp_path / "no" / "where", FommWeights(TINY, {}))


def test_custom_sizes_survive_a_file(tmp_path: Path) -> None:
    config = FommConfig(size=64, keypoints=4, detector_width=4, detector_max=8, detector_levels=2,
                        motion_width=4, motion_max=8, motion_levels=2, generator_width=4, generator_max=8,
                        generator_downs=1, generator_blocks=1, critic_width=4, critic_blocks=2,
                        critic_scales=(1.0, 0.5))  # fmt: skip
    networks = {n: net.state_dict() for n, net in W.networks_of(config).items()}
    W.LAYOUT.save(tmp_path / "w", FommWeights(config, networks, "mine"))
    back = W.LAYOUT.load(tmp_path / "w")
    assert back.config == config
    assert back.name == "mine"
