"""Video to video: a filmed person keeps head, eyes and frame rate, and says what a new voice says, or nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from infinex.drivers.motion import MotionDriver, load_motion
from infinex.errors import InputError
from infinex.face import topology as top
from infinex.face.pose import fit_pose
from infinex.face.shape import eye_openness, lip_gaps
from infinex.face.tracker import FaceTracker
from infinex.media.audio import write_wav
from infinex.media.sink import open_sink
from infinex.media.video import VideoReader
from infinex.mesh.engine import PreparedFace
from infinex.mesh.quiet import QuietMouth
from infinex.motion import Move
from infinex.pipeline import Options, animate, load_source, render
from infinex.systems.speech.driver import SpeechDriver

RATE = 16000


@pytest.fixture(scope="module")
def talker(portrait: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portrait, talking: rendered under a bundled performance, 1.5 s at 20 frames/s."""
    path = tmp_path_factory.mktemp("talk") / "talker.mp4"
    source = load_source(portrait, size=320)
    frames = render(
        source, MotionDriver(load_motion("talking").trim(0.5, 2.0).resample(20)), Options(strength=2, refine=False)
    )
    with open_sink(path, source[0].image.shape[1::-1], 20) as sink:
        for frame in frames:
            sink.write(frame)
    return path


def faces(path: Path) -> NDArray:
    """Canonical faces (N, 478, 3) of a clip."""
    found = []
    with FaceTracker() as tracker:
        for frame in VideoReader(path):
            face = tracker(frame.image)
            assert face is not None
            found.append(fit_pose(top.mean_face(), face.landmarks).to_head(face.landmarks))
    return np.stack(found)


def test_a_silent_recording_ends_the_talk(talker: Path, tmp_path: Path) -> None:
    silence = write_wav(tmp_path / "silence.wav", [np.zeros(3 * RATE)], RATE)
    out = tmp_path / "out.mp4"
    summary = animate(talker, SpeechDriver(silence, still=True), out, Options(refine=False))
    assert summary.frames == 30 and summary.duration == 1.5  # at its own rate
    assert any("is silent" in w for w in summary.warnings)
    assert any("talker.mp4 ended after 1.5 s; the driver lasts 3.0 s" in w for w in summary.warnings)
    before, after = faces(talker), faces(out)
    gaps, quiet = (lip_gaps(x)[:, 3:6].mean(1) for x in (before, after))
    assert gaps.max() > 0.06 and quiet.max() < 0.25 * gaps.max()
    # Not from end to end: one frame in which the tracker errs would count alone.
    jaw, calm = (np.ptp(np.percentile(x[:, 152, 1] - x[:, 2, 1], [10, 90])) for x in (before, after))
    assert calm < 0.65 * jaw
    lids, kept = (eye_openness(x).mean(1) for x in (before, after))
    assert np.abs(lids - kept).mean() < 0.03  # the eyes are the clip's own


def test_the_mouth_at_rest_is_the_persons_own(talker: Path) -> None:
    with VideoReader(talker) as reader:
        mouth = QuietMouth.of(reader)
        assert float(lip_gaps(mouth.face)[3:6].mean()) < 0.03
        with FaceTracker() as tracker:
            tracked = [(f, tracker(f.image)) for f in reader]
        out = list(mouth.smiles(iter(tracked), 20))
    assert [f.index for f, _, _ in out] == list(range(len(tracked)))
    assert all(a[1] is b[1] for a, b in zip(tracked, out)) and all(0 <= s < 0.5 for _, _, s in out)


def test_a_source_keeps_its_frame_rate(talker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver of 30 frames/s over a clip of 20: the face is asked for at the clip's frames, and nothing judders."""
    seen: list[Move] = []
    monkeypatch.setattr(PreparedFace, "draw", lambda self, canvas, drive: seen.append(drive.move))
    nod = load_motion("nod").trim(0, 1.5).resample(30)
    ramp = np.linspace(0, 0.12, len(nod), dtype=np.float32)[:, None, None]
    steady = MotionDriver(replace(nod, offsets=np.broadcast_to(ramp, nod.offsets.shape)), "steady")
    for fps, frames in ((None, 30), (12, 18)):
        seen.clear()
        out = tmp_path / f"{frames}.mp4"
        summary = animate(talker, steady, out, Options(fps=fps, refine=False))
        assert summary.frames == len(seen) == frames and summary.duration == 1.5
        with av.open(str(out)) as container:
            assert container.streams.video[0].average_rate == (fps or 20)
        steps = np.diff([m.offsets[0, 0] for m in seen])
        np.testing.assert_allclose(steps, 0.12 * 30 / 44 / (fps or 20), rtol=1e-3)


def test_what_a_source_video_cannot_do_is_said(talker: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    for text, options in (
        ("keeps its own pose", Options(parts=("pose",))), ("--loop needs", Options(loop=True)),
        ("--absolute needs", Options(absolute=True)),
    ):  # fmt: skip
        with pytest.raises(InputError, match=text):
            animate(talker, "nod", out, options)
    with pytest.raises(InputError, match=r"out\.gif cannot carry the sound"):
        animate(
            talker, "nod", tmp_path / "out.gif", Options(audio=str(write_wav(tmp_path / "a.wav", [np.ones(99)], 100)))
        )
    assert not [p for p in tmp_path.iterdir() if p.stem == "out"]


@pytest.mark.data
def test_the_old_mouth_does_not_talk_on_in_a_pause(data_dir: Path, tmp_path: Path) -> None:
    if not (data_dir / "field").is_dir():
        pytest.skip("the folder of real inputs lacks field")
    with VideoReader(data_dir / "field" / "base.mp4", max_side=320, fps=12) as reader:
        frames = [f.image for f in reader][:18]
    clip = tmp_path / "clip.mp4"
    with open_sink(clip, frames[0].shape[1::-1], 12) as sink:
        for frame in frames:
            sink.write(frame)
    out = tmp_path / "out.mp4"
    animate(clip, SpeechDriver(data_dir / "field" / "latevoice.wav", still=True), out, Options(refine=False))
    gaps, quiet = (lip_gaps(faces(p))[:, 3:6].mean(1) for p in (clip, out))
    assert gaps.mean() > 0.05 and quiet.max() < 0.03
