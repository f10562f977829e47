"""Scripts: sentences, stage directions, pauses."""

from __future__ import annotations

import pytest

from infinex.errors import InputError
from infinex.voices.script import Direction, Line, Pause, read_script


def test_lines_directions_and_pauses_in_order() -> None:
    parts = read_script("[smiles] Good morning, Dr. Smith. It is 3.5 m! [pause 2]\n[raises eyebrows] Yes? [pause]")
    assert parts == [
        Direction("smiles"), Line("Good morning, Dr. Smith."), Line("It is 3.5 m!"), Pause(2.0),
        Direction("raises eyebrows"), Line("Yes?"), Pause(0.8),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "lines"),
    [
        ("One line", ["One line"]),
        ("First\nsecond", ["First", "second"]),
        ('He said "Stop!" and left. Then: silence…', ['He said "Stop!"', "and left.", "Then: silence…"]),
        ("J. S. Bach wrote it. z.B. heute.", ["J. S. Bach wrote it.", "z.B. heute."]),
        ("... Wait.", ["Wait."]),
    ],
)
def test_sentences(script: str, lines: list[str]) -> None:
    assert [p.text for p in read_script(script) if isinstance(p, Line)] == lines


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("", "nothing to be said"),
        ("[smiles]", "nothing to be said"),
        ("[smiles Hello", "without its other half"),
        ("Hello] there", "without its other half"),
        ("Hello [pause 900]", "at most 30 seconds"),
        ("a" * 20_001, "20,000"),
    ],
)
def test_what_cannot_be_said(script: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_script(script)
