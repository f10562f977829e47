#!/usr/bin/env bash
# PyAV 19.0.2 with its bundled SVT-AV1 4.1: as root, encoding one small picture leaves the whole process at real-time priority.
#
# Behaviour: where the process may (root, so most containers and CI machines), the encoder gives its own forty threads AND the
# thread that opened it the scheduling class SCHED_FIFO at priority 99. The threads end with the encoder; the caller's class is
# never given back, and every thread and child process begun afterwards inherits it. From then on ordinary code of that process
# starves all else on its cores, other processes' nice values or not. The encoder logs only "Failed to set thread priority:
# Invalid argument". libx264, libx265 and libvpx-vp9 of the same wheel change nothing. Same with PyAV 17.1.0 and 18.1.0.
# Remedy: encode AV1 in a process of its own, or call os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0)) afterwards.
# Output seen (class and priority of the main thread before, and after the encoder is gone; then those of a new thread):
#   libx264    before (0, 0)  after (0, 0)   new thread (0, 0)
#   libsvtav1  before (0, 0)  after (1, 99)  new thread (1, 99)
# Linux and root only. Exits with 0 while that is so, with 1 once it changed.
set -euo pipefail
[ "$(uname)" = Linux ] && [ "$(id -u)" = 0 ] || { echo "this shows on Linux, as root"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-$(for p in python3.13 python3.12; do "$p" -c '' 2>/dev/null && echo "$p" && break; done)}
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install -q av==19.0.2 numpy==2.4.6
cd "$work"
cat > one.py <<'PY'
import gc
import os
import sys
import threading

import av
import numpy as np


def priority() -> tuple[int, int]:
    return os.sched_getscheduler(0), os.sched_getparam(0).sched_priority


def encode(codec: str) -> None:
    with av.open("one.mkv", "w") as out:
        stream = out.add_stream(codec, rate=25)
        stream.width = stream.height = 128
        stream.pix_fmt = "yuv420p"
        grey = av.VideoFrame.from_ndarray(np.full((128, 128, 3), 120, np.uint8), format="rgb24")
        out.mux(stream.encode(grey))
        out.mux(stream.encode())


before = priority()
encode(sys.argv[1])
gc.collect()
after, inherited = priority(), []
thread = threading.Thread(target=lambda: inherited.append(priority()))
thread.start()
thread.join()
print(f"{sys.argv[1]:10} before {before}  after {after}  new thread {inherited[0]}")
real_time = (os.SCHED_FIFO, 99)
changed = sys.argv[1] == "libsvtav1"
assert before == (0, 0) and after == inherited[0] == (real_time if changed else (0, 0)), "the behaviour has changed"
PY
venv/bin/python one.py libx264 2>/dev/null
venv/bin/python one.py libsvtav1 2>/dev/null
