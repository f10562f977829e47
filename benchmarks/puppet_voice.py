"""How well a network that hears, of Neural Voice Puppetry, moves the lips of talkers it was not taught.

python benchmarks/puppet_voice.py DATA [WEIGHTS...] [--untaught 3] [--split test] [--json]

DATA is a prepared folder of talkers; those of the split are fitted where no fit of them is kept, their sound is moved
in step with their lips. For each clip the mapping is found on one half by least squares and the other half is told,
each half in turn. Mean distance of the lip landmarks in the head, front view, to the tracked truth, as a share of that
of the mean mouth of the half that was learned, held still; and the correlation of the mouth's opening. `mapped` is
the network of `--speech`, mapped likewise (`voice=speech`). Beside it and the networks in WEIGHTS stand untaught ones,
and the driver of `--speech` as it is, which is shown the same half as `--album` would. That network was taught other
people than those of `benchmarks/speech.py`."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from infinex.face import topology as top
from infinex.face.morphable.bases import own_model
from infinex.face.morphable.person import Person
from infinex.face.morphable.solve import FLIP
from infinex.face.pose import fit_pose
from infinex.media.audio import write_wav
from infinex.systems.neural_voice_puppetry.model import SCALE, VoiceNet
from infinex.systems.neural_voice_puppetry.recipe import (
    VoiceRecipe,
    VoiceTask,
    mapping_of,
    spoken_by,
    talkers,
)
from infinex.systems.neural_voice_puppetry.sound import in_step, late, mouths_in, rows_in, samples_of, windows
from infinex.systems.neural_voice_puppetry.weights import read_voice
from infinex.systems.speech.data import opening
from infinex.systems.speech.driver import SpeechDriver
from infinex.systems.speech.features import RATE
from infinex.systems.speech.resting import LIPS

Array = NDArray[np.float64]
Teller = Callable[["Talker", NDArray[np.integer]], Array]  # faces (T, 478, 3) of a talker, by what some frames show


class Talker:
    """One clip: tracked faces in the head (T, 478, 3), expressions, and sound in step."""

    def __init__(self, name: str, clip: Path, fitted: Path) -> None:
        person = Person.load(fitted)
        self.name, self.fps = name, person.fps
        samples = samples_of(clip, (0.0, len(person) / person.fps))
        self.sound = in_step(samples, late(samples, person.points, person.fps)[0])
        self.rows = rows_in(self.sound, person.fps, len(person))
        self.mouths = mouths_in(self.sound, person.fps, len(person))
        self.faces = np.stack([fit_pose(top.mean_face(), p).to_head(p) for p in person.points.astype(np.float64)])
        self.expressions = np.stack([s.expression for s in person.states])

    def halves(self) -> list[tuple[NDArray[np.integer], NDArray[np.integer]]]:
        """What is learned, and what is told."""
        a, b = np.array_split(np.arange(len(self.faces)), 2)
        return [(a, b), (b, a)]


def told(network: VoiceNet) -> Teller:
    """What a network makes of a talker."""

    @torch.inference_mode()
    def tell(talker: Talker, shown: NDArray[np.integer]) -> Array:
        parts = np.array_split(np.arange(len(talker.rows)), max(1, len(talker.rows) // 128))
        heard = torch.cat([network.heard(torch.from_numpy(windows(talker.rows, p)))[0] for p in parts]).numpy()
        return faces_of(talker, shown, SCALE * heard @ mapping_of(heard[shown], talker.expressions[shown]).T)

    return tell


@torch.inference_mode()
def mapped(talker: Talker, shown: NDArray[np.integer]) -> Array:
    """What the mouths of `--speech` make of a talker, as a person's run maps them."""
    network = spoken_by(talker.mouths[shown], talker.expressions[shown])
    return faces_of(talker, shown, network.map(torch.from_numpy(talker.mouths)).numpy())


def faces_of(talker: Talker, shown: NDArray[np.integer], said: NDArray[np.floating]) -> Array:
    """Faces (T, 478, 3) of expressions (T, E), from the mean of those that were shown on."""
    basis = own_model().expression[:, : top.SURFACE].astype(np.float64) * FLIP
    faces = np.repeat(talker.faces[shown].mean(0)[None], len(said), 0)
    faces[:, : top.SURFACE] += np.einsum("te,enc->tnc", said - talker.expressions[shown].mean(0), basis)
    return faces


def driven(talker: Talker, shown: NDArray[np.integer]) -> Array:
    """What the driver of `--speech` makes of a talker whose usual face is the portrait."""
    face = talker.faces[shown[np.abs(opening(talker.faces[shown])).argmin()]]
    with tempfile.TemporaryDirectory() as folder:
        driver = SpeechDriver(write_wav(Path(folder) / "a.wav", [talker.sound], RATE), talker.fps, still=True)
        driver.suit(face)
        driver.acquaint(talker.faces[shown])
        made = [face + d.move.offsets for d in driver][: len(talker.faces)]
    return np.stack(made + [made[-1]] * (len(talker.faces) - len(made)))


def figures(talker: Talker, teller: Teller) -> tuple[float, float]:
    """Lip distance as a share of the still mouth's, and correlation of the opening."""
    off, still, openings = [], [], []
    for shown, told_of in talker.halves():
        truth, made = talker.faces[told_of], teller(talker, shown)[told_of]
        mean = talker.faces[shown].mean(0)
        off.append(np.linalg.norm((made - truth)[:, LIPS, :2], axis=2))
        still.append(np.linalg.norm((mean - truth)[:, LIPS, :2], axis=2))
        openings.append((opening(made), opening(truth)))
    r = float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in openings]))
    return float(np.concatenate(off).mean() / np.concatenate(still).mean()), r


def untaught(seed: int) -> VoiceNet:
    """A network as training begins with it."""
    torch.manual_seed(seed)
    return VoiceTask(VoiceRecipe()).networks["voice"].eval()  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path, nargs="*")
    parser.add_argument("--untaught", type=int, default=3, help="How many untaught networks, whose mean is shown.")
    parser.add_argument("--split", default="test")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tellers: dict[str, list[Teller]] = {"untaught": [told(untaught(k)) for k in range(args.untaught)]}
    tellers |= {str(w): [told(read_voice(w).voice())] for w in args.weights}
    tellers |= {"mapped": [mapped], "--speech": [driven]}
    rows = {}
    for clip, fitted in talkers(args.data, args.split, print):
        talker = Talker(clip.name, clip.path, fitted)
        rows[clip.name] = {
            n: tuple(np.mean([figures(talker, t) for t in some], 0).tolist()) for n, some in tellers.items()
        }
        if not args.json:
            print(f"{clip.name:28}", *(f"{n} {d:.3f} {r:+.2f}  " for n, (d, r) in rows[clip.name].items()), flush=True)
    mean = {n: np.mean([r[n] for r in rows.values()], 0).tolist() for n in tellers}
    if args.json:
        print(json.dumps({"clips": rows, "mean": mean}))
    else:
        print(f"{'mean':28}", *(f"{n} {d:.3f} {r:+.2f}  " for n, (d, r) in mean.items()))


if __name__ == "__main__":
    main()
