"""Deep Video Portraits: a network taught one person turns drawn faces into video (Kim et al., SIGGRAPH 2018)."""

from infinex.spec import System

SYSTEM = System(
    label="Deep Video Portraits",
    engine="engine",
    options=("absolute",),
    knows=True,
    recipes="recipe",
)
