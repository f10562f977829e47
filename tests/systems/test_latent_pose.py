"""Latent Pose Descriptors: both stages learn, files come back, the engine paints a person and her mask."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from learned import Plain, comes_back, smooth  # noqa: E402

from infinex.drivers.contract import Drive  # noqa: E402
from infinex.engine import load_engine  # noqa: E402
from infinex.errors import FaceNotFoundError, InputError  # noqa: E402
from infinex.options import Options  # noqa: E402
from infinex.spec import systems  # noqa: E402
from infinex.stage import Stage  # noqa: E402
from infinex.systems.latent_pose import augment  # noqa: E402
from infinex.systems.latent_pose.data import faces_in, sample  # noqa: E402
from infinex.systems.latent_pose.engine import BUNDLED  # noqa: E402
from infinex.systems.latent_pose.losses import LossWeights, dice  # noqa: E402
from infinex.systems.latent_pose.model import CONFIGS, LatentConfig, networks_of  # noqa: E402
from infinex.systems.latent_pose.recipe import RECIPES, LatentRecipe, LatentTask, task  # noqa: E402
from infinex.systems.latent_pose.weights import LAYOUT  # noqa: E402
from infinex.training.data import Augmentation  # noqa: E402

SMALL = LatentConfig(size=32, width=8, max_width=16, identity=16, pose=8, hidden=24, stages=(4, 4, 8, 8, 16),
                     depths=(1, 1, 1, 1), groups=2, per_group=32, mobile=0.1, mobile_by=4, mobile_last=32,
                     critic_blocks=4, labels=3)  # fmt: skip


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, "small", SMALL)
    torch.manual_seed(0)


def _recipe(**changes: object) -> LatentRecipe:
    return replace(LatentRecipe(config="small", batch_size=2, looks=2, rate=2e-3, rate_discriminator=2e-3), **changes)


def _batch(count: int = 2) -> dict:
    pictures = smooth(3 * count, 32).unflatten(0, (count, 3))
    mask = torch.zeros(count, 1, 32, 32)
    mask[:, :, 6:, 8:24] = 1
    return {"pictures": pictures[:, :2], "performer": pictures[:, 2], "target": pictures[:, 2] * mask, "mask": mask,
            "label": torch.arange(count)}  # fmt: skip


def test_every_video_has_a_row_of_its_own() -> None:
    rows = {
        n: r.labels or CONFIGS[r.config].labels for n, r in RECIPES.items() if not r.person and r.weights.adversarial
    }
    assert min(rows.values()) >= 64, rows


def test_published_sizes() -> None:
    with torch.device("meta"):
        networks = networks_of(CONFIGS["latent-pose"])

    def millions(network: torch.nn.Module) -> float:
        return round(sum(p.numel() for p in network.parameters()) / 1e6, 2)

    embedder = networks["embedder"]
    assert (millions(embedder.identity_encoder), millions(embedder.pose_encoder)) == (24.03, 2.55)
    table = networks["discriminator"].embed
    assert millions(networks["generator"]) == 37.52
    assert round(millions(networks["discriminator"]) - millions(table), 1) == 19.5
    assert networks["generator"].project[2].out_features == 13_056
    assert all(r.config in CONFIGS for r in RECIPES.values())


@pytest.mark.parametrize("adversary", ["hinge", "rgan", "ragan"])
def test_a_step_moves_every_network(adversary: str) -> None:
    made = task(_recipe(adversary=adversary))
    before = {n: [p.detach().clone() for p in net.parameters()] for n, net in made.networks.items()}
    terms = made.step(_batch(), Plain())
    assert set(terms) == {"structural", "generator_gan", "feature_matching", "dice", "embedding", "discriminator_gan"}
    for name, network in made.networks.items():
        assert sum(not torch.equal(a, b) for a, b in zip(before[name], network.parameters())) > 3, name
    assert made.sample_panel(_batch()).shape == (64, 160, 3)


@pytest.mark.slow
def test_pictures_and_masks_are_learned() -> None:
    made = LatentTask(_recipe(weights=LossWeights(adversarial=0.0, matching=0.0)))
    first = made.measure(_batch())
    for _ in range(60):
        made.step(_batch(), Plain())
    last = made.measure(_batch())
    assert last["l1_mask"] < 0.6 * first["l1_mask"] and last["l1"] < 0.8 * first["l1"]


def test_one_person_is_learned_from_what_many_taught(tmp_path: Path) -> None:
    many = task(_recipe())
    many.step(_batch(), Plain())
    many.save(tmp_path / "many.safetensors")
    one = task(_recipe(person=True))
    one.load_file(tmp_path / "many.safetensors")
    encoder = [p.detach().clone() for p in one.networks["embedder"].parameters()]
    batch = _batch() | {"label": torch.zeros(2, dtype=torch.long)}
    one.step(batch, Plain())
    with torch.no_grad():
        told = many.networks["embedder"].eval().each(batch["pictures"]).mean((0, 1))
    own = one.networks["person"].identity
    # Learned from the encoder's code on: a first step of RAdam is a small one.
    assert float((own - told).abs().max()) < 0.1 * float(told.abs().max()) and not torch.equal(own[0], told)
    assert all(torch.equal(a, b) for a, b in zip(encoder, one.networks["embedder"].parameters()))
    comes_back(one, task(_recipe(person=True)), tmp_path / "one.safetensors")
    assert LAYOUT.read(tmp_path / "one.safetensors").config.labels == 1


def test_a_perfect_mask_costs_nothing_and_thrice_counted_less() -> None:
    mask = _batch()["mask"]
    assert float(dice(mask, mask)) == pytest.approx(0, abs=1e-6)
    assert float(dice(mask, mask.expand(-1, 3, -1, -1))) == pytest.approx(-np.log(1.5), abs=1e-5)


def test_a_performer_is_disguised_and_stays_in_place() -> None:
    ys, xs = np.mgrid[:64, :64]
    spot = 230 * np.exp(-((xs - 40) ** 2 + (ys - 24) ** 2) / 60) + 12
    picture = np.repeat(spot[..., None], 3, 2).astype(np.uint8)
    for change in augment.CHANGES:
        out = change(picture, np.random.default_rng(3))
        assert out.shape == picture.shape and out.dtype == np.uint8
        grey = cv2.GaussianBlur(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 3)
        y, x = np.unravel_index(grey.argmax(), grey.shape)
        assert change is augment._edged or (abs(x - 40) < 5 and abs(y - 24) < 5), change
    made = [augment.disguised(picture, np.random.default_rng(s)) for s in range(4)]
    assert any(not np.array_equal(made[0], m) for m in made[1:])
    a, b = augment.shifted([picture, picture[..., 0]], np.random.default_rng(1))
    assert np.array_equal(a[..., 0], b) and not np.array_equal(a, picture)


def test_samples_hide_the_background_and_disguise_the_performer_alone() -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(1, 255, (32, 32, 3), dtype=np.uint8) for _ in range(4)]
    masks = np.zeros((4, 32, 32), np.uint8)
    masks[:, 8:24, 8:24] = 255
    got = sample(frames, masks, 2, 5, np.random.default_rng(1), train=True)
    assert got["pictures"].shape == (2, 3, 32, 32) and got["label"] == 5
    assert not got["target"][:, got["mask"][0] == 0].any() and got["target"].any()
    still = sample(frames, masks, 2, 5, np.random.default_rng(1), train=False)
    assert np.array_equal(still["performer"] * still["mask"], still["target"])


def test_an_album_without_a_face_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder, picture or clip"):
        faces_in(tmp_path / "nobody", 32)
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((64, 64, 3), 128, np.uint8))
    with pytest.raises(FaceNotFoundError, match="give pictures of the person"):
        faces_in(tmp_path, 32)


def test_its_engine_paints_and_writes_alpha(tmp_path: Path) -> None:
    from test_every_engine import begun, filmed, moved, performer, portrait

    from infinex.motion import Rest

    made = LatentTask(_recipe())
    for module in made.networks["embedder"].modules():  # one step, whose statistics are all there are
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    made.step(_batch(), Plain())
    with torch.no_grad():
        made.networks["embedder"].pose_encoder.classifier[1].weight.mul_(20)
    made.save(tmp_path / "weights.safetensors")
    source = portrait()
    engine = load_engine("latent-pose", Options(engine="latent-pose"), str(tmp_path / "weights.safetensors"))
    stage = begun(engine, source)
    drive = filmed(moved())
    first = stage.render(drive)[0].copy()
    other = stage.render(Drive(drive.move, 255 - drive.image, drive.points))[0]
    assert not np.array_equal(first, other)
    see_through = Stage([source], engine, background="none")
    see_through.begin(Rest.neutral(), *performer())
    frame, _ = see_through.render(drive)
    x0, y0, x1, y1 = see_through.faces[0].box
    middle = frame[(y0 + y1) // 2, (x0 + x1) // 2, 3]
    assert frame.shape == (280, 320, 4)
    assert (
        middle
        == see_through.faces[0].layer[see_through.faces[0].crop.side // 2, see_through.faces[0].crop.side // 2, 3]
    )


def test_a_tracker_teaches_the_pose_code_and_a_person_starts_from_it(tmp_path: Path) -> None:
    told = replace(SMALL, strided=(8, 8, 16), spectral=False)
    CONFIGS["small"] = told
    taught = _recipe(taught=1.0, betas=(0.9, 0.999), augmentation=Augmentation(shift=0.1), rate=1e-2,
                     weights=LossWeights(structural=0.0, pixels=10.0, adversarial=0.0))  # fmt: skip
    batch = _batch(4) | {"taught": torch.rand(4, 468, 6) * 0.2}
    first = task(replace(taught, points=True))
    terms = [first.step(batch, Plain())["points"] for _ in range(12)]
    assert terms[-1] < 0.5 * terms[0]
    first.save(tmp_path / "points.safetensors")
    many = task(taught)
    many.load_file(tmp_path / "points.safetensors")
    assert set(many.step(batch, Plain())) == {"dice", "pixels", "points"}
    many.save(tmp_path / "many.safetensors")
    one = task(replace(taught, taught=0.0, person=True))
    one.load_file(tmp_path / "many.safetensors")
    assert set(one.step(batch, Plain())) == {"dice", "pixels"}
    one.save(tmp_path / "one.safetensors")
    assert set(LAYOUT.read(tmp_path / "one.safetensors").networks) == {"embedder", "generator", "person"}
    with pytest.raises(InputError, match="taught"):
        task(replace(taught, person=True))


def test_weights_come_along_and_a_person_is_learned_from_them() -> None:
    assert load_engine("latent-pose", Options(engine="latent-pose")).painter.size == 64
    assert RECIPES["latent-pose-face-person"].start_from == BUNDLED
    task(RECIPES["latent-pose-face-person"]).load_file(systems()["latent-pose"].data / f"{BUNDLED}.safetensors")
