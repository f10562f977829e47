"""Build the bundled performances infinex/motions/*.motion.npz from real clips.

    python tools/build_motions.py CLIPS_DIR

CLIPS_DIR holds the clips named below. The wink is one lid of a real blink, slowed; all others are as
performed, trimmed, and eased from and to rest.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from infinex.face.topology import mean_face
from infinex.motion import Motion
from infinex.pipeline import track

OUT = Path(__file__).parents[1] / "infinex" / "motions"
# name: (clip, first frame, last frame, parts or None for all)
TAKES: dict[str, tuple[str, int, int, tuple[str, ...] | None]] = {
    "smile": ("liveportrait_d13_00", 165, 330, None),
    "talking": ("mimictalk_de_00", 20, 170, None),
    "surprise": ("liveportrait_d10_00", 62, 125, None),
    "nod": ("liveportrait_d9_00", 372, 446, ("pose", "eyes", "gaze")),
    "look-around": ("liveportrait_d12_00", 0, 168, ("pose", "eyes", "gaze", "brows")),
}
BLINK = ("liveportrait_d14_00", 364, 382)


def eased(motion: Motion, seconds: float = 0.35) -> Motion:
    """From rest at the start and back to rest at the end."""
    n = len(motion)
    t = np.minimum(np.arange(n), n - 1 - np.arange(n)) / (seconds * motion.fps)
    ramp = np.clip(t, 0, 1) ** 2 * (3 - 2 * np.clip(t, 0, 1))
    m = motion.relative()
    return replace(
        m,
        offsets=(m.offsets * ramp[:, None, None]).astype(np.float32),
        rotation=m.rotation * ramp[:, None],
        translation=m.translation * ramp[:, None] + (1 - ramp[:, None]) * m.rest.translation,
        scale=m.scale**ramp,
        gaze=m.gaze * ramp[:, None],
        outline=None if m.outline is None else m.outline * ramp[:, None, None, None],
        units=None,
        unit_names=(),
    )


def main() -> None:
    clips = Path(sys.argv[1])
    tracked: dict[str, Motion] = {}

    def take(clip: str) -> Motion:
        if clip not in tracked:
            tracked[clip] = track(clips / f"{clip}.mp4")[0]
        return tracked[clip]

    OUT.mkdir(exist_ok=True)
    for name, (clip, first, last, parts) in TAKES.items():
        motion = take(clip)
        motion = motion.trim(first / motion.fps, last / motion.fps)
        motion = eased(motion if parts is None else motion.only(parts))
        motion.save(OUT / f"{name}.motion.npz")
        print(f"{name}: {len(motion)} frames")
    clip, first, last = BLINK
    blink = take(clip).only(["eyes"])
    blink = blink.trim(first / blink.fps, last / blink.fps)
    slow = replace(blink, fps=blink.fps / 2.2).resample(blink.fps)
    left = np.clip(mean_face()[:, 0] / 0.1 + 0.5, 0, 1)  # the subject's left
    slow = replace(slow, offsets=(slow.offsets * left[None, :, None]).astype(np.float32))
    pad = round(0.4 * slow.fps)
    still = slow.trim(0, pad / slow.fps)
    still = replace(still, offsets=np.zeros_like(still.offsets))
    wink = eased(still.concatenate(slow).concatenate(still), 0.2)
    wink.save(OUT / "wink.motion.npz")
    print(f"wink: {len(wink)} frames")


if __name__ == "__main__":
    main()
