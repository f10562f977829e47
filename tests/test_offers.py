"""The command line, the API and every engine's dataclass offer the same choices, with the same usual values."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields
from enum import Enum
from typing import Any

import pytest

from infinex.commands.animate import animate as command
from infinex.motion import DEFAULT_PARTS
from infinex.options import Options
from infinex.spec import systems, with_engines

# What names the driver and the files, or only concerns a terminal: the API takes it as arguments of its functions.
ELSEWHERE = {"source", "driving", "output", "kind", "motion", "units", "exaggerate", "text", "explain", "speech",
             "layers", "say", "voice", "voice_speed", "voice_pitch", "captions", "still", "text_model",
             "sentence_encoder", "as_json", "quiet"}  # fmt: skip
# Files of the machine that the studio runs on, and what only who runs it should decide.
NOT_OF_A_PAGE = {"album", "keep_readable", "own", "passes", "pieces", "reference", "refine", "sign", "weights"}
CHOICES = {f.name: f for f in fields(Options)}


def _offered() -> dict[str, Any]:
    return {n: p.default for n, p in inspect.signature(command).parameters.items() if n not in ELSEWHERE}


def test_the_command_line_offers_what_the_api_does() -> None:
    names = {n.removeprefix("no_") if n not in CHOICES else n for n in _offered()}
    assert names == set(CHOICES)


@pytest.mark.parametrize("name", sorted(CHOICES))
def test_usual_values_are_the_same(name: str) -> None:
    choice, offered = CHOICES[name], _offered()
    usual: Any = choice.default_factory() if choice.default_factory is not MISSING else choice.default
    if f"no_{name}" in offered:
        assert usual is True and offered[f"no_{name}"] is False
        return
    shown = offered[name].value if isinstance(offered[name], Enum) else offered[name]
    if name == "parts":
        assert tuple(shown.split(",")) == tuple(usual) == tuple(DEFAULT_PARTS)
    elif shown is None:
        assert not usual
    else:
        assert shown == usual


def test_the_studio_offers_what_the_api_does() -> None:
    pytest.importorskip("fastapi", reason="the studio is not installed: pip install 'infinex[studio]'")
    from infinex.studio.wanted import wanted as create

    given = {n: p.default for n, p in inspect.signature(create).parameters.items() if n in CHOICES}
    assert set(CHOICES) - set(given) == NOT_OF_A_PAGE
    for name, usual in given.items():
        if name == "parts":
            usual = tuple(usual.split(","))
        assert usual == CHOICES[name].default, name


@pytest.mark.parametrize("name", with_engines())
def test_an_engine_offers_what_its_dataclass_holds(name: str) -> None:
    found = systems()[name]
    if name != "mesh":
        pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'infinex[train]'")
    choices = fields(found.load(found.system.engine, name).OPTIONS)
    assert set(found.system.options) <= {f.name for f in choices}
    for choice in choices:
        if choice.name in CHOICES and choice.name in found.system.options:
            assert choice.default == CHOICES[choice.name].default
