"""Make `infinex/face/data/*.onnx` of the face networks inside MediaPipe's wheel (Apache-2.0).

    pip download mediapipe==0.10.21 --no-deps -d WHEELS
    pip install tflite==2.18.0 'onnx<1.18'
    python tools/convert_faces.py WHEELS/mediapipe-0.10.21-*.whl infinex/face/data

The converted networks see an upright RGB picture, (1, H, W, 3) uint8, the one that runs every frame its planes in the
range it wants, (1, 3, H, W) float32, as OpenCV makes them in less time; they give the tensors named in `NETWORKS`.
Weights stay in half precision as they are in the wheel and are widened when a session opens. Operators of MediaPipe's
own (landmarks to a transform, bilinear crop by it, landmarks transformed back, a transposed convolution with bias)
become standard ones, sparse weights dense ones.
"""

from __future__ import annotations

import struct
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tflite
from flatbuffers import flexbuffers
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


@dataclass(frozen=True)
class Network:
    """One file of the wheel, the range of values it wants, and names for what it gives."""

    path: str
    low: float
    high: float
    outputs: tuple[str, ...]
    planes: bool = False  # a picture comes as its planes already in that range, (1, 3, H, W) float32


NETWORKS = {
    "detector-near": Network("face_detection/face_detection_short_range", -1, 1, ("boxes", "scores")),
    "detector-far": Network("face_detection/face_detection_full_range_sparse", -1, 1, ("boxes", "scores")),
    "mesh": Network(
        "face_landmark/face_landmark_with_attention", 0, 1,
        ("mesh", "lips", "left_eye", "right_eye", "left_iris", "right_iris", "presence"), planes=True,
    ),
    "person": Network("selfie_segmentation/selfie_segmentation", 0, 1, ("mask",)),
}  # fmt: skip

TYPES: dict[int, Any] = {
    tflite.TensorType.FLOAT32: np.float32, tflite.TensorType.FLOAT16: np.float16, tflite.TensorType.INT32: np.int32,
    tflite.TensorType.INT64: np.int64, tflite.TensorType.UINT8: np.uint8, tflite.TensorType.INT8: np.int8,
}  # fmt: skip


def densified(tensor: Any, values: NDArray) -> NDArray:
    """The dense array of a sparse tensor: its dimensions are walked in order, each whole or by stored indices."""
    sparsity = tensor.Sparsity()
    shape = tensor.ShapeAsNumpy()
    order = sparsity.TraversalOrderAsNumpy()
    if sparsity.BlockMapLength():
        raise ValueError("block sparsity is not read")
    levels: list[tuple[int, NDArray | None, NDArray | None]] = []
    for i in range(sparsity.DimMetadataLength()):
        meta = sparsity.DimMetadata(i)
        if meta.Format() == tflite.DimensionType.DENSE:
            levels.append((meta.DenseSize(), None, None))
        else:
            levels.append((0, _indices(meta.ArraySegments(), meta.ArraySegmentsType()),
                           _indices(meta.ArrayIndices(), meta.ArrayIndicesType())))  # fmt: skip
    places: list[tuple[int, ...]] = []

    def walk(level: int, at: int, index: tuple[int, ...]) -> None:
        if level == len(levels):
            places.append(index)
            return
        size, segments, indices = levels[level]
        if segments is None or indices is None:
            for i in range(size):
                walk(level + 1, at * size + i, (*index, i))
        else:
            for j in range(int(segments[at]), int(segments[at + 1])):
                walk(level + 1, j, (*index, int(indices[j])))

    walk(0, 0, ())
    out = np.zeros(shape, values.dtype)
    where = np.array(places)
    back = np.argsort(order)
    out[tuple(where[:, back].T)] = values[: len(where)]
    return out


def _indices(table: Any, kind: int) -> NDArray:
    vector: Any = {
        tflite.SparseIndexVector.Int32Vector: tflite.Int32Vector,
        tflite.SparseIndexVector.Uint16Vector: tflite.Uint16Vector,
        tflite.SparseIndexVector.Uint8Vector: tflite.Uint8Vector,
    }[kind]()
    vector.Init(table.Bytes, table.Pos)
    return np.asarray(vector.ValuesAsNumpy())


class Converter:
    """One TensorFlow Lite graph to ONNX; pictures are kept as (B, C, H, W)."""

    def __init__(self, data: bytes, network: Network) -> None:
        self.model = tflite.Model.GetRootAs(data, 0)
        self.graph = self.model.Subgraphs(0)
        self.network = network
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.known: dict[int, NDArray] = {}  # constants by tensor, as stored
        self.names: dict[int, str] = {}
        self._halves: dict[str, str] = {}
        self._count = 0

    # -- small things -----------------------------------------------------------------------------

    def shape(self, tensor: int) -> list[int]:
        """As TensorFlow Lite has it, channels last."""
        t = self.graph.Tensors(tensor)
        return [int(v) for v in t.ShapeAsNumpy()] if t.ShapeLength() else []

    def fresh(self, hint: str) -> str:
        """A name that nothing has."""
        self._count += 1
        return f"{hint}_{self._count}"

    def add(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """A node with one output, whose name is given back."""
        out = self.fresh(op.lower())
        self.nodes.append(helper.make_node(op, list(inputs), [out], **attributes))
        return out

    def constant(self, values: NDArray) -> str:
        """An initialiser; floats are stored in half precision where that loses nothing."""
        values = np.asarray(values, order="C")  # keeps single numbers without a dimension
        name = self.fresh("constant")
        if values.dtype == np.float32 and values.size > 8:
            with np.errstate(over="ignore"):
                half = values.astype(np.float16)
            if np.array_equal(half.astype(np.float32), values):
                self.constants.append(numpy_helper.from_array(half, name))
                return self.add("Cast", [name], to=TensorProto.FLOAT)
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def stored(self, tensor: int) -> NDArray | None:
        """The values of a constant tensor, else None."""
        if tensor in self.known:
            return self.known[tensor]
        t = self.graph.Tensors(tensor)
        buffer = self.model.Buffers(t.Buffer())
        if not buffer.DataLength():
            return None
        values = np.frombuffer(buffer.DataAsNumpy().tobytes(), TYPES[t.Type()])
        values = densified(t, values) if t.Sparsity() is not None else values.reshape(self.shape(tensor))
        self.known[tensor] = values
        return values

    def number(self, tensor: int) -> NDArray:
        """The values of a constant in single precision."""
        values = self.stored(tensor)
        assert values is not None, f"tensor {tensor} is no constant"
        return values.astype(np.float32) if values.dtype.kind == "f" else values

    def value(self, tensor: int) -> str:
        """The name of a tensor; constants are laid out with channels before rows and columns."""
        if tensor not in self.names:
            values = self.number(tensor)
            if values.ndim == 4:
                values = values.transpose(0, 3, 1, 2)
            elif values.shape == (1, 4, 4):  # what multiplies a matrix of `transform_matrix`
                values = values[0, :2][:, [0, 1, 3]].T
            elif values.ndim == 3 and values.shape[:2] == (1, 1):
                values = values.reshape(-1, 1, 1)
            self.names[tensor] = self.constant(values)
        return self.names[tensor]

    def last(self, tensor: int) -> str:
        """A tensor with channels last, as TensorFlow Lite has it."""
        name = self.value(tensor)
        return self.add("Transpose", [name], perm=[0, 2, 3, 1]) if len(self.shape(tensor)) == 4 else name

    def first(self, name: str, shape: Sequence[int]) -> str:
        """The reverse."""
        return self.add("Transpose", [name], perm=[0, 3, 1, 2]) if len(shape) == 4 else name

    def fused(self, name: str, activation: int) -> str:
        """A fused activation after a node."""
        if activation == tflite.ActivationFunctionType.NONE:
            return name
        if activation == tflite.ActivationFunctionType.RELU:
            return self.add("Relu", [name])
        if activation == tflite.ActivationFunctionType.RELU6:
            low, high = (self.constant(np.array(v, np.float32)) for v in (0, 6))
            return self.add("Clip", [name, low, high])
        raise ValueError(f"fused activation {activation} is not known")

    @staticmethod
    def padding(same: bool, size: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> list[int]:
        """ONNX pads of a window over rows and columns; TensorFlow puts the odd one behind."""
        if not same:
            return [0, 0, 0, 0]
        total = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(size, kernel, stride)]
        return [total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2]

    # -- operators --------------------------------------------------------------------------------

    def convolution(self, inputs: Sequence[int], out: int, o: Any, depthwise: bool) -> str:
        weights = self.number(inputs[1])  # (out, h, w, in), or (1, h, w, out) depthwise
        kernel = weights.shape[1:3]
        stride = [o.StrideH(), o.StrideW()]
        pads = self.padding(o.Padding() == tflite.Padding.SAME, self.shape(inputs[0])[1:3], kernel, stride)
        weights = weights.transpose(3, 0, 1, 2) if depthwise else weights.transpose(0, 3, 1, 2)
        names = [self.value(inputs[0]), self.constant(weights)]
        if len(inputs) > 2 and inputs[2] >= 0:
            names.append(self.constant(self.number(inputs[2])))
        group = self.shape(inputs[0])[3] if depthwise else 1
        name = self.add("Conv", names, strides=stride, pads=pads, group=group, kernel_shape=list(kernel))
        return self.fused(name, o.FusedActivationFunction())

    def pool(self, inputs: Sequence[int], out: int, o: Any, kind: str) -> str:
        kernel, stride = [o.FilterHeight(), o.FilterWidth()], [o.StrideH(), o.StrideW()]
        if kind == "AveragePool" and kernel == self.shape(inputs[0])[1:3]:
            return self.fused(self.add("GlobalAveragePool", [self.value(inputs[0])]), o.FusedActivationFunction())
        pads = self.padding(o.Padding() == tflite.Padding.SAME, self.shape(inputs[0])[1:3], kernel, stride)
        name = self.add(kind, [self.value(inputs[0])], kernel_shape=kernel, strides=stride, pads=pads)
        return self.fused(name, o.FusedActivationFunction())

    def binary(self, inputs: Sequence[int], out: int, o: Any, kind: str) -> str:
        name = self.add(kind, [self.value(i) for i in inputs])
        return self.fused(name, o.FusedActivationFunction())

    def leaking(self, inputs: Sequence[int], out: int) -> str:
        """max(0, x) + a·min(0, x), as a·x + (1 - a)·max(0, x).

        ONNX Runtime takes longer over its own operator for it than over all convolutions, and leaves their layout for
        it; two convolutions of a single pixel stay within. Where no a is above 1 the second one is rectified itself,
        which is done as it is written."""
        slope = self.number(inputs[1]).reshape(-1, 1, 1, 1)
        x = self.value(inputs[0])

        def scaled(name: str, by: NDArray) -> str:
            return self.add("Conv", [name, self.constant(by)], group=len(by), kernel_shape=[1, 1])

        if (slope <= 1).all():
            high = self.add("Relu", [scaled(x, 1 - slope)])
        else:
            high = scaled(self.add("Relu", [x]), 1 - slope)
        return self.add("Add", [high, scaled(x, slope)])

    def pad(self, inputs: Sequence[int], out: int) -> str:
        pads = self.number(inputs[1])
        before, after = (pads[[0, 3, 1, 2], k].astype(np.int64) for k in (0, 1))
        return self.add("Pad", [self.value(inputs[0]), self.constant(np.concatenate([before, after]))])

    def reshape(self, inputs: Sequence[int], out: int) -> str:
        shape = self.shape(out)
        name = self.add("Reshape", [self.last(inputs[0]), self.constant(np.array(shape, np.int64))])
        return self.first(name, shape)

    def resize(self, inputs: Sequence[int], out: int, o: Any) -> str:
        if o.AlignCorners() or not o.HalfPixelCenters():
            raise ValueError("only resizing by pixel centres is known")
        (h, w), (a, b) = self.shape(out)[1:3], self.shape(inputs[0])[1:3]
        scales = self.constant(np.array([1, 1, h / a, w / b], np.float32))
        return self.add("Resize", [self.value(inputs[0]), "", scales], mode="linear",
                        coordinate_transformation_mode="half_pixel")  # fmt: skip

    # -- MediaPipe's own, which work in pixels whose centres lie at half numbers -----------------------

    def _number(self, values: float | Sequence[float] | NDArray) -> str:
        return self.constant(np.asarray(values, np.float32))

    def _pick(self, name: str, indices: Sequence[int], axis: int) -> str:
        return self.add("Gather", [name, self.constant(np.array(indices, np.int64))], axis=axis)

    def _shaped(self, name: str, shape: Sequence[int]) -> str:
        return self.add("Reshape", [name, self.constant(np.array(shape, np.int64))])

    def transform_matrix(self, inputs: Sequence[int], out: int, o: dict[str, Any]) -> str:
        """Landmarks (1, N, 3) to the way from a crop's pixels to those of the picture, (3, 2): (x, y, 1) times it.

        The crop is the box around some of them, turned so that two others lie level, and enlarged."""
        if o["target_rotation_radians"]:
            raise ValueError("only crops that lie level are known")
        marks = self.value(inputs[0])
        ends = self._shaped(self._pick(marks, [o["left_rotation_idx"], o["right_rotation_idx"]], 1), [1, 6])
        # From (left, right) to the turn, times the distance of the two: [[dx, -dy], [dy, dx], [0, 0]].
        step = np.zeros((6, 6), np.float32)
        step[[0, 3], [0, 0]], step[[0, 3], [3, 3]] = (-1, 1), (-1, 1)
        step[[1, 4], [1, 1]], step[[1, 4], [2, 2]] = (1, -1), (-1, 1)
        turn = self.add("MatMul", [ends, self._number(step)])
        length = self.add("Mul", [self.add("ReduceL2", [turn], axes=[1]), self._number(np.sqrt(0.5))])
        turn = self._shaped(self.add("Div", [turn, length]), [3, 2])
        level = self.add("MatMul", [self._pick(marks, o["subset_idxs"], 1), turn])  # (1, M, 2)
        low, high = (self.add(op, [level], axes=[1], keepdims=0) for op in ("ReduceMin", "ReduceMax"))
        middle = self.add("Mul", [self.add("Add", [low, high]), self._number(0.5)])
        w, h = o["output_width"], o["output_height"]
        pixel = self.add("Mul", [self.add("Sub", [high, low]), self._number([o["scale_x"] / w, o["scale_y"] / h])])
        corner = self.add("Sub", [middle, self.add("Mul", [pixel, self._number([w / 2, h / 2])])])  # (1, 2)
        turn = self._pick(turn, [0, 1], 0)
        back = self.add("Transpose", [turn], perm=[1, 0])
        ahead = self.add("Transpose", [self.add("Mul", [turn, pixel])], perm=[1, 0])
        return self.add("Concat", [ahead, self.add("MatMul", [corner, back])], axis=0)

    def crop(self, inputs: Sequence[int], out: int, o: dict[str, Any]) -> str:
        """A feature map (1, C, H, W) seen through such a matrix: (1, C, h, w), nothing outside."""
        h, w = self.shape(inputs[0])[1:3]
        ys, xs = np.mgrid[: o["output_height"], : o["output_width"]].astype(np.float32) + 0.5
        places = self._number(np.stack([xs, ys, np.ones_like(xs)], -1)[None])  # (1, h, w, 3)
        there = self.add("MatMul", [places, self.value(inputs[1])])
        grid = self.add("Sub", [self.add("Mul", [there, self._number([2 / w, 2 / h])]), self._number(1.0)])
        return self.add("GridSample", [self.value(inputs[0]), grid], mode="bilinear", padding_mode="zeros",
                        align_corners=0)  # fmt: skip

    def transform_landmarks(self, inputs: Sequence[int], out: int) -> str:
        """Places (1, N, 2) in a crop to those in the picture, by such a matrix."""
        matrix = self.value(inputs[1])
        turned = self.add("MatMul", [self.value(inputs[0]), self._pick(matrix, [0, 1], 0)])
        return self.add("Add", [turned, self._pick(matrix, [2], 0)])

    def transposed_convolution(self, inputs: Sequence[int], out: int, options: bytes) -> str:
        """With a bias; kernel and stride are equal, so that nothing overlaps."""
        _, *stride = struct.unpack("<3i", options[:12])
        weights = self.number(inputs[1])  # (out, h, w, in)
        if list(weights.shape[1:3]) != stride:
            raise ValueError("only transposed convolutions without overlap are known")
        names = [
            self.value(inputs[0]),
            self.constant(weights.transpose(3, 0, 1, 2)),
            self.constant(self.number(inputs[2])),
        ]
        return self.add("ConvTranspose", names, strides=stride, kernel_shape=stride)

    # -- all of it --------------------------------------------------------------------------------

    def convert(self) -> onnx.ModelProto:
        """The network; raises ValueError for what this converter does not know."""
        graph, network = self.graph, self.network
        first = int(graph.InputsAsNumpy()[0])
        shape = self.shape(first)
        if network.planes:
            self.names[first], kind, seen = "picture", TensorProto.FLOAT, [shape[0], shape[3], shape[1], shape[2]]
        else:
            kind, seen = TensorProto.UINT8, shape
            picture = self.add("Cast", ["picture"], to=TensorProto.FLOAT)
            scaled = self.add("Mul", [picture, self._number((network.high - network.low) / 255)])
            if network.low:
                scaled = self.add("Add", [scaled, self._number(network.low)])
            self.names[first] = self.first(scaled, shape)
        for i in range(graph.OperatorsLength()):
            self.operator(graph.Operators(i))
        outputs = []
        for tensor, name in zip(graph.OutputsAsNumpy(), network.outputs, strict=True):
            own = self.shape(int(tensor))
            self.nodes.append(helper.make_node("Identity", [self.last(int(tensor))], [name]))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, own))
        inputs = [helper.make_tensor_value_info("picture", kind, seen)]
        body = helper.make_graph(self.nodes, Path(network.path).name, inputs, outputs, self.constants)
        model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return model

    def operator(self, op: Any) -> None:
        """Add what one operator becomes."""
        kind = self.model.OperatorCodes(op.OpcodeIndex())
        code = max(kind.BuiltinCode(), kind.DeprecatedBuiltinCode())
        inputs, out = [int(i) for i in op.InputsAsNumpy()], int(op.OutputsAsNumpy()[0])
        known = tflite.BuiltinOperator

        def options(cls: Any) -> Any:
            table, union = cls(), op.BuiltinOptions()
            table.Init(union.Bytes, union.Pos)
            return table

        if code in (known.DEQUANTIZE, known.DENSIFY):
            values = self.stored(inputs[0])
            if values is None:
                raise ValueError("only constants are widened")
            self.known[out] = values
            return
        plain = {known.RELU: "Relu", known.LOGISTIC: "Sigmoid", known.HARD_SWISH: "HardSwish"}
        makers: dict[int, Callable[[], str]] = {
            **{k: lambda n=n: self.add(n, [self.value(inputs[0])]) for k, n in plain.items()},  # type: ignore[misc]
            known.CONV_2D: lambda: self.convolution(inputs, out, options(tflite.Conv2DOptions), False),
            known.DEPTHWISE_CONV_2D: lambda: self.convolution(
                inputs, out, options(tflite.DepthwiseConv2DOptions), True
            ),
            known.PRELU: lambda: self.leaking(inputs, out),
            known.ADD: lambda: self.binary(inputs, out, options(tflite.AddOptions), "Add"),
            known.MUL: lambda: self.binary(inputs, out, options(tflite.MulOptions), "Mul"),
            known.PAD: lambda: self.pad(inputs, out),
            known.MAX_POOL_2D: lambda: self.pool(inputs, out, options(tflite.Pool2DOptions), "MaxPool"),
            known.AVERAGE_POOL_2D: lambda: self.pool(inputs, out, options(tflite.Pool2DOptions), "AveragePool"),
            known.RESHAPE: lambda: self.reshape(inputs, out),
            known.CONCATENATION: lambda: self.joined(inputs, out, options(tflite.ConcatenationOptions)),
            known.RESIZE_BILINEAR: lambda: self.resize(inputs, out, options(tflite.ResizeBilinearOptions)),
            known.DEPTH_TO_SPACE: lambda: self.add(
                "DepthToSpace", [self.value(inputs[0])], mode="DCR",
                blocksize=options(tflite.DepthToSpaceOptions).BlockSize(),
            ),
            known.STRIDED_SLICE: lambda: self.whole(inputs, out),
        }  # fmt: skip
        if code == known.CUSTOM:
            own, data = (
                kind.CustomCode().decode(),
                bytes(op.CustomOptionsAsNumpy()) if op.CustomOptionsLength() else b"",
            )
            if own == "Convolution2DTransposeBias":
                self.names[out] = self.transposed_convolution(inputs, out, data)
            elif own == "TransformLandmarks":
                self.names[out] = self.transform_landmarks(inputs, out)
            elif own == "Landmarks2TransformMatrix":
                self.names[out] = self.transform_matrix(inputs, out, flexbuffers.Loads(data))
            elif own == "TransformTensorBilinear":
                self.names[out] = self.crop(inputs, out, flexbuffers.Loads(data))
            else:
                raise ValueError(f"operator {own} is not known")
        elif code in makers:
            self.names[out] = makers[code]()
        else:
            raise ValueError(f"operator {code} is not known")

    def joined(self, inputs: Sequence[int], out: int, o: Any) -> str:
        if len(self.shape(out)) == 4:
            raise ValueError("only lists are joined")
        return self.add("Concat", [self.value(i) for i in inputs], axis=o.Axis())

    def whole(self, inputs: Sequence[int], out: int) -> str:
        if self.shape(inputs[0]) != self.shape(out):
            raise ValueError("only slices that take everything are known")
        return self.value(inputs[0])


def main() -> None:
    """Convert what the wheel named on the command line holds."""
    wheel, target = Path(sys.argv[1]), Path(sys.argv[2])
    target.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for name, network in NETWORKS.items():
            data = archive.read(f"mediapipe/modules/{network.path}.tflite")
            path = target / f"{name}.onnx"
            onnx.save(Converter(data, network).convert(), str(path))
            print(f"{path.name}: {len(data) / 1e6:.2f} MB became {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
