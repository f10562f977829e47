#!/bin/sh
# PyLiveLinkFace 0.1 (with timecode 1.5.1), which writes and reads the packets of Epic's Live Link Face app: two fields of time are wrong
# in what it sends. (1) The frame rate goes out as a fraction whose denominator is int(fps / 60): at 24, 25, 30 or 50 frames a second it
# is 0, so that a receiver which divides has no rate at all; it is right from 60 to 119 alone. (2) The frame number is made of a timecode
# "hours:minutes:seconds:thousandths.rest": timecode takes what follows the point, the microseconds beyond the last millisecond, for the
# fraction of a second. So within a second numbers jump up and down by up to 59, and whoever orders or spaces frames by them shuffles a
# performance. Values of the face come through unharmed. Remedy: take the time at which a packet arrives. Fails as soon as all
# denominators are at least 1, or numbers only grow.
set -eu
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q PyLiveLinkFace==0.1 timecode==1.5.1 numpy==2.2.6
cat > "$here/send.py" <<'PY'
import datetime as real
import struct
import types

import pylivelinkface.pylivelinkface as library


def frame_fields(face, at):
    """Frame number, rate and denominator of the packet that is sent at a moment."""

    class Clock(real.datetime):
        @classmethod
        def now(cls, tz=None):
            return at

    library.datetime = types.SimpleNamespace(datetime=Clock)
    data = face.encode()
    names = 4 + 37 + 4 + len("face")
    number, _, rate, denominator = struct.unpack_from(">IIII", data, names)
    return number, rate, denominator


noon = real.datetime(2024, 5, 6, 12, 0, 0, 100000)
device = "c0ffee00-0000-4000-8000-000000000000"
rates = [frame_fields(library.PyLiveLinkFace("face", device, fps), noon)[1:] for fps in (24, 30, 50, 60)]
face = library.PyLiveLinkFace("face", device, 60)
numbers = [frame_fields(face, noon + real.timedelta(microseconds=10137 * k))[0] for k in range(12)]
steps = [b - a for a, b in zip(numbers, numbers[1:])]
print("rates as numerator and denominator:", rates)
print("frames every 10.137 ms at 60 a second are numbered", [n - numbers[0] for n in numbers])
assert [d for _, d in rates] == [0, 0, 0, 1], rates
assert min(steps) < -20 and max(steps) > 2, steps
PY
"$here/env/bin/python" "$here/send.py"
