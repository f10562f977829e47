"""Latent Pose Descriptors: one code for who is seen and one for how (Burkov et al., CVPR 2020)."""

from infinex.spec import System, Weights

SYSTEM = System(
    label="Latent Pose Descriptors",
    engine="engine",
    options=("album",),
    mattes=True,
    recipes="recipe",
    weights=(
        Weights("latent-pose-face", "trained here, small; infinex/systems/latent_pose/data/README.md", "Apache-2.0",
                5.0,
                bundled="latent-pose-face.safetensors"),
        Weights("latent-pose", "E. Burkov et al., latent-pose-reenactment, the checkpoint after meta-learning",
                "Apache-2.0 (code)", 700, convert="weights",
                otherwise="download the checkpoint from the cloud drive that the README of "
                "github.com/shrubb/latent-pose-reenactment links to"),
    ),
)  # fmt: skip
