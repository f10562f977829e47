"""What the documentation names exists: pages it links to, files it speaks of, commands and their options."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path

import click
import pytest
import typer.main

from infinex.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted(p for p in ROOT.rglob("*.md") if not any(part.startswith(".") for part in p.relative_to(ROOT).parts))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```[^\n]*\n(.*?)^```", re.M | re.S)
INDENTED = re.compile(r"^ {4}(infinex .*)$", re.M)
SPAN = re.compile(r"`([^`]+)`")
PATH = re.compile(r"(?:infinex|docs|tools|tests|benchmarks|examples)/[\w./-]*\w\.\w+")


@cache
def commands() -> dict[str, set[str]]:
    """The options of every command, as they are spelled."""
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    return {
        name: {o for p in command.params for o in [*p.opts, *p.secondary_opts] if o.startswith("-")} | {"--help"}
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }


def calls(text: str) -> list[str]:
    """Lines of code blocks and pieces of code in a page that call `infinex` with a command."""
    blocks = [line for block in FENCED.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    spans = [" ".join(s.split()) for s in SPAN.findall(FENCED.sub("", text))]
    lines = [part.strip() for line in [*blocks, *INDENTED.findall(text), *spans] for part in re.split(r"&&|\|", line)]
    return [line for line in lines if re.match(r"(\S*/)?infinex [a-z]", line)]


def options(line: str) -> list[str]:
    """The options of a call."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # a piece of a call, with half of a quotation
        words = line.split()
    return [re.split("[=,]", w)[0] for w in words[2:] if re.match(r"--?[a-z]", w)]


def test_pages_are_found() -> None:
    assert {"README.md", "docs/animate.md", "docs/training.md"} <= {str(p.relative_to(ROOT)) for p in PAGES}
    found = [line for p in PAGES for line in calls(p.read_text(encoding="utf-8"))]
    assert len(found) > 60 and sum(bool(options(line)) for line in found) > 40


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    links = [t.partition("#")[0] for t in LINK.findall(page.read_text(encoding="utf-8"))]
    relative = [t for t in links if t and not re.match(r"[a-z]+:", t)]
    assert [t for t in relative if not (page.parent / t).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_that_are_named_exist(page: Path) -> None:
    named = {m for span in SPAN.findall(page.read_text(encoding="utf-8")) for m in PATH.findall(span)}
    theirs = "infinex/systems/mine/"  # the folder that a reader of CONTRIBUTING.md makes
    assert sorted(m for m in named if not m.startswith(theirs) and not (ROOT / m).exists()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_and_options_exist(page: Path) -> None:
    wrong = []
    for line in calls(page.read_text(encoding="utf-8")):
        name = line.split()[1].rstrip(".,;:")
        if name not in commands():
            wrong.append(f"no command: {line}")
            continue
        wrong += [f"no option {o}: {line}" for o in options(line) if o not in commands()[name]]
    assert wrong == []


def test_options_of_animate_are_explained() -> None:
    """Every option of the main command stands on some page."""
    words = "".join(p.read_text(encoding="utf-8") for p in PAGES)
    missing = [o for o in commands()["animate"] if o.startswith("--") and o not in ("--help", "--quiet", "--output")
               and not re.search(re.escape(o) + r"(?![\w-])", words)]  # fmt: skip
    assert missing == []
