"""`infinex voices`."""

from __future__ import annotations


def voices() -> None:
    """Who can say a text: infinex animate photo.jpg --say "..." --voice NAME"""
    from infinex.voices.choice import folder, installed, language_of
    from infinex.voices.espeak import Espeak

    for name, path in installed().items():
        print(f"{name:28} {language_of(path):10} {path}")
    with Espeak() as espeak:
        for code, name in sorted(espeak.voices().items()):
            print(f"{code:28} {'':10} eSpeak NG, {name}")
    print(f"\nFurther voices in Piper's format (NAME.onnx and NAME.onnx.json) are looked for in {folder()}")
