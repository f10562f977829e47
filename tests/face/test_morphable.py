"""The parametric face: files of its models, its place on other meshes, what a fit finds and refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from infinex.errors import InputError, MissingDependencyError
from infinex.face import topology as top
from infinex.face.blendshapes import AT
from infinex.face.morphable import energy
from infinex.face.morphable import skin as mesh
from infinex.face.morphable.bases import own_model
from infinex.face.morphable.files import read_model
from infinex.face.morphable.light import ambient, direction, hardness, harmonics
from infinex.face.morphable.model import Camera, euler
from infinex.face.morphable.person import Person
from infinex.face.morphable.places import nearest
from infinex.face.morphable.rest import Rest, found_rest, learned, told_apart
from infinex.face.morphable.said import Reader, column
from infinex.face.morphable.solve import FLIP, Frame, Solver, State, Who
from infinex.face.morphable.surface import normals, rasterise, rings


def test_the_skin_mesh_is_the_trackers_and_its_own_mirror_image() -> None:
    V = top.SURFACE + len(mesh.midpoints())
    assert mesh.triangles().shape == (4 * len(top.triangles()), 3)
    other = mesh.mirrored()
    assert (other[: top.SURFACE] == top.mirror()[: top.SURFACE]).all() and len(other) == V
    face = own_model()
    assert face.mean.shape == (V, 3) and len(face.names) == len(face.expression) == 55
    # Its eye corners are one apart, its nose points to the viewer, its forehead is up.
    assert np.linalg.norm(face.mean[33] - face.mean[263]) == pytest.approx(1, abs=0.1)
    assert face.mean[4, 2] > face.mean[33, 2] and face.mean[10, 1] > face.mean[152, 1]
    n = normals(face.mean, face.triangles, face.around)
    assert n[4, 2] > 0.5 and np.linalg.norm(n, axis=1) == pytest.approx(1)


def test_expressions_do_what_they_are_called() -> None:
    face = own_model()

    def moved(name: str) -> NDArray:
        return face.expression[face.names.index(name)].astype(np.float64)

    assert moved("jawOpen")[14, 1] < -0.1 < moved("jawOpen")[13, 1]
    assert moved("eyeBlink_L")[386, 1] < -0.05 and abs(moved("eyeBlink_L")[159, 1]) < 0.01
    assert moved("mouthSmile_R")[61, 1] > 0.02


def test_the_nearest_triangle_wins_and_backs_are_left_out() -> None:
    points = np.array([[0, 0], [9, 0], [0, 9], [0, 0], [0, 9], [9, 0]], np.float64)
    tris = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
    depth = np.array([2, 2, 2, 3, 3, 3], np.float64)
    front, _ = rasterise(points, depth, tris, (10, 10))
    both, weights = rasterise(points, depth, tris, (10, 10), both=True)
    assert set(np.unique(front)) == {-1, 1} and set(np.unique(both)) == {-1, 0}
    i, j = 2, 3
    assert weights[i, j] @ points[tris[0]] == pytest.approx([j, i], abs=1e-5)


def test_light_has_a_direction() -> None:
    rng = np.random.default_rng(0)
    n = rng.normal(size=(4000, 3))
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    towards = np.array([0.5, 0.3, 0.81])
    shade = 0.4 + 0.6 * np.clip(n @ towards, 0, None)
    light = np.tile(np.linalg.lstsq(harmonics(n), shade, rcond=None)[0], (3, 1))
    assert np.degrees(np.arccos(direction(light) @ towards / np.linalg.norm(towards))) < 3
    assert (direction(ambient()) == 0).all()
    # It ends where skin turns away, which nine harmonics alone do not tell; an even one has no end.
    hard = hardness(light)
    plain = np.abs(harmonics(n) @ light[0] - shade).max()
    assert np.abs((harmonics(n) + hard.added(n)) @ light[0] - shade).max() < 0.35 * plain
    assert not hardness(ambient()).share.any()
    h = 1e-5
    for axis in range(3):
        d = h * np.eye(3)[axis]
        numeric = (hard.added(n[:50] + d) - hard.added(n[:50] - d)) / (2 * h)
        assert hard.changes(n[:50])[..., axis] == pytest.approx(numeric, abs=1e-3)


def test_a_place_is_found_on_another_mesh() -> None:
    x, y = np.meshgrid(np.arange(5.0), np.arange(5.0))
    vertices = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], 1)
    tris = [(k, k + 1, k + 5) for k in range(19) if k % 5 < 4] + [(k + 1, k + 6, k + 5) for k in range(19) if k % 5 < 4]
    places = nearest(np.array([[1.3, 2.2, 0.7], [-1, 2, 0]]), vertices, np.array(tris, np.int32), np.ones(25, bool))
    assert places.of(vertices) == pytest.approx(np.array([[1.3, 2.2, 0], [0, 2, 0]]))
    assert rings(np.array(tris, np.int32), 25).shape[0] == 25


# -- fitting --------------------------------------------------------------------------------------


def drawn(seed: int) -> tuple[NDArray[np.uint8], NDArray, Who, State]:
    """A face of our own model under chosen parameters, and its true points."""
    face, rng = own_model(), np.random.default_rng(seed)
    expression = np.zeros(len(face.names))
    expression[[face.names.index(n) for n in ("jawOpen", "mouthSmile_L", "mouthSmile_R")]] = 0.4, 0.5, 0.5
    light = 0.8 * ambient() + np.array([0, -0.1, 0.1, -0.2, 0, 0, 0, 0, 0])
    who = Who(rng.normal(0, 0.6, len(face.identity)), rng.normal(0, 0.6, len(face.reflectance)), 700.0)
    state = State(euler(np.radians([6.0, -14.0, 4.0])), np.array([0.1, -0.05, -9.0]), expression, light)
    look = Solver(face).look(who, state)
    side = 224
    points = Camera(who.focal, (side / 2 - 0.5, side / 2 - 0.5)).project(look.camera * FLIP)
    ids, weights = rasterise(points, -look.camera[:, 2], face.triangles, (side, side))
    image = np.full((side, side, 3), 60, np.uint8)
    at = ids >= 0
    colour = np.einsum("nk,nkc->nc", weights[at], look.colour[face.triangles[ids[at]]])
    image[at] = np.clip(colour * 255, 0, 255).astype(np.uint8)
    marks = np.zeros((top.POINTS, 3))
    marks[: top.SURFACE, :2] = points[: top.SURFACE]
    marks[: top.SURFACE, 2] = -look.camera[: top.SURFACE, 2] * who.focal / 9
    marks[:, 2] -= marks[: top.SURFACE, 2].mean()
    return image, marks, who, state


def test_a_fit_finds_what_a_face_was_drawn_with() -> None:
    image, marks, _, state = drawn(1)
    # The tracker errs by a pixel or so.
    marks[:, :2] += np.random.default_rng(2).normal(0, 0.7, (top.POINTS, 2))
    solver = Solver(own_model())
    frame = Frame(image, marks)
    who, (found,) = solver.bundle([frame], [marks], steps=((4, 4), (2, 3), (1, 2)))
    turn = np.degrees(np.arccos(np.clip((np.trace(found.rotation @ state.rotation.T) - 1) / 2, -1, 1)))
    assert turn < 3
    assert np.corrcoef(found.expression, state.expression)[0, 1] > 0.6
    assert np.degrees(np.arccos(direction(found.light) @ direction(state.light))) < 25
    nudged = State(euler(np.radians([0, 3.0, 0])) @ found.rotation, found.shift, found.expression, found.light)
    again, value = solver.follow(frame, who, nudged)
    assert value < 0.03
    assert np.abs(again.rotation - found.rotation).max() < 0.02
    assert again.expression.min() >= 0 and again.expression.max() <= 1


def few_expressions() -> tuple[np.random.Generator, np.ndarray, np.ndarray, np.ndarray]:
    """Three of twenty expressions in 24 frames, beyond a rest, and how frames see each; and the dice."""
    rng = np.random.default_rng(5)
    T, E = 24, 20
    rest, shown = rng.normal(0, 0.2, E), np.zeros((T, E))
    shown[:, [2, 7, 11]] = np.clip(rng.normal(0.2, 0.5, (T, 3)), 0, 1)
    return rng, rest, shown, rng.normal(size=(T, 30, E)) * rng.uniform(0.2, 1, E)


def test_rest_is_told_from_the_few_expressions_that_a_clip_shows() -> None:
    rng, rest, shown, seen = few_expressions()
    T, E = shown.shape
    seen[:, :, 3] = seen[:, :, 2] + 0.2 * seen[:, :, 3]  # looks much like another
    H = 100 * energy.PRIOR * seen.transpose(0, 2, 1) @ seen
    b = (H @ (rest + shown + rng.normal(0, 0.05, (T, E)))[..., None])[..., 0]
    found, told = told_apart(H, b)
    assert np.corrcoef(told.ravel(), shown.ravel())[0, 1] > 0.95
    assert np.abs(told[:, np.delete(np.arange(E), [2, 7, 11])]).mean() < 0.02
    assert np.abs(found - rest).max() < 0.1
    alone = np.clip(np.linalg.solve(H, b[..., None])[..., 0], 0, 1)  # each frame by itself
    assert np.corrcoef(alone.ravel(), shown.ravel())[0, 1] < 0.7


def test_what_a_reader_says_and_lips_that_meet_tell_apart_what_looks_alike() -> None:
    T, E = 16, 3
    shown = np.zeros((T, E))
    shown[:, 0] = 0.4 + 0.3 * np.sin(np.arange(T))  # never at rest; 1 looks just like it
    both = np.array([1.0, 1.0, 0.0])
    H = np.repeat(1000 * energy.PRIOR * (np.outer(both, both) + np.diag([0, 0, 1.0]))[None], T, 0)
    b = (H @ shown[..., None])[..., 0]
    said = shown.copy()
    said[:, 2] = np.nan
    guessed, found = told_apart(H, b)[1], told_apart(H, b, said)[1]
    assert np.abs(guessed - shown)[:, 1].mean() > 0.05 > np.abs(found - shown)[:, 1].mean()
    parting = np.array([[1.0, 1.0, 0.0]])
    rest, closed = told_apart(H, b, said)[0], told_apart(H, b, said, parting)[0]
    assert abs((parting @ closed)[0]) < 0.2 * abs((parting @ rest)[0])


def test_one_expression_is_found_where_many_small_ones_would_do_and_knows_its_other_side() -> None:
    T, E = 24, 7
    shown, split = np.zeros((T, E)), np.zeros((T, E))
    shown[:, 0] = np.clip(np.sin(0.6 * np.arange(T)), 0, 1)
    split[:, 0], split[:, 1:5] = 0.4 * shown[:, 0], 0.3 * shown[:, :1]  # four others that look nearly like it
    looks = np.vstack([[0.5, 0.5, 0.5, 0.5, 0, 0, 0.5], np.eye(6, 7)])
    H = np.repeat(1000 * energy.PRIOR * (looks @ looks.T)[None], T, 0)
    found = told_apart(H, (H @ split[..., None])[..., 0])[1]
    assert np.corrcoef(found.ravel(), shown.ravel())[0, 1] > 0.99
    assert found[:, 0].max() > 0.8 and found[:, 1:].max() < 0.05
    face = own_model()
    left, right = (face.names.index("eyeWide" + side) for side in ("_L", "_R"))
    assert face.mates[left] == right and face.mates[right] == left
    assert face.mates[face.names.index("jawOpen")] == face.names.index("jawOpen")
    assert replace(face, names=()).mates.tolist() == list(range(len(face.expression)))


def test_how_widely_expressions_go_is_learned_with_rest() -> None:
    rng, rest, shown, seen = few_expressions()
    T, E = shown.shape
    seen[:, :, 2] *= 0.3  # it is hardly seen
    H = 100 * energy.PRIOR * seen.transpose(0, 2, 1) @ seen
    b = (H @ (rest + shown + rng.normal(0, 0.05, (T, E)))[..., None])[..., 0]
    guess, nowhere = rest + rng.normal(0, 0.1, E), np.zeros((0, E))
    more, usual, found = learned(H, b - H @ guess, np.full(E, 0.1), guess, nowhere)
    assert np.abs(guess + more - rest).mean() < 0.045 < 0.06 < np.abs(guess - rest).mean()
    assert np.polyfit(shown[:, 2], found[:, 2], 1)[0] > 0.8
    assert np.argsort(usual)[-3:].tolist() == sorted([2, 7, 11], key=lambda k: usual[k])
    assert np.corrcoef(found.ravel(), shown.ravel())[0, 1] > 0.9
    stiff = np.linalg.solve(H + 100 * energy.PRIOR * np.eye(E), (b - H @ rest)[..., None])[..., 0]
    assert np.polyfit(shown[:, 2], stiff[:, 2], 1)[0] < 0.6  # as a clip whose rest is known, but not how it goes
    sides = np.array([0, 1, 3, 2, *range(4, E)])
    twins = learned(H, b - H @ guess, np.full(E, 0.1), guess, nowhere, mates=sides)
    assert twins[1][2] == twins[1][3]  # either side tells how widely both may go ...
    assert (twins[2][:, 2] ** 2).mean() > 5 * (twins[2][:, 3] ** 2).mean()  # ... which makes neither go along
    parting = np.eye(1, E, 3)
    shut = guess + learned(H, b - H @ guess, np.full(E, 0.1), guess, parting)[0]
    assert abs(shut[3]) < 0.5 * abs(rest[3])


def test_a_reader_knows_which_of_apples_shapes_an_expression_is() -> None:
    names = own_model().names
    known = {n: column(n) for n in names}
    assert known["eyeBlink_L"] == AT["eyeBlinkLeft"] and known["jawOpen"] == AT["jawOpen"]
    assert known["cheekPuff_R"] == known["cheekPuff_L"] == AT["cheekPuff"]
    assert known["cheekRaiser_L"] is None
    image, marks, _, _ = drawn(1)
    frame = Frame(image, marks)
    said = Reader([(frame.part, frame.marks)] * 2, names)(frame.part, frame.marks)
    assert np.isnan(said).tolist() == [known[n] is None for n in names]
    assert np.nanmax(said) < 1e-6  # beside itself


def test_a_rest_is_a_shape_and_models_of_two_ways_have_none() -> None:
    face = own_model()
    frown = face.names.index("mouthFrown_L")
    image, marks, who, _ = drawn(1)
    shaped = Rest(0.3 * np.eye(len(face.names))[frown], face.spread).face(face)
    assert shaped.mean == pytest.approx(face.mean + 0.3 * face.expression[frown])
    free = replace(face, low=-np.inf)
    none, _ = found_rest(free, [Frame(image, marks)], [marks], who)
    assert not none.weights.any() and none.face(face).mean == pytest.approx(face.mean)


def test_a_person_survives_its_file(tmp_path: Path) -> None:
    face = own_model()
    image, marks, who, state = drawn(3)
    person = Person(face, who, [state, state], np.stack([marks, marks]).astype(np.float32), np.ones(2, bool),
                    np.array([0.02, 0.03]), image.shape[1::-1], 25.0)  # fmt: skip
    path = tmp_path / "person.npz"
    person.save(path)
    back = Person.load(path)
    assert len(back) == 2 and back.fps == 25 and back.face.names == face.names
    assert back.look(back.states[0]).camera == pytest.approx(person.look(state).camera, abs=2e-3)
    assert back.look(back.states[0]).colour == pytest.approx(person.look(state).colour, abs=2e-3)
    with np.load(path) as data:
        a = dict(data)
    a["neutral"] = a["neutral"][:100]
    np.savez(path, **a)
    with pytest.raises(InputError, match="another topology"):
        Person.load(path)
    np.savez(path, x=np.zeros(1))
    with pytest.raises(InputError, match="no person file"):
        Person.load(path)


# -- files of other models ------------------------------------------------------------------------


def test_models_of_others_are_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    V, F = 60, 100
    tl = rng.integers(1, V + 1, (F, 3))
    from scipy.io import savemat

    path = tmp_path / "01_MorphableModel.mat"
    savemat(path, {"shapeMU": rng.normal(size=(3 * V, 1)), "shapePC": rng.normal(size=(3 * V, 99)),
                   "shapeEV": np.arange(1.0, 100)[:, None], "texMU": np.full((3 * V, 1), 127.5),
                   "texPC": rng.normal(size=(3 * V, 99)), "texEV": np.ones((99, 1)), "tl": tl})  # fmt: skip
    raw = read_model(path)
    assert raw.title == "Basel 2009" and raw.identity.shape == (80, V, 3) and not len(raw.expression)
    assert (raw.triangles[:, ::-1] + 1 == tl).all() and raw.skin == pytest.approx(np.full((V, 3), 0.5))
    path = tmp_path / "flame2023.npz"
    template, moves = rng.normal(size=(5023, 3)), rng.normal(size=(5023, 3, 400)).astype(np.float32)
    np.savez(path, v_template=template, shapedirs=moves, f=rng.integers(0, 5023, (F, 3)),
             J_regressor=np.full((5, 5023), 1 / 5023), weights=np.full((5023, 5), 0.2))  # fmt: skip
    raw = read_model(path)
    assert raw.title == "FLAME" and raw.expression.shape == (76, 5023, 3) and raw.names[0] == "jawOpen"
    assert (raw.expression[3] == moves[:, :, 300]).all() and not raw.solid[3931:].any()
    np.savez(
        path, v_template=template[:9], shapedirs=moves[:9], f=tl, J_regressor=np.ones((5, 9)), weights=np.ones((9, 5))
    )
    with pytest.raises(InputError, match="another topology"):
        read_model(path)


def test_basel_2017_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model2017.h5"
    try:
        import h5py
    except ImportError:
        path.write_bytes(b"x")
        with pytest.raises(MissingDependencyError, match="pip install h5py"):
            read_model(path)
        return
    rng, V = np.random.default_rng(0), 50
    with h5py.File(path, "w") as file:
        for name, count in (("shape", 90), ("expression", 20), ("color", 30)):
            file[f"{name}/model/mean"] = rng.random(3 * V)
            file[f"{name}/model/pcaBasis"] = rng.normal(size=(3 * V, count))
            file[f"{name}/model/pcaVariance"] = np.full(count, 4.0)
        file["shape/representer/cells"] = rng.integers(0, V, (3, 40))
        basis = file["shape/model/pcaBasis"][:]
    raw = read_model(path)
    assert raw.title == "Basel 2017" and raw.identity.shape == (80, V, 3) and len(raw.expression) == 20
    assert raw.identity[0].ravel() == pytest.approx(2 * basis[:, 0], rel=1e-5) and raw.triangles.shape == (40, 3)


@pytest.mark.parametrize(
    ("name", "words"), [("flame.pkl", "numpy.savez"), ("m.npz", "cannot be read"), ("a.obj", "it is Basel")]
)
def test_what_is_no_model_is_refused(tmp_path: Path, name: str, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x80\x04nothing")
    with pytest.raises(InputError, match=words):
        read_model(path)


def test_a_model_with_code_is_refused(tmp_path: Path, harm: object) -> None:
    path = tmp_path / "model.npz"
    np.savez(path, neutral=np.array([harm], object))
    with pytest.raises(InputError):
        read_model(path)
    assert not harm.trace.exists()  # type: ignore[attr-defined]


# -- the command ----------------------------------------------------------------------------------


@pytest.mark.data
def test_fit_of_a_clip_and_what_it_refuses(data_dir: Path, tmp_path: Path, write_clip, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from infinex.jobs import fit as job
    from infinex.media.image import read_image
    from infinex.media.video import VideoReader

    with VideoReader(sorted((data_dir / "clips/train").glob("*.mp4"))[0]) as reader:
        frames = [f.image for f, _ in zip(reader, range(14))]
    out, calls = tmp_path / "person.npz", []
    monkeypatch.setattr(job, "SAVE_EVERY", 0.0)

    def stopped(done: int, total: int | None) -> None:
        calls.append(done)
        if len(calls) == 20:
            raise KeyboardInterrupt

    clip = write_clip(frames)
    with pytest.raises(KeyboardInterrupt):
        job.fit(clip, out, progress=stopped)
    assert not out.exists()
    calls.clear()
    person = job.fit(clip, out, progress=lambda done, total: calls.append(done))
    assert (
        len(calls) < 14 and out.is_file() and sorted(p.name for p in tmp_path.iterdir()) == ["clip.mp4", "person.npz"]
    )
    assert len(person) == 14 and person.valid.all() and person.energy.mean() < 0.08
    assert len(Person.load(out)) == 14
    for stopped_once, whole in zip(person.states, job.fit(clip).states):
        assert stopped_once.expression == pytest.approx(whole.expression, abs=1e-4)
    with pytest.raises(InputError, match="at least 12"):
        job.fit(write_clip(frames[:5], "short.mp4"))
    couple = read_image(data_dir / "portraits/deepface_couple.jpg")
    k = 512 / max(couple.shape[:2])
    couple = cv2.resize(couple, (round(couple.shape[1] * k) // 2 * 2, round(couple.shape[0] * k) // 2 * 2))
    with pytest.raises(InputError, match="2 people"):
        job.fit(write_clip([couple] * 2, "two.mp4"))
