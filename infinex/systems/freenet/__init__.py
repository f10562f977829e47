"""FReeNet: an expression is carried over as landmarks, then drawn onto anybody's face (Zhang et al. 2020)."""

from infinex.spec import System

SYSTEM = System(label="FReeNet, many to many", engine="engine", options=("converter",), recipes="recipe")
