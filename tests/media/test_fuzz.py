"""Mutated real files: readers answer with InputError or with pixels, nothing else."""

import random
from pathlib import Path

import pytest

from infinex.errors import InputError
from infinex.media.image import read_image
from infinex.media.video import VideoReader

ROUNDS = 75  # mutations of each file; over 2,000 in all


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut, repeat or overwrite some bytes."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 12)):
        kind, at = rng.randrange(4), rng.randrange(len(out))
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at : at + rng.randint(1, 64)] = rng.randbytes(rng.randint(1, 64))
        elif kind == 2:
            del out[at : at + rng.randint(1, max(1, len(out) // 10))]
        else:
            out[at:at] = out[at : at + rng.randint(1, 256)]
        if not out:
            return b"\0"
    return bytes(out)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.timeout(1500)
def test_mutated_files_never_raise_anything_else(data_dir: Path, tmp_path: Path) -> None:
    rng = random.Random(7)
    files = [p for p in sorted((data_dir / "odd").iterdir()) + sorted((data_dir / "bad").iterdir()) if p.stat().st_size]
    count = read = 0
    for path in files:
        data = path.read_bytes()
        for _ in range(ROUNDS):
            mutant = tmp_path / f"m{path.suffix}"
            mutant.write_bytes(mutate(data, rng))
            count += 1
            try:
                if path.suffix in (".mp4", ".mkv", ".webm"):
                    with VideoReader(mutant, keep_readable=bool(count % 2), max_side=160) as reader:
                        for frame in reader:
                            assert frame.image.ndim == 3
                            if frame.index > 40:
                                break
                else:
                    assert read_image(mutant).ndim == 3
                read += 1
            except InputError as error:
                assert "\n" not in str(error)
    assert count >= 2000 and read > 100
