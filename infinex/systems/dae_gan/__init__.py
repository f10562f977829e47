"""DAE-GAN: faces and poses by deforming autoencoders, pictures by a conditional generator (Zeng et al., AAAI 2020)."""

from infinex.spec import System, Weights

SYSTEM = System(
    label="DAE-GAN",
    engine="engine",
    options=("album",),
    recipes="recipe",
    weights=(
        Weights("dae-gan-face", "trained here, small; infinex/systems/dae_gan/data/README.md", "Apache-2.0", 5.3,
                bundled="dae-gan-face.safetensors"),
    ),
)  # fmt: skip
