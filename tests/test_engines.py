"""Engines by name: the registry, the First Order Motion Model behind it, and weights by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from infinex.engine import Drive, Source, engine_names, load_engine
from infinex.errors import InputError, WeightsError
from infinex.face.topology import mean_face
from infinex.face.tracker import Face
from infinex.motion import Rest
from infinex.pipeline import Options, Stage, load_source, render
from infinex.spec import Weights, systems
from infinex.systems import registry

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from infinex.systems.fomm import weights as fomm_weights  # noqa: E402
from infinex.systems.fomm.animator import FommAnimator  # noqa: E402
from infinex.systems.fomm.engine import FommEngine  # noqa: E402
from infinex.systems.fomm.model import CONFIGS, FommConfig, FommModel  # noqa: E402
from infinex.systems.square import Painted  # noqa: E402

SMALL = FommConfig(size=64, keypoints=4, detector_width=8, detector_max=16, detector_levels=2, motion_width=8,
                   motion_max=16, motion_levels=2, generator_width=8, generator_max=16, generator_blocks=1)  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a small model."""
    torch.manual_seed(0)
    model = FommModel(SMALL).eval()
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    states = {"detector": model.detector.state_dict(), "generator": model.generator.state_dict()}
    fomm_weights.LAYOUT.save(path, fomm_weights.FommWeights(SMALL, states, "small"))
    return path


@pytest.fixture(scope="module")
def source() -> Source:
    """A face drawn nowhere in particular in a large picture."""
    image = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    return Source(image, Face(mean_face() * 60 + [190, 150, 0]))


def test_every_engine_loads_or_says_why() -> None:
    assert engine_names()[0] == "mesh" and "fomm" in engine_names()
    assert load_engine("mesh").needs == "motion"
    with pytest.raises(InputError, match=r"unknown engine 'magic'; there are mesh, .*fomm"):
        Options(engine="magic").check()
    with pytest.raises(InputError, match="--weights goes with"):
        Options(weights="x").check()
    with pytest.raises(WeightsError, match=r"nowhere.safetensors: no such file"):
        load_engine("fomm", Options(engine="fomm"), "nowhere.safetensors")
    assert load_engine("fomm", Options(engine="fomm")).needs == "frames"


def test_only_a_square_around_the_face_changes(weights: Path, source: Source) -> None:
    engine = load_engine("fomm", Options(engine="fomm"), str(weights))
    face = engine.prepare(source)
    x0, y0, x1, y1 = face.box
    assert 0 <= x0 < x1 <= 400 and 0 <= y0 < y1 <= 300
    frame = np.random.default_rng(1).integers(0, 255, (200, 300, 3), dtype=np.uint8)
    points = mean_face() * 40 + [150, 100, 0]
    face.begin(Rest.neutral(), frame, points)
    canvas = source.image.copy()
    move = SimpleNamespace(valid=True)
    occlusion = face.draw(canvas, Drive(move, frame, points)).occlusion  # type: ignore[arg-type]
    assert occlusion is not None and occlusion.shape == (y1 - y0, x1 - x0)
    outside = np.ones(source.image.shape[:2], bool)
    outside[y0:y1, x0:x1] = False
    assert np.array_equal(canvas[outside], source.image[outside])
    middle = np.s_[(y0 + y1) // 2 - 8 : (y0 + y1) // 2 + 8, (x0 + x1) // 2 - 8 : (x0 + x1) // 2 + 8]
    assert not np.array_equal(canvas[middle], source.image[middle])
    edge = canvas[y0, x0 + 20 : x1 - 20].astype(int) - source.image[y0, x0 + 20 : x1 - 20]
    assert np.abs(edge).max() <= 2  # the seam
    kept = canvas.copy()
    canvas[:] = 0
    face.draw(canvas, Drive(move))  # type: ignore[arg-type]  # out of sight: the last picture
    assert np.array_equal(canvas[y0:y1, x0:x1], kept[y0:y1, x0:x1])


def test_a_field_that_moves_nothing_keeps_every_detail(source: Source) -> None:
    """Networks that return the shrunk picture itself, unmoved: the portrait's own resolution comes back."""
    torch.manual_seed(0)
    face = FommEngine(FommAnimator(FommModel(SMALL).eval())).prepare(source)
    s, n = face.crop.side, 16
    ys, xs = np.mgrid[:n, :n].astype(np.float32)
    field = np.stack([(2 * xs + 1) / n - 1, (2 * ys + 1) / n - 1], -1) * s / (s - 1)
    small = face.crop.cut(source.image, 64)
    out = face._composed(Painted(small, field=field, deformed=small, shown=np.full((16, 16), 255, np.uint8)))
    inner = np.s_[s // 5 : -s // 5, s // 5 : -s // 5]
    change = np.abs(out[inner].astype(int) - face.crop.full(source.image)[inner])
    assert float(np.median(change)) < 12  # of noise, the hardest picture there is
    hidden = face._composed(Painted(small, field=field, deformed=small, shown=np.zeros((16, 16), np.uint8)))
    assert hidden[inner].std() < 0.7 * out[inner].std()  # only the networks' own, coarse picture


def test_drivers_without_frames_are_rehearsed(weights: Path, portrait: Path) -> None:
    options = Options(engine="fomm", weights=str(weights), size=256)
    sources = load_source(portrait, size=256)
    from infinex.drivers.motion import load_motion

    motion = load_motion("smile").trim(0, 0.3)
    frames = list(render(sources, motion, options))
    assert len(frames) == len(motion) and frames[0].shape == sources[0].image.shape
    stage = Stage(sources, load_engine("fomm", options, str(weights)))
    stage.begin(motion.at(0) and motion.rest, None, None)
    stage.render(Drive(motion.at(2)))
    assert stage.seen is not None and stage.seen.shape == sources[0].image.shape
    shown = stage.seen.copy()
    stage.render(Drive(replace(motion.at(2), offsets=motion.at(2).offsets + 0.02)))
    assert not np.array_equal(stage.seen, shown)


def test_a_clip_drives_a_portrait_with_a_panel(
    weights: Path, portrait: Path, write_clip: Callable[..., Path], tmp_path: Path
) -> None:
    import cv2

    from infinex.media.image import read_image
    from infinex.media.video import VideoReader
    from infinex.pipeline import animate

    image = cv2.resize(read_image(portrait)[20:420, 60:460], (200, 200), interpolation=cv2.INTER_AREA)
    clip = write_clip([image[i : i + 180, i : i + 180].copy() for i in range(4)], "drive.mp4", 10)
    options = Options(engine="fomm", weights=str(weights), size=256, panel=True)
    summary = animate(portrait, clip, tmp_path / "out.mp4", options)
    assert (summary.engine, summary.frames) == ("fomm", 4)
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert reader.info.width > 3 * reader.info.height * 0.7
    with pytest.raises(InputError, match="needs a still picture"):
        animate(clip, clip.with_name("drive.mp4"), tmp_path / "v.mp4", replace(options, panel=False))


def test_weights_are_added_and_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFINEX_WEIGHTS", str(tmp_path / "store"))
    with pytest.raises(WeightsError, match=r"vox-256 is not here: download vox-cpk.pth.tar .* weights add vox-256"):
        registry.resolve("vox-256", "fomm")
    with pytest.raises(WeightsError, match="cannot be fetched: download"):
        registry.fetch("vox-256")
    with pytest.raises(InputError, match="unknown weights 'vox'"):
        registry.find("vox")
    with pytest.raises(WeightsError, match="are weights of fomm, not of speech"):
        registry.resolve("vox-256", "speech")
    monkeypatch.setitem(CONFIGS, "vox-256", replace(SMALL, critic_keypoints=False))
    model = FommModel(SMALL)
    back = {"detector": "kp_detector", "generator": "generator"}
    published = {back[n]: _published(n, getattr(model, n).state_dict()) for n in back}
    torch.save(published, tmp_path / "vox-cpk.pth.tar")
    path = registry.add("vox-256", tmp_path / "vox-cpk.pth.tar")
    assert registry.resolve("vox-256", "fomm") == path == tmp_path / "store" / "vox-256.safetensors"
    assert fomm_weights.LAYOUT.load(path).config == CONFIGS["vox-256"]
    with pytest.raises(WeightsError, match="truncated"):
        (tmp_path / "cut.pth.tar").write_bytes((tmp_path / "vox-cpk.pth.tar").read_bytes()[:5000])
        registry.add("vox-256", tmp_path / "cut.pth.tar")


def _published(network: str, state: dict) -> dict:
    """Our key names turned back into the authors', through the loader's own table."""
    import re

    pairs = {
        "detector": [(r"^hourglass\.down\.", "predictor.encoder.down_blocks."),
                     (r"^hourglass\.up\.", "predictor.decoder.up_blocks."), (r"^heatmap\.", "kp."),
                     (r"^shrink\.weight$", "down.weight")],
        "generator": [(r"^motion\.hourglass\.down\.", "dense_motion_network.hourglass.encoder.down_blocks."),
                      (r"^motion\.hourglass\.up\.", "dense_motion_network.hourglass.decoder.up_blocks."),
                      (r"^motion\.shrink\.weight$", "dense_motion_network.down.weight"),
                      (r"^motion\.", "dense_motion_network."), (r"^down\.", "down_blocks."), (r"^up\.", "up_blocks."),
                      (r"^middle\.(\d+)\.", r"bottleneck.r\1."), (r"^last\.", "final.")],
    }[network]  # fmt: skip
    out = {}
    for key, value in state.items():
        for pattern, replacement in pairs:
            key, done = re.subn(pattern, replacement, key)
            if done:
                break
        out[key] = value
    assert fomm_weights.rename(network, out).keys() == state.keys()
    return out


def test_fetching_checks_the_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    monkeypatch.setenv("INFINEX_WEIGHTS", str(tmp_path / "store"))
    (tmp_path / "net.onnx").write_bytes(b"numbers")
    digest = hashlib.sha256(b"numbers").hexdigest()
    good = Weights("net", "", "", 0.1, url=(tmp_path / "net.onnx").as_uri(), sha256=digest)

    def known(weights: Weights) -> None:
        monkeypatch.setattr(registry, "entries", lambda: (registry.Entry(weights, systems()["fomm"]),))

    known(good)
    assert registry.fetch("net").read_bytes() == b"numbers"
    registry.fetch("net").unlink()
    known(replace(good, sha256="0"))
    with pytest.raises(WeightsError, match="hash differs"):
        registry.fetch("net")
    assert not any((tmp_path / "store").iterdir())
    known(replace(good, url=(tmp_path / "gone.onnx").as_uri()))
    with pytest.raises(WeightsError, match=r"elsewhere, then: infinex weights add net FILE"):
        registry.fetch("net")
