"""Synthesised speech whose sounds are known to the millisecond: what teaches the encoder to listen.

Filmed talkers with sound are few; a speech synthesiser says when it makes which sound, as often as asked: the program
`flite` in a few natural English voices, the library `espeak-ng` in many languages and many, less natural, voices. The
encoder learns sound classes from them, made hard by pace, pitch, rooms, noise and narrow channels; mouths are learnt
from people alone.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

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


# Other languages: spelling that any of them can read, and the classes of the letters of the phonetic alphabet.
_LANGUAGES = (
    "en-us de fr es es-419 it pl tr sv fi nl pt pt-br cs sk hu ro id sw da hr lt lv ca et sl nb eo af cy sq az uz vi "
    "ms bs eu mt la"
)
_TIMBRES = (
    "f1 f2 f3 f4 f5 m1 m2 m3 m4 m5 m6 m7 m8 klatt klatt2 klatt3 klatt4 linda steph belinda anika adam boris david ed "
    "john max michel pablo paul quincy rob robert victor zac gene iven iven2 benjamin caleb gustave marcelo miguel "
    "sandro shelby"
)
_ONSETS, _NUCLEI = "b c d f g h j k l m n p r s t v w z ch sh b m p f v w", "a e i o u ai au oi ie a o u"
LANGUAGES, TIMBRES, ONSETS, NUCLEI = _LANGUAGES.split(), _TIMBRES.split(), _ONSETS.split(), _NUCLEI.split()
_LETTERS = {
    "pbm": "pbmɓɸβ", "fv": "fvʋɱ", "th": "θð", "tdnl": "tdnlɾɫɲʎɳɖʈɭɗ", "sz": "sz", "sh": "ʃʒɕʑʂʐç",
    "kg": "kgɡxɣhɦŋcɟqχħɰ", "r": "rɹʁʀɻɽɚɝ", "w": "wɥ", "iy": "ijɪɨ", "eh": "eɛæ", "ah": "əʌɐɜɤɘ", "aa": "aɑ",
    "ao": "oɔɒɵœø", "uw": "uʊyʏʉɯ",
}  # fmt: skip
PHONETIC = {letter: name for name, letters in _LETTERS.items() for letter in letters}
BURST = 0.035  # seconds by which a voiceless stop's closure precedes what espeak-ng marks, its burst


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


class _Name(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int), ("unique", ctypes.c_uint), ("position", ctypes.c_int), ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int), ("sample", ctypes.c_int), ("user", ctypes.c_void_p), ("id", _Name),
    ]  # fmt: skip


_RECEIVER = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class _Espeak:
    """The library espeak-ng, which tells of each sound when it begins."""

    def __init__(self) -> None:
        try:
            self._library: Any = ctypes.CDLL("libespeak-ng.so.1")
        except OSError:
            raise MissingDependencyError("speech in other languages needs espeak-ng (apt install espeak-ng)") from None
        synchronous, sounds_in_letters = 2, 1 | 2
        self.rate = int(self._library.espeak_Initialize(synchronous, 0, None, sounds_in_letters))
        self._samples: list[Array] = []
        self._marks: list[tuple[float, str]] = []
        self._receiver = _RECEIVER(self._receive)  # kept: the library holds on to it
        self._library.espeak_SetSynthCallback(self._receiver)

    def _receive(self, samples: Any, count: int, events: Any) -> int:
        if count and samples:
            self._samples.append(np.ctypeslib.as_array(samples, (count,)).astype(np.float32) / 32768)  # type: ignore[arg-type]
        i = 0
        while events[i].type:
            if events[i].type == 7:  # a sound begins
                name = events[i].id.string.decode("utf-8", "ignore")
                self._marks.append((events[i].milliseconds / 1000, name))
            i += 1
        return 0

    def speak(self, voice: str, text: str, pace: int, pitch: int, span: int) -> tuple[Array, list[tuple[float, str]]]:
        """Samples at the library's rate, and (start in seconds, name) of its sounds."""
        self._samples, self._marks = [], []
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise MissingDependencyError(f"espeak-ng has no voice {voice}")
        for number, value in ((1, pace), (3, pitch), (4, span)):
            self._library.espeak_SetParameter(number, value, 0)
        said = text.encode()
        self._library.espeak_Synth(said, ctypes.c_size_t(len(said) + 1), 0, 1, 0, 1, None, None)
        return np.concatenate([np.zeros(1, np.float32), *self._samples]), self._marks


@cache
def _espeak() -> _Espeak:
    return _Espeak()


def classes_of(sound: str) -> list[str]:
    """Sound classes of one sound in the phonetic alphabet, in order; none for marks that are no sounds."""
    if sound in ("tʃ", "dʒ", "t͡ʃ", "d͡ʒ"):
        return ["sh"]
    out: list[str] = []
    for letter in sound:
        name = PHONETIC.get(letter)
        if name and (not out or out[-1] != name):
            out.append(name)
    return out


def recite(language: str, timbre: str, rng: np.random.Generator) -> tuple[Array, list[tuple[float, str]]]:
    """One phrase of made-up words by espeak-ng: as `say`."""
    words = []
    for _ in range(rng.integers(6, 14)):
        word = "".join(
            str(rng.choice(ONSETS)) + str(rng.choice(NUCLEI)) + (str(rng.choice(list("nmlrstp"))) if k < 0.3 else "")
            for k in rng.random(rng.integers(1, 4))
        )
        words.append(word + ("," if rng.random() < 0.1 else ""))
    if language.startswith("en"):
        words = [str(w) + ("," if rng.random() < 0.1 else "") for w in rng.choice(WORDS, len(words))]
    espeak = _espeak()
    pace, pitch, span = int(rng.integers(120, 230)), int(rng.integers(20, 75)), int(rng.integers(15, 90))
    text = " ".join(words) + str(rng.choice([".", "?", "!"]))
    samples, marks = espeak.speak(f"{language}+{timbre}", text, pace, pitch, span)
    starts: list[tuple[float, list[str]]] = []
    for time, name in marks:
        kinds = classes_of(name) if name else ["sil"]
        if kinds:
            early = BURST if name[:1] in tuple("ptkcqʈ") and name else 0.0
            starts.append((max(time - early, starts[-1][0] + 0.01 if starts else 0.0), kinds))
    sounds: list[tuple[float, str]] = [(starts[0][0], "sil")] if starts else []
    ends = [t for t, _ in starts[1:]] + [len(samples) / espeak.rate]
    for (start, kinds), end in zip(starts, ends):
        sounds += [(start + (end - start) * (k + 1) / len(kinds), kind) for k, kind in enumerate(kinds)]
    return resample_poly(samples, 320, round(320 * espeak.rate / RATE)).astype(np.float32), sounds


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


def utterances(count: int, seed: int = 0, foreign: float = 0.0) -> Iterator[tuple[Array, NDArray[np.int64]]]:
    """`count` roughened phrases, a share of them by espeak-ng in other languages and voices: samples, and the class of
    each 20 ms step (centred on k * 20 ms)."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        if foreign and rng.random() < foreign:
            samples, sounds = recite(str(rng.choice(LANGUAGES)), str(rng.choice(TIMBRES)), rng)
        else:
            samples, sounds = say(VOICES[i % len(VOICES)], rng)
        up = int(rng.integers(84, 121))  # speed, pitch and the length of the vocal tract together
        samples = resample_poly(samples, 100, up).astype(np.float32)
        k = up / 100
        ends = np.array([e / k for e, _ in sounds])
        names = np.array([CLASSES.index(n) for _, n in sounds] + [0])
        steps = np.arange(len(samples) // (RATE // 50)) / 50
        yield roughen(samples, rng), names[np.searchsorted(ends, steps)]
