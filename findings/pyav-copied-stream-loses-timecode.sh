#!/bin/sh
# PyAV 17.1.0 (its wheels bring libavformat 62.12.101): a video stream made by `add_stream_from_template`, to lay packets over without
# encoding them again, has no frame rate, and nothing sets one: `average_rate` stays None whatever `codec_context.framerate` is given.
# FFmpeg's writer of MP4 and MOV needs it for the track of a timecode, and leaves out that track and the tag where it is missing: one
# line in FFmpeg's own log, which PyAV does not show by default, no error. The same lines under PyAV 18.1.0 (libavformat 62.12.102)
# write both. Python 3.10 gets no later PyAV than 17.1. Remedy: `add_stream(encoder, rate=...)`, opened, with the source's extradata.
# Fails as soon as 17.1.0 writes it, or 18.1.0 does not.
set -eu
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
cat > "$here/lay.py" <<'PY'
import sys
from fractions import Fraction

import av
import numpy as np

rate, code, found = Fraction(25), "10:00:00:00", []
for ending in ("mp4", "mov"):
    first, second = (f"{sys.argv[1]}/{name}.{ending}" for name in ("made", "copied"))
    with av.open(first, "w") as out:
        stream = out.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 96, 80, "yuv420p"
        stream.metadata["timecode"] = code
        for k in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((80, 96, 3), 40 * k, np.uint8), format="rgb24")
            frame.pts, frame.time_base = k, 1 / rate
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    with av.open(first) as source, av.open(second, "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        stream.codec_context.framerate = rate
        stream.metadata["timecode"] = code
        for packet in source.demux(video=0):
            if packet.pts is not None:
                packet.stream = stream
                out.mux(packet)
    for path in (first, second):
        with av.open(path) as file:
            tags = [s.metadata.get("timecode") for s in file.streams]
            found.append(f"{path.rsplit('/')[-1]}: {len(tags)} streams, timecode {tags[0]}")
print(av.__version__, "; ".join(found))
kept = all("2 streams, timecode 10" in line for line in found[::2]), all("2 streams, timecode 10" in line for line in found[1::2])
lost = all("1 streams, timecode None" in line for line in found[1::2])
assert kept[0] and (lost if av.__version__ == "17.1.0" else kept[1]), found
PY
for version in 17.1.0 18.1.0; do
  python3.11 -m venv "$here/$version"
  "$here/$version/bin/pip" install -q "av==$version" 'numpy==2.4.6'
  "$here/$version/bin/python" "$here/lay.py" "$here"
done
