"""What the worker records of a driver."""

from pathlib import Path

import numpy as np

from infinex.drivers.motion import load_motion
from infinex.drivers.video import VideoDriver
from infinex.face import topology as top
from infinex.media.audio import write_wav
from infinex.options import Options
from infinex.pipeline import animate, track
from infinex.studio.examples import EXAMPLES
from infinex.studio.worker import Recorded
from infinex.systems.speech.driver import SpeechDriver


def test_a_clip_is_read_as_the_command_reads_it(tmp_path: Path) -> None:
    clip = tmp_path / "smile.mp4"
    animate(EXAMPLES[1].path, load_motion("smile").trim(0.0, 1.4), clip, Options(size=256, refine=False))
    recorded = Recorded(VideoDriver(clip), "smile").settle()
    assert len(list(recorded)) > 30
    expected, _ = track(clip)
    played = recorded.performed()
    recorded.close()
    assert expected.units is not None and expected.units.max() > 0.2
    assert np.allclose(played.units, expected.units, atol=1e-6)


def test_a_voice_learns_whose_mouth_it_moves(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    bursts = np.repeat(rng.uniform(0, 0.3, 20), 1600) * rng.standard_normal(32000)
    voice = write_wav(tmp_path / "voice.wav", [bursts.astype(np.float32)], 16000)
    crooked = top.mean_face().copy()
    crooked[top.LIPS_OUTER, 1] += 0.1 * crooked[top.LIPS_OUTER, 0]
    said = []
    for face in (top.mean_face(), crooked):
        recorded = Recorded(SpeechDriver(voice, still=True), "voice").settle()
        recorded.suit(face)
        said.append(np.stack([d.move.offsets for d in recorded]))
    assert np.abs(said[0] - said[1]).max() > 1e-3
