"""CrossID-GAN: a person's picture under motion that was freed of whose it was (Huang, Yang and Wang, CVPR 2020)."""

from infinex.spec import System

SYSTEM = System(
    label="CrossID-GAN",
    engine="engine",
    options=("absolute", "proportions", "detail"),
    recipes="recipe",
)
