"""Voices in Piper's format: a network NAME.onnx that turns phonemes into sound, and NAME.onnx.json beside it."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError
from infinex.voices.espeak import Espeak

BEGIN, END, PAD = "^", "$", "_"
_CLAUSES = re.compile(r"(?<!\d)[,;:]|[,;:](?!\d)|[.!?…]+(?=\s|$)")
_MARKS = {"…": "."}


class Piper:
    """One voice. Raises InputError for files that are none, or that want another reader of text than eSpeak NG."""

    def __init__(self, path: Path) -> None:
        import onnxruntime as ort

        config = path.with_name(path.name + ".json")
        try:
            said: dict[str, Any] = json.loads(config.read_text("utf-8"))
            self.rate = int(said["audio"]["sample_rate"])
            self._ids: dict[str, list[int]] = {k: [int(i) for i in v] for k, v in said["phoneme_id_map"].items()}
            self.language = str(said["espeak"]["voice"])
            scales = said.get("inference", {})
            self._noise, self._length = float(scales.get("noise_scale", 0.667)), float(scales.get("length_scale", 1))
            self._width = float(scales.get("noise_w", 0.8))
            self._speakers = int(said.get("num_speakers", 1))
            kind = str(said.get("phoneme_type", "espeak"))
            self._begin, self._pad, self._end = (self._ids[mark] for mark in (BEGIN, PAD, END))
        except FileNotFoundError:
            raise InputError(f"{path.name}: a voice has a file {config.name} beside it, which is missing") from None
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
            raise InputError(f"{config.name} does not describe a voice in Piper's format") from None
        if kind != "espeak":
            raise InputError(f"{path.name} reads {kind}; only voices that read phonemes of eSpeak NG can be used")
        options = ort.SessionOptions()
        options.log_severity_level = 4
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception:  # ONNX Runtime has no common error of its own
            raise InputError(f"{path.name} is not a voice in Piper's format") from None
        self._inputs = {i.name for i in self._session.get_inputs()}
        if not {"input", "input_lengths", "scales"} <= self._inputs:
            raise InputError(f"{path.name} is not a voice in Piper's format")

    def ids(self, text: str, espeak: Espeak) -> list[int]:
        """What the network reads: every phoneme and mark followed by a blank; those it never learned are left out."""
        phonemes: list[str] = []
        at = 0
        for mark in [*_CLAUSES.finditer(text), None]:
            clause = text[at : mark.start() if mark else len(text)].strip()
            if clause:
                spoken = re.sub(r"\([a-z-]+\)", "", espeak.phonemes(clause, self.language))  # words of another language
                phonemes += unicodedata.normalize("NFD", spoken)
            if mark:
                phonemes += [_MARKS.get(mark[0][0], mark[0][0]), " "]
                at = mark.end()
        while phonemes and phonemes[-1] == " ":
            phonemes.pop()
        out = [*self._begin, *self._pad]
        for phoneme in phonemes:
            if phoneme in self._ids:
                out += [*self._ids[phoneme], *self._pad]
        return [*out, *self._end]

    def speak(self, text: str, espeak: Espeak, speed: float = 1.0) -> NDArray[np.float32]:
        """A sentence as mono sound (N,) in -1..1 at `rate` Hz."""
        ids = np.array([self.ids(text, espeak)], np.int64)
        feeds: dict[str, Any] = {
            "input": ids,
            "input_lengths": np.array([ids.shape[1]], np.int64),
            "scales": np.array([self._noise, self._length / speed, self._width], np.float32),
        }
        if "sid" in self._inputs:
            feeds["sid"] = np.array([0], np.int64)
        sound = np.asarray(self._session.run(None, feeds)[0], np.float32).ravel()
        return np.clip(sound, -1, 1)
