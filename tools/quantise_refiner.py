"""Turn the refiner's networks into eight-bit ones, by what they see while portraits are animated by clips.

    python tools/quantise_refiner.py OUT --portrait P.jpg CLIP.mp4 [--portrait ...] [--models FOLDER]
    python tools/quantise_refiner.py OUT --portrait P.jpg CLIP.mp4 [--portrait ...] --models FOLDER --compare

FOLDER holds `refiner-{mouth,eye,head}.onnx` with weights of 32 bits, as tools/ship_refiner.py leaves them (default: the
mesh engine's own). With `--compare` the networks in OUT are measured beside those, on pairs that should be others than
the ones they were made by. Needs the extra onnx.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import infinex.mesh.engine as mesh
from infinex.jobs.animate import render
from infinex.jobs.source import load_source
from infinex.mesh.refiner import MODELS, PARTS, SEEN, Look, Network, Refiner
from infinex.options import Options

FRAMES, EVERY = 48, 3  # frames of each clip, and which of them are kept
SIZE = 384  # larger heads are not refined
MOST = 120  # windows of one network
WHOLE = ("Conv", "Add", "Concat", "Resize")  # what is reckoned in whole numbers
ALIKE = ("Relu", "Add", "QuantizeLinear", "DequantizeLinear", "Resize")  # what leaves channels where they are
LANES = 4  # a multiple of this many channels is right in every ONNX Runtime that may come
TIMES = 50  # that a network is run to see how long it takes
Seen = dict[str, list[Look]]


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
                if look.visible > SEEN:
                    self.seen[name.split("-")[0]].append(replace(look, planes=look.planes.copy()))
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
    norm(model)
    rectify(model)
    bare(model)
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


def norm(model: Any) -> None:
    """Have normalisation reckoned in whole numbers as well, in place: as a convolution of one channel by itself.

    Its one weight is exact, since each channel has a scale of its own, and takes its sign; the quantiser leaves it in
    numbers with a fraction, which took as long as the convolutions beside it."""
    from onnx import helper, numpy_helper

    graph = model.graph
    arrays = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    nodes = []
    for node in graph.node:
        if node.op_type != "BatchNormalization":
            nodes.append(node)
            continue
        gain, shift, mean, variance = (arrays[name].astype(np.float64) for name in node.input[1:])
        epsilon = next(a.f for a in node.attribute if a.name == "epsilon")
        weight = gain / np.sqrt(variance + epsilon)
        bias = shift - weight * mean
        into = arrays[made[node.input[0]].input[1]].astype(np.float64)
        scale = np.maximum(np.abs(weight), 1e-6) / 127
        parts = {
            "weight": np.rint(weight / scale).astype(np.int8).reshape(-1, 1, 1, 1),
            "weight_scale": scale.astype(np.float32),
            "weight_zero": np.zeros(len(scale), np.int8),
            "bias": np.rint(bias / (scale.astype(np.float32) * into)).astype(np.int32),
            "bias_scale": (scale.astype(np.float32) * into).astype(np.float32),
            "bias_zero": np.zeros(len(scale), np.int32),
        }
        names = {k: f"{node.name}.{k}" for k in parts}
        graph.initializer.extend(numpy_helper.from_array(v, names[k]) for k, v in parts.items())
        for kind in ("weight", "bias"):
            inputs = [names[kind], names[f"{kind}_scale"], names[f"{kind}_zero"]]
            nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{node.name}.{kind}.number"], axis=0))
        inputs = [node.input[0], f"{node.name}.weight.number", f"{node.name}.bias.number"]
        alone: dict[str, Any] = {"group": len(scale), "kernel_shape": [1, 1]}
        nodes.append(helper.make_node("Conv", inputs, node.output, name=node.name, **alone))
    used = {name for node in nodes for name in node.input}
    kept = [i for i in graph.initializer if i.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)


def rectify(model: Any) -> None:
    """Have what a convolution answers rectified before it becomes bytes, in place: a step less, and a rounding less."""
    graph = model.graph
    made = {name: node for node in graph.node for name in node.output}
    readers = Counter(name for node in graph.node for name in node.input)
    for node in graph.node:
        if node.op_type != "Relu":
            continue
        back = made[node.input[0]]
        whole = made[back.input[0]] if back.op_type == "DequantizeLinear" else back
        if whole.op_type == "QuantizeLinear" and made[whole.input[0]].op_type == "Conv" \
                and readers[back.output[0]] == readers[whole.output[0]] == 1:  # fmt: skip
            node.input[0] = whole.input[0]
    used = {name for node in graph.node for name in node.input} | {o.name for o in graph.output}
    while idle := [n for n in graph.node if not used & set(n.output)]:
        for n in idle:
            graph.node.remove(n)
        used = {name for node in graph.node for name in node.input} | {o.name for o in graph.output}


def bare(model: Any) -> None:
    """Leave folding, and what makes bytes of numbers and numbers of bytes, to who asks, in place.

    Then `planes` are bytes (n, 4 C, s/2, s/2), C planes of each of two by two pixels, and so is `out`
    (n, s/2, s/2, 4 P). What they stand for is said in the model's properties, as `infinex.mesh.refiner` reads it."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    arrays = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    read = {name: node for node in graph.node for name in node.input}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]

    def channels(node: Any, axis: int) -> int:
        return int(arrays[made[node.input[1]].input[0]].shape[axis])

    folded = next(node for node in graph.node if node.name == "fold")
    into = read[folded.output[0]]  # what makes bytes of a window
    whole = read[convolutions[-1].output[0]]  # what makes bytes of an answer
    raw, count, side = whole.output[0], channels(convolutions[-1], 0), graph.input[0].type.tensor_type.shape.dim[2]
    tail = _after(graph, raw)
    table, source = _meaning(model, tail, raw, count)
    props = {
        "scale": float(arrays[into.input[1]]).hex(),
        "zero": int(arrays[into.input[2]]),
        "source": source,
        "table": base64.b64encode(table.astype("<f4").tobytes()).decode(),
    }

    rest = [node for node in graph.node if node not in (folded, into) and node not in tail]
    read[into.output[0]].input[0] = "planes"
    last = helper.make_node("Transpose", [raw], ["out"], perm=[0, 2, 3, 1])
    used = {name for node in rest for name in node.input}
    kept = [i for i in graph.initializer if i.name in used]
    half = side.dim_value // 2
    ends = [
        helper.make_tensor_value_info("planes", TensorProto.UINT8, ["n", channels(convolutions[0], 1), half, half]),
        helper.make_tensor_value_info("out", TensorProto.UINT8, ["n", half, half, count]),
    ]
    del graph.node[:], graph.initializer[:], graph.input[:], graph.output[:], graph.value_info[:]
    graph.node.extend([*rest, last])
    graph.initializer.extend(kept)
    graph.input.append(ends[0])
    graph.output.append(ends[1])
    helper.set_model_props(model, {"bytes": json.dumps(props)})


def _after(graph: Any, name: str) -> list[Any]:
    """The nodes that a tensor leads to, in order."""
    known, nodes = {name}, []
    for node in graph.node:
        if known & set(node.input):
            known |= set(node.output)
            nodes.append(node)
    return nodes


def _meaning(model: Any, tail: list[Any], raw: str, count: int) -> tuple[NDArray[np.float32], list[int]]:
    """What the nodes at the end of a network make of its `count` last channels, bytes named `raw`: for each plane of
    the answer the number of each byte (P, 256), and which plane of the bytes it comes from."""
    import onnx
    from onnx import TensorProto, helper
    from onnxruntime import InferenceSession

    end = onnx.ModelProto()
    end.CopyFrom(model)
    del end.graph.node[:], end.graph.input[:], end.graph.value_info[:]
    end.graph.node.extend(tail)
    end.graph.input.append(helper.make_tensor_value_info(raw, TensorProto.UINT8, ["n", count, 1, 1]))
    del end.graph.output[:]
    end.graph.output.append(helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", None, 2, 2]))
    session = InferenceSession(end.SerializeToString(), providers=["CPUExecutionProvider"])

    def answer(whole: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, {raw: whole[..., None, None]})[0])[..., 0, 0]

    table = answer(np.repeat(np.arange(256, dtype=np.uint8)[:, None], count, 1)).T
    one = np.repeat(np.where(np.eye(count // 4), 255, 0).astype(np.uint8), 4, 1)  # one plane of the bytes at a time
    return np.ascontiguousarray(table), (answer(one) != table[:, 0]).argmax(0).tolist()


def compared(plain: Path, whole: Path, looks: list[Look]) -> str:
    """A line on how far a network in eight bits is from the one that it was made of, and how long it takes."""
    both = Network(plain), Network(whole)
    off = shown = weight = 0.0
    for look in looks:
        one, other = (network([look.planes])[0, :3] * 127.5 for network in both)
        off += float((look.support * (one - other) ** 2).mean())
        shown += float((look.support * one**2).mean())
        weight += float(look.support.mean())
    took = []
    for network in both:
        network([looks[0].planes])
        begun = time.process_time()
        for n in range(TIMES):
            network([looks[n % len(looks)].planes])
        took.append((time.process_time() - begun) / TIMES)
    levels = f"{(off / weight) ** 0.5:.2f} of {(shown / weight) ** 0.5:.2f} grey levels"
    return f"{whole.stem}: off by {levels} over {len(looks)} windows, {took[1] / took[0]:.2f} of the time"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--portrait", nargs=2, action="append", required=True, metavar=("PORTRAIT", "CLIP"))
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--compare", action="store_true")
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    seen = watch(a.portrait, a.models)
    for part in PARTS:
        file = a.out / f"refiner-{part}.onnx"
        if a.compare:
            print(compared(a.models / file.name, file, seen[part]))
            continue
        quantise(a.models / file.name, [look.planes for look in seen[part]], file)
        print(f"{file}: {file.stat().st_size / 1e6:.2f} MB from {len(seen[part])} windows")


if __name__ == "__main__":
    main()
