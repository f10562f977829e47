"""Synthesised speech whose sounds are known to the millisecond: what teaches the encoder to listen.

Filmed talkers with sound are few; a speech synthesiser (the program `flite`) says when it makes which sound, in
several voices, as often as asked. The encoder learns sound classes from it, made hard by pace, pitch, rooms, noise
and narrow channels; mouths are learnt from people alone.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, resample_poly, sosfilt

from infinex.errors import MissingDependencyError
from infinex.media.audio import read_audio
from infinex.systems.speech.features import RATE

Array = NDArray[np.float32]
VOICES = ("slt", "rms", "awb", "kal16")
# Sound classes that look alike on a mouth.
CLASSES = ("sil", "pbm", "fv", "th", "tdnl", "sz", "sh", "kg", "r", "w", "iy", "eh", "ah", "aa", "ao", "uw")
SOUNDS: dict[str, tuple[str, ...]] = {
    "pau": ("sil",), "h#": ("sil",), "p": ("pbm",), "b": ("pbm",), "m": ("pbm",), "em": ("pbm",), "f": ("fv",),
    "v": ("fv",), "th": ("th",), "dh": ("th",), "t": ("tdnl",), "d": ("tdnl",), "n": ("tdnl",), "l": ("tdnl",),
    "dx": ("tdnl",), "nx": ("tdnl",), "el": ("tdnl",), "en": ("tdnl",), "s": ("sz",), "z": ("sz",), "sh": ("sh",),
    "zh": ("sh",), "ch": ("sh",), "jh": ("sh",), "k": ("kg",), "g": ("kg",), "ng": ("kg",), "hh": ("kg",),
    "hv": ("kg",), "r": ("r",), "er": ("r",), "axr": ("r",), "w": ("w",), "y": ("iy",), "iy": ("iy",), "ih": ("iy",),
    "ix": ("iy",), "eh": ("eh",), "ae": ("eh", "eh"), "ey": ("eh", "iy"), "ah": ("ah",), "ax": ("ah",), "aa": ("aa",),
    "ay": ("aa", "iy"), "aw": ("aa", "uw"), "ao": ("ao",), "oy": ("ao", "iy"), "ow": ("ao", "uw"), "uh": ("uw",),
    "uw": ("uw",),
}  # fmt: skip
_CONSONANTS = "p p b b m m f v th dh t d n l s z sh zh ch jh k g ng hh r w w y"
_VOWELS = "iy ih eh ae ey ah ax aa ay aw ao oy ow uh uw uw er"
_WORDS = (
    "people maybe important problem remember February volume beautiful morning number probably simple example "
    "photograph mountain bubble pepper moment family movement problem follow before believe above river forever "
    "five seven love very brave voice of from fifty leaf laugh father mother brother weather thing nothing thousand "
    "teeth three through yesterday today tomorrow children church chicken choose shoe shadow ocean measure pleasure "
    "judge village orange juice yellow yes year young water window always away swim between twelve we were why would "
    "good book look full blue moon food room school music you use few new two room through slow road home open over "
    "only coat boat show know voice boy noise point enjoy house about down now mouth sound around found cow time "
    "white night five mind light life right my sky cry day way make take name place wait eight play great same face "
    "cat man hand back black glass apple happy answer after had have that bad red bed head best next letter said "
    "many any seven clever egg bird girl work first word learn turn her sister better paper father car far start "
    "heart dark park garden hot box clock stop dog long song talk walk call small water daughter saw law more door "
    "four story sun cup love come some money monkey mother must but up under big sit fish milk king ring sing think "
    "drink little pretty busy see tree green sleep week leave these please piece speak keep sweep cheese he she me"
)
CONSONANTS, VOWELS, WORDS = _CONSONANTS.split(), _VOWELS.split(), _WORDS.split()


def _pseudo(rng: np.random.Generator) -> list[str]:
    """Phones of a made-up phrase: syllables of any language's simplest shapes."""
    out = ["pau"]
    for _ in range(rng.integers(4, 9)):
        for _ in range(rng.integers(1, 4)):
            out += [*rng.choice(CONSONANTS, rng.choice([0, 1, 1, 1, 2]))]
            out.append(str(rng.choice(VOWELS)))
            if rng.random() < 0.3:
                out.append(str(rng.choice(CONSONANTS)))
        if rng.random() < 0.12:
            out.append("pau")
    return [str(p) for p in out] + ["pau"]


def say(voice: str, rng: np.random.Generator) -> tuple[Array, list[tuple[float, str]]]:
    """One phrase: samples at 16 kHz, and (end in seconds, class) of its sounds in order."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.wav"
        words = " ".join(str(w) + ("," if rng.random() < 0.1 else "") for w in rng.choice(WORDS, rng.integers(8, 18)))
        what = ["-t", words + rng.choice([".", "?", "!"])] if rng.random() < 0.6 else ["-p", " ".join(_pseudo(rng))]
        pitch = {"slt": 170, "rms": 105, "awb": 120, "kal16": 95}[voice] * rng.uniform(0.85, 1.25)
        command = [
            "flite", "-voice", voice, "--setf", f"duration_stretch={rng.uniform(0.75, 1.3):.2f}",
            "--setf", f"int_f0_target_mean={pitch:.0f}", "--setf", f"int_f0_target_stddev={rng.uniform(8, 35):.0f}",
            "-psdur", *what, "-o", str(path),
        ]  # fmt: skip
        try:
            text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        except FileNotFoundError:
            raise MissingDependencyError("synthesised speech needs the program flite (apt install flite)") from None
        samples = read_audio(path, RATE)
    sounds: list[tuple[float, str]] = []
    start = 0.0
    for item in text.split():
        name, _, end = item.rpartition(":")
        if name not in SOUNDS:
            continue
        parts = SOUNDS[name]
        for k, part in enumerate(parts):
            sounds.append((start + (float(end) - start) * (k + 1) / len(parts), part))
        start = float(end)
    return samples, sounds


def roughen(samples: Array, rng: np.random.Generator) -> Array:
    """The same sound through another room, channel and noise; time is untouched."""
    x = samples.astype(np.float64)
    if rng.random() < 0.5:  # a room: noise that dies away
        seconds = rng.uniform(0.05, 0.5)
        n = int(seconds * RATE)
        tail = rng.standard_normal(n) * np.exp(-6.9 * np.arange(n) / n) * rng.uniform(0.02, 0.25)
        tail[0] = 1
        x = fftconvolve(x, tail)[: len(x)]
    if rng.random() < 0.3:
        x = sosfilt(butter(4, rng.uniform(2800, 5000), fs=RATE, output="sos"), x)
    if rng.random() < 0.3:
        x = sosfilt(butter(2, rng.uniform(80, 350), "highpass", fs=RATE, output="sos"), x)
    if rng.random() < 0.5:  # tilt of a microphone
        a = rng.uniform(-0.7, 0.7)
        x = sosfilt([[1, a, 0, 1, 0, 0]], x)
    level = np.sqrt((x**2).mean()) + 1e-6
    noise = rng.standard_normal(len(x))
    colour = rng.random()
    if colour < 0.5:  # pink to brown
        noise = sosfilt([[1, 0, 0, 1, -rng.uniform(0.7, 0.98), 0]], noise)
    noise *= level / (noise.std() + 1e-9) * 10 ** (-rng.uniform(8, 50) / 20)
    x = x + noise
    if rng.random() < 0.2:
        x = np.tanh(x / level * rng.uniform(0.3, 1.2)) * level
    return np.clip(x * 10 ** (rng.uniform(-14, 6) / 20), -1, 1).astype(np.float32)


def utterances(count: int, seed: int = 0) -> Iterator[tuple[Array, NDArray[np.int64]]]:
    """`count` roughened phrases: samples, and the class of each 20 ms step (centred on k * 20 ms)."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        samples, sounds = say(VOICES[i % len(VOICES)], rng)
        up = int(rng.integers(84, 121))  # speed, pitch and the length of the vocal tract together
        samples = resample_poly(samples, 100, up).astype(np.float32)
        k = up / 100
        ends = np.array([e / k for e, _ in sounds])
        names = np.array([CLASSES.index(n) for _, n in sounds] + [0])
        steps = np.arange(len(samples) // (RATE // 50)) / 50
        yield roughen(samples, rng), names[np.searchsorted(ends, steps)]
