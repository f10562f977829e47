#!/bin/sh
# ONNX Runtime 1.32.0, CPU: a convolution whose input, weights and output are eight-bit QDQ is fused to one in whole numbers (QLinearConv)
# only where its int32 bias is dequantised by exactly input scale times weight scale, for every output channel. One channel whose bias
# scale differs, though its bias is zero and so has the same value by any scale, leaves the whole convolution in float: no error, no
# warning, the same answer, but slower. Whoever pads or merges channels of a quantised network must set that scale, too.
# Seen: "QuantizeLinear, Transpose, QLinearConv, Transpose, DequantizeLinear" beside a plain Conv between four DequantizeLinear, answers
# apart by 0.0. Fails as soon as both models are fused, or neither.
set -eu
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3.11 -m venv "$here/env"
"$here/env/bin/pip" install -q 'onnxruntime==1.32.0' 'onnx==1.23.2' 'numpy==2.4.6'
cd "$here"
env/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

CHANNELS = 8


def fused(bias_scale):
    """Types of nodes that are left of one quantised convolution."""
    weight_scale = np.full(CHANNELS, 0.01, np.float32)
    arrays = {
        "xs": np.float32(0.02), "xz": np.uint8(128), "ys": np.float32(0.05), "yz": np.uint8(128),
        "w": np.ones((CHANNELS, CHANNELS, 3, 3), np.int8), "ws": weight_scale, "wz": np.zeros(CHANNELS, np.int8),
        "b": np.zeros(CHANNELS, np.int32), "bs": bias_scale, "bz": np.zeros(CHANNELS, np.int32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["bd"], axis=0),
        helper.make_node("Conv", ["xd", "wd", "bd"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("QuantizeLinear", ["c", "ys", "yz"], ["cq"]),
        helper.make_node("DequantizeLinear", ["cq", "ys", "yz"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, CHANNELS, 8, 8]) for n in "xy"]
    known = [numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], known)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = "optimised.onnx"
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    answer = session.run(None, {"x": np.linspace(-1, 1, CHANNELS * 64, dtype=np.float32).reshape(1, CHANNELS, 8, 8)})[0]
    return [n.op_type for n in onnx.load("optimised.onnx").graph.node], answer


right = np.full(CHANNELS, 0.02, np.float32) * np.full(CHANNELS, 0.01, np.float32)
other = right.copy()
other[-1] = 1.0  # of a bias that is zero
(matching, first), (differing, second) = fused(right), fused(other)
print("product of both scales:", matching)
print("one channel otherwise: ", differing)
print("answers apart by at most", float(np.abs(first - second).max()))
assert "QLinearConv" in matching and "QLinearConv" not in differing and "Conv" in " ".join(differing)
PY
