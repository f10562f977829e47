#!/usr/bin/env bash
# espeakng-loader 0.2.4 (eSpeak NG 1.52): British English and French cannot be chosen by the codes it lists for them.
#
# Behaviour: espeak_ListVoices gives every voice its language codes, the most important first: en-gb, fr-fr. The call that
# wrappers and text-to-speech front ends make with a code, espeak_SetVoiceByName, looks for a voice or a file of that name and
# not for a language: en-gb, fr-fr and chr-US-Qaaa-x-west are answered with a number that says not found, and the voice chosen
# before goes on speaking. All others work, since their files happen to be called like their codes. So a program that
# takes the listed codes for its menu speaks with the wrong voice in just two of the most used ones. What works for every voice
# is its identifier (gmw/en); espeak_SetVoiceByProperties takes all codes but one.
# Output seen:
#   141 voices; SetVoiceByName refuses these of their first codes: ['chr-US-Qaaa-x-west', 'en-gb', 'fr-fr']
#   identifiers taken: 141; codes taken as properties: 140
# Exits with 0 while en-gb and fr-fr are refused and identifiers are not, with 1 once it changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-$(for p in python3.12 python3.11 python3.10; do "$p" -c '' 2>/dev/null && echo "$p" && break; done)}
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -q espeakng-loader==0.2.4
cd "$work"
venv/bin/python - <<'PY'
import ctypes
from ctypes import POINTER, Structure, c_char_p, c_int, c_ubyte, c_void_p

import espeakng_loader


class Voice(Structure):
    _fields_ = [("name", c_char_p), ("languages", c_void_p), ("identifier", c_char_p), ("gender", c_ubyte),
                ("age", c_ubyte), ("variant", c_ubyte), ("spare", c_ubyte), ("score", c_int), ("more", c_void_p)]


class Wanted(Structure):
    _fields_ = [("name", c_char_p), ("languages", c_char_p), ("identifier", c_char_p), ("gender", c_ubyte),
                ("age", c_ubyte), ("variant", c_ubyte), ("spare", c_ubyte), ("score", c_int), ("more", c_void_p)]


lib = ctypes.CDLL(espeakng_loader.get_library_path())
assert lib.espeak_Initialize(2, 0, espeakng_loader.get_data_path().encode(), 0x8000) > 0
lib.espeak_ListVoices.restype = POINTER(POINTER(Voice))
listed, voices = lib.espeak_ListVoices(None), []
while listed[len(voices)]:
    one = listed[len(voices)].contents
    voices.append((ctypes.string_at(one.languages + 1), one.identifier))
refused = [code.decode() for code, _ in voices if lib.espeak_SetVoiceByName(code) != 0]
by_file = sum(lib.espeak_SetVoiceByName(file) == 0 for _, file in voices)
by_kind = sum(lib.espeak_SetVoiceByProperties(ctypes.byref(Wanted(languages=code))) == 0 for code, _ in voices)
print(f"{len(voices)} voices; SetVoiceByName refuses these of their first codes: {refused}")
print(f"identifiers taken: {by_file}; codes taken as properties: {by_kind}")
assert {"en-gb", "fr-fr"} <= set(refused) and by_file == len(voices), "the behaviour has changed"
PY
