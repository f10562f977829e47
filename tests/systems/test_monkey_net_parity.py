"""Monkey-Net against the outputs of the authors' code."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from parity import assert_close, read_reference, states, word  # noqa: E402
from torch import Tensor  # noqa: E402

from infinex.nn.discriminators import Verdict  # noqa: E402
from infinex.systems.monkey_net.losses import LossWeights, discriminator_terms, matching  # noqa: E402
from infinex.systems.monkey_net.model import (  # noqa: E402
    Foresight,
    Keypoints,
    MonkeyConfig,
    gaussians,
    keypoints_of,
    movement_scale,
    normal_heatmaps,
    relative_motion,
)
from infinex.systems.monkey_net.weights import LAYOUT, published  # noqa: E402

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module", params=["monkeynet"])
def ref(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The file and the networks with its weights, read as a published checkpoint is."""
    file = read_reference(request.param)
    text = str(file["config"])
    shift = "difference + deformed" in text.replace("heatmap difference", "")

    def sizes(part: str, name: str) -> dict:
        keys = {"width": "block_expansion", "max": "max_features", "levels": "num_blocks"}
        return {f"{name}_{k}": int(word(text, v, part)) for k, v in keys.items()}

    critic = sizes("discriminator block", "critic")
    config = MonkeyConfig(
        size=int(word(text, "size")), keypoints=int(word(text, "num_kp")),
        scale=float(word(text, "scale_factor", "kp_detector")), temperature=float(word(text, "temperature")),
        clip_variance=float(word(text, "clip_variance")), norm=float(word(text, "norm_const")),
        **sizes("kp_detector", "detector"), **sizes("dense_motion", "motion"), **sizes("generator", "generator"),
        generator_blocks=int(word(text, "num_refinement_blocks")), motion_shift=shift,
        motion_groups=int(word(text, "num_group_blocks")), smooth=word(text, "interpolation_mode") == "trilinear",
        critic_width=critic["critic_width"], critic_max=critic["critic_max"], critic_blocks=critic["critic_levels"],
    )  # fmt: skip
    path = tmp_path_factory.mktemp("monkey") / "00000001-checkpoint.pth.tar"
    torch.save(states(file) | {"epoch": 1, "it": 7}, path)
    networks = LAYOUT.networks(LAYOUT.read_published(path, config=config))
    tensor = {k: torch.from_numpy(v) for k, v in file.items() if k != "config"}
    with torch.no_grad():
        source, driving = (networks["detector"](tensor[f"in/{k}"][:, :, 0]) for k in ("source", "driving"))
        out = networks["generator"](tensor["in/source"][:, :, 0], source, driving)
    return SimpleNamespace(
        file=file, t=tensor, config=config, source=source, driving=driving, out=out, **networks
    )  # fmt: skip


def test_keypoints(ref: SimpleNamespace) -> None:
    for ours, name in ((ref.source, "source"), (ref.driving, "driving")):
        assert_close(ours.mean[:, None], ref.file[f"out/kp_{name}/mean"])
        assert_close(ours.variance[:, None], ref.file[f"out/kp_{name}/var"])


def test_covariances_of_all_kinds(ref: SimpleNamespace) -> None:
    heat = ref.t["in/heatmap"].transpose(1, 2).flatten(0, 1)  # frames beside each other
    for kind, clip, names in (
        ("matrix", 0.001, ("mean", "var", "gaussian")), ("matrix", 0.0, ("var_unclipped",)),
        ("single", 0.0, ("mean", "var", "gaussian")),
    ):  # fmt: skip
        points = keypoints_of(heat, kind, clip)
        made = {"mean": points.mean, "var": points.variance, "var_unclipped": points.variance}
        for name in names:
            ours = gaussians(points, 9, 7) if name == "gaussian" else made[name]
            assert_close(ours[None], ref.file[f"out/gaussian2kp_{kind}/{name}"])


def test_a_heatmap_of_one_pixel_has_a_covariance(ref: SimpleNamespace) -> None:
    heat = torch.zeros(1, 2, 12, 16, requires_grad=True)
    dot = heat + torch.nn.functional.one_hot(torch.tensor([[70, 71]]), 192).reshape(1, 2, 12, 16)
    points = keypoints_of(dot)
    points.variance.sum().backward()
    assert torch.isfinite(points.variance).all() and torch.isfinite(heat.grad).all()


def test_heatmaps_and_embeddings(ref: SimpleNamespace) -> None:
    side = ref.config.size // 4
    assert_close(gaussians(ref.driving, side, side)[:, None], ref.file["out/gaussian_driving"])
    _, embedding = ref.generator.motion.embedding(ref.t["in/source"][:, :, 0], ref.source, ref.driving)
    assert_close(embedding[:1, :, None], ref.file["out/generator/mask_embedding"])
    beside = ref.generator.differences(ref.source, ref.driving, *ref.file["out/generator/kp_embedding"].shape[-2:])
    assert_close(beside[:1, :, None], ref.file["out/generator/kp_embedding"])
    total = normal_heatmaps(ref.driving, side, side, 0).sum((2, 3))
    assert torch.allclose(total, torch.ones_like(total))


def test_motion_and_picture(ref: SimpleNamespace) -> None:
    motion = ref.out.motion
    assert_close(motion.mask[:, :, None], ref.file["out/generator/mask"])
    assert_close(motion.correction[:, :, None], ref.file["out/generator/correction"])
    assert_close(motion.field[:, None], ref.file["out/generator/deformation"][..., :2])
    assert_close(ref.out.deformed[:, :, None], ref.file["out/generator/video_deformed"])
    assert_close(ref.out.prediction[:, :, None], ref.file["out/generator/video_prediction"])


def test_discriminator(ref: SimpleNamespace) -> None:
    verdict = ref.discriminator(ref.t["in/driving"][:, :, 0], ref.driving)
    maps = [*verdict.features, verdict.score]
    for i, ours in enumerate(maps):
        assert_close(ours[:, :, None], ref.file[f"out/discriminator/map_{i}"], relative=True)


def _clip(ref: SimpleNamespace) -> tuple[Keypoints, Keypoints, Tensor]:
    """Keypoints of the source and of a driving clip, frames along the batch, and the source once for each."""
    video = ref.t["in/driving_video"][0].transpose(0, 1)
    image = ref.t["in/source"][:1, :, 0].expand(len(video), -1, -1, -1)
    with torch.no_grad():
        return ref.detector(image[:1]), ref.detector(video), image


def test_absolute_and_relative_motion(ref: SimpleNamespace) -> None:
    source, driving, image = _clip(ref)
    first = Keypoints(*(t[:1] for t in driving))
    assert_close(driving.mean[None], ref.file["out/transfer_kp_driving/mean"])
    scale = movement_scale(source, first)
    made = {
        "absolute": driving,
        "relative": relative_motion(source, driving, first),
        "relative_scaled": relative_motion(source, driving, first, scale),
        "relative_variance": relative_motion(source, driving, first, shape=True),
    }
    for name, points in made.items():
        assert_close(points.mean[None], ref.file[f"out/transfer_{name}/kp_mean"])
        assert_close(points.variance[None], ref.file[f"out/transfer_{name}/kp_var"])
        picture = ref.t.get(f"out/transfer_{name}/video_prediction")
        if picture is not None:
            own = Keypoints(*(t.expand(len(image), *t.shape[1:]) for t in source))
            with torch.no_grad():
                ours = ref.generator(image, own, points).prediction
            assert_close(ours.transpose(0, 1)[None], picture)


def test_one_training_step(ref: SimpleNamespace) -> None:
    networks = LAYOUT.networks(LAYOUT.fit(published(states(ref.file), None), ref.config))  # fresh statistics
    for network in networks.values():
        network.train().requires_grad_(True)
    source, driving = ref.t["in/source"][:, :, 0], ref.t["in/driving"][:, :, 0]
    mean, variance = networks["detector"](torch.stack([source, driving], 1).flatten(0, 1))
    assert_close(mean.unflatten(0, (2, 2)), ref.file["out/train/kp_mean"])
    assert_close(variance.unflatten(0, (2, 2)), ref.file["out/train/kp_var"])
    own, wanted = (Keypoints(mean[i::2], variance[i::2]) for i in (0, 1))
    out = networks["generator"](source, own, wanted)
    assert_close(out.prediction[:, :, None], ref.file["out/train/video_prediction"])
    critic = networks["discriminator"]
    fake, real = critic(out.prediction, wanted), critic(driving, wanted)
    weights = LossWeights()

    def alone(v: Verdict, i: int) -> Verdict:
        return Verdict(v.score[i : i + 1], [f[i : i + 1] for f in v.features])

    for i in range(2):
        one = slice(i, i + 1)
        levels = matching(out.prediction[one], driving[one], alone(real, i), alone(fake, i))
        for level, (weight, value) in enumerate(zip(weights.matching, levels)):
            assert_close(weight * value, ref.file[f"out/train/loss/layer-{level}_rec"][i], relative=True)
    levels = matching(out.prediction, driving, real, fake)
    generator = ((1 - fake.score) ** 2).mean((1, 2, 3))
    assert_close(generator, ref.file["out/train/loss/gen_gan"], relative=True)
    total = sum(w * v for w, v in zip(weights.matching, levels)) + generator.mean()
    total.backward()
    grads = {
        "grad/generator.refinement_module.conv-last.weight": networks["generator"].last.weight.grad[:, :, None],
        "grad_loose/generator.dense_motion_module.hourglass.decoder.conv.bias":
            networks["generator"].motion.mixture.bias.grad,
        "grad_loose/kp_detector.predictor.decoder.conv.weight": networks["detector"].heatmap.weight.grad[:, :, None],
    }  # fmt: skip
    for name, ours in grads.items():
        assert_close(ours, ref.file[f"out/train/{name}"], relative=True, tolerance=2e-2 if "loose" in name else 1e-3)
    critic.zero_grad()
    points = Keypoints(*(t.detach() for t in wanted))
    fake, real = critic(out.prediction.detach(), points), critic(driving, points)
    term = discriminator_terms(real, fake, weights)["discriminator_gan"]
    assert_close(term, ref.file["out/train/loss/disc_gan"].mean(), relative=True)
    term.backward()
    name = "out/train/grad/discriminator.conv.weight"
    assert_close(critic.patches.score.weight.grad[:, :, None], ref.file[name], relative=True, tolerance=1e-3)


def test_foresight(ref: SimpleNamespace) -> None:
    state = states(ref.file)["predictor"]
    network = Foresight(ref.config.keypoints, state["linear.weight"].shape[1])
    network.load_state_dict(state)
    known = [t[:, None] for t in ref.source]
    means, variances = (torch.cat([t, torch.zeros_like(t).expand(-1, 3, *t.shape[2:])], 1) for t in known)
    with torch.no_grad():
        means, variances = network(means, variances)
    assert_close(means, ref.file["out/predictor/mean"])
    assert_close(variances, ref.file["out/predictor/var"])
