"""FReeNet: an expression is carried over as landmarks, then drawn onto anybody's face (Zhang et al. 2020)."""

from infinex.spec import System, Weights

SYSTEM = System(
    label="FReeNet, many to many",
    engine="engine",
    options=("converter",),
    recipes="recipe",
    weights=(
        Weights("freenet-face", "trained here, small; infinex/systems/freenet/data/README.md", "Apache-2.0", 2.6,
                bundled="freenet-face.safetensors"),
    ),
)  # fmt: skip
