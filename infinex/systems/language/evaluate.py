"""Measures of language-guided animation: ACD, smoothness, text-to-motion retrieval, and FID where weights are given.

Unit models are measured on sentences whose words stand in no training sentence, by the distance from the grammar's
trajectory and by how much of it is shown (`recipe.reached`). The judge of retrieval is a
matching network that is trained here, on true pairs and from its own seed, and never saw a generator.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from infinex.drivers.timeline import TrackDriver
from infinex.errors import InputError
from infinex.evaluation.inception import Judges
from infinex.media.files import atomic_path
from infinex.media.image import read_image
from infinex.nn.sentence import load_encoder
from infinex.systems.language.losses import contrastive, path_regularisation
from infinex.systems.language.model import MotionText
from infinex.systems.language.pairs import CHANNELS, Pairs
from infinex.systems.language.recipe import UnitRecipe, pairs_for, reached
from infinex.systems.language.units import generate, laid_out, read
from infinex.systems.language.weights import UnitWeights, load_units, shipped

Progress = Callable[[int, int | None], None]
PORTRAITS = 2  # that ACD is measured on
CHOICES = 32  # sentences a trajectory is told from in the retrieval
ACD_SENTENCES = ("she smiles", "he looks terrified")


def average_content_distance(videos: Iterable[Sequence[NDArray[np.floating]]]) -> float:
    """ACD (Tulyakov et al. 2018): mean distance of the identity features of all pairs of frames of a video.

    `videos` are sequences of feature vectors, one for each frame. Raises ValueError where none has two frames."""
    found = []
    for video in videos:
        x = np.asarray(list(video), np.float64)
        if len(x) < 2:
            continue
        square = (x * x).sum(1)
        apart = np.sqrt(np.maximum(square[:, None] + square[None] - 2 * x @ x.T, 0))
        found.append(apart[np.triu_indices(len(x), 1)].mean())
    if not found:
        raise ValueError("ACD needs a video of two frames or more")
    return float(np.mean(found))


def smoothness(trajectories: NDArray[np.floating]) -> float:
    """Path length regularity of (N, T, C): the mean over frames of equation 10's square; smaller is smoother."""
    x = torch.as_tensor(np.asarray(trajectories, np.float32))
    return float(path_regularisation(x)) / (x.shape[0] * (x.shape[1] - 2))


def train_judge(pairs: Pairs, vectors: NDArray[np.float32], steps: int = 250, seed: int = 17) -> MotionText:
    """A matching network trained on true pairs alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        judge = MotionText(pairs.motion.shape[2], vectors.shape[1])
        rng = np.random.default_rng(seed)
        optimizer = torch.optim.Adam(judge.parameters(), lr=2e-3)
        motion, text = torch.from_numpy(pairs.motion), torch.from_numpy(vectors)
        for _ in range(steps):
            rows = rng.permutation(len(pairs.texts))[:64]
            _, first = np.unique(pairs.group[rows], return_index=True)
            rows = rows[first]
            loss = contrastive(judge.motion(motion[rows]), judge.text(text[rows])) / len(rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return judge.eval()


def retrieval(
    judge: MotionText, trajectories: NDArray[np.floating], vectors: NDArray[np.float32], group: NDArray, seed: int = 3
) -> tuple[float, float]:
    """Share of trajectories whose own sentence comes first, and among the first three, of `CHOICES` different ones."""
    rng = np.random.default_rng(seed)
    with torch.inference_mode():
        m = judge.motion(torch.as_tensor(np.asarray(trajectories, np.float32))).numpy()
        t = judge.text(torch.from_numpy(vectors)).numpy()
    ranks = []
    for i in range(len(m)):
        others = np.flatnonzero(group != group[i])
        others = rng.choice(others, min(CHOICES - 1, len(others)), replace=False)
        scores = t[others] @ m[i]
        ranks.append(int((scores > t[i] @ m[i]).sum()))
    r = np.array(ranks)
    return float((r == 0).mean()), float((r < 3).mean())


def evaluate(
    folder: str | Path | None = None, out: str | Path | None = None, weights: str | None = None,
    progress: Progress | None = None, inception: str | Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Measure the unit generator `weights` (the shipped one by default) beside its baselines.

    Several files may be named with commas between them; each makes a row by its recurrence.
    `folder` may hold portraits, on which ACD is measured and, with an `inception` network, FID from the portraits as
    they are; `out` is a folder for `report.json`. The rows are
    the truth (the grammar's own trajectories), the generator, the LSTM where it is shipped or named, a straight line
    to the generator's last frame, and a face that does not move. Raises InputError, WeightsError or
    MissingDependencyError."""
    loaded = _loaded(weights)
    main = next(iter(loaded.values()))
    config = main.model.config
    recipe = UnitRecipe(frames=config.frames, rate_frames=config.fps)
    test = pairs_for(recipe, None, "test")
    known = pairs_for(UnitRecipe(frames=config.frames, rate_frames=config.fps, pairs=1200), None, "train")
    every = Pairs((*known.texts, *test.texts), np.concatenate([known.motion, test.motion]),
                  np.concatenate([known.group, test.group + known.group.max() + 1]))  # fmt: skip
    # The judge knows the test's words too: it measures what is shown, not what it can guess.
    encoder = load_encoder(recipe.encoder)
    vectors = encoder(test.texts)
    judge = train_judge(every, encoder(every.texts))
    made = {"truth": test.motion} | {k: generate(w.model, read(w.model, test.texts)) for k, w in loaded.items()}
    made["interpolation"] = generate(main.model, read(main.model, test.texts), straight=True)
    made["still"] = np.zeros_like(test.motion)
    rows: dict[str, dict[str, float]] = {}
    for name, trajectories in made.items():
        first, third = retrieval(judge, trajectories, vectors, test.group)
        distance = float(np.square(trajectories - test.motion).sum(2).mean())
        rows[name] = {"distance": distance, **reached(trajectories, test.motion), "top1": first, "top3": third,
                      "path": smoothness(trajectories)}  # fmt: skip
    summary: dict[str, Any] = {
        "task": "language", "sentences": len(test.texts), "choices": CHOICES, "rows": rows,
        "weights": ",".join(w.path.name for w in loaded.values()), "seconds": config.frames / config.fps,
    }  # fmt: skip
    if folder is not None and portraits_in(Path(folder)):
        judges = Judges.load(None, inception)
        for name in (*loaded, "interpolation"):
            model = main.model if name == "interpolation" else loaded[name].model
            moves = generate(model, read(model, ACD_SENTENCES), straight=name == "interpolation")
            watch = partial(judges.see, name)
            rows[name]["acd"] = acd_on_portraits(Path(folder), moves, config.channels, config.fps, progress, watch)
        if judges.inception is not None:
            for picture in portraits_in(Path(folder)):
                judges.see("truth", read_image(picture))
            for name, value in judges.fid().items():
                rows[name]["fid"] = value
    if out is not None:
        where = Path(out)
        where.mkdir(parents=True, exist_ok=True)
        with atomic_path(where / "report.json") as temporary:
            temporary.write_text(json.dumps(summary, indent=1), encoding="utf-8")
    return summary


def _loaded(weights: str | None) -> dict[str, UnitWeights]:
    """The generators to measure by their recurrences, the paper's own first."""
    named = [Path(w.strip()) for w in weights.split(",") if w.strip()] if weights else []
    found = [load_units(path) for path in named] or [load_units()]
    if not named and shipped("lstm"):
        found.append(load_units(recurrence="lstm"))
    out: dict[str, UnitWeights] = {}
    for w in found:
        config = w.model.config
        name = "recurrent" if config.recurrence == "residual" else config.recurrence
        if name in out:
            raise InputError(f"{w.path} and {out[name].path} have the same recurrence; name one of each")
        if config.channels != CHANNELS:
            raise InputError(f"{w.path} moves other channels than the sentences are made of: train it anew")
        out[name] = w
    if len({(w.model.config.frames, w.model.config.fps) for w in out.values()}) > 1:
        raise InputError("generators of different lengths cannot be measured side by side")
    return dict(sorted(out.items(), key=lambda item: item[0] != "recurrent"))


def portraits_in(folder: Path) -> list[Path]:
    """Pictures of a folder, sorted. Raises InputError where it is none."""
    from infinex.media.image import SUFFIXES

    if not folder.is_dir():
        raise InputError(f"{folder} is no folder")
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)


def acd_on_portraits(
    folder: Path,
    moves: NDArray[np.float32],
    channels: Sequence[str],
    rate: float,
    progress: Progress | None = None,
    watch: Callable[[NDArray[np.uint8]], None] | None = None,
) -> float:
    """ACD of the portraits in a folder animated by trajectories, by the identity network, every fifth frame.

    `watch` is shown the same frames."""
    from infinex.face.identity import identity
    from infinex.face.tracker import FaceTracker
    from infinex.jobs.animate import render
    from infinex.jobs.source import load_source

    pictures = portraits_in(folder)
    videos = []
    with FaceTracker() as tracker:
        for n, picture in enumerate(pictures[:PORTRAITS]):
            source = load_source(picture, size=320)[0]
            for part in moves:
                tracks, frames = laid_out(part[None], channels, rate, 12.5)
                features = []
                for k, frame in enumerate(render(source, TrackDriver(tracks, frames, 12.5, True, 0))):
                    face = tracker(frame) if k % 5 == 0 else None
                    if watch is not None and k % 5 == 0:
                        watch(frame)
                    if face is not None:
                        features.append(identity(frame, face.landmarks))
                videos.append(features)
            if progress:
                progress(n + 1, min(len(pictures), PORTRAITS))
    return average_content_distance(videos)


def lines(summary: dict[str, Any]) -> list[str]:
    """The summary in words."""
    out = [
        f"{summary['sentences']} sentences whose words were kept from training, {summary['seconds']:.1f} s each; "
        f"retrieval among {summary['choices']}",
        f"{'':14} distance   shown   stray   top 1   top 3     path     ACD     FID",
    ]
    for name, row in summary["rows"].items():
        acd = f"{row['acd']:7.3f}" if "acd" in row else "      -"
        fid = f"{row['fid']:7.2f}" if "fid" in row else "      -"
        out.append(
            f"{name:14} {row['distance']:8.3f} {row['shown']:7.1%} {row['stray']:7.1%} {row['top1']:7.1%} "
            f"{row['top3']:7.1%} {row['path']:8.4f} {acd} {fid}"
        )
    return out
