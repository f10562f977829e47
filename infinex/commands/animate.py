"""`infinex animate`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from infinex.beside import make_ready
from infinex.commands.choices import (
    Album,
    Background,
    BoxText,
    DriverFace,
    Exaggerate,
    Json,
    Mark,
    Neutral,
    OpenEyes,
    Quiet,
    Sign,
    Smooth,
)
from infinex.commands.common import parse_box, parse_own, parse_time, piped, progress_bar, report
from infinex.errors import InputError
from infinex.media.files import CLIPS
from infinex.spec import actors, with_engines

if TYPE_CHECKING:
    from infinex.jobs.open import Driving
    from infinex.options import Options


class Mouth(str, Enum):
    """Where the inside of the mouth comes from."""

    auto = "auto"
    driver = "driver"
    own = "own"


class Wrinkles(str, Enum):
    """Whose wrinkles are shown."""

    driver = "driver"
    none = "none"


class Proportions(str, Enum):
    """How displacements are carried over to a face of other proportions."""

    auto = "auto"
    scaled = "scaled"
    plain = "plain"
    landmark_transformer = "landmark-transformer"


@piped
def animate(
    source: Annotated[Path, typer.Argument(help="Portrait: a picture, or a video whose own head motion stays.")],
    driving: Annotated[
        Optional[str],  # noqa: UP045  (typer reads this on Python 3.10)
        typer.Argument(help="Driver: a video, a picture, a .motion.npz file, camera:0, or - for standard input."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help=".mp4, .webm, .gif, .apng, a folder for PNG frames, or - (see --format)."),
    ] = None,
    kind: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--format", help="With -o -, what goes to standard output: mp4 (default), webm, gif, apng, mov."),
    ] = None,
    motion: Annotated[
        Optional[str], typer.Option(help="A bundled performance by name (see `infinex motions`), or a file.")  # noqa: UP045
    ] = None,
    units: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help='Drive by Action Units: "AU12=0.8,AU6=0.5", or "0s: ; 1s: AU12=1; 2s: AU12=.2".'),
    ] = None,
    exaggerate: Exaggerate = False,
    text: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help='What the face should do, in English: "she smiles, then looks surprised".'),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print what was made of --text; without -o, do nothing else.")
    ] = False,
    speech: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A voice that moves the lips: a sound file, or a video for its sound track."),
    ] = None,
    say: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help='What the portrait says, with stage directions: "[smiles] Good morning, class."'),
    ] = None,
    voice: Annotated[
        str, typer.Option(help="Who says it: a language (de), one of `infinex voices`, or a Piper voice, FILE.onnx.")
    ] = "",
    voice_speed: Annotated[float, typer.Option(help="How fast it is said, 0.5 to 2.")] = 1.0,
    voice_pitch: Annotated[float, typer.Option(help="How much higher, -12 to 12 semitones.")] = 0.0,
    captions: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="With --say: write what is said when, as WebVTT."),
    ] = None,
    layers: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A scene of layers, JSON: performances, voices, words, expressions, head; see layers.md."),
    ] = None,
    still: Annotated[
        bool,
        typer.Option(
            "--still", help="With --text, --speech or --say: nothing that was not asked for, not even blinks."
        ),
    ] = False,
    text_model: Annotated[
        str, typer.Option(help="What reads --text: grammar, or a network: recurrent, or a file.")
    ] = "grammar",
    sentence_encoder: Annotated[
        str, typer.Option(help="For free wording in --text: auto, none, or a sentence-transformers model.")
    ] = "auto",
    engine: Annotated[
        str, typer.Option(help=f"What renders: {', '.join(with_engines())}; of --text alone {', '.join(actors())}.")
    ] = "mesh",
    weights: Annotated[
        str, typer.Option(help="Of the engine: a name of `infinex weights list`, a file or a run's folder.")
    ] = "",
    own: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--option", help="KEY=VALUE, a choice that this engine alone knows; repeatable."),
    ] = None,
    face: Annotated[
        str, typer.Option(help="largest, all, a number from the left, or drivers: 1=a.mp4,2=b.mp4.")
    ] = "largest",
    driver_face: DriverFace = "largest",
    box: BoxText = None,
    parts: Annotated[
        str, typer.Option(help="Of pose,lips,eyes,brows,gaze,scale; without scale the head keeps its size.")
    ] = "pose,lips,eyes,brows,gaze",
    strength: Annotated[float, typer.Option(help="How strongly, 0 to 3.")] = 1.0,
    absolute: Annotated[
        bool, typer.Option("--absolute", help="Take the driver's pose as it is, not its change.")
    ] = False,
    reference: Annotated[
        int | None,
        typer.Option(help="Frame of the driver that counts as rest, from 0; else the best is chosen."),
    ] = None,
    smooth: Smooth = 0.5,
    mouth: Annotated[
        Mouth,
        typer.Option(
            help="Inside of the mouth: own (modelled), the driver's, or auto: the driver's of the same person."
        ),
    ] = Mouth.auto,
    wrinkles: Annotated[Wrinkles, typer.Option(help="Carry over the driver's wrinkles, or none.")] = Wrinkles.driver,
    neutral: Neutral = False,
    open_eyes: OpenEyes = False,
    album: Album = "",
    proportions: Annotated[
        Proportions,
        typer.Option(help="How motion fits a face of other proportions; auto: as the engine does by itself."),
    ] = Proportions.auto,
    no_refine: Annotated[
        bool, typer.Option("--no-refine", help="Only the face is followed: no outline measured, no networks.")
    ] = False,
    background: Background = "keep",
    panel: Annotated[bool, typer.Option("--panel", help="Write source, driving, occlusion map and result.")] = False,
    passes: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="A folder for compositors: STMaps, motion vectors, normals, matte and paint of every frame."),
    ] = None,
    pieces: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Work in pieces of so many seconds: a run that was killed goes on behind them."),
    ] = None,
    crop: Annotated[
        str, typer.Option(help="keep, or the largest part of 1:1, 9:16 or 16:9 around the face (still portraits).")
    ] = "keep",
    audio: Annotated[
        str, typer.Option(help="keep (the driver's sound; of a camera, the microphone's), none, or a file.")
    ] = "keep",
    start: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Where in the driver to begin, seconds or m:ss; its sound begins there, too."),
    ] = None,
    end: Annotated[Optional[str], typer.Option(help="Where in the driver to end, seconds or m:ss.")] = None,  # noqa: UP045
    loop: Annotated[
        bool, typer.Option("--loop", help="Ease the last half second into the first, so that the result repeats.")
    ] = False,
    fps: Annotated[Optional[float], typer.Option(help="Frame rate; else the driver's, or a source video's.")] = None,  # noqa: UP045
    size: Annotated[int | None, typer.Option(help="Longer side of the result in pixels; else the source's.")] = None,
    keep_readable: Annotated[
        bool, typer.Option("--keep-readable", help="Use what can be read of a damaged driver.")
    ] = False,
    mark: Mark = False,
    sign: Sign = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Animate a portrait: infinex animate photo.jpg clip.mp4 -o out.mp4

    With camera:0, n or space takes the face as it is now for rest, and q or Esc ends."""
    if engine == "mesh" and driving is not None and driving.lower().endswith(CLIPS) and not (speech or say):
        make_ready("infinex.drivers.apart")  # it imports while we do

    from infinex.drivers.text import open_text
    from infinex.interchange.streams import is_stream
    from infinex.jobs.animate import animate as run
    from infinex.jobs.layers import open_layers
    from infinex.jobs.open import open_said, open_units, open_voice
    from infinex.jobs.source import is_film
    from infinex.options import Options

    named = sum(d is not None for d in (driving, motion, units, text, layers))
    voiced = speech is not None or say is not None
    acts = engine in actors()
    if named > 1 or (not named and not voiced and "=" not in face and not acts):
        raise InputError(
            "name one driver: a file or camera:0 after the source, or --motion, --units, --text, --speech, "
            "--say, --layers"
        )
    if speech is not None and say is not None:
        raise InputError("--speech and --say both give the portrait a voice; leave one out")
    if layers is not None and voiced:
        raise InputError("--layers has its voices inside; write a layer of kind voice in place of --speech or --say")
    if say is None and (voice, voice_speed, voice_pitch, captions) != ("", 1.0, 0.0, None):
        raise InputError("--voice, --voice-speed, --voice-pitch and --captions go with --say")
    if text is None and explain:
        raise InputError("--explain goes with --text")
    if text is None and not voiced and still:
        raise InputError("--still goes with --text, --speech or --say")
    if units is None and exaggerate:
        raise InputError("--allow-exaggeration goes with --units")
    if voiced and driving is not None and (driving.startswith("camera:") or is_stream(driving)):
        raise InputError("a voice cannot be laid over a camera or a stream; name a clip, or leave it out")
    options = Options(
        face=face, box=parse_box(box), size=size, crop=crop, background=background, open_eyes=open_eyes,
        reference=reference, smooth=smooth, keep_readable=keep_readable, driver_face=driver_face,
        start=parse_time(start, "--start") or 0.0, end=parse_time(end, "--end"), fps=fps,
        parts=tuple(p.strip() for p in parts.split(",") if p.strip()), strength=strength, absolute=absolute, loop=loop,
        audio=audio, panel=panel, passes=passes, pieces=pieces, mark=mark, sign=sign,
        engine=engine, weights=weights, mouth=mouth.value, wrinkles=wrinkles.value, neutral=neutral, album=album,
        proportions=proportions.value, refine=not no_refine, own=parse_own(own),
    )  # fmt: skip
    if acts:
        if named > (text is not None) or output is None or voiced or explain or still:
            raise InputError(
                f"the engine {engine} acts by itself, of --text alone or of nothing, into the file named with -o"
            )
        _act(source, text, output, options, quiet or as_json, as_json)
        return
    options.check()  # before a driver is made of them
    driver: Driving = motion or driving or ""
    notes: list[str] = []
    if text is not None:
        said = open_text(text, fps or 25.0, still or voiced, text_model, sentence_encoder)
        driver, notes = said, said.notes
        if explain:
            print(said.explain())
            notes = []
            if output is None:
                return
    if driving is not None and (driving.startswith("camera:") or is_stream(driving)):
        from infinex.jobs.live import run_live

        if background == "none":
            raise InputError("a camera's picture cannot be transparent; name a colour or a picture as --background")
        summary = run_live(source, driving, output, options)
        summary.output = "-" if kind else summary.output
        recorded = f"{summary.output}: {summary.duration:.1f} s, " if summary.output else ""
        report(summary.as_dict(), as_json, f"{recorded}{summary.frames} frames, seen at {summary.fps:.1f} frames/s")
        return
    if output is None:
        raise InputError("name the output with -o, for example -o out.mp4")
    scene = None if layers is None else open_layers(layers, options, still=is_film(source))
    if units is not None:
        driver = open_units(units, fps or 25.0, exaggerate)
    if speech is not None:
        driver = open_voice(speech, driver, options, still or is_film(source))
    if say is not None:
        driver = speaker = open_said(say, driver, options, still or is_film(source), voice, voice_speed, voice_pitch)
        notes = [*notes, *speaker.spoken.remarks]
    with progress_bar("animating", quiet or as_json) as update:
        summary = run(source, driver if scene is None else scene, output, options, update)
    if say is not None and captions is not None:
        speaker.spoken.write_captions(captions)
    summary.warnings += notes
    summary.output = "-" if kind else summary.output
    report(
        summary.as_dict(),
        as_json,
        f"{summary.output}: {summary.frames} frames, {summary.duration:.1f} s, "
        f"{summary.width}x{summary.height}, made at {summary.fps:.1f} frames/s",
    )


def _act(source: Path, text: str | None, output: Path, options: Options, silent: bool, as_json: bool) -> None:
    """With an engine that needs no driver."""
    from infinex.jobs.act import act

    found, module = actors()[options.engine]
    actor = found.load(module, f"the engine {options.engine}").open_actor(options.weights)
    if actor.worded != (text is not None):
        wants = "acts out --text: say what" if actor.worded else "moves as it likes, and takes no --text"
        raise InputError(f"the engine {options.engine} {wants}")
    with progress_bar("animating", silent) as update:
        done = act(source, text or "", actor, output, options, update)
    report(done.as_dict(), as_json, f"{done.output}: {done.frames} frames, {done.width}x{done.height}")
