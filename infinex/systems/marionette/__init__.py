"""MarioNETte: a portrait or several, driven by the outline of an expression (Ha et al., AAAI 2020)."""

from infinex.spec import System, Weights

SYSTEM = System(
    label="MarioNETte",
    engine="engine",
    options=("absolute", "album", "proportions", "detail"),
    recipes="recipe",
    weights=(
        Weights("marionette-face", "trained here, small; infinex/systems/marionette/data/README.md", "Apache-2.0",
                1.4, bundled="marionette-face.safetensors"),
    ),
)  # fmt: skip
