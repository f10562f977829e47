"""Which generators are measured side by side, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from infinex.errors import InputError  # noqa: E402
from infinex.systems.language.evaluate import _loaded, lines  # noqa: E402
from infinex.systems.language.model import UnitConfig, UnitMotion  # noqa: E402
from infinex.systems.language.pairs import CHANNELS  # noqa: E402
from infinex.systems.language.units import open_sentences, read  # noqa: E402
from infinex.systems.language.weights import load_units, save  # noqa: E402


def written(path: Path, **sizes: object) -> Path:
    """A generator of random weights on disk."""
    torch.manual_seed(0)
    config = UnitConfig(**{"channels": CHANNELS, "code": 8, "hidden": 8, "width": 8, **sizes})  # type: ignore[arg-type]
    save(path, UnitMotion(config), config, half=True)
    return path


def test_generators_are_named_by_their_recurrence_the_papers_first(tmp_path: Path) -> None:
    lstm = written(tmp_path / "a.safetensors", recurrence="lstm")
    own = written(tmp_path / "b.safetensors", block=8)
    found = _loaded(f"{lstm}, {own}")
    assert list(found) == ["recurrent", "lstm"] and found["recurrent"].path == own
    assert found["recurrent"].model.config.block == 8


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    own = written(tmp_path / "a.safetensors")
    other = written(tmp_path / "b.safetensors")
    with pytest.raises(InputError, match="same recurrence"):
        _loaded(f"{own},{other}")
    with pytest.raises(InputError, match="other channels"):
        _loaded(str(written(tmp_path / "c.safetensors", channels=("AU12",))))
    with pytest.raises(InputError, match="different lengths"):
        _loaded(f"{own},{written(tmp_path / 'd.safetensors', recurrence='lstm', frames=16)}")


def test_an_encoder_of_another_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from infinex.nn.sentence import available

    if not available():
        pytest.skip("the packaged sentence encoder is not installed")
    path = written(tmp_path / "a.safetensors", sentence=100)
    with pytest.raises(InputError, match="trained on 100"):
        open_sentences("she smiles", model=str(path))
    model = load_units(written(tmp_path / "b.safetensors", sentence=4 * 384, pooling="ordered")).model
    assert read(model, ["she smiles", "he nods"]).shape == (2, 4 * 384)


def test_the_table_has_a_row_for_each() -> None:
    row = {"distance": 0.5, "shown": 0.6, "stray": 0.01, "top1": 0.5, "top3": 0.8, "path": 0.01}
    out = lines(
        {"sentences": 3, "seconds": 3.84, "choices": 32, "rows": {"recurrent": row, "lstm": row | {"acd": 0.1}}}
    )
    assert len(out) == 4 and "60.0%" in out[2] and "0.100" in out[3]
