"""DAE-GAN: faces and poses by deforming autoencoders, pictures by a conditional generator (Zeng et al., AAAI 2020)."""

from infinex.spec import System

SYSTEM = System(label="DAE-GAN", engine="engine", options=("album",), recipes="recipe")
