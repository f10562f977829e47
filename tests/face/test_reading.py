"""Reading Action Units off tracked faces."""

import numpy as np
import pytest

from infinex.drivers.motion import still_motion, still_move
from infinex.drivers.units import with_units
from infinex.editing import Editor
from infinex.face import topology as top
from infinex.face.pose import fit_pose
from infinex.face.reading import read_units, together
from infinex.face.tracker import Face, FaceFinder
from infinex.face.units import ALIKE, FACE_UNITS
from infinex.motion import Motion, Rest
from infinex.pipeline import load_source
from infinex.studio.examples import EXAMPLES


def of(name: str) -> int:
    return FACE_UNITS.index(name)


@pytest.fixture(scope="module")
def tracked() -> dict[str, np.ndarray]:
    """What the tracker sees of units on a portrait without glasses or hat, from its own rest, (478, 3) each."""
    editor, finder = Editor(load_source(EXAMPLES[1].path)), FaceFinder()
    box = editor.sources[0].face.box
    rest = finder.mesh(editor({}), box)
    assert rest is not None
    shape = fit_pose(top.mean_face(), rest).to_head(rest)
    out = {}
    for text, units in {
        "rest": {}, "smile": {"AU12": 0.8}, "brows": {"AU1": 0.8, "AU2": 0.6}, "frown": {"AU4": 0.9},
        "open": {"AU26": 0.8, "AU25": 0.5}, "shut": {"AU45": 1.0}, "corners": {"AU15": 0.9},
    }.items():  # fmt: skip
        seen = finder.mesh(editor(units), box)
        assert seen is not None
        out[text] = fit_pose(shape, seen).to_head(seen) - shape
    finder.close()
    return out


def test_units_are_found_again_in_pictures(tracked: dict[str, np.ndarray]) -> None:
    found = dict(zip(tracked, read_units(np.stack(list(tracked.values())))))
    assert found["rest"].max() < 0.08
    for text, asked in {"smile": ["AU12"], "brows": ["AU1", "AU2"], "frown": ["AU4"], "open": ["AU26"],
                        "shut": ["AU45"], "corners": ["AU15"]}.items():  # fmt: skip
        # Closing lids tighten as well (AU7), behind glasses even more than they are seen to shut.
        most = len(asked) + (text == "shut")
        strongest = [FACE_UNITS[k] for k in np.argsort(-found[text])[:most]]
        assert set(asked) <= set(strongest), (text, strongest)
        assert found[text][of(asked[0])] > 0.25
    assert found["smile"][[of("AU1"), of("AU4"), of("AU26")]].max() < 0.1


def test_intensities_are_bounded_and_rest_is_nothing() -> None:
    rng = np.random.default_rng(0)
    wild = read_units(rng.normal(0, 0.1, (5, 478, 3)))
    assert wild.min() >= 0 and wild.max() <= 1 and wild.shape == (5, len(FACE_UNITS))
    assert not wild[:, [of(n) for n in ALIKE]].any()
    for still in (False, True):
        assert not read_units(np.zeros((2, 478, 3)), still).any()
    noise = read_units(rng.normal(0, 0.002, (20, 478, 3)))
    assert noise.mean() < 0.02


def test_units_that_met_are_told_apart_as_they_were_asked_for() -> None:
    amounts = np.zeros((1, len(FACE_UNITS)))
    amounts[0, [of("AU25"), of("AU26")]] = 0.8
    met = together(amounts)
    assert met[0, of("AU25")] < 0.7 and np.isclose(met[0, of("AU26")], 0.8)
    from infinex.face.reading import _as_asked

    assert np.allclose(_as_asked(met), amounts, atol=0.05)


def test_a_performance_is_read_steadily(tracked: dict[str, np.ndarray]) -> None:
    n = 40
    rng = np.random.default_rng(1)
    smile = np.repeat(tracked["smile"][None], n, 0) + rng.normal(0, 0.0015, (n, 478, 3))
    still = np.zeros((n, 3))
    motion = Motion(25.0, smile.astype(np.float32), still, still, np.ones(n), np.zeros((n, 2)), np.ones(n, bool),
                    Rest.neutral())  # fmt: skip
    read = with_units(motion)
    assert read.units is not None and not set(ALIKE) & set(read.unit_names)
    smiles = read.units[:, read.unit_names.index("AU12")]
    assert smiles.min() > 0.3 and np.abs(np.diff(smiles)).max() < 0.03


def test_a_still_smile_is_taken_on(tracked: dict[str, np.ndarray]) -> None:
    place = [300, 400, 0]
    faces = (200 * (top.mean_face() + tracked[name]) + place for name in ("rest", "smile"))
    calm, happy = (still_motion(Face(p)).offsets[-1] for p in faces)
    assert np.abs(calm).max() < 0.02
    assert happy[61, 1] < -0.02 and happy[61, 0] < -0.02


def test_a_smile_that_was_never_seen_at_rest_is_read_from_a_photograph() -> None:
    source = load_source(EXAMPLES[1].path)[0]  # an astronaut, who smiles broadly
    move, units = still_move(source.face, source.image)
    assert move.interior is not None and move.interior[:, 0].mean() > 0.3  # her teeth show
    assert FACE_UNITS[int(np.argmax(units))] == "AU12" and units.max() > 0.4
