"""A system is found by its folder alone, wherever systems are listed, and finding it loads nothing heavy."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import test_every_engine

import infinex.systems
from infinex import Options
from infinex.engine import load_engine
from infinex.errors import MissingDependencyError, WeightsError
from infinex.spec import systems, with_engines
from infinex.systems import registry

STATED = """
from infinex.spec import System, Weights

SYSTEM = System(
    label="Toy: a dot on the nose", engine="engine", options=("bright",),
    recipes="recipe", evaluate="measure", task="toy",
    weights=(Weights("toy-dot", "nobody", "CC0", 0.1, bundled="dot.safetensors"),),
)
"""
ENGINE = """
from dataclasses import dataclass

import numpy as np

from infinex.engine import Engine, Shown
from infinex.face.portrait import SourceFace


@dataclass(frozen=True)
class ToyOptions:
    bright: int = 255


OPTIONS = ToyOptions


class Face:
    def __init__(self, source, bright):
        self.bright = bright
        self.face = SourceFace(source.face.landmarks)
        x, y = np.round(source.face.landmarks[4, :2]).astype(int)
        self.box = x, y, x + 1, y + 1

    def begin(self, rest, image, points):
        pass

    def draw(self, canvas, drive):
        canvas[self.box[1], self.box[0]] = self.bright
        return Shown()


class Toy(Engine):
    name = "toy"

    def __init__(self, bright):
        self.bright = bright

    def prepare(self, source, setting=None):
        return Face(source, self.bright)


def open_engine(options, weights):
    return Toy(options.bright)
"""
RECIPE = '''
from dataclasses import dataclass


@dataclass(frozen=True)
class ToyRecipe:
    """A dot, learned."""
    epochs: int = 1
    batch_size: int = 1


RECIPES = {"toy-small": ToyRecipe()}


def task(recipe):
    raise NotImplementedError


def samples(recipe, folder, split):
    raise NotImplementedError
'''
MEASURE = """
def evaluate(clips, out, weights, progress, inception):
    return {"mean": {"dots": 1}}


def lines(summary):
    return [f"dots {summary['mean']['dots']}"]
"""
ASK = """
import json, sys
import infinex.systems

infinex.systems.__path__.append(sys.argv[1])
from typer.testing import CliRunner

from infinex.cli import app
from infinex.engine import engine_names, load_engine
from infinex.systems import registry
from infinex.training.recipes import all_recipes

names = engine_names()
listed = CliRunner().invoke(app, ["weights", "list"]).output
told = registry.where(registry.find("toy-dot"))
light = "torch" not in sys.modules
from infinex import Options

engine = load_engine("toy", Options(engine="toy", own={"bright": "7"})).bright
told_no = ""
try:
    Options(engine="toy", mouth="own").check()
except Exception as error:
    told_no = str(error)
asked = CliRunner().invoke(app, ["evaluate", ".", "--out", sys.argv[2], "--task", "toy"]).output
compared = CliRunner().invoke(app, ["compare", ".", "--out", sys.argv[2], "--task", "toy"]).output
from infinex.studio.offer import Engines

offered = Engines().known("mesh")
labels = Engines()._labels
print(json.dumps({"names": names, "listed": listed, "where": str(told), "light": light, "engine": engine,
                  "told_no": told_no, "asked": asked, "compared": compared, "label": labels["toy"],
                  "offered": offered}))
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A folder of systems with one in it."""
    home = tmp_path / "more" / "toy"
    (home / "data").mkdir(parents=True)
    files = {"__init__.py": STATED, "engine.py": ENGINE, "recipe.py": RECIPE, "measure.py": MEASURE}
    for name, text in files.items():
        (home / name).write_text(text)
    (home / "data" / "dot.safetensors").write_bytes(b"dot")
    return home.parent


@pytest.fixture
def installed(toy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, where this process looks for systems."""
    import infinex.systems

    for name in [n for n in sys.modules if n.startswith("infinex.systems.toy")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(infinex.systems, "__path__", [*infinex.systems.__path__, str(toy)])
    return toy


def test_a_new_system_is_found_everywhere_by_its_folder_alone(toy: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(toy), str(tmp_path / "out")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["names"][0] == "mesh" and "toy" in found["names"]
    assert "toy-dot" in found["listed"] and found["where"].endswith("toy/data/dot.safetensors")
    assert found["light"], "listing engines and weights must not load PyTorch"
    assert found["engine"] == 7 and "dots 1" in found["asked"] and "dots 1" in found["compared"]
    assert found["told_no"] == "--mouth: the engine toy does not know it"
    assert found["label"].startswith("Toy") and found["offered"]


@pytest.mark.usefixtures("installed")
def test_weights_of_a_run_are_named_by_its_folder(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "anna"
    run.mkdir()
    with pytest.raises(WeightsError, match="a folder without weights"):
        registry.resolve(run, "toy")
    (run / "recipe.json").write_text("{}")
    with pytest.raises(WeightsError, match="this run has not written its weights"):
        registry.resolve(run, "toy")
    (run / "weights.safetensors").write_bytes(b"of one person")
    assert registry.resolve(run, "toy") == registry.resolve(run / "weights.safetensors", "toy")
    assert registry.resolve("toy-dot", "toy") == toy / "toy" / "data" / "dot.safetensors"


def test_the_template_for_engines_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What CONTRIBUTING.md tells to begin with draws faces as the battery of all engines wants it."""
    text = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    stated, engine = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    home = tmp_path / "more" / "mine"
    home.mkdir(parents=True)
    (home / "__init__.py").write_text(stated, encoding="utf-8")
    (home / "engine.py").write_text(engine, encoding="utf-8")
    monkeypatch.setattr(infinex.systems, "__path__", [*infinex.systems.__path__, str(home.parent)])
    mine = load_engine("mine", Options(engine="mine", own={"detail": "0.5"}))
    battery = [f for n, f in vars(test_every_engine).items() if n.startswith("test_")]
    passed = [f(mine) for f in battery if list(inspect.signature(f).parameters) == ["engine"]]
    assert len(passed) >= 8
    with pytest.raises(WeightsError, match="no such file"):
        load_engine("mine", Options(engine="mine"), str(tmp_path / "nothing.safetensors"))


@pytest.mark.usefixtures("installed")
def test_its_recipes_are_found() -> None:
    pytest.importorskip("torch")
    from infinex.training.recipes import find_recipe

    assert find_recipe("toy-small").recipe.epochs == 1


def test_what_a_system_states_is_there() -> None:
    for name, found in systems().items():
        for module in (found.system.engine, found.system.recipes, found.system.evaluate):
            assert not module or (found.folder / f"{module}.py").is_file(), (name, module)
        for weights in found.system.weights:
            assert not weights.bundled or (found.data / weights.bundled).is_file(), weights.name
            assert not weights.convert or (found.folder / f"{weights.convert}.py").is_file()
            assert weights.licence and weights.origin
    assert set(with_engines()) <= set(systems())


def test_what_a_system_lacks_is_said(installed: Path) -> None:
    from infinex.engine import load_engine

    (installed / "toy" / "engine.py").write_text("import a_package_that_nobody_has\n")
    with pytest.raises(MissingDependencyError, match="the engine toy needs a_package_that_nobody_has"):
        load_engine("toy")
