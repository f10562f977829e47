"""Networks of the First Order Motion Model: published sizes, first-order motion, shapes."""

from __future__ import annotations

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from infinex.systems.fomm.model import (  # noqa: E402
    CONFIGS,
    FommConfig,
    FommModel,
    Keypoints,
    build_discriminator,
    relative_motion,
    sparse_motions,
)


def _count(*modules: torch.nn.Module) -> int:
    return sum(p.numel() for m in modules for p in m.parameters())


@pytest.mark.parametrize("name", ["vox-256", "vox-adv-256"])
def test_published_sizes(name: str) -> None:
    with torch.device("meta"):
        model, critic = FommModel(CONFIGS[name]), build_discriminator(CONFIGS[name])
    assert _count(model.detector) == 14_215_368
    assert _count(model.generator.motion) == 37_730_268
    assert _count(model) == 59_790_759
    # Without keypoint heatmaps the first convolution has ten inputs fewer.
    assert _count(critic) == 2_769_089 - (0 if name == "vox-adv-256" else 10 * 64 * 16)


def test_every_configuration_renders_its_size() -> None:
    for name, config in CONFIGS.items():
        with torch.device("meta"):
            out = FommModel(config)(
                torch.rand(1, 3, config.size, config.size), torch.rand(1, 3, config.size, config.size)
            )
            size = config.size
            assert out.prediction.shape == out.deformed.shape == (1, 3, size, size), name
            assert out.motion.field.shape == (1, size // 4, size // 4, 2)
            assert out.motion.mask.shape == (1, config.keypoints + 1, size // 4, size // 4)


def test_tiny_is_tiny_and_works_at_64() -> None:
    config = CONFIGS["fomm-tiny"]
    model = FommModel(config).eval()
    assert 1_000_000 < _count(model) < 2_000_000
    with torch.no_grad():
        out = model(torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64))
    assert out.prediction.shape == (2, 3, 64, 64)
    assert torch.allclose(out.motion.mask.sum(1), torch.ones(2, 16, 16), atol=1e-5)
    assert 0 <= out.prediction.min() <= out.prediction.max() <= 1


def test_untrained_jacobians_are_the_identity() -> None:
    kp = FommModel(CONFIGS["fomm-tiny"]).eval().detector(torch.rand(1, 3, 64, 64))
    assert torch.allclose(kp.jacobian, torch.eye(2).expand(1, 10, 2, 2), atol=1e-5)
    assert kp.value.abs().max() <= 1


def test_sparse_motion_takes_driving_keypoints_to_the_source() -> None:
    """Exact at a keypoint, and its slope is J_s · J_d⁻¹; the background stays."""
    source = Keypoints(torch.tensor([[[0.5, -0.5]]]), torch.tensor([[[[1.0, 0.5], [0.0, 2.0]]]]))
    driving = Keypoints(torch.tensor([[[0.0, 0.0]]]), torch.tensor([[[[0.5, 0.0], [0.2, 1.0]]]]))
    field = sparse_motions(source, driving, 5, 5)  # pixel centres at -1, -½, 0, ½, 1
    assert torch.allclose(field[0, 1, 2, 2], source.value[0, 0])
    slope = source.jacobian[0, 0] @ torch.linalg.inv(driving.jacobian[0, 0])
    step = torch.tensor([0.5, 0.0])  # one pixel to the right
    assert torch.allclose(field[0, 1, 2, 3] - field[0, 1, 2, 2], slope @ step, atol=1e-6)
    assert torch.allclose(field[0, 0, 0, 0], torch.tensor([-1.0, -1.0]))


def test_equal_keypoints_move_nothing() -> None:
    torch.manual_seed(0)
    kp = Keypoints(torch.rand(1, 3, 2), torch.eye(2) + 0.1 * torch.randn(1, 3, 2, 2))
    field = sparse_motions(kp, kp, 4, 6)
    assert torch.allclose(field, field[:, :1].expand_as(field), atol=1e-5)


def test_relative_motion_of_the_reference_is_the_source_and_scale_scales() -> None:
    torch.manual_seed(0)
    source, reference, driving = (
        Keypoints(torch.rand(1, 3, 2), torch.eye(2) + 0.1 * torch.randn(1, 3, 2, 2)) for _ in range(3)
    )
    same = relative_motion(source, reference, reference)
    assert torch.allclose(same.value, source.value)
    assert torch.allclose(same.jacobian, source.jacobian, atol=1e-5)
    double = relative_motion(source, driving, reference, 2.0)
    assert torch.allclose(double.value - source.value, 2 * (driving.value - reference.value), atol=1e-6)


def test_collapsed_jacobians_leave_finite_gradients() -> None:
    value, jacobian = torch.rand(1, 2, 2), torch.zeros(1, 2, 2, 2, requires_grad=True)
    sparse_motions(Keypoints(value, torch.eye(2).expand(1, 2, 2, 2)), Keypoints(value, jacobian), 4, 4).sum().backward()
    assert torch.isfinite(jacobian.grad).all()


def test_the_package_itself_does_not_import_torch() -> None:
    code = "import sys, infinex; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_configuration_is_frozen() -> None:
    with pytest.raises(AttributeError):
        FommConfig().size = 3  # type: ignore[misc]
