"""Kernels that a second process compiles are those that a run needs."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from infinex.jobs.animate import animate
from infinex.mesh import ahead
from infinex.options import Options
from infinex.studio.examples import EXAMPLES

ENTRIES = json.loads(ahead.TABLE.read_text())


def test_an_animation_uses_what_is_compiled_ahead(tmp_path: Path) -> None:
    animate(EXAMPLES[0].path, "smile", tmp_path / "out.mp4", Options(end=0.7))
    # Kernels that only a performer's frames need.
    by_film = {"infinex.face.outline", "infinex.face.register", "infinex.mesh.wrinkles"}
    checked = 0
    for name, arguments in ENTRIES:
        if name.rpartition(".")[0] in by_film:
            continue
        known = [[ahead.spelt(a) for a in s] for s in ahead.kernel(name).signatures]
        assert arguments in known, name
        checked += 1
    assert checked > 15


def test_types_are_read_as_they_were_written() -> None:
    for _, arguments in ENTRIES:
        assert [ahead.spelt(ahead.meant(a)) for a in arguments] == arguments


def test_one_process_at_a_time_and_none_that_died_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[str] = []

    class Noted:
        def compile(self, kinds: object) -> None:
            met.append(str(kinds))

    monkeypatch.setattr(ahead, "kernel", lambda name: Noted())
    lock = tmp_path / "ahead.lock"
    lock.touch()
    ahead._main(tmp_path)
    assert not met and lock.exists()
    os.utime(lock, (0, time.time() - 2 * ahead.STALE))
    ahead._main(tmp_path)
    assert len(met) == len(ENTRIES) and not lock.exists()
