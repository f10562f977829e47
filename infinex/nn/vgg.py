"""VGG-19 and VGG-16 (Simonyan and Zisserman 2015), for perceptual losses (Johnson et al. 2016).

The weights are torchvision's `vgg19` and `vgg16` (BSD-3), given by path; nothing is downloaded here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812  (its name everywhere)
from torch import Tensor, nn

from infinex.errors import WeightsError
from infinex.nn.files import read_weights, state_dict_of

# Widths of the convolutions between two poolings; the last stage stops after its first convolution.
STAGES: tuple[tuple[int, ...], ...] = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,))
# Of VGG-16, on which VGG-Face was trained as well (Parkhi et al. 2015).
STAGES_16: tuple[tuple[int, ...], ...] = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def torchvision_indices(stages: Sequence[Sequence[int]] = STAGES) -> list[int]:
    """Numbers N of the `features.N` that are convolutions: 0, 2, 5, 7, 10 ... 28 for VGG-19."""
    out, at = [], 0
    for stage in stages:
        for _ in stage:
            out.append(at)
            at += 2  # a convolution and its ReLU
        at += 1  # the pooling
    return out


class Stages(nn.Module):
    """Stages of 3×3 convolutions with a pooling between them, for pictures that are normalised first. Frozen."""

    mean: Tensor
    std: Tensor

    def __init__(self, stages: Sequence[Sequence[int]], mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.stages = stages
        widths = [3] + [w for stage in stages for w in stage]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, 3, 1, 1))
        self.requires_grad_(False)

    def maps(self, image: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Of every stage the maps after its first and after its last ReLU."""
        x, convs = (image - self.mean) / self.std, iter(self.convs)
        for i, stage in enumerate(self.stages):
            x = first = F.relu(next(convs)(F.max_pool2d(x, 2) if i else x))
            for _ in stage[1:]:
                x = F.relu(next(convs)(x))
            yield first, x

    def read(self, state: Mapping[str, Tensor], what: str, name: str) -> None:
        """Take the convolutions of torchvision's state dict; the classifier's entries are ignored.

        Raises WeightsError, "`what` is no `name`", where one is missing or misshapen."""
        for conv, index in zip(self.convs, torchvision_indices(self.stages)):
            for part, parameter in conv.named_parameters():
                key = f"features.{index}.{part}"
                if not isinstance(state, dict) or key not in state or state[key].shape != parameter.shape:
                    raise WeightsError(f"{what} is no {name} of torchvision: {key} is missing or misshapen")
                parameter.data.copy_(state[key])


class VGG19(Stages):
    """Features after the first ReLU of every stage: relu1_1, 2_1, 3_1, 4_1 and 5_1. Frozen."""

    def __init__(self) -> None:
        super().__init__(STAGES, MEAN, STD)

    def forward(self, image: Tensor) -> list[Tensor]:
        """RGB (B, 3, H, W) in 0..1 to maps of 64, 128, 256, 512, 512 channels, halving in size."""
        return [first for first, _ in self.maps(image)]

    @staticmethod
    def load(path: str | Path) -> VGG19:
        """From torchvision's state dict, `.safetensors` or `.pth`; the classifier's entries are ignored."""
        path = Path(path)
        if not path.is_file():
            raise WeightsError(f"{path} does not exist: give torchvision's vgg19 state dict")
        model = VGG19()
        model.read(read_weights(path), str(path), "VGG-19")
        return model


class VGG16(Stages):
    """Features after the last ReLU of every stage: relu1_2, 2_2, 3_3, 4_3, and 5_3 with five. Frozen."""

    def __init__(self, stages: Sequence[Sequence[int]] = STAGES_16[:4], normalised: bool = True) -> None:
        """Without `normalised`, pictures go in as they are."""
        super().__init__(stages, MEAN if normalised else (0.0,) * 3, STD if normalised else (1.0,) * 3)

    def forward(self, image: Tensor) -> list[Tensor]:
        """RGB (B, 3, H, W), in 0..1 where they are normalised, to maps of 64, 128, 256, 512 channels."""
        return [last for _, last in self.maps(image)]

    @staticmethod
    def load(path: str | Path, stages: int = 4, normalised: bool = True) -> VGG16:
        """From torchvision's state dict, `.safetensors` or `.pth`. Raises WeightsError."""
        path = Path(path)
        if not path.is_file():
            raise WeightsError(f"{path} does not exist: give torchvision's vgg16 state dict")
        model = VGG16(STAGES_16[:stages], normalised)
        model.read(read_weights(path), str(path), "VGG-16")
        return model


class VGGPerceptualLoss(nn.Module):
    """Mean absolute difference of the five VGG-19 features."""

    def __init__(self, vgg: VGG19) -> None:
        super().__init__()
        self.vgg = vgg

    def forward(self, prediction: Tensor, target: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in 0..1 each to five scalars, from relu1_1 to relu5_1."""
        with torch.no_grad():
            wanted = self.vgg(target)
        return [(p - t).abs().mean() for p, t in zip(self.vgg(prediction), wanted)]


CAFFE_MEAN = (103.939, 116.779, 123.680)


class CaffeFeatures(nn.Module):
    """Features after every ReLU of a network whose weights come from Caffe, with average pooling. Frozen.

    As the authors of Latent Pose Descriptors have them: pictures in 0..1 are taken for such in -1..1, and the means of
    blue, green and red are subtracted from red, green and blue."""

    mean: Tensor

    def __init__(self, stages: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.stages = stages
        widths = [3] + [w for stage in stages for w in stage]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.register_buffer("mean", torch.tensor(CAFFE_MEAN).reshape(1, 3, 1, 1) / 255)
        self.requires_grad_(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """RGB (B, 3, H, W) in 0..1 to one map for each convolution."""
        x, convs, out = ((image + 1) / 2 - self.mean) * 255, iter(self.convs), []
        for i, stage in enumerate(self.stages):
            x = F.avg_pool2d(x, 2) if i else x
            for _ in stage:
                x = F.relu(next(convs)(x))
                out.append(x)
        return out

    def take(self, state: Mapping[str, Tensor], what: str) -> CaffeFeatures:
        """Itself with the weights of a state dict, keys `N.weight` or `features.N.weight`. Raises WeightsError."""
        for conv, index in zip(self.convs, torchvision_indices(self.stages)):
            for part, parameter in conv.named_parameters():
                tensor = state.get(f"features.{index}.{part}", state.get(f"{index}.{part}"))
                if tensor is None or tensor.shape != parameter.shape:
                    raise WeightsError(f"{what} does not fit: features.{index}.{part} is missing or misshapen")
                parameter.data.copy_(tensor)
        return self

    @staticmethod
    def load(path: str | Path, stages: Sequence[Sequence[int]] = STAGES) -> CaffeFeatures:
        """From a state dict in a file. Raises WeightsError."""
        return CaffeFeatures(stages).take(state_dict_of(read_weights(Path(path)), str(path)), str(path))


def features_apart(network: CaffeFeatures, prediction: Tensor, target: Tensor) -> Tensor:
    """Sum over the features of the mean absolute difference of two pictures (B, 3, H, W), a scalar."""
    with torch.no_grad():
        wanted = network(target)
    return torch.stack([(p - t).abs().mean() for p, t in zip(network(prediction), wanted)]).sum()


def face_inside(image: Tensor, part: float = 1 / 1.8) -> Tensor:
    """The middle of (B, 3, H, W) at its full size, where crops with room around faces have the face."""
    theta = torch.tensor([[part, 0.0, 0.0], [0.0, part, 0.0]], device=image.device).expand(len(image), -1, -1)
    grid = F.affine_grid(theta, list(image.shape), align_corners=False)
    return F.grid_sample(image, grid.to(image.dtype), "bilinear", "reflection", align_corners=False)
