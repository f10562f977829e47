"""How well lips driven by a voice follow the lips of the person who spoke, on talkers the network never saw.

    python benchmarks/speech.py DATA [--tracks FOLDER] [--all] [--blind] [--closures]

DATA holds MANIFEST.csv (path, identity, has_audio) and clips of talkers with sound. For each clip of the held-back
talkers: the mean distance of the lip landmarks (inner and outer, front view, in the talker's own head) to the tracked
truth as a share of a still mouth's (their tracked rest, which is the portrait here: the driver is told its face, with
`--blind` not), the correlation of mouth opening with the truth, and the lag at which that peaks;
beside it, in the same run, a mouth moved by loudness alone (its shape and strength fitted to the other talkers).
Sound and picture of web video are often apart: `filed` takes each file as it is, `in step` first moves the sound by
the lag found. `gain` is how much the opening moves beside the truth's; `p, b, m` is by how much their sound is late
against the lips that are seen to close, which tells a file's lag without what the network makes of mouths.
`--all` measures the talkers of the training too. `--tracks` keeps the tracked motions for another run.
Then, where the program `flite` is installed, how often lips shut on p, b and m of phrases it speaks, and the speed.
`--closures` prints these alone.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from infinex.errors import MissingDependencyError
from infinex.face import topology as top
from infinex.face.shape import lip_gaps
from infinex.media.audio import read_audio, write_wav
from infinex.motion import Motion, part_weights
from infinex.pipeline import track
from infinex.systems.speech.data import LAGS, lag_of, opening, rows_of, shifted
from infinex.systems.speech.driver import LEAD, SpeechDriver
from infinex.systems.speech.features import RATE, loudness, measure, stream_log_mel
from infinex.systems.speech.listener import STEPS
from infinex.systems.speech.resting import LIPS
from infinex.systems.speech.runtime import default_model
from infinex.systems.speech.synthetic import VOICES, say

HELD = ("it-ref", "mi-de", "pc-00473", "pc-731200067", "st-kh")
# Not used at all: music, laughter, dubbing, silence, singing over music.
UNFIT = ("fp-jgz", "fr-ham", "lp-d10", "lp-d11", "lp-d12", "lp-d14", "lp-d9", "lp-s18", "lp-s20", "lp-s29")
MEET = 0.004  # IOD between lips that are seen to meet
Array = NDArray[np.float64]


def volume(sound: NDArray[np.float32], frames: int, fps: float) -> Array:
    """Loudness of each frame, 0 where nobody speaks to 1 at the recording's loudest."""
    rows = np.concatenate(list(stream_log_mel([sound])))
    level = measure([rows])
    smooth = np.convolve(loudness(rows), np.ones(8) / 8, "same")
    share = np.clip((smooth - level.speaks) / max(level.loud - level.speaks, 0.5), 0, 1)
    return np.interp(np.arange(frames) / fps, np.arange(len(share)) / 100, share)


class Case:
    """One clip: its truth, and what voice and loudness make of it, filed and in step."""

    def __init__(self, path: Path, identity: str, motion: Motion, folder: Path, suited: bool = True) -> None:
        self.suited = suited
        self.name, self.identity, self.motion = path.stem, identity, motion
        self.truth = motion.offsets.astype(np.float64)
        self.seen = opening(motion.rest.face + self.truth)
        self.sound = read_audio(path)
        self.frames, self.fps = len(motion), motion.fps
        self.filed = self.spoken(self.sound, folder)
        steps = np.arange(int(self.frames / self.fps * STEPS)) / STEPS * self.fps
        grid = np.arange(self.frames)
        a, b = (np.interp(steps, grid, opening(motion.rest.face + x)) for x in (self.filed, self.truth))
        self.lag, _ = lag_of(a, b)
        below = gaussian_filter1d(b, 8) - b
        _, sure = default_model().run(rows_of(self.sound))
        self.closing, _ = lag_of(sure[:, 1], np.clip(below, 0, None))
        self.moved = shifted(self.sound, self.lag, int(self.frames / self.fps * STEPS))
        self.in_step = self.spoken(self.moved, folder)

    def spoken(self, sound: NDArray[np.float32], folder: Path, faces: Array | None = None) -> Array:
        """Displacements (T, 478, 3) of the driver, in the float16 of a motion file to save memory."""
        driver = SpeechDriver(write_wav(folder / "voice.wav", [sound], RATE), self.fps, still=True)
        if self.suited:
            driver.suit(self.motion.rest.face)
        self.reach = driver.reach
        if faces is not None:
            driver.acquaint(faces)
        made = [d.move.offsets for d in driver][: self.frames]
        made += [np.zeros_like(made[0])] * (self.frames - len(made))
        return np.stack(made)

    def acquainted(self, folder: Path) -> Array:
        """Displacements in step of a driver who has seen the other half of the clip, each half in turn."""
        half, faces = self.frames // 2, self.motion.rest.face + self.truth
        first = self.spoken(self.moved, folder, faces[half:])[:half]
        return np.concatenate([first, self.spoken(self.moved, folder, faces[:half])[half:]])

    def distance(self, offsets: Array) -> float:
        return float(np.linalg.norm((offsets - self.truth)[:, LIPS, :2], axis=-1).mean())

    def figures(self, offsets: Array) -> tuple[float, float]:
        """Distance as a share of the still mouth's, correlation of the opening."""
        made = opening(self.motion.rest.face + offsets)
        r = float(np.corrcoef(made, self.seen)[0, 1]) if made.std() > 0 else 0.0
        return self.distance(offsets) / self.distance(np.zeros_like(self.truth)), r


def closures(phrases: int = 40, seed: int = 424242) -> tuple[int, float, float, float]:
    """How many p, b and m there are in synthesised phrases, at which share of them the lips meet, in which share of
    the frames with other sounds, more than 60 ms away from one, they do, and by how many seconds the middle of a
    closure is late against the middle of the sound (median). Where frames go with sounds the LEAD is taken out."""
    rng = np.random.default_rng(seed)
    met: list[bool] = []
    others: list[bool] = []
    late: list[float] = []
    for i in range(phrases):
        samples, sounds = say(VOICES[i % len(VOICES)], rng)
        with tempfile.TemporaryDirectory() as folder:
            driver = SpeechDriver(write_wav(Path(folder) / "a.wav", [samples], RATE), 50, still=True)
            gaps = np.array([lip_gaps(top.mean_face() + d.move.offsets)[3:6].mean() for d in driver])
        times = np.arange(len(gaps)) / 50 + LEAD
        starts = [0.0, *(end for end, _ in sounds)]
        away = np.ones(len(gaps), bool)
        for start, (end, name) in zip(starts, sounds):
            if name == "pbm":
                met.append(bool((gaps[(times > start - 0.03) & (times < end + 0.03)] < MEET).any()))
                if (together := times[(times > start - 0.1) & (times < end + 0.1) & (gaps < MEET)]).size:
                    late.append(float(together.mean()) - LEAD - (start + end) / 2)
            if name in ("pbm", "sil"):
                away &= (times < start - 0.06) | (times > end + 0.06)
        others += [bool(x) for x in gaps[away & (times < starts[-1])] < MEET]
    return len(met), float(np.mean(met)), float(np.mean(others)), float(np.median(late))


def tell_rest() -> None:
    """Closures, speed and memory."""
    try:
        count, met, others, late = closures()
        print(f"lips meet at {met:.0%} of {count} p, b and m, and in {others:.1%} of the frames of other sounds")
        print(f"against the times the synthesiser tells, the lips are late by {late * 1000:+.0f} ms (median)")
    except MissingDependencyError as error:
        print(error)
    whole, network = speed()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"motion of a minute: {whole:.0f} times real time (listening alone {network:.0f}), {os.cpu_count()} cores")
    print(f"peak memory {peak:.0f} MB")


def speed() -> tuple[float, float]:
    """Times real time of the motion alone, and of the network with its features; one minute of noise bursts."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(60 * RATE) * np.repeat(rng.uniform(0.0, 0.3, 300), 60 * RATE // 300)
    with tempfile.TemporaryDirectory() as folder:
        path = write_wav(Path(folder) / "minute.wav", [x], RATE)
        SpeechDriver(path)
        start = time.perf_counter()
        driver = SpeechDriver(path)
        heard = time.perf_counter()
        for _ in driver:
            pass
        return 60 / (time.perf_counter() - start), 60 / (heard - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--tracks", type=Path)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--album", action="store_true", help="also with each clip's other half as album, in step")
    parser.add_argument("--blind", action="store_true", help="without telling the driver the face at rest")
    parser.add_argument("--closures", action="store_true")
    args = parser.parse_args()
    if args.closures:
        tell_rest()
        return
    if args.data is None:
        parser.error("DATA is wanted")
    with (args.data / "MANIFEST.csv").open(newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["has_audio"] == "True" and r["path"].startswith("clips/")]
    rows = [r for r in rows if r["identity"] not in UNFIT]
    weight = part_weights(["lips"])[:, None]
    with tempfile.TemporaryDirectory() as temporary:
        tracks = args.tracks or Path(temporary)
        tracks.mkdir(parents=True, exist_ok=True)
        gram, aim = np.zeros((2, 2)), np.zeros((2, top.POINTS * 3))
        wanted = []
        for r in rows:
            kept = tracks / f"{Path(r['path']).stem}.motion.npz"
            if not kept.is_file():
                track(args.data / r["path"], smooth=0.3)[0].save(kept)
            motion = Motion.load(kept)
            if r["identity"] not in HELD:  # loudness to displacement, least squares over the other talkers
                x = volume(read_audio(args.data / r["path"]), len(motion), motion.fps)
                x = np.stack([x, (x > 0).astype(float)])
                gram += x @ x.T
                aim += x @ (motion.offsets * weight).reshape(len(motion), -1)
            if args.all or r["identity"] in HELD:
                wanted.append((r, motion))
        field = np.linalg.solve(gram + np.eye(2) * 1e-6, aim).reshape(2, top.POINTS, 3)
        head = ("clip", "held", "lag ms", "p, b, m", "gain", "dist", "r", "dist", "r", "dist", "r", "dist", "r")
        print(f"{'':24}{'':30}{'filed':>14}{'in step':>14}{'loudness':>14}{'album':>14}")
        print("{:24}{:>6}{:>9}{:>9}{:>6}{:>8}{:>6}{:>8}{:>6}{:>8}{:>6}{:>8}{:>6}".format(*head))
        table, constant, lively = [], [], []
        everybody: dict[str, list[tuple[float, ...]]] = {}
        for r, motion in wanted:
            case = Case(args.data / r["path"], r["identity"], motion, Path(temporary), not args.blind)
            x = volume(case.moved, case.frames, case.fps)
            loud = np.tensordot(np.stack([x, (x > 0).astype(float)], 1), field, 1)
            known = case.acquainted(Path(temporary)) if args.album else np.zeros_like(case.truth)
            figures = tuple(f for x in (case.filed, case.in_step, loud, known) for f in case.figures(x))
            held = r["identity"] in HELD
            line = "{:8.2f}{:6.2f}" * (4 if args.album else 3)
            gain = float(opening(motion.rest.face + case.in_step).std() / case.seen.std())
            start = f"{case.name:24}{'yes' if held else 'no':>6}{case.lag * 20:9d}{case.closing * 20:9d}{gain:6.2f}"
            print(start + line.format(*figures), flush=True)
            everybody.setdefault(r["identity"], []).append(
                (
                    case.lag * 20,
                    gain,
                    figures[1],
                    figures[3],
                    case.closing * 20,
                    figures[6],
                    np.log(case.reach),
                    np.log(case.seen.std()),
                )
            )
            if held:
                table.append((case.lag * 20, *figures))
                constant.append(case.figures(case.truth.mean(0, keepdims=True))[0])
                lively.append(gain)
        mean = np.array(table).mean(0)
        late = np.abs(np.array(table)[:, 0]).mean()
        print(f"{'mean of held back':24}{'':6}{late:9.0f}{'':9}{np.mean(lively):6.2f}" + line.format(*mean[1:]))
        each = np.array([np.mean(x, 0) for x in everybody.values()])
        lag, gain, *_ = np.median(each, 0)
        closing = np.median([x[4] for clips in everybody.values() for x in clips])
        filed, best = each[:, 2:4].mean(0)
        print(
            f"all {len(everybody)} talkers shown: r {filed:.2f} filed and {best:.2f} in step (mean), "
            f"late by {lag:.0f} ms, gain {gain:.2f} (median); p, b, m {closing:.0f} ms late (median of clips)"
        )
        if args.album:
            print(f"with the other half of the clip as album: distance {each[:, 5].mean():.2f} (mean of talkers)")
        told = np.corrcoef(each[:, 6], each[:, 7])[0, 1]
        print(f"how widely a talker moves goes with what the voice tells of it at r = {told:.2f} (logarithms)")
        print(f"each clip's own mean mouth, held still: distance {np.mean(constant):.2f}")
        print(f"how much the opening moves, as a share of the truth: {np.median(lively):.2f} (median)")
        inside = np.mean(np.abs(np.array(table)[:, 0]) <= 80)
        print(f"lag within 80 ms (two frames at 25/s): {inside:.0%} of clips; searched over +-{max(LAGS) * 20} ms")
    tell_rest()


if __name__ == "__main__":
    main()
