"""Pictures for studies, and the table that goes with them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from infinex.errors import InputError
from infinex.evaluation.stimuli import expressions, portraits_in, stimuli


def test_what_is_asked_of_every_portrait() -> None:
    wanted = expressions()
    assert wanted["neutral"] == {} and wanted["AU12_C"] == {"AU12": 0.6} and "happily-surprised" in wanted
    assert sum(n.startswith("AU12_") for n in wanted) == 5
    units = {u for n in wanted if n.endswith("_A") for u in wanted[n]}
    together = [u for u in wanted.values() if len(u) > 1]
    assert len(together) == len({frozenset(u.items()) for u in together}) == 54
    assert {n[: n.find("L")] if n.endswith("L") else n for u in together for n in u} <= units


def test_pictures_and_their_table(portrait: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    counts = stimuli([portrait, broken], tmp_path / "out", 256, ("neutral", "AU12_E"))
    assert counts == {"pictures": 2, "failed": 1}
    with (tmp_path / "out" / "stimuli.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    smile = next(r for r in rows if r["expression"] == "AU12_E")
    assert (tmp_path / "out" / smile["file"]).stat().st_size > 1000
    assert float(smile["AU12_asked"]) == 1 and float(smile["AU12_read"]) > 0.5 and float(smile["AU4_read"]) < 0.3
    assert "broken.png" in next(r["error"] for r in rows if r["error"])


def test_what_is_not_there_is_refused(portrait: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no expression"):
        stimuli([portrait], tmp_path / "out", 256, ("AU99_E",))
    with pytest.raises(InputError, match="no such portrait"):
        portraits_in([tmp_path / "nobody.jpg"])
