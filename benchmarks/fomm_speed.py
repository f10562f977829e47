"""Frames per second of the First Order Motion Model on this CPU, with random weights of the published size.

    python benchmarks/fomm_speed.py [--config vox-256] [--frames 8] [--rounds 5] [--threads N]
                                    [--compile] [--onnx]

Compares the engine with a plain frame-by-frame evaluation of the same network, as the published code
animates: per driving frame the keypoint detector and the whole generator, source encoder included. The
candidates take turns within every round, so that other work on the machine slows all alike; the best round of
each counts, and the ratio is also given as the median over rounds. `--compile` adds torch.compile of the plain
network (needs a C++ compiler), `--onnx` its export to ONNX Runtime (needs onnx, onnxscript, onnxruntime).
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from infinex.systems.fomm.animator import FommAnimator
from infinex.systems.fomm.model import CONFIGS, FommModel, Keypoints

Image = np.ndarray
GOAL = 1.8


def lively_model(config: str) -> FommModel:
    """Random weights, scaled so that keypoints are sharp, motion is visible and pictures have contrast."""
    torch.manual_seed(0)
    model = FommModel(CONFIGS[config])
    for m in model.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.normal_(m.bias, std=0.2)
    # Random logits over a temperature of 0.1 would jump at every rounding error; trained ones do not.
    model.detector.heatmap.weight.data *= 0.1
    model.detector.jacobian.weight.data *= 0.05
    # A few pictures set the statistics, as training would.
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.momentum = None
    model.train()
    with torch.no_grad():
        a, b = (torch.from_numpy(smooth_pictures(4, s)).permute(0, 3, 1, 2) / 255 for s in (1, 2))
        model(a, b)
        # The residual blocks of a trained network do not let the sum grow; the last layer spans the colours.
        features = model(a, b).prediction.logit(1e-6)
        model.generator.last.weight.data /= max(float(features.std()) / 2, 1e-3)
    return model.eval()


def smooth_pictures(count: int, seed: int, size: int = 256) -> Image:
    """(count, size, size, 3) uint8 with both soft and fine structure."""
    generator = torch.Generator().manual_seed(seed)
    out = torch.zeros(count, 3, size, size)
    for cells, share in ((4, 0.6), (32, 0.3), (size, 0.1)):
        noise = torch.rand(count, 3, cells, cells, generator=generator)
        out += share * nn.functional.interpolate(noise, size=size, mode="bilinear")
    return (out.permute(0, 2, 3, 1) * 255).round().byte().numpy()


def to_tensor(images: Image) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float() / 255


def to_pixels(x: Tensor) -> Image:
    return (x * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def plain(step: Callable[[Tensor, Keypoints, Tensor], Tensor], model: FommModel, source: Image) -> Callable:
    """Frame by frame, from pixels to pixels, as the engine does it; exact pictures on request."""
    picture = to_tensor(source[None])
    with torch.inference_mode():
        keypoints = model.detector(picture)

    def run(frames: Image) -> list[Tensor]:
        with torch.inference_mode():
            out = [step(picture, keypoints, to_tensor(f[None])) for f in frames]
        for o in out:
            to_pixels(o)
        return out

    return run


class Whole(nn.Module):
    """One frame of the plain network, the source's keypoints given."""

    def __init__(self, model: FommModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, source: Tensor, value: Tensor, jacobian: Tensor, driving: Tensor) -> Tensor:
        return self.model.generator(source, Keypoints(value, jacobian), self.model.detector(driving)).prediction


def onnx_step(model: FommModel, size: int) -> Callable[[Tensor, Keypoints, Tensor], Tensor]:
    import onnxruntime

    # Two different tensors: the exporter would take one given twice for a single input.
    picture, frame = torch.rand(2, 1, 3, size, size)
    keypoints = model.detector(picture)
    path = Path(tempfile.mkdtemp()) / "fomm.onnx"
    names = ["source", "value", "jacobian", "driving"]
    torch.onnx.export(
        Whole(model).eval(), (picture, *keypoints, frame), str(path), input_names=names, opset_version=18,
        dynamo=True, verbose=False,
    )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def step(source: Tensor, kp: Keypoints, driving: Tensor) -> Tensor:
        feed = {n: t.numpy() for n, t in zip(names, (source, kp.value, kp.jacobian, driving))}
        return torch.from_numpy(session.run(None, feed)[0])

    return step


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", default="vox-256", choices=list(CONFIGS))
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--onnx", action="store_true")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)

    size = CONFIGS[args.config].size
    model = lively_model(args.config)
    source, driving = smooth_pictures(1, 3, size)[0], smooth_pictures(args.frames, 4, size)

    def eager(picture: Tensor, kp: Keypoints, frame: Tensor) -> Tensor:
        return model.generator(picture, kp, model.detector(frame)).prediction

    candidates: dict[str, Callable] = {"plain, frame by frame": plain(eager, model, source)}
    if args.compile:
        compiled = torch.compile(Whole(model).eval())
        step = lambda p, kp, f: compiled(p, kp.value, kp.jacobian, f)  # noqa: E731
        candidates["plain, torch.compile"] = plain(step, model, source)
    if args.onnx:
        candidates["plain, ONNX Runtime"] = plain(onnx_step(model, size), model, source)
    for batch in (1, 4, 8):
        engine = FommAnimator(model, motion="absolute", batch=batch)
        # `prepare` is part of the time: a clip pays for it once.
        candidates[f"engine, batches of {batch}"] = lambda f, e=engine: e.render(e.prepare(source), f)

    exact = torch.cat(candidates["plain, frame by frame"](driving))  # also warms up
    worst: dict[str, float] = {}
    for name, run in candidates.items():
        out = run(driving)
        if isinstance(out, dict):
            difference = np.abs(out["prediction"] - exact.permute(0, 2, 3, 1).numpy() * 255).max()
            worst[name] = float(difference) - 0.5  # beyond rounding to whole values
        else:
            worst[name] = 255 * float((torch.cat(out) - exact).abs().max())

    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(args.rounds):
        for name, run in candidates.items():
            start = time.perf_counter()
            run(driving)
            times[name].append((time.perf_counter() - start) / len(driving))

    base = times["plain, frame by frame"]
    print(f"{args.config}, {size}×{size}, {args.frames} frames, best of {args.rounds} rounds")
    print(f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}, {platform.machine()}")
    print(f"prediction: mean {float(exact.mean()):.2f}, spread {float(exact.std()):.2f} of 1")
    print(f"{'':24}{'ms/frame':>10}{'frames/s':>10}{'speed-up':>10}{'median':>8}{'error':>8}")
    print(f"{'':62}{'':>4}{'of 255':>8}".rstrip())
    for name, t in times.items():
        ratio = statistics.median(b / a for a, b in zip(t, base))
        print(f"{name:24}{1e3 * min(t):10.1f}{1 / min(t):10.2f}{min(base) / min(t):9.2f}×{ratio:7.2f}×"
              f"{max(worst[name], 0):8.3f}")  # fmt: skip
    engines = [n for n in times if n.startswith("engine")]
    best = max(min(base) / min(times[n]) for n in engines)
    good = best >= GOAL and all(worst[n] < 1 for n in engines)
    print(f"goal {GOAL}× with errors below 1 of 255: {'met' if good else 'MISSED'} ({best:.2f}×)")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
