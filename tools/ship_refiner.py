"""Turn trained refiner weights into the ONNX files of the mesh engine.

    python tools/ship_refiner.py PART WEIGHTS.safetensors      # PART: mouth, eye or head

WEIGHTS is what `infinex train refiner-PART` leaves as RUN/weights.safetensors. Needs the extras train and onnx.
What this leaves has 32 bits; tools/quantise_refiner.py makes eight of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from infinex.mesh.refiner import MODELS
from infinex.systems.refiner import weights
from infinex.systems.refiner.model import CONFIGS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("part", choices=sorted(CONFIGS))
    parser.add_argument("weights", type=Path)
    a = parser.parse_args()
    MODELS.mkdir(exist_ok=True)
    file = MODELS / f"refiner-{a.part}.onnx"
    weights.export(weights.load(a.weights, a.part), file)
    print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
