#!/bin/sh
# pi-heif 1.4.0 (its newest): np.asarray(pi_heif.open_heif(path)), the way its documentation shows, gives an array over
# memory that nothing keeps alive: its memoryview has no owner (`.obj` is None). Once the file object is gone, as after
# `return np.asarray(...)` or in one expression, the array shows whatever is put there next, or nothing that can be
# read. pillow-heif 1.8.1, the same code grown older, has an owner there. Remedy with pi-heif: np.array(...), a copy,
# while the object lives.
# Seen with Python 3.11, NumPy 1.26.4, Pillow 12.0.0: owners {'pillow_heif': True, 'pi_heif': False}; two pictures read
# one after the other by pi_heif lay in the same memory. Fails as soon as the owners change.
set -eu
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
"$here/venv/bin/pip" install -q numpy==1.26.4 pillow==12.0.0 pi-heif==1.4.0 pillow-heif==1.8.1
cd "$here"
venv/bin/python - <<'PY'
import numpy as np
from PIL import Image

import pi_heif
import pillow_heif

for name, colour in {"first.heic": (200, 120, 40), "second.heic": (30, 60, 200)}.items():
    pillow_heif.from_pillow(Image.new("RGB", (64, 64), colour)).save(name, quality=95)

owners = {}
for library in (pillow_heif, pi_heif):
    first = np.asarray(library.open_heif("first.heic"))
    second = np.asarray(library.open_heif("second.heic"))
    owners[library.__name__] = first.base.obj is not None
    print(f"{library.__name__} {library.__version__}: owner of the memory: {type(first.base.obj).__name__};",
          f"first and second picture share it: {bool(np.shares_memory(first, second))}")
assert owners == {"pillow_heif": True, "pi_heif": False}, f"this has changed: {owners}"
PY
echo "as described"
