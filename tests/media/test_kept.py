"""What is kept of portraits between runs: the same again, made anew for anything else, bounded, or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from infinex.media import kept as module
from infinex.media.kept import kept


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INFINEX_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


class Making:
    """Makes arrays that tell how often it was asked."""

    def __init__(self, size: int = 4) -> None:
        self.count, self.size = 0, size

    def __call__(self) -> tuple[np.ndarray, ...]:
        self.count += 1
        return np.full((self.size, 2), self.count, np.float32), np.arange(self.size, dtype=np.uint8)


def test_the_same_picture_is_taken_apart_once(folder: Path) -> None:
    make, image = Making(), np.random.default_rng(0).integers(0, 255, (5, 6, 3)).astype(np.uint8)
    first, again = kept("a", make, image, 2.0), kept("a", make, image.copy(), 2.0)
    assert make.count == 1
    for one, other in zip(first, again):
        assert one.dtype == other.dtype and np.array_equal(one, other)
    image[0, 0, 0] ^= 1
    assert kept("a", make, image, 2.0)[0][0, 0] == 2
    assert kept("a", make, image, 2.5)[0][0, 0] == 3
    assert kept("b", make, image, 2.5)[0][0, 0] == 4


def test_other_code_makes_it_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Making()
    kept("a", make, 1.0)
    monkeypatch.setattr(module, "_makers", lambda: b"other code")
    kept("a", make, 1.0)
    assert make.count == 2


def test_a_damaged_file_is_made_anew(folder: Path) -> None:
    make = Making()
    kept("a", make, 1.0)
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:40])
    assert kept("a", make, 1.0)[0][0, 0] == 2
    assert kept("a", make, 1.0)[0][0, 0] == 2


def test_what_was_not_asked_for_longest_goes_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 40_000)
    makes = [Making(800) for _ in range(6)]
    for n, make in enumerate(makes):
        kept("a", make, float(n))
        kept("a", makes[0], 0.0)  # wanted all the time
    assert sum(p.stat().st_size for p in folder.iterdir()) <= 40_000
    assert makes[0].count == 1
    kept("a", makes[1], 1.0)
    assert makes[1].count == 2
    kept("large", Making(2000), 1.0)
    assert not list(folder.glob("large-*"))


def test_nothing_is_kept_if_not_wanted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFINEX_CACHE", "none")
    make = Making()
    kept("a", make, 1.0)
    kept("a", make, 1.0)
    assert make.count == 2 and not folder.exists()


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("INFINEX_CACHE", str(tmp_path / "file" / "kept"))
    assert kept("a", Making(), 1.0)[0][0, 0] == 1
