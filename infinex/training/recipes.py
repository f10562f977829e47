"""All recipes by name, and the changes a user makes to them."""

from __future__ import annotations

import typing
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from infinex.errors import InputError, option
from infinex.fields import parsed
from infinex.spec import systems
from infinex.training.data import Samples


class Entry(NamedTuple):
    """A recipe and what its system makes of it: `task(recipe)`, see `infinex.training.trainer.Task`, and
    `samples(recipe, folder, split)`, see `Samples`.

    Where what a user names is no folder to learn from yet, `prepare(recipe, data, run, say, progress)` makes one in the
    run's folder, and returns the recipe that knows it and where it is; called again it goes on where it was."""

    name: str
    recipe: Any
    task: Callable[[Any], Any]
    samples: Callable[[Any, Any, str], Samples]
    prepare: Callable[..., tuple[Any, Path]] | None = None


def all_recipes() -> dict[str, Entry]:
    """Every recipe of every system, by name: dataclasses with at least `epochs` and `batch_size`.

    Raises MissingDependencyError without PyTorch."""
    found: dict[str, Entry] = {}
    for system in systems().values():
        if system.system.recipes:
            module = system.load(system.system.recipes, "training")
            for key, recipe in module.RECIPES.items():
                found[key] = Entry(key, recipe, module.task, module.samples, getattr(module, "prepare", None))
    return found


def find_recipe(name: str) -> Entry:
    """One recipe. Raises InputError that names the recipes there are."""
    recipes = all_recipes()
    if name not in recipes:
        raise InputError(f"unknown recipe {name!r}; there are {', '.join(sorted(recipes))}")
    return recipes[name]


def changed(recipe: Any, options: Any, settings: list[str]) -> tuple[Any, Any]:
    """Recipe and trainer options with `key=value` settings applied; `weights.generator_gan=0` reaches inside.

    A key is looked for in the recipe, then in the options, with or without `trainer.` before it. Raises InputError
    for unknown keys and values that do not fit."""
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        if not equals or not key:
            raise InputError(f"{option('set')} {setting}: key=value is wanted")
        path = key.removeprefix("trainer.").split(".")
        known = _names(recipe) + _names(options)
        if path[0] in (f.name for f in fields(recipe)) and path[0] != "trainer":
            recipe = _set(recipe, path, text.strip(), key, known)
        else:
            options = _set(options, path, text.strip(), key, known)
    return recipe, options


def _names(item: Any, prefix: str = "") -> list[str]:
    out = []
    for f in fields(item):
        if f.name == "trainer":  # its keys are named without it
            continue
        value = getattr(item, f.name)
        out += _names(value, f"{prefix}{f.name}.") if is_dataclass(value) else [prefix + f.name]
    return out


def _set(item: Any, path: list[str], text: str, key: str, known: list[str]) -> Any:
    hints = typing.get_type_hints(type(item))
    if path[0] not in hints:
        near = get_close_matches(key, known, 1) or get_close_matches(key.rpartition(".")[2], known, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"
        raise InputError(f"{option('set')} {key}: unknown key{hint}")
    value = getattr(item, path[0])
    if len(path) > 1:
        if not is_dataclass(value):
            raise InputError(f"{option('set')} {key}: {path[0]} has no parts")
        return replace(item, **{path[0]: _set(value, path[1:], text, key, known)})
    if is_dataclass(value):
        raise InputError(f"{option('set')} {key}: name one of its parts: {', '.join(_names(value, key + '.'))}")
    try:
        return replace(item, **{path[0]: parsed(text, hints[path[0]])})
    except (ValueError, TypeError) as error:
        raise InputError(f"{option('set')} {key}={text}: {error}") from None
