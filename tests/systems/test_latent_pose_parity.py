"""Latent Pose Descriptors against the outputs of the authors' code."""

from __future__ import annotations

import argparse
import pathlib
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from parity import assert_close, read_reference, states, word  # noqa: E402

from infinex.nn.ranger import RAdam  # noqa: E402
from infinex.nn.vgg import CaffeFeatures, face_inside, features_apart  # noqa: E402
from infinex.systems.latent_pose.losses import (  # noqa: E402
    LossWeights,
    dice,
    discriminator_hinge,
    generator_hinge,
    matched,
)
from infinex.systems.latent_pose.model import Discriminator, LatentConfig, Made  # noqa: E402
from infinex.systems.latent_pose.weights import LAYOUT  # noqa: E402

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def ref(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The file, networks read as a published checkpoint is, and what they make of the inputs."""
    file = read_reference("latent_pose")
    text = str(file["config"])
    config = LatentConfig(
        size=int(word(text, "image_size")), width=4, max_width=int(word(text, "max_num_channels")),
        identity=int(word(text, "embed_channels")), pose=int(word(text, "pose_embedding_size")),
        constant=int(word(text, "gen_constant_input_size")), residual=int(word(text, "gen_num_residual_blocks")),
        hidden=512, stages=(4, 4, 8, 16, 32), groups=int(word(text, "groups")),
        per_group=int(word(text, "width_per_group").rstrip(")")), mobile=0.1, mobile_by=4, mobile_last=80,
        critic_blocks=int(word(text, "dis_num_blocks")), labels=int(word(text, "num_labels")),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("latent") / "checkpoint.pth"
    own = states(file)
    averages = {k: own[k] for k in ("embedder", "generator")}
    args = argparse.Namespace(experiment_dir=pathlib.Path("runs"), lr=5e-5)
    torch.save(own | {"running_averages": averages, "args": args}, path)
    networks = LAYOUT.networks(LAYOUT.read_published(path, config=config))
    t = {k: torch.from_numpy(v) for k, v in file.items() if k != "config"}
    with torch.no_grad():
        each, pose = networks["embedder"](t["in/enc_rgbs"], t["in/pose_input_rgbs"][:, 0])
        made: Made = networks["generator"](each.mean(1), pose)
        critic, target = networks["discriminator"], t["in/target_rgbs"][:, 0]
        fake, real = critic(made.image, t["in/label"]), critic(target, t["in/label"])
    return SimpleNamespace(file=file, t=t, config=config, each=each, pose=pose, made=made, fake=fake, real=real,
                           target=target, **networks)  # fmt: skip


def test_codes(ref: SimpleNamespace) -> None:
    assert_close(ref.each, ref.file["out/embeds_elemwise"])
    assert_close(ref.each.mean(1), ref.file["out/embeds"])
    assert_close(ref.pose, ref.file["out/pose_embedding"])


@torch.no_grad()
def test_generator(ref: SimpleNamespace) -> None:
    numbers = ref.generator.parameters_of(ref.each.mean(1), ref.pose)
    assert_close(numbers, ref.file["out/affine_params"])
    assert_close(ref.generator.raw(numbers), ref.file["out/decoder"])
    assert_close(ref.made.image, ref.file["out/fake_rgbs"])
    assert_close(ref.made.mask, ref.file["out/fake_segm"])


def test_discriminator(ref: SimpleNamespace) -> None:
    assert_close(ref.fake.score, ref.file["out/discriminator/fake_score_G"], relative=True)
    assert_close(ref.real.score, ref.file["out/discriminator/real_score"], relative=True)
    assert_close(ref.real.label, ref.file["out/discriminator/real_embedding"])
    for name, verdict in (("fake", ref.fake), ("real", ref.real)):
        assert len(verdict.features) == ref.config.critic_blocks
        for i, ours in enumerate(verdict.features):
            assert_close(ours, ref.file[f"out/discriminator/{name}_feature_{i}"], relative=True)


def test_losses(ref: SimpleNamespace) -> None:
    w, real, fake = LossWeights(), ref.real, ref.fake
    wanted = ref.t["in/real_segm"][:, 0]
    made = {
        "adversarial_G": generator_hinge(real.score, fake.score),
        "adversarial_D": discriminator_hinge(real.score, fake.score),
        "feature_matching": w.matching * matched(real.features, fake.features),
        "embedding_matching": w.embedding * (ref.each[:, 0] - real.label).abs().mean(),
        "segmentation_dice": dice(ref.made.mask, wanted),
        "segmentation_dice_one_channel": dice(ref.made.mask, wanted[:, :1]),
    }
    for kind in ("rgan", "ragan"):
        made[f"adversarial_G_{kind}"] = generator_hinge(real.score, fake.score, kind)
        made[f"adversarial_D_{kind}"] = discriminator_hinge(real.score, fake.score, kind)
    for name, ours in made.items():
        assert_close(ours.reshape(1), ref.file[f"out/loss/{name}"], relative=True)


@torch.no_grad()
def test_one_person(ref: SimpleNamespace) -> None:
    identity = ref.t["out/finetune/identity_embedding"]
    made = ref.generator(identity.expand(2, -1), ref.pose)
    assert_close(made.image, ref.file["out/finetune/fake_rgbs"])
    assert_close(made.mask, ref.file["out/finetune/fake_segm"])
    # The only row of the table, under the spectral norm: a vector of length one.
    single = Discriminator(LatentConfig(**{**ref.config.__dict__, "labels": 1})).eval()
    state = {k: v for k, v in ref.discriminator.state_dict().items() if not k.startswith("embed.")}
    single.load_state_dict(state, strict=False)
    single.embed.parametrizations.weight.original.copy_(identity)
    single.train()
    for _ in range(3):
        verdict = single(ref.target, torch.zeros(2, dtype=torch.long))
    assert_close(verdict.label.norm(dim=1), torch.ones(2))
    assert_close(verdict.label, ref.file["out/finetune/real_embedding"])


def test_perceptual_terms_and_steps() -> None:
    file = read_reference("latent_pose_losses")
    t = {k: torch.from_numpy(v) for k, v in file.items() if k != "config"}
    own = states(file)
    made, target, w = t["in/fake_rgbs"], t["in/target_rgbs"][:, 0], LossWeights()
    stages19, stages16 = (
        ((4, 4), (8, 8), (16,) * 4, (32,) * 4, (32,)),
        ((4, 4), (8, 8), (16,) * 3, (32,) * 3, (32,) * 3),
    )
    vgg, face = (CaffeFeatures(s).take(own[n], n) for s, n in ((stages19, "vgg19"), (stages16, "vgg_face")))
    assert_close(face_inside(made), file["out/face_crop_fake"])
    assert_close(face_inside(target), file["out/face_crop_target"])
    assert_close((w.vgg * features_apart(vgg, made, target)).reshape(1), file["out/loss/VGG"], relative=True)
    term = w.vgg_face * features_apart(face, face_inside(made), face_inside(target))
    assert_close(term.reshape(1), file["out/loss/VGGFace"], relative=True)

    parameter = torch.nn.Parameter(t["in/radam/parameter"].clone())
    steps = RAdam([parameter], lr=5e-4, betas=(0.0, 0.999), eps=1e-5)
    for gradient, wanted in zip(t["in/radam/gradients"], t["out/radam/trajectory"]):
        parameter.grad = gradient.clone()
        steps.step()
        assert_close(parameter, wanted, tolerance=1e-6)
