"""The five measures of how like real a video moves, on courses whose values are known."""

from __future__ import annotations

import numpy as np
import pytest

from infinex.evaluation import theval
from infinex.face import topology as top

FPS, RATE = 25.0, 16000


def talk(frames: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """A sound that is silent, loud, silent and loud again by the second; and how loud it is in each frame."""
    loud = (np.arange(frames) // 25 % 2).astype(float)
    wave = np.sin(np.arange(frames * RATE // 25) * 0.2)
    return (wave * np.repeat(loud, RATE // 25) * 0.5).astype(np.float32), loud


def test_heads_lips_and_brows_are_measured_by_how_much_they_stir() -> None:
    """What stands still measures nothing; twice the swing of brows twice as much, of lips four times."""
    still = np.zeros((50, 5))
    assert theval.head(still) == 0 and theval.lips(np.ones((50, 9))) == 0 and theval.brows(np.ones((50, 2))) == 0
    wave = np.sin(np.arange(50.0))[:, None]
    assert theval.lips(2 * wave) == pytest.approx(4 * theval.lips(wave))
    assert theval.brows(2 * wave) == pytest.approx(2 * theval.brows(wave))
    assert theval.head(still + 2 * wave) > 1.9 * theval.head(still + wave)


def test_speech_and_silence_are_told_by_loudness() -> None:
    """A mouth that opens with the sound is in step, one that opens in the pauses is not; tremble shows in silence."""
    sound, loud = talk()
    blocks = theval.loudness(sound, RATE)
    spoken = theval.speaking(blocks, 100, FPS)
    assert (spoken == (loud > 0)).mean() > 0.95
    quiet = theval.silences(spoken, FPS)
    assert quiet.sum() >= 45 and not quiet[30:48].any()
    assert not theval.silences(np.arange(50) % 4 > 0, FPS).any()
    swell = np.abs(np.sin(np.arange(len(blocks)) * 0.3)) + 0.05
    speaks = np.ones(100, bool)
    mouth = np.interp(np.arange(100) / FPS / theval.BLOCK - 0.5, np.arange(len(swell)), swell)
    assert theval.sync(mouth, swell, speaks, FPS) < 0.01 < 0.3 < theval.sync(-mouth, swell, speaks, FPS)
    assert np.isnan(theval.sync(mouth, swell, ~speaks, FPS))
    tremble = 0.01 * (-1.0) ** np.arange(100)
    assert theval.silent(tremble, quiet) == pytest.approx(0.01, abs=1e-3)
    assert theval.silent(np.ones(100), quiet) == 0


def test_a_clip_scores_one_against_itself_and_half_for_half_the_movement() -> None:
    """Landmarks to scores: the whole way."""
    sound, loud = talk()
    mean = top.mean_face() * 90 + 200

    def clip(strength: float) -> dict[str, float]:
        seen = []
        for i, open_ in enumerate(loud):
            points = mean.copy()
            points[top.LIPS_INNER_LOWER[1:-1], 1] += strength * (8 + 5 * np.sin(i)) * open_
            points[top.RIGHT_BROW + top.LEFT_BROW, 1] -= strength * 3 * np.sin(i / 2)
            points[:, 0] += 4 * np.sin(i / 5)
            seen.append(theval.glimpse(points))
        return theval.measures(seen, sound, RATE, FPS)

    truth = clip(1.0)
    same = theval.scores([truth], [truth])
    assert all(v == pytest.approx(1) for v in same.values()) and {"head", "lips", "brows", "sync"} <= set(same)
    half = theval.scores([clip(0.5)], [truth])
    assert (
        half["brows"] == pytest.approx(0.5, abs=0.1)
        and half["lips"] < 0.4
        and half["head"] == pytest.approx(1, abs=0.02)
    )
    assert np.isnan(theval.measures([theval.glimpse(mean)] * 5, None, RATE, FPS)["sync"])
