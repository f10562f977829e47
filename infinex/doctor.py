"""A look at the installation: versions, libraries, models, and a clip that is written, read, tracked and rendered."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from infinex._version import __version__
from infinex.errors import missing_library

if TYPE_CHECKING:
    from infinex.motion import Motion

REQUIRED = (
    "numpy", "scipy", "opencv-python-headless", "av", "numba", "pillow", "typer", "rich", "onnxruntime",
)  # fmt: skip
OPTIONAL = ("torch", "pyvirtualcam")


def _version_of(package: str) -> str | None:
    for name in (package, package.removesuffix("-headless")):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _check_codecs() -> str:
    import av

    missing = [c for c in ("libx264", "libvpx-vp9", "aac", "libopus", "gif", "apng") if c not in av.codecs_available]
    if missing:
        raise RuntimeError(f"encoders missing: {', '.join(missing)}")
    return "H.264, VP9, AAC, Opus, GIF, APNG"


def _check_models() -> str:
    from infinex.face.tracker import FaceFinder

    with FaceFinder() as finder:
        faces = finder.find(np.full((128, 128, 3), 127, np.uint8))
    if faces:
        raise RuntimeError("the detector sees a face on plain grey")
    return "face detector and mesh load"


def _check_engine() -> str:
    """Warp a drawn picture with the mean face: exactly still at rest, and moved under a turn."""
    from infinex.engine import Drive, Source
    from infinex.face.topology import mean_face
    from infinex.face.tracker import Face
    from infinex.mesh.engine import MeshEngine
    from infinex.motion import Move, Rest

    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (256, 256, 3), dtype=np.uint8)
    face = MeshEngine().prepare(Source(image, Face(mean_face() * 80 + [128, 140, 0])))
    face.begin(Rest.neutral(), None, None)
    canvas = image.copy()
    still = Move(0.0, np.zeros(3), np.zeros(3), 1.0, np.zeros((478, 3)), np.zeros(2))
    face.draw(canvas, Drive(still))
    if not np.array_equal(canvas, image):
        raise RuntimeError("no motion must reproduce the source exactly")
    turned = Move(0.0, np.array([0.0, 0.2, 0.0]), np.zeros(3), 1.0, np.zeros((478, 3)), np.zeros(2))
    face.draw(canvas, Drive(turned))
    start = time.perf_counter()
    face.draw(canvas, Drive(turned))
    if np.array_equal(canvas, image):
        raise RuntimeError("a turned head must change the picture")
    return f"a 256x256 frame in {(time.perf_counter() - start) * 1e3:.0f} ms"


TILT = 8.0  # degrees by which the head leans at the end of the trial's clip
FRAMES, SIZE = 12, 256
LARGE = 512  # pixels a side of what is timed
WINDOW, WINDOWS = 16, 5  # pictures that are timed together, and how often: what a machine does beside that passes
LIVE = 16  # frames of a camera


class _Trial:
    """A bundled portrait, tilted frame by frame, taken through every stage of an animation in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._clip = folder, folder / "clip.mp4"
        self._motion: Motion | None = None

    def clip(self) -> str:
        """Write frames and a tone as MP4 and as WebM; what is read back must be that."""
        from infinex.media.audio import read_audio, write_wav
        from infinex.media.sink import open_sink
        from infinex.media.video import VideoReader

        frames = _leaning(_portrait(), np.clip(np.linspace(-0.5, 1.5, FRAMES), 0, 1) * TILT)  # still at either end
        tone = self._folder / "tone.wav"
        write_wav(tone, [np.sin(np.arange(16000) * 2 * np.pi * 440 / 16000) / 2], 16000)
        for path in (self._folder / "clip.webm", self._clip):
            kind = path.suffix[1:]
            with open_sink(path, (SIZE, SIZE), 25, audio=tone) as sink:
                for frame in frames:
                    sink.write(frame)
            with VideoReader(path) as reader:
                back = [frame.image for frame in reader]
            if len(back) != FRAMES:
                raise RuntimeError(f"{len(back)} of {FRAMES} frames came back from {kind}")
            error = max(float(np.abs(a.astype(int) - b).mean()) for a, b in zip(frames, back))
            if error > 10:
                raise RuntimeError(f"frames come back from {kind} changed, by {error:.0f} grey levels")
            if np.abs(read_audio(path, 16000)).max() < 0.1:
                raise RuntimeError(f"the sound comes back silent from {kind}")
        return "MP4 and WebM, pictures and sound"

    def face(self) -> str:
        """The head that leans must be followed in the clip."""
        from infinex.jobs.track import track

        if not self._clip.exists():
            raise RuntimeError("not tried, there is no clip")
        motion, lost = track(self._clip)
        lean = float(np.degrees(np.linalg.norm(motion.rotation[-1] - motion.rotation[0])))
        if lost or not motion.valid.all():
            raise RuntimeError("the face is lost")
        if abs(lean - TILT) > TILT / 2:
            raise RuntimeError(f"a head that leans by {TILT:g} degrees is tracked as {lean:.1f}")
        self._motion = motion
        return f"{len(motion)} frames, the head leans by {lean:.1f} of {TILT:g} degrees"

    def frame(self) -> str:
        """The portrait must be drawn in the pose that was tracked."""
        from infinex.jobs.animate import render
        from infinex.jobs.source import load_source

        if self._motion is None:
            raise RuntimeError("not tried, there is no tracked face")
        source = load_source(_portrait_path(), size=SIZE)[0]
        drawn = list(render(source, self._motion))
        change = float(np.abs(drawn[-1].astype(int) - drawn[0]).mean())
        if drawn[-1].shape != source.image.shape or change < 1:
            raise RuntimeError("the portrait does not move")
        return "the portrait leans as well"

    def speed(self) -> str:
        """How fast this machine is: pictures from file to file, once they come one after another, and a live one."""
        from infinex.drivers.video import AHEAD
        from infinex.jobs.animate import animate
        from infinex.media.image import write_image
        from infinex.media.sink import open_sink

        if self._motion is None:
            raise RuntimeError("not tried, there is no tracked face")
        portrait, clip, out = (self._folder / name for name in ("portrait.png", "long.mp4", "out.mp4"))
        write_image(portrait, _portrait(LARGE))
        # What is looked over before anything is drawn costs less afterwards.
        performer = _leaning(_portrait(LARGE), TILT * np.sin(np.arange(AHEAD + WINDOWS * WINDOW + 1) / 4))
        with open_sink(clip, (LARGE, LARGE), 25) as sink:
            for frame in performer:
                sink.write(frame)
        shown: list[float] = []
        animate(portrait, clip, out, progress=lambda *_: shown.append(time.perf_counter()))
        rate = _rate(shown[AHEAD:])
        return f"{rate:.1f} pictures/s at {LARGE} px; a live one {_delay(performer[:LIVE]):.0f} ms after its frame"


def _rate(shown: list[float]) -> float:
    """Pictures a second in the median window of pictures that were shown at some times, in seconds."""
    return WINDOW / max(float(np.median(np.diff(shown[::WINDOW]))), 1e-6)


def _delay(performer: list[NDArray[np.uint8]]) -> float:
    """Milliseconds from a camera's frame to the picture drawn by it, of 95 in 100."""
    from infinex.drivers.camera import LiveCapture
    from infinex.face.tracker import FaceTracker
    from infinex.jobs.source import load_source
    from infinex.mesh.engine import MeshEngine

    source = load_source(_portrait_path(), size=LARGE)[0]
    face, canvas = MeshEngine().prepare(source), source.image.copy()
    live = LiveCapture(25, frames=3)
    spent = []
    with FaceTracker() as tracker:
        resting = (live.look(frame, tracker(frame)) for frame in performer)
        if not any(resting):
            raise RuntimeError("the performer is not seen")
        shot = live.settle(face.face.pose)
        face.begin(shot.rest, shot.image, shot.points)
        live.begin(0.0)
        for i, frame in enumerate([*performer, *performer]):
            begun = time.perf_counter()
            drive = live.see(frame, tracker(frame), (i + 1) / 25)
            if drive is not None:
                face.draw(canvas, drive)
            spent.append((time.perf_counter() - begun) * 1e3)
    return float(np.percentile(spent[len(performer) // 2 :], 95))


def _leaning(picture: NDArray[np.uint8], angles: NDArray) -> list[NDArray[np.uint8]]:
    """A square picture turned by each of some angles in degrees."""
    import cv2

    side = len(picture)
    centre = ((side - 1) / 2, (side - 1) / 2)
    return [
        np.asarray(cv2.warpAffine(picture, cv2.getRotationMatrix2D(centre, a, 1), (side, side), borderMode=1), np.uint8)
        for a in angles
    ]


def _portrait_path() -> Path:
    from infinex.studio.examples import EXAMPLES

    return EXAMPLES[0].path


def _portrait(size: int = SIZE) -> NDArray[np.uint8]:
    """(size, size, 3), the portrait's upper square."""
    import cv2

    from infinex.media.image import read_image

    image = read_image(_portrait_path())
    side = min(image.shape[:2])
    return np.asarray(cv2.resize(image[:side, :side], (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def _passes(name: str, check: Callable[[], str]) -> bool:
    """Run a check and print its outcome in one line."""
    try:
        print(f"  {name:24} ok: {check()}")
    except Exception as error:  # whatever is broken is the finding
        missing = missing_library(error) if isinstance(error, ImportError) else None
        lines = (missing or str(error) or type(error).__name__).splitlines()
        print(f"  {name:24} FAILED: {lines[0]}")
        return False
    return True


def examine() -> list[str]:
    """Print what is here and whether it works; the names of what is missing or fails, none if all is well."""
    print(f"infinex {__version__} on Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    print(f"cores: {os.cpu_count()}")
    bad: list[str] = []
    for package in REQUIRED:
        version = _version_of(package)
        if version is None:
            bad.append(package)
        print(f"  {package:24} {version or 'MISSING: pip install ' + package}")
    for package in OPTIONAL:
        print(f"  {package:24} {_version_of(package) or '- (optional)'}")
    with tempfile.TemporaryDirectory(prefix="infinex-doctor-", ignore_cleanup_errors=True) as folder:
        trial = _Trial(Path(folder))
        checks: list[tuple[str, Callable[[], str]]] = [
            ("encoders", _check_codecs),
            ("face models", _check_models),
            ("mesh engine", _check_engine),
            ("a clip written and read", trial.clip),
            ("a face tracked in it", trial.face),
            ("a frame rendered", trial.frame),
            ("this machine", trial.speed),
        ]
        bad += [name for name, check in checks if not _passes(name, check)]
    print("not all is well" if bad else "all is well")
    return bad
