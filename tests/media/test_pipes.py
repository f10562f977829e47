"""Standard input and output in place of files."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from infinex.commands.common import parse_time, piped
from infinex.errors import InputError, OutputError
from infinex.media.pipes import standard_input, standard_output, suffix_of


def feed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_standard_input_is_a_file_while_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"\x89PNG" + bytes(3 << 20)
    feed(monkeypatch, data)
    with standard_input() as path:
        assert path.suffix == ".png" and path.read_bytes() == data
    assert not path.parent.exists()
    feed(monkeypatch, b"")
    with pytest.raises(InputError, match="is empty"), standard_input():
        pass


@pytest.mark.parametrize(
    ("head", "suffix"),
    [
        (b"PK\x03\x04....", ".motion.npz"), (b"GIF89a", ".gif"), (b"RIFF....WAVE", ".wav"), (b"RIFF....WEBP", ".webp"),
        (b"....ftypisom", ".mp4"), (b"....ftypheic", ".heic"), (b"\x1aE\xdf\xa3", ".mkv"), (b"G", ""),
    ],
)  # fmt: skip
def test_kinds_are_known_by_content(head: bytes, suffix: str) -> None:
    assert suffix_of(head) == suffix


def test_standard_output_gets_the_whole_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        with standard_output("webm") as path:
            print("a note")
            path.write_bytes(b"video" * 1000)
        with pytest.raises(ValueError, match="failed"), standard_output() as path:
            path.write_bytes(b"half")
            raise ValueError("failed")
    assert (tmp_path / "out").read_bytes() == b"video" * 1000 and not path.parent.exists()


def test_a_reader_that_is_gone_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        with pytest.raises(OutputError, match="standard output cannot be written"), standard_output() as path:
            path.write_bytes(bytes(1 << 20))


def test_a_terminal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setattr(sys, "stdin", Terminal())
    with pytest.raises(OutputError, match="is a terminal"), standard_output():
        pass
    with pytest.raises(InputError, match="nothing comes in"), standard_input():
        pass
    with pytest.raises(OutputError, match="--format avi"), standard_output("avi"):
        pass


def test_commands_with_a_dash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, object]] = []

    @piped
    def command(**given: object) -> None:
        seen.append(given)
        Path(str(given["output"])).write_bytes(Path(str(given["driving"])).read_bytes())

    feed(monkeypatch, b"GIF89a")
    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        command(source=Path("a.png"), driving="-", output=Path("-"), kind=None)
    assert (tmp_path / "out").read_bytes() == b"GIF89a" and seen[0]["kind"] == "mp4"
    assert isinstance(seen[0]["driving"], str) and seen[0]["source"] == Path("a.png")
    with pytest.raises(InputError, match="only once"):
        command(source=Path("-"), driving="-", output=Path("a.mp4"), kind=None)
    with pytest.raises(InputError, match="--format goes with"):
        command(source=Path("a.png"), driving="b.mp4", output=Path("a.mp4"), kind="gif")


def test_times() -> None:
    for text, seconds in (("12.5", 12.5), ("1:02.5", 62.5), ("0:07", 7.0), ("1:00:02", 3602.0), (".5", 0.5)):
        assert parse_time(text, "--start") == seconds
    assert parse_time(None, "--start") is None
    for text in ("", "-1", "1:75", "a", "1:2:3:4", "1e3", "nan", "1:60:00"):
        with pytest.raises(InputError, match="--end"):
            parse_time(text, "--end")
