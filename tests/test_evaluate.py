"""Evaluation: what it measures, how sure it is, what it writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from infinex.errors import InputError, OutputError, WeightsError
from infinex.evaluation import inception, reenact
from infinex.evaluation.reenact import Moment, evaluate, interval, lines, page, takes
from infinex.media.image import read_image


@pytest.fixture
def clips(portrait: Path, write_clip: Callable[..., Path], tmp_path: Path) -> Path:
    """A folder with one clip of a face that slides, and one without a face."""
    import cv2

    image = cv2.resize(read_image(portrait)[0:440, 40:480], (184, 184), interpolation=cv2.INTER_AREA)
    folder = tmp_path / "clips"
    folder.mkdir()
    frames = [image[i : i + 160, 2 * i : 2 * i + 160].copy() for i in range(8)]
    write_clip(frames, "grace.mp4", 10).rename(folder / "grace.mp4")
    grey = [np.full((96, 96, 3), 90 + i, np.uint8) for i in range(6)]
    write_clip(grey, "nobody.mp4", 10).rename(folder / "nobody.mp4")
    return folder


def test_a_report_has_numbers_pictures_and_a_page(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    report = evaluate(clips, out, "mesh")
    assert json.loads((out / "report.json").read_text()) == json.loads(json.dumps(report))
    assert report["engine"] == "mesh" and len(report["clips"]) == 1
    row = report["clips"][0]
    assert {"name", "frames", "l1", "psnr", "ssim", "akd", "flicker", "fps"} <= set(row)
    static = report["baselines"]["static"][0]
    assert row["frames"] == static["frames"] == 8
    assert row["l1"] < 0.9 * static["l1"] and row["akd"] < 0.6 * static["akd"]  # the face slides, the mesh follows
    assert any("nobody left out: no face" in n for n in report["notes"])
    text = (out / "index.html").read_text()
    assert "grace" in text and "worst-0.png" in text
    first = read_image(out / "pictures" / "worst-0.png")
    assert first.shape == (256, 3 * 256, 3)
    printed = "\n".join(lines(report))
    assert "static" in printed and "of static's" in printed
    evaluate(clips, out, "mesh", frames=2)  # an earlier report may be replaced, nothing else
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").touch()
    with pytest.raises(OutputError, match="is no earlier report"):
        evaluate(clips, tmp_path / "mine", "mesh")


def test_strangers(clips: Path, portrait: Path, tmp_path: Path) -> None:
    portraits = tmp_path / "portraits"
    portraits.mkdir()
    (portraits / portrait.name).write_bytes(portrait.read_bytes())
    report = evaluate(clips, tmp_path / "cross", "mesh", cross=portraits, drivers=1)
    assert [r["name"] for r in report["clips"]] == ["grace_hopper by grace"]
    sheet = read_image(tmp_path / "cross" / "pictures" / "grace_hopper-mesh.png")
    assert sheet.shape == (192, 7 * 192, 3)


def test_intervals_are_over_people() -> None:
    rows = [{"l1": 1.0}] * 50 + [{"l1": 3.0}]
    people = ["a"] * 50 + ["b"]
    mean, low, high = interval(rows, people, "l1") or (0, 0, 0)
    assert (mean, low, high) == (2.0, 1.0, 3.0)  # two people, however many clips each
    rng = np.random.default_rng(0)
    values = rng.normal(5, 1, 400)
    mean, low, high = interval([{"x": v} for v in values], [str(i) for i in range(400)], "x") or (0, 0, 0)
    assert abs((high - low) - 2 * 1.96 / 20) < 0.03 and low < mean < high
    assert interval(rows, people, "psnr") is None
    assert interval([{"l1": float("nan")}], ["a"], "l1") is None


def test_the_best_and_the_worst_are_kept() -> None:
    moments: list[Moment] = []
    for i, score in enumerate([3.0, 1.0, 2.0, 5.0, 0.5, 4.0]):
        reenact._keep(moments, score, "c", i, [np.zeros((8, 8, 3), np.uint8)] * 2)
    assert sorted(m.score for m in moments) == [0.5, 5.0]
    assert moments[0].row.shape == (256, 512, 3)


def test_a_page_shows_names_as_text() -> None:
    row = {"name": "<script>", "frames": 1, "l1": 0.1}
    report = {"engine": "mesh", "data": "a&b", "people": 1, "clips": [row], "notes": ["<b>"],
              "intervals": {"static": {"l1": (0.2, 0.1, 0.3)}, "mesh": {"l1": (0.1, 0.1, 0.1)}}}  # fmt: skip
    text = page(report, [("pictures/x.png", "a<b")])
    assert "<script>" not in text and "<b>" not in text and "a&amp;b" in text and "a&lt;b" in text


def test_mistakes_are_named(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder of clips"):
        takes(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no clip to evaluate"):
        takes(tmp_path / "empty")
    with pytest.raises(InputError, match="--split dev"):
        takes(clips, "dev")
    with pytest.raises(InputError, match=r"--cross .* a folder of portraits"):
        evaluate(clips, tmp_path / "r", cross=tmp_path / "none")
    with pytest.raises(InputError, match="unknown engine"):
        evaluate(clips, tmp_path / "r", "magic")
    (clips / "grace.mp4").unlink()
    with pytest.raises(InputError, match=r"no clip could be evaluated: .*nobody left out"):
        evaluate(clips, tmp_path / "r")


# -- networks given as files ------------------------------------------------------------------------


def inception_like(path: Path) -> Path:
    """A file with the inputs and outputs of an Inception network; its features are sums of what it sees."""
    onnx = pytest.importorskip("onnx")
    helper, numbers = onnx.helper, np.random.default_rng(0)
    kernel = numbers.normal(0, 1, (2048, 3, 1, 1)).astype(np.float32)
    head = numbers.normal(0, 1, (2048, 1008)).astype(np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("Conv", ["mean", "kernel"], ["maps"]),
        helper.make_node("Flatten", ["maps"], ["features"]),
        helper.make_node("MatMul", ["features", "head"], ["logits"]),
    ]
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", kind, [1, 3, 299, 299])],
        [helper.make_tensor_value_info("logits", kind, [1, 1008]),
         helper.make_tensor_value_info("features", kind, [1, 2048])],
        [onnx.numpy_helper.from_array(kernel, "kernel"), onnx.numpy_helper.from_array(head, "head")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_inception_score_and_frechet_distance(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    same = np.full((6, 4), 0.25)
    assert inception.inception_score(same) == pytest.approx(1)
    assert inception.inception_score(np.eye(4)) == pytest.approx(4)  # sure, and of every class
    a = rng.normal(size=(400, 3))
    assert inception.frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert inception.frechet_distance(a, a + np.array([2, 0, 0])) == pytest.approx(4, rel=1e-6)
    assert inception.frechet_distance(a, 3 * a) == pytest.approx(
        float(4 * np.square(a.mean(0)).sum() + 4 * np.trace(np.cov(a, rowvar=False))), rel=1e-5
    )
    with pytest.raises(WeightsError, match="does not exist"):
        inception.Inception(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="no ONNX network"):
        inception.Inception(tmp_path / "bad.onnx")


def test_networks_given_as_files_judge_the_engines(clips: Path, portrait: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from infinex.nn.lpips import Lpips
    from infinex.nn.vgg import STAGES_16

    torch.manual_seed(0)
    state, convs, at = {}, iter(Lpips().convs), 0
    for stage, widths in enumerate(STAGES_16):
        at += stage > 0
        for _ in widths:
            conv = next(convs)
            state |= {f"net.slice{stage + 1}.{at}.{k}": getattr(conv, k).detach() for k in ("weight", "bias")}
            at += 2
        state[f"lin{stage}.model.1.weight"] = torch.rand(1, widths[-1], 1, 1)
    torch.save(state, tmp_path / "lpips.pth")
    network = inception_like(tmp_path / "inception.onnx")
    report = evaluate(clips, tmp_path / "report", lpips=tmp_path / "lpips.pth", inception=network)
    assert 0 < report["clips"][0]["lpips"] < report["baselines"]["static"][0]["lpips"]  # the mesh follows the slide
    assert report["fid"]["mesh"] > -1e-6 and set(report["fid"]) == {"static", "mesh"}
    assert "FID" in "\n".join(lines(report)) and "FID" in (tmp_path / "report" / "index.html").read_text()
    with pytest.raises(InputError, match="--cross has not"):
        evaluate(clips, tmp_path / "none", cross=clips, inception=network)
    with pytest.raises(WeightsError, match="no outputs"):
        inception.Inception(_without_features(tmp_path))([read_image(portrait)])


def _without_features(folder: Path) -> Path:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(inception_like(folder / "whole.onnx"))
    del model.graph.output[1]
    onnx.save(model, folder / "part.onnx")
    return folder / "part.onnx"
