"""FReeNet against the outputs of the authors' code, sizes taken from the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from infinex.nn.losses import discriminator_adversarial, generator_adversarial  # noqa: E402
from infinex.nn.vgg import STAGES_16, VGG16  # noqa: E402
from infinex.systems.freenet import losses  # noqa: E402
from infinex.systems.freenet.weights import LAYOUT, FreenetWeights  # noqa: E402

pytestmark = pytest.mark.parity
THEIRS = {"converter": "net_G", "pair": "net_D", "single": "net_Dr", "generator": "gag_G", "critic": "gag_D"}


@pytest.fixture(scope="module")
def file(parity_dir: Path) -> Mapping[str, np.ndarray]:
    path = parity_dir / "freenet.npz"
    if not path.is_file():
        pytest.skip(f"no {path.name} in {parity_dir}: set INFINEX_PARITY_DIR")
    with np.load(path, allow_pickle=False) as data:
        return dict(data)


def state(file: Mapping[str, np.ndarray], network: str) -> dict[str, torch.Tensor]:
    prefix = f"state/{network}/"
    return {k.removeprefix(prefix): torch.from_numpy(v) for k, v in file.items() if k.startswith(prefix)}


@pytest.fixture(scope="module")
def weights(file: Mapping[str, np.ndarray]) -> FreenetWeights:
    return LAYOUT.fit({ours: state(file, theirs) for ours, theirs in THEIRS.items()})


def near(name: str, ours: torch.Tensor, theirs: np.ndarray, relative: bool = False) -> None:
    """Within 1e-4, absolute or of the largest entry; one number may come as an array of one."""
    theirs = theirs.reshape(tuple(ours.shape))
    difference = float(np.abs(ours.detach().numpy() - theirs).max())
    assert difference <= 1e-4 * (max(1e-8, float(np.abs(theirs).max())) if relative else 1.0), (name, difference)


def test_the_converter_and_its_losses(file: Mapping[str, np.ndarray], weights: FreenetWeights) -> None:
    a, b, b1, an, bn = (torch.from_numpy(file[f"in/ulc/{n}"]) for n in ("A", "B", "B1", "A_calm", "B_calm"))
    net, pair, single = (LAYOUT.network(weights, n) for n in ("converter", "pair", "single"))
    made = net(a, bn)
    c = losses.Converted(made, net(made, an), net(a, an))
    out = {k.removeprefix("out/ulc/"): v for k, v in file.items() if k.startswith("out/ulc/")}
    near("offset", net.offset(a, bn), out["offset"], relative=True)
    near("made", made, out["fake_B"], relative=True)
    near("cycle", c.cycle, out["cycle_A"], relative=True)
    near("identity", c.identity, out["identity_A"], relative=True)
    near("pair", pair(made, b1), out["pair_score_fake"], relative=True)
    near("single", single(made), out["real_score_fake"], relative=True)
    w = losses.ConverterWeights()
    terms = losses.converter_terms(w, c, a, b, pair(made, b1), single(made))
    loss = {k.removeprefix("out/loss/ulc/"): v for k, v in file.items() if k.startswith("out/loss/ulc/")}
    total = torch.stack(list(terms.values())).sum()
    near("total", total, loss["total_G"], relative=True)
    near("points", terms["points"], w.points * loss["L1"], relative=True)
    near("cycle", terms["cycle"], w.cycle * loss["cycle_A"], relative=True)
    real, fake = loss["D_real"], loss["D_fake"]
    near("critic", losses.critic_halves(1, pair(b, b1), pair(made, b1)), (real + fake) / 2, relative=True)
    near("alone", losses.critic_halves(1, single(b), single(made)), (loss["Dr_real"] + loss["Dr_fake"]) / 2, True)


def test_the_generator_and_its_losses(file: Mapping[str, np.ndarray], weights: FreenetWeights) -> None:
    """The triplet as published: VGG-16 on pictures as they are, the margin as a gate, which one level is above."""
    a1, a2, b1 = (torch.from_numpy(file[f"in/gag/{n}"]) for n in ("A1", "A2", "B1"))
    marks = {n: torch.from_numpy(file[f"in/gag/l_{n}"]) for n in ("A1A2", "B1A1", "A2B1")}
    net, critic = LAYOUT.network(weights, "generator"), LAYOUT.network(weights, "critic")
    vgg = VGG16([[w // 8 for w in stage] for stage in STAGES_16[:4]], normalised=False)
    vgg.read(state(file, "vgg"), "the file", "VGG-16")
    with torch.no_grad():
        anchor, same, other = net(a1, marks["A1A2"]), net(a1, marks["B1A1"]), net(b1, marks["A2B1"])
        fake, real = critic(losses.beside(a1, anchor)), critic(losses.beside(a1, a2))
        features = losses.squared_features(vgg)
        positive, negative = features(same, anchor), features(other, anchor)
        tri = losses.triplet_distance(features, anchor, same, other, 0.3, published=True)
    out = {k.removeprefix("out/gag/"): v for k, v in file.items() if k.startswith("out/gag/")}
    loss = {k.removeprefix("out/loss/gag/"): v for k, v in file.items() if k.startswith("out/loss/gag/")}
    near("branch", net.model_landmark_trans(marks["A1A2"]), out["landmark_features"])
    for name, image in (("A1A2", anchor), ("B1A1", same), ("A2B1", other)):
        near(name, image, out[name])
    near("fake", fake, out["discriminator_fake"])
    near("real", real, out["discriminator_real"])
    for i in range(3):
        near(f"positive {i}", positive[i], out[f"triplet_positive_{i}"], relative=True)
        near(f"negative {i}", negative[i], out[f"triplet_negative_{i}"], relative=True)
    near("triplet", tri, loss["G_Tri"], relative=True)
    w = losses.GeneratorWeights()
    gan, pixels = generator_adversarial(fake, "bce"), (anchor - a2).abs().mean()
    near("gan", gan, loss["G_GAN"], relative=True)
    near("total", w.adversary * gan + w.pixels * pixels + w.triplet * tri, loss["G_total"], relative=True)
    near("critic", discriminator_adversarial(real, fake, "bce"), loss["D_real"] + loss["D_fake"], relative=True)


def test_the_margin_is_one_by_default(file: Mapping[str, np.ndarray], weights: FreenetWeights) -> None:
    """Every sample counts by itself and no level is negative, which the published sum is."""
    features = losses.squared_features(lambda x: [x, x * 2, x * 0.5])
    a, p, n = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.5), torch.full((2, 3, 4, 4), 1.0)
    n[1] = 0.4
    wanted = 0.0
    for scale in (1, 4, 0.25):
        for other in (1.0, 0.16):
            wanted += max(0.0, 0.3 + scale * (0.25 - other)) / 2
    assert float(losses.triplet_distance(features, a, p, n, 0.3)) == pytest.approx(wanted, rel=1e-5)
