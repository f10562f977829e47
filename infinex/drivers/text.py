"""English text as a driver: read by the grammar (`reader.py`), or made into trajectories by a network."""

from __future__ import annotations

from infinex.drivers.reader import Reader, check_language
from infinex.drivers.timeline import Timeline, TimelineDriver, TrackDriver
from infinex.drivers.words import Understand
from infinex.errors import option
from infinex.spec import systems


def read_text(text: str, understand: Understand | None = None) -> Timeline:
    """The timeline of English text.

    `understand` may give meaning to clauses the grammar knows no word of. Raises InputError for an empty
    text, a language other than English, or a text that says nothing about a face."""
    return Reader(understand)(text)


def label_of(text: str) -> str:
    """A text as the metadata of a result calls it."""
    return '"' + " ".join(text.split())[:200] + '"'


def open_text(
    text: str, fps: float = 25.0, still: bool = False, model: str = "grammar", encoder: str = "auto"
) -> TrackDriver:
    """A driver that acts out a text. `still`: without blinks, breath and sway of its own.

    `model` is "grammar", or the network that makes the trajectories: "recurrent", "lstm" or a weights file.
    `encoder` names the sentence encoder for free wording; "auto" is the default one where it is installed.
    Raises InputError as `read_text` does, MissingDependencyError and WeightsError for a network's needs."""
    if model != "grammar":
        check_language(text)
        networks = systems()["language"].load("units", f"{option('text_model')} {model}")
        sentences: TrackDriver = networks.open_sentences(
            text, fps, still, model, None if encoder in ("auto", "none") else encoder
        )
        sentences.name = label_of(text)
        return sentences
    understand: Understand | None = None
    if encoder != "none":
        from infinex.drivers import meaning

        if encoder != "auto" or meaning.available():
            understand = meaning.free_wording(None if encoder == "auto" else encoder)
    driver = TimelineDriver(read_text(text, understand), fps, still)
    timeline = driver.timeline
    driver.name = label_of(text)
    driver.notes = [*timeline.notes]
    if timeline.unknown:
        driver.notes.append("not understood: " + ", ".join(timeline.unknown))
    if driver.unshown:
        driver.notes.append("this face model cannot show " + ", ".join(driver.unshown))
    return driver


__all__ = ["Reader", "Timeline", "check_language", "open_text", "read_text"]
