"""The recurrence, mappers and losses compute what the published code does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from infinex.systems.language.losses import content_regularisation, contrastive, path_regularisation  # noqa: E402
from infinex.systems.language.weights import from_published, sizes_of  # noqa: E402


@pytest.mark.parity
def test_parity(parity_dir: Path) -> None:
    with np.load(parity_dir / "language.npz", allow_pickle=False) as data:
        a = {k: data[k] for k in data.files}
    sizes = dict(item.split("=") for item in str(a["config"]).split(";")[0].split())
    tensors = {k: torch.from_numpy(v) for k, v in a.items() if v.dtype == np.float32}
    state = {k.removeprefix("state/").replace("/", "."): v for k, v in tensors.items() if k.startswith("state/")}
    config = sizes_of(state, int(sizes["w_dim"]))
    assert (config.code, config.hidden, config.mapper) == tuple(int(sizes[k]) for k in ("z_dim", "h_dim", "hidden"))
    model = from_published(state, style=int(sizes["w_dim"])).eval()
    assert model.config.styles == int(sizes["layers"])
    frames = int(sizes["frames"])
    image, text, h = tensors["in/image_embedding"], tensors["in/text_embedding"], tensors["in/h"] * 0.01
    with torch.no_grad():
        train, _, _ = model.motion(text + image, frames, h)
        inference, _, _ = model.motion(text + image, frames, h, "inference")
        assert torch.allclose(train, tensors["out/motion_train"], atol=1e-4)
        assert torch.allclose(inference, tensors["out/motion_inference"], atol=1e-4)
        assert torch.allclose(model.visual(image), tensors["out/w_content"], atol=1e-4)
        assert torch.allclose(model.textual(inference), tensors["out/w_motion"], atol=1e-4)
        codes, content = model(image, text, tensors["in/w_inversion"], frames, h, "inference")
        assert torch.allclose(content, tensors["out/w_content"] + tensors["in/w_inversion"], atol=1e-4)
    for value, name in (
        (content_regularisation(codes, content), "w_reg_sum"),
        (path_regularisation(codes), "path_reg_sum"),
        (contrastive(tensors["in/v"], tensors["in/t"]), "contrastive_sum"),
    ):
        assert float(value) == pytest.approx(float(tensors[f"out/loss/{name}"]), rel=1e-4)
