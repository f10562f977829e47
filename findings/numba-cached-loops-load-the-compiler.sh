#!/bin/sh
# Numba 0.68.1: a function compiled with `cache=True` that is found on disk still loads everything that compiling needs at its first
# call: some seventy modules of Numba's own (declarations of types, array expressions, collections, C bindings), though nothing is
# compiled and the cache counts a hit. The machine code is read in a few milliseconds; what is loaded beside it takes 0.3 to 0.4 s of
# processor time and some 30 MB, once in every process that was to start quickly by means of the cache. What loads it is the refresh of
# the target at the beginning of `FunctionCache.load_overload`; an override without that line reads and runs the same code.
# Seen: 1 hit, 72 modules of Numba loaded by the call, `numba.core.typing.arraydecl` among them; 0 with the override.
# Fails as soon as a hit loads none, or the override gives another answer.
set -eu
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3.11 -m venv "$here/venv"
"$here/venv/bin/pip" install -q 'numba==0.68.1' 'numpy==2.3.5'
cd "$here"
cat >sums.py <<'PY'
from numba import njit


@njit(cache=True)
def total(values):
    out = 0.0
    for value in values:
        out += value
    return out
PY
cat >read.py <<'PY'
import sys

import numpy as np

if len(sys.argv) > 1:
    from numba.core.caching import FunctionCache
    from numba.core.runtime import rtsys

    def load_overload(self, signature, target):
        rtsys.initialize(target)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(signature, target)

    FunctionCache.load_overload = load_overload

import sums

before = set(sys.modules)
answer = sums.total(np.ones(8))
loaded = [name for name in set(sys.modules) - before if name.startswith("numba")]
print(answer, sum(sums.total.stats.cache_hits.values()), len(loaded), "numba.core.typing.arraydecl" in loaded)
PY
export NUMBA_CACHE_DIR="$here/cache"
venv/bin/python read.py >first.txt  # compiles
plain=$(venv/bin/python read.py)
without=$(venv/bin/python read.py override)
echo "read from the cache: $plain"
echo "the same without the refresh: $without"
echo "$plain" | grep -Eq '^8\.0 1 [4-9][0-9] True$'
[ "$without" = '8.0 1 0 False' ]
