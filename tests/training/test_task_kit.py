"""The kit that tasks are made of, and clips with tracked faces."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from infinex.errors import InputError  # noqa: E402
from infinex.face.topology import mirror  # noqa: E402
from infinex.training.data import Clip, beside  # noqa: E402
from infinex.training.task import Players, frozen, plain  # noqa: E402
from infinex.training.tracked import MeshTeacher, TrackedClips  # noqa: E402


class Fabric:
    """What a step needs of one."""

    def backward(self, tensor: torch.Tensor) -> None:
        tensor.backward()


def players() -> Players:
    torch.manual_seed(0)
    made = Players()
    made.networks = {"maker": nn.Linear(2, 2), "critic": nn.Linear(2, 1)}
    made._optimizers = {n: torch.optim.SGD(net.parameters(), 0.1) for n, net in made.networks.items()}
    return made


def test_only_those_that_are_named_are_updated() -> None:
    """The maker learns through a critic that stays; no gradient is left for the critic's own step."""
    p = players()
    before = p.states(["maker", "critic", "nobody"])
    assert set(before) == {"maker", "critic"}
    score = p.networks["critic"](p.networks["maker"](torch.ones(3, 2))).mean()
    p.update(["maker"], {"gan": -score}, Fabric())
    after = p.states(["maker", "critic"])
    assert not torch.equal(before["maker"]["weight"], after["maker"]["weight"])
    assert torch.equal(before["critic"]["weight"], after["critic"]["weight"])
    assert all(w.grad is None for w in p.networks["critic"].parameters())


def test_a_term_that_is_no_number_touches_nothing() -> None:
    p = players()
    before = p.states(["maker"])
    bad = p.networks["maker"](torch.ones(1, 2)).sum() * float("nan")
    with pytest.raises(FloatingPointError, match="shape"):
        p.update(["maker"], {"shape": bad}, Fabric())
    assert torch.equal(before["maker"]["weight"], p.states(["maker"])["maker"]["weight"])
    assert plain({"a": torch.tensor(2.0, requires_grad=True)}) == {"a": 2.0}


def test_frozen_networks_pass_gradients_on() -> None:
    net = nn.Linear(2, 1)
    net.bias.requires_grad_(False)
    x = torch.ones(1, 2, requires_grad=True)
    with frozen(net):
        net(x).sum().backward()
    assert x.grad is not None and net.weight.grad is None
    assert net.weight.requires_grad and not net.bias.requires_grad


def test_the_teacher_mirrors_as_the_picture_does(portrait: Path) -> None:
    """Landmarks in sides of the picture; of the mirrored picture they are the mirrored ones; no face is no number."""
    from infinex.media.image import read_image

    image = np.ascontiguousarray(read_image(portrait)[..., :3][:400, 56:456])
    teacher = MeshTeacher()
    (points,), (other,) = teacher([image]), teacher([np.ascontiguousarray(image[:, ::-1])])
    assert points.shape == (478, 3) and 0.2 < points[4, 0] < 0.8 and mirror()[4] == 4
    assert np.abs(teacher.mirrored(points)[:468, :2] - other[:468, :2]).mean() < 0.01
    assert np.isnan(teacher([np.zeros((128, 128, 3), np.uint8)])).all()


def test_landmarks_need_a_place_to_be_kept(dataset: Callable[..., Path]) -> None:
    folder = dataset(people=2)
    (folder / ".frames").write_text("")  # where they would lie
    with pytest.raises(InputError, match="landmarks are kept beside the clips"):
        TrackedClips(folder, "train", 64, cache_gb=0.0)


def test_what_was_made_of_a_clip_that_changed_is_not_used(tmp_path: Path) -> None:
    """Even where the new one is older; what was made of another clip with a like name stays."""
    clips = [Clip(n, tmp_path / f"{n}.mp4", "p", "train", 1, 25.0, 8, 8) for n in ("a", "a-b")]
    for clip in clips:
        clip.path.write_bytes(b"one")
    first, other = (beside(tmp_path, c, "heard.npy") for c in clips)
    for path in (first, other, tmp_path / "a-heard.npy"):
        path.write_bytes(b"")
    assert beside(tmp_path, clips[0], "heard.npy") == first and first.is_file()
    clips[0].path.write_bytes(b"another")
    os.utime(clips[0].path, (0, 0))
    new = beside(tmp_path, clips[0], "heard.npy")
    assert new != first and not first.exists() and not (tmp_path / "a-heard.npy").exists() and other.is_file()
