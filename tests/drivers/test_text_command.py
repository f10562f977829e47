"""`infinex animate --text` as its users meet it."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
from command_line import run

from infinex.media.image import read_image, write_image
from infinex.media.provenance import inspect
from infinex.media.video import probe


def test_text_makes_a_clip_and_explains_itself(portrait: Path, tmp_path: Path) -> None:
    picture = tmp_path / "p.png"
    write_image(picture, read_image(portrait)[:300, 90:390])
    out = tmp_path / "o.mp4"
    result = run(
        "animate",
        picture,
        "--text",
        "she smiles at the zeppelin",
        "-o",
        out,
        "--size",
        160,
        "--explain",
        "--json",
        "--no-refine",
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.strip().splitlines()
    assert "AU12" in result.stdout and "not understood: zeppelin" in result.stdout
    summary = json.loads(lines[-1])
    assert summary["frames"] == probe(out).frames and 1.5 < summary["duration"] < 5
    assert float(probe(out).fps) == 25
    assert 'driver: "she smiles at the zeppelin"' in inspect(out).metadata["description"]


def test_explain_alone_renders_nothing(portrait: Path, tmp_path: Path) -> None:
    picture = tmp_path / "p.jpg"
    shutil.copy(portrait, picture)
    result = run("animate", picture, "--text", "he winks twice", "--explain", where=tmp_path)
    assert result.returncode == 0 and "AU46" in result.stdout and list(tmp_path.iterdir()) == [picture]


def test_mistakes_are_one_line(portrait: Path, tmp_path: Path) -> None:
    for words, said in (
        (("--text", "", "-o", tmp_path / "o.mp4"), "empty"),
        (("--text", "Она улыбается", "-o", tmp_path / "o.mp4"), "English"),
        (("--text", "she smiles", "--motion", "calm", "-o", tmp_path / "o.mp4"), "one driver"),
        (("--motion", "calm", "--explain"), "--text"),
        (("--text", "she smiles", "--fps", "nan", "-o", tmp_path / "o.mp4"), "--fps"),
        (("--motion", "calm", "--allow-exaggeration", "-o", tmp_path / "o.mp4"), "--units"),
        (("camera:0", "--speech", portrait, "-o", tmp_path / "o.mp4"), "camera"),
    ):
        result = run("animate", portrait, *words)
        lines = result.stderr.strip().splitlines()
        assert result.returncode == 2 and len(lines) == 1 and said in lines[0], result.stderr
    assert not list(tmp_path.iterdir())


def test_edit_takes_text(portrait: Path, tmp_path: Path) -> None:
    picture, out = tmp_path / "p.png", tmp_path / "o.png"
    write_image(picture, read_image(portrait)[:300, 90:390])
    result = run("edit", picture, "--text", "she smiles and looks left", "-o", out, "--json")
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout.strip().splitlines()[-1])
    assert summary["units"]["AU12"] > 0.5 and summary["units"]["AU61"] > 0.3
    assert (read_image(out) != read_image(picture)).any()


@pytest.mark.slow
def test_the_examples_of_the_documentation_run(portrait: Path, tmp_path: Path) -> None:
    shutil.copy(portrait, tmp_path / "photo.jpg")
    text = (Path(__file__).parents[2] / "docs" / "text.md").read_text(encoding="utf-8")
    examples = [shlex.split(line.lstrip("$ ")) for line in text.splitlines() if " photo.jpg --text" in line]
    assert len(examples) == 4
    for words in examples:
        done = run(*words[1:], where=tmp_path)
        assert done.returncode == 0, done.stderr
        if "zeppelin" in " ".join(words):
            assert all(line in text for line in done.stdout.strip().splitlines())
    assert probe(tmp_path / "out.mp4").frames and read_image(tmp_path / "smiling.png").size
