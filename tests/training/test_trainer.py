"""The training loop: killed, resumed, stopped by bad numbers and full disks."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from infinex.errors import InfinexError, InputError, OutputError, WeightsError  # noqa: E402
from infinex.systems.fomm import recipe as fomm  # noqa: E402
from infinex.systems.fomm.losses import LossWeights  # noqa: E402
from infinex.systems.fomm.model import CONFIGS, FommConfig  # noqa: E402
from infinex.systems.fomm.weights import LAYOUT  # noqa: E402
from infinex.training import run as run_folder  # noqa: E402
from infinex.training import trainer  # noqa: E402
from infinex.training.recipes import Entry, changed, find_recipe  # noqa: E402

SMALL = FommConfig(size=32, keypoints=3, detector_width=8, detector_max=16, detector_levels=2, motion_width=8,
                   motion_max=16, motion_levels=2, generator_width=8, generator_max=16, generator_blocks=1,
                   critic_width=8, critic_max=16, critic_blocks=2)  # fmt: skip
KILLED = """
import sys, time
from tests.training.test_trainer import entry, trainer
trainer.train(entry(), sys.argv[1], sys.argv[2], ["max_steps=9", "checkpoint_every=2"],
              progress=lambda step, total: time.sleep(0 if step < 7 else 3600))  # to be killed there at the latest
"""


def entry() -> Entry:
    """A FOMM small enough for a test."""
    CONFIGS["test-small"] = SMALL
    recipe = fomm.FommRecipe(config="test-small", scales=(1.0, 0.5), batch_size=2, epochs=3, repeats=2, milestones=(2,))
    return Entry("test", recipe, fomm.task, fomm.samples)


def rows(run: Path, name: str = "metrics.csv") -> list[dict[str, str]]:
    with (run / name).open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def test_a_run_leaves_everything(dataset: Callable[..., Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = trainer.train(entry(), dataset(), run, ["panel_every=4"])
    assert result.step == 9  # three epochs of three clips twice in pairs
    trace = rows(run)
    assert [int(r["step"]) for r in trace] == list(range(1, 10))
    assert [r["rate"] for r in trace] == ["0.0002"] * 6 + [str(0.0002 * 0.1)] * 3
    assert {"perceptual", "generator_gan", "discriminator_gan", "equivariance_value"} <= set(trace[0])
    assert [int(r["step"]) for r in rows(run, "held.csv")] == [4, 8, 9]
    assert (run / "panels" / "step-000000009.png").stat().st_size > 500
    assert len(list((run / "checkpoints").glob("*"))) <= run_folder.KEPT
    assert (run / "tensorboard").is_dir() == (importlib.util.find_spec("tensorboard") is not None)
    described = json.loads((run / "recipe.json").read_text())
    assert described["recipe"] == "test" and described["set"] == ["panel_every=4"]
    assert LAYOUT.load(run / "weights.safetensors").config == SMALL


def test_a_killed_run_goes_on_as_if_nothing_had_happened(dataset: Callable[..., Path], tmp_path: Path) -> None:
    data = dataset()
    whole = tmp_path / "whole"
    trainer.train(entry(), data, whole, ["max_steps=9", "checkpoint_every=2"])
    run = tmp_path / "killed"
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(data), str(run)], cwd=root)
    table, end = run / "metrics.csv", time.monotonic() + 900
    while process.poll() is None and time.monotonic() < end:
        if table.is_file() and len(table.read_text().splitlines()) >= 6:
            break
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(rows(run)) < 9
    notes: list[str] = []
    trainer.train(entry(), None, run, resume=True, say=notes.append)
    assert rows(run) == rows(whole)
    assert rows(run, "held.csv") == rows(whole, "held.csv")
    a, b = LAYOUT.load(run / "weights.safetensors"), LAYOUT.load(whole / "weights.safetensors")
    assert all(torch.equal(v, b.networks["generator"][k]) for k, v in a.networks["generator"].items())


class Falling(fomm.FommTask):
    """With the kind of schedule that GANimation has."""

    def schedulers(self) -> dict[str, torch.optim.lr_scheduler.LRScheduler]:
        return {
            n: torch.optim.lr_scheduler.LambdaLR(o, lambda epoch: 1 - epoch / 4) for n, o in self.optimizers().items()
        }


def test_two_processes_do_not_write_into_one_run(dataset: Callable[..., Path], tmp_path: Path) -> None:
    data, run = dataset(), tmp_path / "run"
    trainer.train(entry(), data, run, ["max_steps=1"])
    other = subprocess.Popen(
        [sys.executable, "-c", "import sys, time\nfrom pathlib import Path\nfrom infinex.media.files import locked\n"
         "lock = locked(Path(sys.argv[1]))\nprint(lock is not None, flush=True)\ntime.sleep(60)",
         str(run / trainer.LOCK)], stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert other.stdout is not None and other.stdout.readline() == "True\n"
    with pytest.raises(OutputError, match="is being trained by another process"):
        trainer.train(entry(), data, run, ["max_steps=2"], resume=True)
    other.kill()  # its lock goes with it
    other.communicate()
    assert trainer.train(entry(), data, run, ["max_steps=2"], resume=True).step == 2


def test_a_rate_that_falls_by_a_function_goes_on_where_it_was(dataset: Callable[..., Path], tmp_path: Path) -> None:
    data, falling = dataset(), entry()._replace(task=Falling)
    trainer.train(falling, data, tmp_path / "whole", ["max_steps=9"])
    trainer.train(falling, data, tmp_path / "run", ["max_steps=4"])
    trainer.train(falling, None, tmp_path / "run", ["max_steps=9"], resume=True)
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")
    assert len({r["rate"] for r in rows(tmp_path / "run")}) == 3


def test_gradients_of_gradients_are_taken_in_mixed_precision_too(dataset: Callable[..., Path], tmp_path: Path) -> None:
    settings = ["adversary=wgan-gp", "precision=bf16-mixed", "max_steps=2"]
    trainer.train(entry(), dataset(), tmp_path / "run", settings)
    assert all(float(r["gradient_penalty"]) > 0 for r in rows(tmp_path / "run"))


def test_a_damaged_last_checkpoint_is_passed_over(dataset: Callable[..., Path], tmp_path: Path) -> None:
    run, data = tmp_path / "run", dataset()
    trainer.train(entry(), data, run, ["max_steps=4", "checkpoint_every=2"])
    before = rows(run)
    last = sorted((run / "checkpoints").glob("*.pt"))[-1]
    last.write_bytes(last.read_bytes()[:1000])
    notes: list[str] = []
    trainer.train(entry(), None, run, resume=True, say=notes.append)
    assert rows(run) == before
    assert any("truncated" in n for n in notes)
    for path in (run / "checkpoints").glob("*.pt"):
        path.write_bytes(b"nothing of use")
    with pytest.raises(WeightsError, match=r"damaged or no checkpoint|truncated"):
        trainer.train(entry(), None, run, resume=True)


def test_a_loss_that_is_no_number_stops_the_run(
    dataset: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = fomm.FommTask.step
    count = iter(range(100))

    def bad(self: fomm.FommTask, batch: dict, fabric: object) -> dict[str, float]:
        if next(count) == 4:
            batch["driving"][0] = float("nan")
        return step(self, batch, fabric)

    monkeypatch.setattr(fomm.FommTask, "step", bad)
    with pytest.raises(InfinexError, match=r"step 5: not a finite number.* checkpoint is of step 4"):
        trainer.train(entry(), dataset(), tmp_path / "run", ["max_steps=9", "checkpoint_every=2"])


def test_a_full_disk_is_survived(dataset: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = trainer.Checkpoints.save

    def full(self: trainer.Checkpoints, state: dict) -> Path:
        if state["step"] == 2:
            raise OutputError("the disk is full")
        return save(self, state)

    monkeypatch.setattr(trainer.Checkpoints, "save", full)
    notes: list[str] = []
    result = trainer.train(
        entry(), dataset(), tmp_path / "run", ["max_steps=4", "checkpoint_every=2"], say=notes.append
    )
    assert result.step == 4
    assert any("disk is full; training goes on" in n for n in notes)


def test_metrics_wait_for_room(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    table = trainer.Table(tmp_path / "t.csv", 0)
    table.path = Path("/dev/full")
    assert not table.add({"step": 1, "x": 2})
    table.path = tmp_path / "t.csv"
    assert table.add({"step": 2, "x": 3})
    assert table.path.read_text() == "step,x\n1,2\n2,3\n"


def test_settings_reach_recipe_and_trainer() -> None:
    recipe, options = changed(
        entry().recipe, trainer.TrainerOptions(),
        ["max_steps=7", "weights.generator_gan=0", "milestones=3,4", "spectral=true", "betas=0.1,0.2", "ema=0",
         "trainer.precision=bf16-mixed"],
    )  # fmt: skip
    assert (options.max_steps, options.ema, options.precision) == (7, 0, "bf16-mixed")
    assert recipe.weights == LossWeights(generator_gan=0)
    assert (recipe.milestones, recipe.spectral, recipe.betas) == ((3, 4), True, (0.1, 0.2))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("max_step=20", "did you mean max_steps"),
        ("batch_size=big", "whole number"),
        ("weights=3", "name one of its parts"),
        ("adversary=wgan", "one of lsgan, bce"),
        ("epochs", "key=value"),
        ("augmentation.flip=perhaps", "true or false"),
        ("epochs.x=1", "has no parts"),
    ],
)
def test_settings_that_cannot_be(setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        changed(entry().recipe, trainer.TrainerOptions(), [setting])


def test_one_line_for_each_mistake(dataset: Callable[..., Path], tmp_path: Path) -> None:
    data, run = dataset(), tmp_path / "run"
    with pytest.raises(InputError, match=r"unknown recipe 'nothing'; there are .*fomm-tiny"):
        find_recipe("nothing")
    with pytest.raises(InputError, match=r"no manifest.csv: make it with infinex prepare"):
        trainer.train(entry(), tmp_path, run)
    with pytest.raises(InputError, match="no such folder"):
        trainer.train(entry(), tmp_path / "nowhere", run)
    with pytest.raises(InputError, match="holds no run to resume"):
        trainer.train(entry(), data, run, resume=True)
    with pytest.raises(InputError, match="vox-adv-256 goes on from the result of vox-256"):
        trainer.train("vox-adv-256", data, run)
    with pytest.raises(InputError, match="there are vox-256"):
        trainer.train(entry(), data, run, ["config=huge"])
    trainer.train(entry(), data, run, ["max_steps=1"])
    with pytest.raises(OutputError, match="--resume"):
        trainer.train(entry(), data, run)
    with pytest.raises(InputError, match="run of test, not of other"):
        trainer.train(entry()._replace(name="other"), data, run, resume=True)
    with pytest.raises(WeightsError, match="does not fit the recipe"):
        trainer.train(entry(), data, run, ["config=fomm-tiny"], resume=True)


def test_code_in_a_checkpoint_is_refused(tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple:
            return os.system, ("true",)

    torch.save({"format": run_folder.FORMAT, "x": Code()}, tmp_path / "bad.pt")
    with pytest.raises(WeightsError, match="holds code and is refused"):
        run_folder.read_checkpoint(tmp_path / "bad.pt")
    torch.save({"generator": {}}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="no checkpoint of a training run"):
        run_folder.read_checkpoint(tmp_path / "other.pt")


def test_people_held_back_stay_so(dataset: Callable[..., Path]) -> None:
    from infinex.training.data import read_clips

    data = dataset()
    assert [c.split for c in read_clips(data)] == ["train"] * 3 + ["test"]
    path = data / "manifest.csv"
    path.write_text(path.read_text().replace("test,p3", "test,p0"))
    with pytest.raises(InputError, match="p0 is in both splits"):
        read_clips(data)
    path.write_text(path.read_text().replace(",ok,", ",rejected,"))
    with pytest.raises(InputError, match="no usable clip"):
        read_clips(data)


def test_frames_come_alike_from_cache_and_file(dataset: Callable[..., Path]) -> None:
    import numpy as np

    from infinex.training.data import FramePairs

    data = dataset()
    cached, decoded = (FramePairs(data, "train", 32, cache_gb=g) for g in (1, 0))
    for i in range(3):
        a, b = (p.get(i, np.random.default_rng(i)) for p in (cached, decoded))
        assert a["source"].shape == (3, 32, 32)
        assert np.array_equal(a["source"], b["source"]) and np.array_equal(a["driving"], b["driving"])
    assert not np.array_equal(a["source"], a["driving"])


TWO = """
import sys
from tests.training.test_trainer import entry, trainer
if __name__ == "__main__":
    trainer.train(entry(), sys.argv[1], sys.argv[2], ["max_steps=3", "devices=2", "accelerator=cpu"])
"""


@pytest.mark.slow
def test_two_processes_train_together(dataset: Callable[..., Path], tmp_path: Path) -> None:
    script, run = tmp_path / "two.py", tmp_path / "run"
    script.write_text(TWO)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(script), str(dataset(people=6)), str(run)],
        cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert [int(r["step"]) for r in rows(run)] == [1, 2, 3]
    assert LAYOUT.load(run / "weights.safetensors").config == SMALL


def test_a_run_without_its_recipe_is_refused(tmp_path: Path) -> None:
    from infinex.commands.train import train as command

    with pytest.raises(InputError, match="recipe first"):
        command(out=tmp_path, resume=True)
