"""CrossID-GAN: a person's picture under motion that was freed of whose it was (Huang, Yang and Wang, CVPR 2020)."""

from infinex.spec import System, Weights

SYSTEM = System(
    label="CrossID-GAN",
    engine="engine",
    options=("absolute", "proportions", "detail", "paint"),
    recipes="recipe",
    weights=(
        Weights("crossid-gan-face", "trained here, small; infinex/systems/crossid_gan/data/README.md", "Apache-2.0",
                1.8, bundled="crossid-gan-face.safetensors"),
    ),
)  # fmt: skip
