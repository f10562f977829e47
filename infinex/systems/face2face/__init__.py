"""Face2Face: expressions of one face on film of another, mouths found in that film (Thies et al., CVPR 2016)."""

from infinex.spec import System

SYSTEM = System(
    label="Face2Face",
    engine="engine",
    options=("album",),
    films=True,
    album=True,
)
