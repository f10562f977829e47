"""X2Face against the outputs of the authors' code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from parity import assert_close, read_reference, states, word  # noqa: E402

from infinex.nn.geometry import warp  # noqa: E402
from infinex.systems.x2face.model import X2FaceConfig, grid_of, posed, spoken  # noqa: E402
from infinex.systems.x2face.weights import LAYOUT  # noqa: E402

pytestmark = pytest.mark.parity


def _read(file: Mapping, folder: Path, config: X2FaceConfig, name: str = "x2face") -> dict:
    """Networks with the weights in the file, read as the published files are."""
    state = states(file)
    torch.save({"state_dict": state[name]}, folder / "x2face_model.pth")
    if name == "x2face":
        for part in ("posereg", "posetobottle"):
            torch.save({"state_dict": state[part]}, folder / f"{part}.pth")
    return LAYOUT.networks(LAYOUT.read_published(folder / "x2face_model.pth", config=config))


@pytest.fixture(scope="module")
def ref(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    file = read_reference("x2face")
    text = str(file["config"])
    config = X2FaceConfig(int(word(text, "size")), int(word(text, "levels")), int(word(text, "ngf")),
                          int(word(text, "inner_nc")), int(word(text, "audio_dim")))  # fmt: skip
    tensor = {k: torch.from_numpy(v) for k, v in file.items() if k != "config"}
    networks = _read(file, tmp_path_factory.mktemp("x2face"), config)
    voice = torch.nn.Linear(config.heard, config.waist)
    voice.load_state_dict({"weight": tensor["in/audio/coefficients"], "bias": tensor["in/audio/intercept"]})
    with torch.no_grad():
        face = networks["embedding"].face(tensor["in/sources"][None, :1])
    return SimpleNamespace(file=file, t=tensor, config=config, face=face, voice=voice, **networks)


@torch.no_grad()
def test_embedded_face(ref: SimpleNamespace) -> None:
    sources = ref.t["in/sources"]
    assert_close(ref.embedding.decode(ref.embedding.encode(sources[:1])), ref.file["out/embedding/raw"])
    assert_close(ref.face, ref.file["out/embedding/face_one"])
    assert_close(ref.embedding.face(sources[None], least=0.0), ref.file["out/embedding/face_many"])
    _, confidence = ref.embedding(sources)
    theirs = ref.t["out/embedding/confidence_many"]
    ours = confidence.permute(1, 2, 3, 0)[None]
    assert_close(torch.exp(ours), theirs, relative=True)


@torch.no_grad()
def test_driving_by_picture(ref: SimpleNamespace) -> None:
    grid, bottleneck = ref.driving(ref.t["in/driving"])
    assert_close(bottleneck, ref.file["out/driving/bottleneck"])
    assert_close(torch.relu(bottleneck), ref.file["out/driving/bottleneck_relu"])
    assert_close(ref.driving.flow(bottleneck), ref.file["out/driving/raw"])
    assert_close(grid, ref.file["out/driving/grid"])
    assert_close(warp(ref.face.expand(2, -1, -1, -1), grid), ref.file["out/result_one"])
    many = ref.embedding.face(ref.t["in/sources"][None])
    assert_close(warp(many.expand(2, -1, -1, -1), grid), ref.file["out/result_many"])


@torch.no_grad()
def test_driving_by_pose(ref: SimpleNamespace) -> None:
    assert_close(ref.reader(ref.driving.bottleneck(ref.t["in/driving"])), ref.file["out/pose/estimated"])
    own = ref.driving.bottleneck(ref.t["in/sources"][:1])
    assert_close(ref.writer(ref.t["in/pose"]), ref.file["out/pose/bottleneck"])
    made = posed(own, ref.t["in/pose"], ref.reader, ref.writer)
    assert_close(warp(ref.face.expand(3, -1, -1, -1), grid_of(ref.driving.flow(made))), ref.file["out/pose/result"])


@torch.no_grad()
def test_driving_by_voice(ref: SimpleNamespace) -> None:
    own = torch.relu(ref.driving.bottleneck(ref.t["in/sources"][:1]))
    features, rest = ref.t["in/audio/features"], ref.t["in/audio/source_feature"]
    made = spoken(own, features, rest, ref.voice, ref.reader, ref.writer)
    assert_close(made, ref.file["out/audio/bottleneck"])
    assert_close(warp(ref.face.expand(3, -1, -1, -1), grid_of(ref.driving.flow(made))), ref.file["out/audio/result"])


def test_one_training_step(ref: SimpleNamespace, tmp_path: Path) -> None:
    networks = _read(ref.file, tmp_path, ref.config)  # fresh statistics
    for network in networks.values():
        network.train().requires_grad_(True)
    source, driving = ref.t["in/train/source"], ref.t["in/driving"]
    result = warp(networks["embedding"].face(source[:, None]), networks["driving"](driving)[0])
    assert_close(result, ref.file["out/train/result"])
    loss = (result - driving).abs().mean()
    assert_close(loss, ref.file["out/train/loss"], relative=True)
    loss.backward()
    for name in ("embedding", "driving"):
        ours = networks[name].down[0].weight.grad
        assert_close(ours, ref.file[f"out/train/grad_{name}_first_conv"], relative=True, tolerance=1e-3)


@torch.no_grad()
def test_the_published_depth(ref: SimpleNamespace, tmp_path: Path) -> None:
    networks = _read(ref.file, tmp_path, X2FaceConfig(width=2, waist=12), "x2face_full")
    face = networks["embedding"].face(ref.t["in/full/source"][:, None])
    grid, _ = networks["driving"](ref.t["in/full/driving"])
    assert_close(face[:, :, 2::4, 1::4], ref.file["out/full/face_stride4"])
    assert_close(grid[:, 2::4, 1::4], ref.file["out/full/grid_stride4"])
    assert_close(warp(face, grid)[:, :, 2::4, 1::4], ref.file["out/full/result_stride4"])
