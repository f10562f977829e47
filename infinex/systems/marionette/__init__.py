"""MarioNETte: a portrait or several, driven by the outline of an expression (Ha et al., AAAI 2020)."""

from infinex.spec import System

SYSTEM = System(
    label="MarioNETte",
    engine="engine",
    options=("absolute", "album", "proportions", "detail"),
    recipes="recipe",
)
