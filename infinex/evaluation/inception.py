"""Measures by networks that are given as files: how natural pictures are (Inception score, FID), how alike (LPIPS)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from infinex.errors import MissingDependencyError, WeightsError, option

RGB = NDArray[np.uint8]
Array = NDArray[np.float64]
SIDE = 256  # of the pictures that LPIPS sees


class Inception:
    """An Inception network in an ONNX file: pictures (B, 3, 299, 299) in -1..1 to classes and features.

    Of its outputs the one of 1000 or 1008 columns is taken as logits, the one of 2048 as features."""

    def __init__(self, path: str | Path) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise MissingDependencyError("inception scores need: pip install 'infinex[onnx]'") from None
        if not Path(path).is_file():
            raise WeightsError(f"{path} does not exist")
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # the library has no common base for what a damaged file raises
            raise WeightsError(f"{path} is no ONNX network that can be read") from error
        self._input = self._session.get_inputs()[0].name
        self._path = path

    def __call__(self, images: Sequence[RGB]) -> tuple[Array, Array]:
        """Class probabilities (N, C) and features (N, 2048) of pictures (H, W, 3). Raises WeightsError."""
        probabilities, features = [], []
        for image in images:
            x = cv2.resize(image, (299, 299), interpolation=cv2.INTER_AREA).astype(np.float32) / 127.5 - 1
            try:
                outputs = self._session.run(None, {self._input: x.transpose(2, 0, 1)[None]})
            except Exception as error:
                raise WeightsError(f"{self._path} takes no pictures of 3x299x299") from error
            flat = {o.reshape(-1).size: o.reshape(-1).astype(np.float64) for o in outputs}
            logits = next((flat[n] for n in (1000, 1008) if n in flat), None)
            if logits is None or 2048 not in flat:
                raise WeightsError(f"{self._path} has no outputs of 1000 classes and of 2048 features")
            e = np.exp(logits - logits.max())
            probabilities.append(e / e.sum())
            features.append(flat[2048])
        return np.stack(probabilities), np.stack(features)


def inception_score(probabilities: Array) -> float:
    """exp(mean KL(p(y|x) || p(y))) of class probabilities (N, C) (Salimans et al. 2016)."""
    p = np.clip(probabilities, 1e-12, None)
    return float(np.exp((p * (np.log(p) - np.log(p.mean(0)))).sum(1).mean()))


def frechet_distance(a: Array, b: Array) -> float:
    """FID of features (N, D) and (M, D): |μ - μ'|² + tr(Σ + Σ' - 2(ΣΣ')^½) (Heusel et al. 2017).

    The square root that the language-guided paper puts over it is not taken: numbers compare with other work."""
    one, two = a - a.mean(0), b - b.mean(0)
    # The eigenvalues of ΣΣ' are squares of the singular values of this product: no root of a singular matrix is taken.
    shared = np.linalg.svd(one @ two.T, compute_uv=False).sum() / np.sqrt((len(a) - 1) * (len(b) - 1))
    spread = np.square(one).sum() / (len(a) - 1) + np.square(two).sum() / (len(b) - 1)
    return float(np.square(a.mean(0) - b.mean(0)).sum() + spread - 2 * shared)


@dataclass
class Judges:
    """The networks of one evaluation, either of which may be missing, and the features seen so far by engine."""

    lpips: Any = None
    inception: Inception | None = None
    features: dict[str, list[Array]] = field(default_factory=dict)

    @classmethod
    def load(cls, lpips: str | Path | None, inception: str | Path | None) -> Judges:
        """From files. Raises WeightsError or MissingDependencyError."""
        network = None
        if lpips is not None:
            try:
                from infinex.nn.lpips import load_lpips
            except ModuleNotFoundError as error:
                raise MissingDependencyError(
                    f"{option('lpips')} needs {error.name}: pip install 'infinex[train]'"
                ) from None
            network = load_lpips(lpips)
        return cls(network, None if inception is None else Inception(inception))

    def distance(self, picture: RGB, truth: RGB) -> float | None:
        """LPIPS of two pictures (H, W, 3) at 256 pixels; None without its network."""
        if self.lpips is None:
            return None
        small = [cv2.resize(p, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for p in (picture, truth)]
        return float(self.lpips.between(*small))

    def see(self, name: str, picture: RGB) -> None:
        """Keep the features of a picture by `name`; `truth` is what others are compared with."""
        if self.inception is not None:
            self.features.setdefault(name, []).append(self.inception([picture])[1][0])

    def fid(self) -> dict[str, float]:
        """FID of everything seen by name, from the truth; empty without the network or with fewer than two pictures."""
        seen = {n: np.stack(f) for n, f in self.features.items() if len(f) > 1}
        truth = seen.pop("truth", None)
        return {} if truth is None else {n: round(frechet_distance(truth, f), 3) for n, f in seen.items()}
