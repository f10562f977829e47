#!/bin/sh
# ONNX Runtime 1.32.0, onnxruntime.quantization's quant_pre_process, the step its guide advises before quantising: the file it writes
# claims to use nine operator sets where the model uses one, ai.onnx.ml 5 and six of Microsoft's and PyTorch's own among them. ONNX
# Runtime 1.17.3 runs the model as it was and refuses the one that was prepared, though not one operator in it is newer. Remedy: drop
# from opset_import every domain that no node names, before the file is shipped.
# Fails as soon as the prepared file names the one set alone, or the old runtime takes it.
set -eu
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
for which in new old; do python3.11 -m venv "$here/$which"; done
"$here/new/bin/pip" install -q 'onnxruntime==1.32.0' 'onnx==1.23.2' 'numpy==2.4.6' 'sympy==1.14.0'
"$here/old/bin/pip" install -q 'onnxruntime==1.17.3' 'numpy==1.26.4'
cd "$here"
new/bin/python - <<'PY'
import onnx
from onnx import TensorProto, helper
from onnxruntime.quantization.shape_inference import quant_pre_process

ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "plain.onnx")
quant_pre_process("plain.onnx", "prepared.onnx")
model = onnx.load("prepared.onnx")
print("named:", sorted((o.domain, o.version) for o in model.opset_import))
print("used:", sorted({node.domain for node in model.graph.node}))
assert len(model.opset_import) > 1 and {node.domain for node in model.graph.node} == {""}
PY
old/bin/python - <<'PY'
import onnxruntime

onnxruntime.InferenceSession("plain.onnx", providers=["CPUExecutionProvider"])
try:
    onnxruntime.InferenceSession("prepared.onnx", providers=["CPUExecutionProvider"])
except Exception as error:
    print("1.17.3 refuses:", str(error)[:200])
else:
    raise SystemExit("1.17.3 takes it")
PY
