"""The refiner: small networks that show what warping cannot; trained here, run by `infinex.mesh.refiner`."""

from infinex.spec import System

SYSTEM = System(label="Refiner of the default engine", recipes="recipe")
