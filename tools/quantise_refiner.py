"""Turn the refiner's networks into eight-bit ones, by what they see while portraits are animated by clips.

    python tools/quantise_refiner.py OUT --portrait P.jpg CLIP.mp4 [--portrait ...] [--models FOLDER]

FOLDER holds `refiner-{mouth,eye,head}.onnx` with weights of 32 bits, as tools/ship_refiner.py leaves them (default: the
mesh engine's own). Needs the extra onnx.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import infinex.mesh.engine as mesh
from infinex.jobs.animate import render
from infinex.jobs.source import load_source
from infinex.mesh.refiner import MODELS, PARTS, Look, Refiner
from infinex.options import Options

FRAMES, EVERY = 48, 3  # frames of each clip, and which of them are kept
SIZE = 384  # larger heads are not refined
MOST = 120  # windows of one network
WHOLE = ("Conv", "Add", "Concat", "Resize")  # what is reckoned in whole numbers
ALIKE = ("Relu", "Add", "QuantizeLinear", "DequantizeLinear", "Resize")  # what leaves channels where they are
LANES = 4  # a multiple of this many channels is right in every ONNX Runtime that may come
Seen = dict[str, list[NDArray[np.float32]]]


class Watching(Refiner):
    """The networks, and what they are shown."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.seen: Seen = defaultdict(list)
        self.count = 0

    def __call__(self, part: NDArray[np.uint8], looks: dict[str, Look], colour: float = 1.0) -> None:
        self.count += 1
        if self.count % EVERY == 0:
            for name, look in looks.items():
                if look.visible > 0.02:
                    self.seen[name.split("-")[0]].append(look.planes.copy())
        super().__call__(part, looks, colour)


def watch(pairs: list[tuple[str, str]], models: Path) -> Seen:
    """What each network sees while portraits are animated by clips."""
    watching = Watching(models)
    mesh.refiner = lambda: watching  # type: ignore[assignment]
    o = Options(mouth="own")
    for portrait, clip in pairs:
        source = load_source(portrait, o.face, o.box, SIZE)[0]
        for _ in itertools.islice(render(source, clip, o), FRAMES):
            pass
        print(portrait, clip, {k: len(v) for k, v in watching.seen.items()}, flush=True)
    return {k: [v[i] for i in np.linspace(0, len(v) - 1, min(len(v), MOST)).astype(int)]
            for k, v in watching.seen.items()}  # fmt: skip


def quantise(file: Path, planes: list[NDArray[np.float32]], out: Path) -> None:
    """Write one network in eight bits; `planes` are windows (C, s, s) that it sees."""
    import onnx
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(q.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest: Iterator[NDArray[np.float32]] = iter(planes)

        def get_next(self) -> dict[str, Any] | None:
            one = next(self.rest, None)
            return None if one is None else {"planes": one[None]}

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ready = Path(folder) / file.name
        quant_pre_process(file, ready, skip_symbolic_shape=True)
        # Weights of seven bits: processors without VNNI add two products in sixteen, which eight may overflow.
        q.quantize_static(ready, out, Reader(), quant_format=q.QuantFormat.QDQ, op_types_to_quantize=list(WHOLE),
                          per_channel=True, reduce_range=True, activation_type=q.QuantType.QUInt8,
                          weight_type=q.QuantType.QInt8)  # fmt: skip
    # The quantiser states sets of operators that are not used, newer than some runtimes know.
    model = onnx.load(out)
    used = {node.domain for node in model.graph.node}
    kept = [o for o in model.opset_import if o.domain in used]
    del model.opset_import[:], model.metadata_props[:]
    model.opset_import.extend(kept)
    widen(model)
    fold(model)
    onnx.save(model, out)


def widen(model: Any) -> None:
    """Give every convolution but the last a multiple of `LANES` channels, in place, by channels that stay zero.

    ONNX Runtime 1.23 (the last for Python 3.10) answers differently from run to run where a convolution in eight bits
    has 26, 30 or 31 of them, on processors with AMX. The answer stays the same."""
    from onnx import numpy_helper

    graph = model.graph
    arrays = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    made = {node.output[0]: node for node in graph.node}
    last = [node for node in graph.node if node.op_type == "Conv"][-1]
    kept: dict[str, tuple[NDArray[np.int64], int]] = {}  # of a tensor: where its channels are now, of how many

    def spread(name: str, axis: int, to: tuple[NDArray[np.int64], int], fill: int = 0) -> None:
        old = np.moveaxis(arrays[name], axis, 0)
        new = np.full((to[1], *old.shape[1:]), fill, old.dtype)
        new[to[0]] = old
        arrays[name] = np.ascontiguousarray(np.moveaxis(new, 0, axis))

    for node in graph.node:
        before = [kept.get(name) for name in node.input]
        if node.op_type == "Conv":
            weight, bias = (made[name].input for name in node.input[1:])
            if before[0]:
                spread(weight[0], 1, before[0])
            if node is last:
                continue
            count = len(arrays[weight[0]])
            to = np.arange(count), -(-count // LANES) * LANES
            for one in (weight, bias):
                spread(one[0], 0, to)
                spread(one[1], 0, to, 1)
                spread(one[2], 0, to)
            # A convolution is in whole numbers only where its bias has the scale of its products.
            arrays[bias[1]] = arrays[weight[1]] * arrays[made[node.input[0]].input[1]]
            kept[node.output[0]] = to
        elif node.op_type == "BatchNormalization" and before[0]:
            for name, fill in zip(node.input[1:], (1, 0, 0, 1)):
                spread(name, 0, before[0], fill)
            kept[node.output[0]] = before[0]
        elif node.op_type in ALIKE and before[0]:
            kept[node.output[0]] = before[0]
        elif node.op_type == "Concat" and before[0] and before[1]:
            (first, n), (second, m) = before[0], before[1]
            kept[node.output[0]] = np.concatenate([first, second + n]), n + m
        elif any(before):
            raise SystemExit(f"channels are lost in {node.op_type}: this network has another structure")
    for i in graph.initializer:
        i.CopyFrom(numpy_helper.from_array(arrays[i.name], i.name))
    del graph.value_info[:]


def fold(model: Any) -> None:
    """Have the windows folded in one step, in place: two by two pixels to channels of a picture of half the size.

    As PyTorch writes it, it is a transposition of six axes, which takes as long as three convolutions. The channels
    come in another order, so the first convolution's weights do, too; the answer stays the same."""
    from onnx import helper, numpy_helper

    graph = model.graph
    made = {node.output[0]: node for node in graph.node}
    turn = next(node for node in graph.node if node.op_type == "Transpose")
    before, after = made[turn.input[0]], next(node for node in graph.node if turn.output[0] in node.input)
    name = made[next(node for node in graph.node if node.op_type == "Conv").input[1]].input[0]
    weight = next(i for i in graph.initializer if i.name == name)
    w = numpy_helper.to_array(weight)
    w = w.reshape(len(w), -1, 4, *w.shape[2:]).swapaxes(1, 2).reshape(w.shape)
    weight.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(w), name))
    step = helper.make_node("SpaceToDepth", [before.input[0]], [after.output[0]], name="fold", blocksize=2)
    rest = [node for node in graph.node if node not in (before, turn, after)]
    rest.insert(list(graph.node).index(before), step)
    kept = [i for i in graph.initializer if i.name not in (before.input[1], after.input[1])]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(rest)
    graph.initializer.extend(kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--portrait", nargs=2, action="append", required=True, metavar=("PORTRAIT", "CLIP"))
    parser.add_argument("--models", type=Path, default=MODELS)
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    seen = watch(a.portrait, a.models)
    for part in PARTS:
        file = a.out / f"refiner-{part}.onnx"
        quantise(a.models / file.name, seen[part], file)
        print(f"{file}: {file.stat().st_size / 1e6:.2f} MB from {len(seen[part])} windows")


if __name__ == "__main__":
    main()
