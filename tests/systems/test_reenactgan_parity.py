"""ReenactGAN against the outputs of the authors' code, sizes taken from the files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from infinex.nn.discriminators import PixelPatches  # noqa: E402
from infinex.nn.losses import discriminator_adversarial, generator_adversarial  # noqa: E402
from infinex.nn.vgg import STAGES_16, VGG16  # noqa: E402
from infinex.systems.reenactgan import losses  # noqa: E402
from infinex.systems.reenactgan.augment import matrix, moved  # noqa: E402
from infinex.systems.reenactgan.model import Decoder, Transformer, as_evaluated  # noqa: E402
from infinex.systems.reenactgan.weights import LAYOUT, ReenactganWeights, model_of, rename  # noqa: E402

pytestmark = pytest.mark.parity
THEIRS = {"boundary": "boundary_detection", "transformer": "transformer", "decoder": "decoder", "align": "align"}


def _read(folder: Path, name: str) -> Mapping[str, np.ndarray]:
    if not (folder / name).is_file():
        pytest.skip(f"no {name} in {folder}: set INFINEX_PARITY_DIR")
    with np.load(folder / name, allow_pickle=False) as data:
        return dict(data)


@pytest.fixture(scope="module")
def file(parity_dir: Path) -> Mapping[str, np.ndarray]:
    return _read(parity_dir, "reenactgan.npz")


@pytest.fixture(scope="module")
def trained(parity_dir: Path) -> Mapping[str, np.ndarray]:
    return _read(parity_dir, "reenactgan_losses.npz")


def state(file: Mapping[str, np.ndarray], network: str) -> dict[str, torch.Tensor]:
    prefix = f"state/{network}/"
    return {k.removeprefix(prefix): torch.from_numpy(v) for k, v in file.items() if k.startswith(prefix)}


@pytest.fixture(scope="module")
def weights(file: Mapping[str, np.ndarray]) -> ReenactganWeights:
    return LAYOUT.fit({ours: rename(ours, state(file, theirs)) for ours, theirs in THEIRS.items()})


def near(name: str, ours: torch.Tensor, theirs: np.ndarray, relative: bool = False, tolerance: float = 1e-4) -> None:
    """Absolute, or relative to the largest entry."""
    assert tuple(ours.shape) == theirs.shape, (name, tuple(ours.shape), theirs.shape)
    difference = float(np.abs(ours.detach().numpy() - theirs).max())
    scale = float(np.abs(theirs).max()) if relative else 1.0
    assert difference <= tolerance * max(scale, 1e-8), (name, difference, scale)


def test_the_chain_in_evaluation_mode(file: Mapping[str, np.ndarray], weights: ReenactganWeights) -> None:
    model = model_of(weights)
    with torch.no_grad():
        first, last = model.networks["boundary"](torch.from_numpy(file["in/face"]))
        own, image = model.drawn(last)
        align = LAYOUT.network(weights, "align")(own)
    near("first stack", first[..., ::2, ::2], file["out/boundary_first_stack_stride2"], relative=True)
    near("boundary", last, file["out/boundary"], relative=True)
    near("transformed", own[..., ::2, ::2], file["out/transformed_stride2"])
    near("enlarged", losses.enlarged(own, 256)[..., 3::16, 5::16], file["out/transformed_resized_stride16"])
    near("image", image[..., ::2, ::2], file["out/image_stride2"])
    near("align", align, file["out/align"], relative=True)


class _Mask(nn.Module):
    """Dropout with a mask that is given; kept values are doubled."""

    def __init__(self, mask: np.ndarray) -> None:
        super().__init__()
        self.mask = torch.from_numpy(mask)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.mask * 2


def test_the_published_evaluation(file: Mapping[str, np.ndarray], weights: ReenactganWeights) -> None:
    """Statistics of the one picture, and dropout: nobody there ever leaves training mode."""
    model = model_of(weights)
    with torch.no_grad(), as_evaluated(dict(model.networks), "statistics"):
        first, last = model.networks["boundary"](torch.from_numpy(file["in/face"]))
        own, image = model.drawn(last)
    near("first", first[..., ::2, ::2], file["out/batch_statistics/boundary_first_stack_stride2"], relative=True)
    near("boundary", last[..., ::2, ::2], file["out/batch_statistics/boundary_stride2"], relative=True)
    near("transformed", own[..., ::2, ::2], file["out/batch_statistics/transformed_stride2"])
    near("image", image[..., ::4, ::4], file["out/batch_statistics/image_stride4"])
    align = LAYOUT.network(weights, "align")
    with torch.no_grad(), as_evaluated({"align": align}, "statistics"):
        near("align", align(torch.cat([own, own])), file["out/batch_statistics/align"], relative=True)
    # Running statistics are as they were.
    with torch.no_grad():
        near("again", model(torch.from_numpy(file["in/face"]))[1][..., ::2, ::2], file["out/image_stride2"])
    decoder = model.networks["decoder"]
    places = [(m, n) for m in decoder.modules() for n, c in m.named_children() if isinstance(c, nn.Dropout)]
    assert len(places) == 3  # the outermost first
    for (module, name), i in zip(places, (2, 1, 0)):
        setattr(module, name, _Mask(file[f"in/dropout_mask_{i}"]))
    with torch.no_grad(), as_evaluated(dict(model.networks), "statistics"):
        image = decoder(own)
    near("dropout", image[..., ::4, ::4], file["out/batch_statistics_and_dropout/image_stride4"])


def test_published_evaluation_switches_dropout_on(weights: ReenactganWeights) -> None:
    model = model_of(weights)
    with as_evaluated(dict(model.networks), "published"):
        modes = {type(m).__name__: m.training for m in model.networks["decoder"].modules()}
    assert (
        modes["Dropout"] and modes["BatchNorm2d"] and not any(m.training for m in model.networks["decoder"].modules())
    )


def test_augmentation(file: Mapping[str, np.ndarray]) -> None:
    image = np.round(file["in/augment/image"])
    picture = np.ascontiguousarray(image.transpose(1, 2, 0) if image.shape[0] == 3 else image).astype(np.uint8)
    for i, row in enumerate(file["in/augment/rotation_tx_ty_zoom_mirror"]):
        turn, across, down, zoom, mirrored = map(float, row)
        by = matrix(turn, across, down, zoom, bool(mirrored), 256)
        assert np.abs(by - file["out/augment/matrix"][i]).max() < 1e-4
        made = moved(picture, file["out/augment/matrix"][i].astype(np.float64), smooth=False)
        theirs = file[f"out/augment/image_{i}_stride4"]
        ours = (made.astype(np.float32).transpose(2, 0, 1) / 255 - 0.5) / 0.5
        assert (np.abs(ours[:, 1::4, 2::4] - theirs) > 1e-3).mean() < 2e-3  # a rounding of places, here and there


def _transformers(
    file: Mapping[str, np.ndarray], trained: Mapping[str, np.ndarray], weights: ReenactganWeights
) -> tuple[dict[str, nn.Module], nn.Module, nn.Module]:
    nets: dict[str, nn.Module] = {}
    for name in ("G_BA", "G_AB0", "G_AB1"):
        nets[name] = Transformer(weights.config)
        nets[name].load_state_dict(rename("transformer", state(trained, name)))
    for name in ("D_A", "D_B0", "D_B1"):
        nets[name] = PixelPatches(weights.config.parts, trained["state/D_A/model.0.weight"].shape[0])
        nets[name].load_state_dict(state(trained, name))
    pca = nn.Linear(*trained["state/pca/pca.0.weight"].shape[::-1])
    pca.load_state_dict({k.removeprefix("pca.0."): v for k, v in state(trained, "pca").items()})
    return nets, LAYOUT.network(weights, "align").train(), pca


def test_transformer_losses(
    file: Mapping[str, np.ndarray], trained: Mapping[str, np.ndarray], weights: ReenactganWeights
) -> None:
    """Two sources, everything in training mode: every term, its sum, and slopes of either player."""
    nets, align, pca = _transformers(file, trained, weights)
    a, b = torch.from_numpy(trained["in/map_a"]), [torch.from_numpy(trained[f"in/map_b{i}"]) for i in range(2)]
    critics = [nets["D_A"], nets["D_B0"], nets["D_B1"]]
    crossed = losses.Crossed.over(nets["G_BA"], [nets["G_AB0"], nets["G_AB1"]], a, b)
    out = {k.removeprefix("out/transformer/"): v for k, v in trained.items() if k.startswith("out/transformer/")}
    near("edges", losses.edges(a)[:, [0, 7]], out["edge_a_channels_0_7"], relative=True)
    near("b0 to a", crossed.to_target[0][..., ::4, ::4], out["b0_to_a_stride4"])
    near("a to b0", crossed.to_source[0][..., ::4, ::4], out["a_to_b0_stride4"])
    near("patches", nets["D_A"](losses.edges(a)), out["d_a_patches"], relative=True)
    near("align", align(a), out["align_a"], relative=True)
    near("pca", pca(align(a)), out["pca_a"], relative=True)

    d = losses.critic_terms(crossed, critics)
    near("real", d["critic_real"], out["loss/d_real_a"], relative=True)
    near("fake", d["critic_fake"], out["loss/d_fake_a"].sum(), relative=True)
    near("sources real", d["critic_sources_real"], out["loss/d_real_b"].sum(), relative=True)
    near("sources fake", d["critic_sources_fake"], out["loss/d_fake_b"].sum(), relative=True)
    total = torch.stack(list(d.values())).sum()
    near("d", total, out["loss/d_total"], relative=True)
    (slope,) = torch.autograd.grad(total, nets["D_A"].model[0].weight, retain_graph=True)
    near("d slope", slope, out["grad/D_A.model.0.weight"], relative=True, tolerance=1e-3)

    g = losses.transformer_terms(losses.TransformerWeights(), crossed, critics, align, pca)
    near("gan", g["gan"], out["loss/g_ba_gan"].sum() + out["loss/g_ab_gan"].sum(), relative=True)
    near("cycle", g["cycle"], 50 * (out["loss/g_ba_cycle"].sum() + out["loss/g_ab_cycle"].sum()), relative=True)
    near("shape", g["shape"], 10 * (out["loss/g_ba_pca"].sum() + out["loss/g_ab_pca"].sum()), relative=True)
    total = torch.stack(list(g.values())).sum()
    near("g", total, out["loss/g_total"], relative=True)
    (slope,) = torch.autograd.grad(total, nets["G_BA"].model[1].weight)
    near("g slope", slope, out["grad/G_BA.model.1.weight"], relative=True, tolerance=2e-2)


def test_decoder_losses(
    file: Mapping[str, np.ndarray], trained: Mapping[str, np.ndarray], weights: ReenactganWeights
) -> None:
    """The critic sees maps that are cut at 0, as published; halves, weights and slopes."""
    out = {k.removeprefix("out/decoder/"): v for k, v in trained.items() if k.startswith("out/decoder/")}
    boundary = LAYOUT.network(weights, "boundary").train()
    decoder: Decoder = LAYOUT.network(weights, "decoder")  # type: ignore[assignment]
    decoder.train()
    for part in decoder.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    critic = PixelPatches(weights.config.parts + 3, trained["state/decoder_discriminator/model.0.weight"].shape[0])
    critic.load_state_dict(state(trained, "decoder_discriminator"))
    narrow = trained["state/vgg16/features.0.weight"].shape[0]
    vgg = VGG16([[w * narrow // 64 for w in stage] for stage in STAGES_16[:4]])
    vgg.read(state(trained, "vgg16"), "the file", "VGG-16")

    faces = torch.from_numpy(trained["in/faces"])
    with torch.no_grad():
        maps = boundary(faces)[-1]
    made = decoder(maps)
    near("image", made[..., ::4, ::4], out["image_stride4"])
    near("maps", torch.relu(maps)[..., ::2, ::2], out["boundary_as_given_to_d_stride2"], relative=True)
    seen = losses.beside(maps, made.detach(), clipped=True)
    near("enlarged", seen[:, :15, 3::16, 5::16], out["resized_stride16"], relative=True)

    real, fake = critic(losses.beside(maps, faces, clipped=True)), critic(seen)
    near("d", discriminator_adversarial(real, fake, "bce"), out["loss/d_real"] + out["loss/d_fake"], relative=True)
    half = discriminator_adversarial(real, fake, "bce") / 2
    (slope,) = torch.autograd.grad(half, critic.model[0].weight)
    near("d slope", slope, out["grad/netD.model.0.weight"], relative=True, tolerance=1e-3)

    w = losses.DecoderWeights()
    gan = generator_adversarial(critic(losses.beside(maps, made, clipped=True)), "bce")
    pixels, features = w.pixels * (made - faces).abs().mean(), w.features * losses.vgg_distance(vgg, made, faces)
    near("gan", gan, out["loss/g_gan"], relative=True)
    near("pixels", pixels, out["loss/g_pixel"], relative=True)
    near("features", features, out["loss/g_feature"], relative=True)
    near("g", gan + pixels + features, out["loss/g_total"], relative=True)
    last = decoder.model.model[4]
    (slope,) = torch.autograd.grad(gan + pixels + features, last.weight)
    near("g slope", slope, out["grad/netG_last_conv"], relative=True, tolerance=1e-3)
