"""eSpeak NG, the voice of last resort in a hundred languages, and the phonemes that other voices read.

Its library is GPL and its state global, so it runs in a process of its own (this file, run as a module) and is spoken
to in lines of JSON; what Infinex imports never loads it."""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infinex.errors import InputError, MissingDependencyError

ADVICE = "install it by: pip install 'infinex[say]'"
WORDS_PER_MINUTE = 160
SYNCHRONOUS, DONT_EXIT, UTF8, IPA, RATE = 2, 0x8000, 1, 2, 1  # numbers of its C interface


def library() -> tuple[str, str | None] | None:
    """The shared library and its data: those of the package espeakng-loader, else the system's; else None."""
    spec = importlib.util.find_spec("espeakng_loader")
    if spec is not None and spec.origin:
        home = Path(spec.origin).parent
        for name in ("libespeak-ng.so", "libespeak-ng.dylib", "espeak-ng.dll"):
            if (home / name).exists():
                return str(home / name), str(home / "espeak-ng-data")
    found = ctypes.util.find_library("espeak-ng")
    return (found, None) if found else None


class Espeak:
    """A running eSpeak NG; use it as a context. Raises MissingDependencyError where it is not installed."""

    def __init__(self) -> None:
        where = library()
        if where is None:
            raise MissingDependencyError(f"speaking needs eSpeak NG; {ADVICE}")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "infinex.voices.espeak"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            self.rate = int(self._ask(do="open", library=where[0], data=where[1])["rate"])
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Espeak:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End its process."""
        with contextlib.suppress(OSError):
            if self._process.stdin:
                self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def voices(self) -> dict[str, str]:
        """Languages by code ("de", "en-gb") with their English names."""
        return dict(self._ask(do="voices")["voices"])

    def speak(self, text: str, voice: str, speed: float = 1.0) -> NDArray[np.float32]:
        """A text as mono sound (N,) in -1..1 at `rate` Hz. `speed` 1 is 160 words a minute. Raises InputError for a
        voice that it does not have."""
        head = self._ask(do="speak", text=text, voice=voice, wpm=round(WORDS_PER_MINUTE * speed))
        assert self._process.stdout is not None
        data = self._process.stdout.read(2 * head["samples"])
        return np.asarray(np.frombuffer(data, "<i2") / 32768, np.float32)

    def phonemes(self, text: str, voice: str) -> str:
        """A text without punctuation as International Phonetic Alphabet. Raises InputError as `speak` does."""
        return str(self._ask(do="phonemes", text=text, voice=voice)["ipa"])

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = b""
        if not line:
            raise MissingDependencyError("eSpeak NG ended without an answer; reinstall it (" + ADVICE + ")")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise InputError(answer["error"])
        return answer


# -- in its own process ---------------------------------------------------------------------------


class _Value(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int), ("unique", ctypes.c_uint), ("text_position", ctypes.c_int), ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int), ("sample", ctypes.c_int), ("user", ctypes.c_void_p), ("id", _Value),
    ]  # fmt: skip


class _Voice(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("languages", ctypes.c_void_p), ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte), ("age", ctypes.c_ubyte), ("variant", ctypes.c_ubyte), ("spare", ctypes.c_ubyte),
        ("score", ctypes.c_int), ("more", ctypes.c_void_p),
    ]  # fmt: skip


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class _Served:
    def __init__(self, library: str, data: str | None) -> None:
        self._lib = ctypes.CDLL(library)
        self.rate = self._lib.espeak_Initialize(SYNCHRONOUS, 0, data.encode() if data else None, DONT_EXIT)
        if self.rate <= 0:
            raise OSError("eSpeak NG finds no data")
        self._sound: list[bytes] = []

        def take(samples: Any, count: int, events: Any) -> int:
            if samples and count > 0:
                self._sound.append(ctypes.string_at(samples, 2 * count))
            return 0

        self._take = _Callback(take)
        self._lib.espeak_SetSynthCallback(self._take)
        self._lib.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._lib.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))

        self.voices: dict[str, str] = {}
        self._files: dict[str, str] = {}
        listed, i = self._lib.espeak_ListVoices(None), 0
        while listed[i]:
            voice = listed[i].contents
            at = voice.languages
            while ctypes.string_at(at, 1) != b"\0":  # each code after a byte of priority
                code = ctypes.string_at(at + 1)
                self.voices.setdefault(code.decode(), voice.name.decode("utf-8", "replace").replace("_", " "))
                self._files.setdefault(code.decode(), voice.identifier.decode("utf-8", "replace"))
                at += len(code) + 2
            i += 1

    def voice(self, name: str) -> None:
        code, plus, variant = name.partition("+")
        file = self._files.get(code, code)  # some are known by their file alone
        if all(self._lib.espeak_SetVoiceByName(f"{known}{plus}{variant}".encode()) for known in (code, file)):
            raise ValueError(f"eSpeak NG has no voice {name!r}; `infinex voices` lists those there are")

    def speak(self, text: str, wpm: int) -> bytes:
        self._sound.clear()
        self._lib.espeak_SetParameter(RATE, max(80, min(450, wpm)), 0)
        data = text.encode()
        self._lib.espeak_Synth(data, len(data) + 1, 0, 1, 0, UTF8, None, None)
        return b"".join(self._sound)

    def phonemes(self, text: str) -> str:
        buffer = ctypes.create_string_buffer(text.encode())
        at, out = ctypes.c_void_p(ctypes.addressof(buffer)), []
        while at.value:
            clause = self._lib.espeak_TextToPhonemes(ctypes.byref(at), UTF8, IPA)
            out.append((clause or b"").decode("utf-8", "replace"))
        return " ".join(out)


def _serve() -> None:
    answers, served = sys.stdout.buffer, None
    for line in sys.stdin.buffer:
        request = json.loads(line)
        sound = b""
        try:
            if request["do"] == "open":
                served = _Served(request["library"], request["data"])
                answer: dict[str, Any] = {"rate": served.rate}
            elif served is None:
                raise ValueError("eSpeak NG is not open")
            elif request["do"] == "voices":
                answer = {"voices": served.voices}
            else:
                served.voice(request["voice"])
                if request["do"] == "speak":
                    sound = served.speak(request["text"], request["wpm"])
                    answer = {"samples": len(sound) // 2}
                else:
                    answer = {"ipa": served.phonemes(request["text"])}
        except (OSError, ValueError, AttributeError) as error:
            answer = {"error": str(error)}
        answers.write(json.dumps(answer).encode() + b"\n" + sound)
        answers.flush()


if __name__ == "__main__":
    _serve()
