"""Several frames of tracked clips at once: who, which frames, and that pictures and landmarks are changed alike."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from infinex.face import topology as top
from infinex.training.data import Kept
from infinex.training.several import Colours, SeveralFrames
from infinex.training.tracked import MeshTeacher, TrackedClips

SIZE, FRAMES = 64, 12


@pytest.fixture
def folder(tmp_path: Path, write_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A prepared folder of three people, whose faces are where a bright square is."""

    def place(index: int) -> int:
        return 14 + 2 * index

    frames = []
    for i in range(FRAMES):
        frame = np.zeros((SIZE, SIZE, 3), np.uint8)
        frame[28:36, place(i) - 4 : place(i) + 4] = 220
        frames.append(frame)
    rows = []
    for who, split in (("anna", "train"), ("bert", "train"), ("carl", "test")):
        path = write_clip(frames, f"{who}.mp4", fps=25)
        rows.append([path.name, who, split, "ok", FRAMES, 25, SIZE, SIZE])
    with (tmp_path / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["clip", "identity", "split", "status", "frames", "fps", "width", "height"])
        table.writerows(rows)

    def tracked(_: MeshTeacher, images: object) -> np.ndarray:
        out = [top.mean_face() * 10 + [place(i), 32, 0] for i, _ in enumerate(images)]  # type: ignore[arg-type]
        return ((np.stack(out) + np.array([0.5, 0.5, 0.0])) / SIZE).astype(np.float32)

    monkeypatch.setattr(MeshTeacher, "__call__", tracked)
    return tmp_path


def brightest(image: np.ndarray) -> float:
    """Column of the middle of the bright square in a picture (3, S, S)."""
    columns = image.mean((0, 1))
    return float((columns * np.arange(SIZE)).sum() / columns.sum())


def test_frames_are_different_and_the_first_follow_each_other(folder: Path) -> None:
    frames = SeveralFrames(folder, "train", SIZE, None, FRAMES)
    assert len(frames) == 2 and frames.people == ["anna", "bert", "carl"]
    seen = frames.some(0, 6, np.random.default_rng(0), row=3)
    at = seen.landmarks[:, 4, 0]
    assert len(seen.images) == 6 and np.allclose(np.diff(at[:3]), 2, atol=0.01)
    assert len(np.unique(at.round(2))) == 6
    for image, x in zip(seen.images, seen.landmarks[:, 4, 0]):
        assert abs(brightest(image) - x) < 1


def test_more_frames_than_there_are_are_repeated(folder: Path) -> None:
    frames = SeveralFrames(folder, "train", SIZE, None, 3)
    assert len(frames.some(0, 8, np.random.default_rng(0)).images) == 8


def test_mirrored_pictures_have_mirrored_landmarks(folder: Path) -> None:
    frames = SeveralFrames(folder, "train", SIZE, Colours(), FRAMES)
    rng, flipped = np.random.default_rng(1), 0
    for _ in range(8):
        seen = frames.some(0, 3, rng)
        right, left = seen.landmarks[:, 33, 0], seen.landmarks[:, 263, 0]
        assert (right < left).all()  # the subject's right eye stays on the left of the picture
        for image, x in zip(seen.images, (right + left) / 2):
            assert abs(brightest(image) - x) < 1.5
        flipped += seen.landmarks[0, 4, 0] > 37
    assert flipped > 0


def test_somebody_else_is_somebody_else(folder: Path) -> None:
    frames = SeveralFrames(folder, "train", SIZE, None, FRAMES)
    rng = np.random.default_rng(0)
    assert all(frames.who(frames.clip(rng, other_than=0)) == 1 for _ in range(10))
    assert {frames.who(frames.clip(rng)) for _ in range(20)} == {0, 1}
    assert SeveralFrames(folder, "test", SIZE, None, FRAMES).clip(rng, other_than=0) == 0  # nobody else is there


def test_pictures_are_kept_up_to_so_many_bytes() -> None:
    kept: Kept[int, list[np.ndarray]] = Kept(gigabytes=300e-9)
    made = []

    def make(key: int) -> list[np.ndarray]:
        made.append(key)
        return [np.full(50, key, np.uint8), np.zeros(50, np.uint8)]

    for key in (0, 1, 2, 0, 1, 2):
        assert kept.get(key, lambda k=key: make(k))[0][0] == key  # type: ignore[misc]
    assert made == [0, 1, 2]
    kept.get(3, lambda: make(3))  # in place of the first
    kept.get(1, lambda: make(1))
    kept.get(0, lambda: make(0))
    assert made == [0, 1, 2, 3, 0]


def test_landmarks_are_kept_however_many_frames_there_are(folder: Path) -> None:
    clips = TrackedClips(folder, "train", SIZE, looks=4, cache_gb=0.0)
    assert clips.count(0) == 4 and clips.get(0, 1)[0].shape == (SIZE, SIZE, 3)
    assert not list(folder.rglob("*.npy")) and len(list(folder.rglob("*.npz"))) == 2


@pytest.mark.parametrize("apart", [0.0, 1.0])
def test_pictures_and_landmarks_are_moved_alike(folder: Path, apart: float) -> None:
    """One similarity takes the square and the landmarks to where they are; frames in a row share theirs."""
    colours = Colours(False, 0, 0, 0, 0, shift=0.1, zoom=0.1, turn=10, apart=apart)
    seen = SeveralFrames(folder, "train", SIZE, colours, FRAMES).some(0, 4, np.random.default_rng(1), row=2)
    face = top.mean_face() * 10
    middle = complex(-0.5, -0.5)  # of the square, from where the face is
    turns = []
    for image, marks in zip(seen.images, seen.landmarks):
        a, b, first, second = (complex(*p[:2]) for p in (marks[10], marks[152], face[10], face[152]))
        turn = (b - a) / (second - first)
        want = a + turn * (middle - first)
        ys, xs = np.mgrid[:SIZE, :SIZE]
        weight = image.mean(0) / image.mean(0).sum()
        assert abs(complex((weight * xs).sum(), (weight * ys).sum()) - want) < 0.7
        # Depth grows with the face.
        assert np.ptp(marks[:, 2]) == pytest.approx(abs(turn) * np.ptp(face[:, 2]), rel=1e-3)
        turns.append(turn)
    assert abs(turns[0] - turns[1]) < 1e-4 and (abs(turns[2] - turns[3]) > 1e-3) is bool(apart)
