"""The default engine: a tracked face mesh warps the portrait's own pixels."""

from infinex.spec import System

SYSTEM = System(
    label="Geometry: the portrait's own pixels, at full resolution",
    engine="engine",
    options=("mouth", "wrinkles", "absolute", "neutral", "refine", "album", "proportions"),
    mattes=True,
    films=True,
    measures=True,
)
