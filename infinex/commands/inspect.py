"""`infinex inspect`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def inspect(
    file: Annotated[Path, typer.Argument(help="A picture, video, .motion.npz file or folder of frames.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Read back how a file was made: infinex inspect out.mp4"""
    from infinex.media.provenance import inspect as run
    from infinex.media.provenance import signature_readable

    found = run(file)
    if as_json:
        print(json.dumps(found.as_dict()))
        return
    print(f"{found.file}: {'made with Infinex' if found.made_with_infinex else 'says nothing of Infinex'}")
    for key, value in found.metadata.items():
        print(f"  {key}: {value}")
    if found.signature is not None:
        s = found.signature
        who = ", ".join(str(v) for v in (s.get("name"), s.get("issuer"), s.get("algorithm"), s.get("time")) if v)
        words = (s["state"], f"signed by {who or 'nobody named'}", s.get("generator"), s.get("reason"))
        print("  C2PA manifest: " + "; ".join(w for w in words if w))
    elif not signature_readable():
        print("  C2PA manifests were not looked for: pip install 'infinex[sign]'")
