#!/bin/sh
# Linux: the peak of memory that `wait4`, `getrusage` and so Python's `resource` tell of a process (`ru_maxrss`) is not less than what its
# parent had resident at most when it started it: on `exec` the peak of the memory that is left goes into the figures of the process.
# A benchmark that made its own test data with 700 MB says 700 MB of every small program that it measures after that. `VmHWM` in
# /proc/PID/status is of the memory that the program has itself.
# Seen: 300 MB and more of a Python that does nothing, started by one that holds 300 MB; its VmHWM is some 10 MB.
# Fails as soon as the two figures agree.
set -eu
told=$(python3 - <<'PY'
import os
import subprocess
import sys

held = bytearray(b"x" * (300 << 20))
child = "print(next(l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')))"
process = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE)
own = int(process.stdout.read())
used = os.wait4(process.pid, 0)[2].ru_maxrss
print(used // 1024, own // 1024)
PY
)
echo "MB by wait4 and by VmHWM: $told"
set -- $told
[ "$1" -ge 300 ] && [ "$2" -lt 100 ]
