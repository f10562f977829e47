"""Blind studies that are kept: made from finished animations, or from two folders by `infinex study`."""

from __future__ import annotations

import secrets
import shutil
from collections import OrderedDict
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException

from infinex.evaluation.study import Pair, Study


class Studies:
    """Studies by their ids; who knows an id may take part."""

    def __init__(self, folder: Path | None, most: int = 50) -> None:
        self.folder, self._most = folder, most
        self._studies: OrderedDict[str, tuple[str | None, Study, Path | None]] = OrderedDict()

    def add(self, study: Study, owner: str | None = None, folder: Path | None = None) -> str:
        """Keep a study; its id."""
        name = secrets.token_urlsafe(12)
        self._studies[name] = owner, study, folder
        while len(self._studies) > self._most:
            _, (_, _, old) = self._studies.popitem(last=False)
            if old is not None:
                shutil.rmtree(old, ignore_errors=True)
        return name

    def get(self, name: str) -> Study:
        """A study by id. Raises HTTPException 404."""
        if name not in self._studies:
            raise HTTPException(404, "There is no such study; it may have been removed.")
        return self._studies[name][1]

    def owner(self, name: str) -> str | None:
        """Whose study it is; None for that of whoever runs the server. Raises HTTPException 404."""
        self.get(name)
        return self._studies[name][0]

    def of(self, owner: str) -> list[dict[str, Any]]:
        """What a visitor has begun."""
        return [
            {"id": name, "title": study.title, "pairs": len(study.pairs), "raters": len(study.raters)}
            for name, (who, study, _) in reversed(self._studies.items())
            if who == owner
        ]

    def from_files(self, owner: str, pairs: list[tuple[Path, Path, str, str]]) -> str:
        """A study of finished animations, whose files are copied."""
        assert self.folder is not None
        folder = self.folder / secrets.token_hex(8)
        folder.mkdir(parents=True)
        kept: dict[Path, Path] = {}
        out = []
        for i, (a, b, name_a, name_b) in enumerate(pairs):
            for path in (a, b):
                if path not in kept:
                    kept[path] = folder / f"{len(kept)}{path.suffix}"
                    shutil.copyfile(path, kept[path])
            out.append(Pair(str(i + 1), kept[a], kept[b], name_a, name_b))
        return self.add(Study(out, folder / "answers.csv", "Which one is better?"), owner, folder)
