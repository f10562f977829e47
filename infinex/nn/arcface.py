"""Who a face is, by ArcFace's IR-SE50 (Deng et al. 2019) in the layout of InsightFace_Pytorch, as StyleCLIP uses it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn

from infinex.errors import WeightsError
from infinex.nn.e4e import STAGES, residual, stem
from infinex.nn.files import misfit, read_weights, state_dict_of

SIDE = 112  # of the picture it sees: 7 pixels after four halvings
CROP = slice(35, 223), slice(32, 220)  # rows and columns of an FFHQ-like picture of 256 pixels that show the face


class ArcFace(nn.Module):
    """Faces to vectors of unit length. In evaluation mode alone: its norms use the statistics of its training."""

    def __init__(
        self, stages: tuple[tuple[int, int, int], ...] = STAGES, outputs: int = 512, reduction: int = 16
    ) -> None:
        super().__init__()
        last = stages[-1][1]
        self.input_layer, self.body = stem(stages[0][0]), residual(stages, reduction)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(last), nn.Dropout(0.6), nn.Flatten(), nn.Linear(last * (SIDE // 16) ** 2, outputs),
            nn.BatchNorm1d(outputs),
        )  # fmt: skip

    def forward(self, face: Tensor) -> Tensor:
        """(B, 3, 112, 112) in -1..1 to (B, outputs)."""
        return F.normalize(self.output_layer(self.body(self.input_layer(face))), dim=1)

    def of(self, image: Tensor) -> Tensor:
        """The same of a whole picture (B, 3, H, W) in -1..1 that is laid out as FFHQ is."""
        if image.shape[2] != 256:
            image = F.adaptive_avg_pool2d(image, (256, 256))
        return self(F.adaptive_avg_pool2d(image[:, :, CROP[0], CROP[1]], (SIDE, SIDE)))


def from_state(state: Mapping[str, Tensor], what: str = "the checkpoint") -> ArcFace:
    """A network of the published keys, its sizes read off the tensors. Raises WeightsError."""
    state = {k: v.reshape(()) if k.endswith("num_batches_tracked") else v for k, v in state.items()}
    try:
        first, depth = state["input_layer.0.weight"].shape[0], {int(k.split(".")[1]) for k in state if k[:5] == "body."}
        widths = [state[f"body.{i}.res_layer.1.weight"].shape[0] for i in range(len(depth))]
        reduction = widths[0] // state["body.0.res_layer.5.fc1.weight"].shape[0]
        outputs = state["output_layer.3.weight"].shape[0]
    except (KeyError, IndexError, ValueError):
        raise WeightsError(f"{what} is no IR-SE50 identity network") from None
    stages: list[tuple[int, int, int]] = []
    before = first
    for _, _, n in STAGES:
        done = sum(s[2] for s in stages)
        if done + n > len(widths):
            raise WeightsError(f"{what} is no IR-SE50 identity network: it has {len(widths)} blocks")
        stages.append((before, widths[done], n))
        before = widths[done]
    model = ArcFace(tuple(stages), outputs, reduction)
    if why := misfit(state, model.state_dict()):
        raise WeightsError(f"{what} does not fit: it {why}")
    model.load_state_dict(dict(state))
    return model.eval().requires_grad_(False)


def load_arcface(path: str | Path) -> ArcFace:
    """The published `model_ir_se50.pth`, a bare state dict. Raises WeightsError."""
    return from_state(state_dict_of(read_weights(Path(path)), str(path)), str(path))
