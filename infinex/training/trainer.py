"""One trainer for every system: Lightning Fabric around a task's own step, stopped and resumed exactly.

    RUN/recipe.json      what was trained, on what, how
    RUN/metrics.csv      every term, averaged over `log_every` steps
    RUN/held.csv         the task's own measure on people held back
    RUN/tensorboard/     the same for TensorBoard
    RUN/panels/          sample panels of people held back
    RUN/checkpoints/     the state after some step, written whole or not at all; the last two are kept
    RUN/weights.safetensors   the result

Step n draws its samples and its random numbers from (seed, n) alone. A run that was killed therefore goes on
from its last checkpoint as if nothing had happened: the same samples, the same losses, on the same machine.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from infinex.errors import InfinexError, InputError, MissingDependencyError, OutputError, WeightsError, option
from infinex.media.files import atomic_path, locked
from infinex.media.image import write_image
from infinex.spec import systems
from infinex.training.average import Average
from infinex.training.data import Samples
from infinex.training.recipes import Entry, changed, find_recipe
from infinex.training.run import FORMAT, Checkpoints, Say, Table, earlier
from infinex.training.task import Task, TrainerOptions

Progress = Callable[[int, int | None], None]
LOCK = ".lock"  # in a run's folder, held while it is trained


class _Order(Sampler):
    """Batches of (epoch, index) from step `first` to `last`; every process draws its own part of each."""

    def __init__(self, count: int, batch: int, seed: int, first: int, last: int, rank: int, world: int) -> None:
        self.count, self.batch, self.seed = count, batch, seed
        self.first, self.last, self.rank, self.world = first, last, rank, world
        self.steps = max(1, count // (batch * world))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, order = -1, np.zeros(0, int)
        for step in range(self.first, self.last):
            if step // self.steps != epoch:
                epoch = step // self.steps
                order = np.random.default_rng([self.seed, epoch, 1]).permutation(self.count)
            place = (step % self.steps * self.world + self.rank) * self.batch
            yield [(epoch, int(i)) for i in np.take(order, range(place, place + self.batch), mode="wrap")]

    def __len__(self) -> int:
        return self.last - self.first


class _Drawn(Dataset):
    """Samples by (epoch, index), each with random numbers of its own."""

    def __init__(self, samples: Samples, seed: int) -> None:
        self.samples, self.seed = samples, seed

    def __getitem__(self, key: tuple[int, int]) -> Any:
        epoch, index = key
        return dict(self.samples.get(index, np.random.default_rng([self.seed, epoch, index, 2])))


def _fabric(o: TrainerOptions) -> Any:
    """Lightning Fabric for these options, launched."""
    try:
        from lightning_fabric import Fabric
    except ImportError:
        raise MissingDependencyError("training needs lightning-fabric: pip install 'infinex[train]'") from None
    accelerator = o.accelerator
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    precision = o.precision
    if precision == "auto":
        precision = "bf16-mixed" if accelerator == "cuda" and torch.cuda.is_bf16_supported() else "32-true"
    strategy: Any = o.strategy
    if strategy == "auto" and o.devices * o.nodes > 1:
        from lightning_fabric.strategies import DDPStrategy

        # A network may run several times before one backward pass, and some have terms switched off.
        strategy = DDPStrategy(broadcast_buffers=False, find_unused_parameters=True)
    try:
        fabric = Fabric(
            accelerator=accelerator, devices=o.devices, num_nodes=o.nodes, precision=precision, strategy=strategy  # type: ignore[arg-type]
        )  # fmt: skip
    except Exception as error:  # Fabric refuses what this machine lacks by many kinds of error
        raise InputError(f"this machine cannot train so: {str(error).splitlines()[0]}") from None
    fabric.launch()
    return fabric


def _seed(seed: int, step: int, rank: int) -> None:
    """Random numbers of one step of one process."""
    word = int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0])
    torch.manual_seed(word)
    np.random.seed(word)
    random.seed(word)


def _arrays(batch: Any) -> Any:
    return {k: v if isinstance(v, Tensor) else torch.as_tensor(v) for k, v in batch.items()}


@dataclass
class Result:
    """What a run came to."""

    run: str
    step: int
    seconds: float
    weights: str
    terms: dict[str, float]
    warnings: list[str]


class Trainer:
    """One run of one recipe; see `train`."""

    def __init__(
        self, entry: Entry, options: TrainerOptions, data: Path, run: Path, settings: list[str], say: Say
    ) -> None:
        self.entry, self.o, self.data, self.run, self.settings = entry, options, data, run, settings
        self.learned = data  # the folder of samples, which may be made of `data`
        self.warnings: list[str] = []
        self._say = say
        self.fabric: Any = None
        self.leads = True
        self._lock: TextIO | None = None

    def say(self, text: str) -> None:
        """A word to the user, remembered for the summary."""
        if self.leads and text not in self.warnings:
            self.warnings.append(text)
            self._say(text)

    # -- beginning -------------------------------------------------------------------------------

    def _check(self, resume: bool) -> None:
        """See that the run's folder is new, or not, as is wanted."""
        described = self.run / "recipe.json"
        if self.run.exists() and not self.run.is_dir():
            raise OutputError(f"{self.run} is a file; a folder is wanted")
        if not resume:
            if described.is_file():
                raise OutputError(
                    f"{self.run} holds a run already: go on with {option('resume')}, or name another folder"
                )
            if self.run.is_dir() and any(self.run.iterdir()):
                raise OutputError(f"{self.run} exists and is not an empty folder")
        if resume:
            self._hold()

    def _hold(self) -> None:
        """Keep other processes from writing into the run's folder while this one does; one that died keeps nobody."""
        if self._lock is not None:
            return
        try:
            self.run.mkdir(parents=True, exist_ok=True)
            self._lock = locked(self.run / LOCK)
        except OSError as error:
            raise OutputError(f"{self.run} cannot be written: {error.strerror}") from None
        if self._lock is None:
            raise OutputError(f"{self.run} is being trained by another process: wait for it, or name another folder")

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
        self._lock = None

    def _description(self) -> dict[str, Any]:
        from infinex._version import __version__

        return {
            "format": FORMAT, "infinex": __version__, "recipe": self.entry.name, "data": str(self.data.absolute()),
            "panel": self.task.panel if hasattr(self, "task") else "", "set": self.settings,
            "settings": dataclasses.asdict(self.entry.recipe), "options": dataclasses.asdict(self.o),
        }  # fmt: skip

    def _start_from(self, task: Task) -> None:
        """Begin with the weights the recipe names: a file, or those that come along."""
        start = getattr(self.entry.recipe, "start_from", "")
        if not start:
            return
        path = Path(start)
        if not path.is_file():
            came = ((w, found) for found in systems().values() for w in found.system.weights if w.bundled)
            path = next((found.data / w.bundled for w, found in came if w.name == start), path)
        if not path.is_file():
            raise InputError(
                f"{self.entry.name} goes on from the result of {start}: {option('set')} "
                "start_from=RUN/weights.safetensors, "
                f"or {option('set')} start_from= to begin afresh"
            )
        task.load_file(path)

    # -- the state -------------------------------------------------------------------------------

    def _state(self, step: int, seconds: float) -> dict[str, Any]:
        state: dict[str, Any] = {
            "format": FORMAT, "recipe": self.entry.name, "step": step, "seconds": seconds,
            "networks": {n: net.state_dict() for n, net in self.plain.items()},
            "optimizers": {n: o.state_dict() for n, o in self.task.optimizers().items()},
            "schedulers": {n: s.state_dict() for n, s in self.schedules.items()},
            "window": self.window, "windowed": self.windowed,
        }  # fmt: skip
        if self.average is not None:
            state["average"] = {"count": self.average.count, "state": self.average.state}
        return state

    def _restore(self, state: dict[str, Any]) -> None:
        if state.get("recipe") != self.entry.name:
            raise WeightsError(f"the checkpoint is of {state.get('recipe')}, not of {self.entry.name}")
        try:
            for name, network in self.plain.items():
                network.load_state_dict(state["networks"][name])
            for name, optimizer in self.task.optimizers().items():
                optimizer.load_state_dict(state["optimizers"][name])
            for name, schedule in self.schedules.items():
                # Where it was, not what it was: milestones changed by --set apply from here on.
                place = state["schedulers"][name]
                kept = ("last_epoch", "_step_count", "_last_lr", "lr_lambdas")  # the last only says that there are some
                schedule.load_state_dict({k: place[k] for k in kept if k in place})
            if self.average is not None and "average" in state:
                self.average.count = state["average"]["count"]
                for name, mine in self.average.state.items():
                    for key, value in state["average"]["state"][name].items():
                        mine[key].copy_(value)
        except (KeyError, RuntimeError, ValueError):
            raise WeightsError(
                f"the checkpoint does not fit the recipe: its sizes were changed by {option('set')}"
            ) from None
        self.window, self.windowed = dict(state["window"]), int(state["windowed"])

    def _checkpoint(self, step: int, last: bool = False) -> None:
        self.fabric.barrier()
        if self.leads:
            try:
                self.checkpoints.save(self._state(step, self.spent()))
                self.saved = step
            except OutputError as error:
                if last:
                    raise OutputError(f"{error}; the last good checkpoint is of step {self.saved}") from None
                self.say(f"step {step}: {error}; training goes on")
        self.clock_checkpoint = time.monotonic()

    # -- the loop --------------------------------------------------------------------------------

    def spent(self) -> float:
        """Seconds of training, those of earlier sittings included."""
        return self.before + time.monotonic() - self.clock

    def __call__(self, resume: bool, progress: Progress | None) -> Result:
        o, recipe = self.o, self.entry.recipe
        # The first process looks at the folder before the others are started, and all read it before it changes.
        if os.environ.get("LOCAL_RANK", "0") == os.environ.get("NODE_RANK", "0") == "0":
            self._check(resume)
        self.fabric = _fabric(o)
        state = Checkpoints(self.run / "checkpoints").newest(self.say) if resume else None
        self.fabric.barrier()
        self.leads = self.fabric.is_global_zero
        rank, world = self.fabric.global_rank, self.fabric.world_size
        threads = torch.get_num_threads()
        if self.fabric.device.type == "cpu":
            torch.set_num_threads(o.threads)
        try:
            if self.entry.prepare is not None:
                recipe = self._prepared(recipe, progress)
            samples = self.entry.samples(recipe, self.learned, "train")
            if not len(samples):
                raise InputError(f"{self.data} holds nothing to train on")
            _seed(o.seed, 0, 0)
            self.task: Task = self.entry.task(recipe)
            if state is None:
                self._start_from(self.task)
            self._wrap()
            self.window, self.windowed = {}, 0
            if state is not None:
                self._restore(state)
            return self._train(samples, state, rank, world, progress)
        finally:
            torch.set_num_threads(threads)
            self._release()

    def _prepared(self, recipe: Any, progress: Progress | None) -> Any:
        """See `Entry.prepare`: the first process makes the folder, the others wait and find it there."""
        assert self.entry.prepare is not None
        if self.leads:
            new = not self.run.is_dir() or not any(self.run.iterdir())
            self._hold()
            try:
                self._describe()
                recipe, self.learned = self.entry.prepare(recipe, self.data, self.run, self._say, progress)
            except InfinexError:
                self._release()
                if new:  # what cannot be learned from leaves nothing behind
                    shutil.rmtree(self.run, ignore_errors=True)
                raise
        self.fabric.barrier()
        if not self.leads:
            recipe, self.learned = self.entry.prepare(recipe, self.data, self.run, self._say, None)
        self.entry = self.entry._replace(recipe=recipe)
        return recipe

    def _describe(self) -> None:
        with atomic_path(self.run / "recipe.json") as temporary:
            temporary.write_text(json.dumps(self._description(), indent=1), encoding="utf-8")

    def _wrap(self) -> None:
        """Put Fabric around networks and optimisers."""
        task, o = self.task, self.o
        if self.fabric.world_size > 1 and self.fabric.device.type == "cuda":
            for name, network in task.networks.items():
                task.networks[name] = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        self.schedules = task.schedulers()  # they want optimisers of PyTorch's own class
        self.plain = dict(task.networks)
        optimizers = task.optimizers()
        for name, network in self.plain.items():
            if o.compile:
                network.compile()
            if name in optimizers:
                task.networks[name], optimizers[name] = self.fabric.setup(network, optimizers[name])
            else:
                task.networks[name] = self.fabric.setup_module(network)
        self.average = Average(self.plain, o.ema) if o.ema > 0 else None

    def _train(
        self, samples: Samples, state: dict[str, Any] | None, rank: int, world: int, progress: Progress | None
    ) -> Result:
        o, recipe, task = self.o, self.entry.recipe, self.task
        first = state["step"] if state else 0
        order = _Order(len(samples), recipe.batch_size, o.seed, first, 0, rank, world)
        order.last = total = o.max_steps or recipe.epochs * order.steps
        self.checkpoints = Checkpoints(self.run / "checkpoints")
        if self.leads:
            self._hold()
            self._describe()
            metrics, self.held_table = (Table(self.run / f"{n}.csv", first) for n in ("metrics", "held"))
        board = self._board(first) if self.leads and o.tensorboard else None
        held = self._held(recipe)
        loader = self.fabric.setup_dataloaders(
            DataLoader(_Drawn(samples, o.seed), batch_sampler=order, num_workers=o.workers,
                       collate_fn=default_collate, persistent_workers=o.workers > 0),
            use_distributed_sampler=False,
        )  # fmt: skip
        self.before, self.clock = float(state["seconds"]) if state else 0.0, time.monotonic()
        self.clock_checkpoint, self.saved = time.monotonic(), first
        terms: dict[str, float] = {}
        step = first
        try:
            for step, batch in enumerate(loader, first + 1):
                _seed(o.seed, step, rank)
                terms = task.step(batch, self.fabric)
                if not all(math.isfinite(v) for v in terms.values()):
                    bad = next(k for k, v in terms.items() if not math.isfinite(v))
                    raise FloatingPointError(f"not a finite number: {bad}")
                if self.average is not None:
                    self.average.update()
                for k, v in terms.items():
                    self.window[k] = self.window.get(k, 0.0) + v
                self.windowed += 1
                if step % o.log_every == 0 or step == total:
                    self._log(metrics if self.leads else None, board, step, order.steps)
                if step % order.steps == 0:
                    for schedule in self.schedules.values():
                        schedule.step()
                if held is not None and (step % o.panel_every == 0 or step == total):
                    self._show(held, board, step)
                due = time.monotonic() - self.clock_checkpoint > o.checkpoint_minutes * 60
                if world > 1:  # all processes must agree
                    due = bool(self.fabric.broadcast(due))
                if step % o.checkpoint_every == 0 or due or step == total:
                    self._checkpoint(step, last=step == total)
                if progress and self.leads:
                    progress(step, total)
        except FloatingPointError as error:
            raise InfinexError(
                f"step {step}: {error}; training stopped, the last good checkpoint is of step {self.saved} "
                f"(try a lower rate, or {option('set')} clip_gradient=1)"
            ) from None
        except KeyboardInterrupt:
            # The step under way may be half done; the checkpoint before it is what counts.
            self._say(f"stopped in step {step}; --resume goes on from step {self.saved}")
            raise
        finally:
            if board is not None:
                board.close()
        weights = self.run / "weights.safetensors"
        if self.leads:
            with self._shown():
                task.save(weights)
        return Result(str(self.run), step, round(self.spent(), 1), str(weights), terms, self.warnings)

    def _shown(self) -> contextlib.AbstractContextManager[None]:
        """The networks as they are saved: their averages."""
        return contextlib.nullcontext() if self.average is None else self.average.shown()

    def _board(self, first: int) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.say("no TensorBoard here: metrics.csv alone is written")
            return None
        return SummaryWriter(self.run / "tensorboard", purge_step=first + 1)

    def _log(self, table: Table | None, board: Any, step: int, steps: int) -> None:
        means = {k: v / self.windowed for k, v in self.window.items()}
        self.window, self.windowed = {}, 0
        if table is None:
            return
        rate = next((g["lr"] for s in self.schedules.values() for g in s.optimizer.param_groups), 0.0)
        row: dict[str, Any] = {
            "step": step,
            "epoch": (step - 1) // steps,
            "seconds": f"{self.spent():.1f}",
            "rate": rate,
        }
        if not table.add(row | {k: f"{v:.7g}" for k, v in means.items()}):
            self.say("the disk is full; metrics wait in memory")
        if board is not None:
            with contextlib.suppress(OSError):
                for k, v in means.items():
                    board.add_scalar(f"terms/{k}", v, step)

    def _held(self, recipe: Any) -> Any:
        """A batch of people held back, the same in every run; of training samples where there are none."""
        try:
            samples = self.entry.samples(recipe, self.learned, "test")
            if not len(samples):
                samples = self.entry.samples(recipe, self.learned, "train")
                self.say("nobody is held back in the data: panels show people trained on")
        except InputError as error:
            self.say(f"no panels: {error}")
            return None
        count = min(len(samples), max(8, self.o.panel_rows))
        chosen = np.linspace(0, len(samples) - 1, count).round().astype(int)
        drawn = [samples.get(int(i), np.random.default_rng([self.o.seed, int(i), 3])) for i in chosen]
        return self.fabric.to_device(_arrays(default_collate([dict(d) for d in drawn])))

    def _show(self, held: Any, board: Any, step: int) -> None:
        """Measure and picture the held-back batch with the averaged weights."""
        if not self.leads:
            return
        with self._shown(), torch.random.fork_rng(devices=[]):
            figures = self.task.measure(held)
            panel = self.task.sample_panel({k: v[: self.o.panel_rows] for k, v in held.items()})
        if figures and not self.held_table.add({"step": step} | {k: f"{v:.7g}" for k, v in figures.items()}):
            self.say("the disk is full; metrics wait in memory")
        with contextlib.suppress(OSError):
            if board is not None:
                for k, v in figures.items():
                    board.add_scalar(f"held/{k}", v, step)
                if panel.size:
                    board.add_image("panel", panel, step, dataformats="HWC")
        if panel.size:
            try:
                (self.run / "panels").mkdir(exist_ok=True)
                write_image(self.run / "panels" / f"step-{step:09d}.png", panel)
            except (OutputError, OSError) as error:
                self.say(f"step {step}: no panel: {error}")


def train(
    recipe: str | Entry,
    data: str | Path | None,
    run: str | Path,
    settings: Sequence[str] = (),
    resume: bool = False,
    progress: Progress | None = None,
    say: Say = lambda _: None,
) -> Result:
    """Train a recipe, named or given, on a prepared folder; everything goes into the folder `run`.

    `settings` are `key=value` of the recipe or of `TrainerOptions`. A resumed run keeps the data and settings it
    had; new settings come on top. Raises InfinexError for what the user can mend, also when a loss stops being a
    number."""
    entry = find_recipe(recipe) if isinstance(recipe, str) else recipe
    run = Path(run)
    settings = list(settings)
    if resume:
        before = earlier(run, entry.name)
        settings = [*before["set"], *settings]
        data = data or before["data"]
    if data is None:
        raise InputError(f"name the data with {option('data')}")
    options = getattr(entry.recipe, "trainer", None) or TrainerOptions()
    changed_recipe, options = changed(entry.recipe, options, settings)
    for name in ("devices", "nodes", "log_every", "checkpoint_every", "panel_every", "panel_rows", "threads"):
        if getattr(options, name) < 1:
            raise InputError(f"{option('set')} {name}={getattr(options, name)}: it is at least 1")
    if not 0 <= options.ema < 1:
        raise InputError(f"{option('set')} ema={options.ema}: it goes from 0 to below 1")
    if changed_recipe.batch_size < 1 or changed_recipe.epochs < 1:
        raise InputError(f"{option('set')}: batch_size and epochs are at least 1")
    entry = entry._replace(recipe=changed_recipe)
    return Trainer(entry, options, Path(data), run, settings, say)(resume, progress)
