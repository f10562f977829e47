"""The refiner: small networks that show what warping cannot; trained here, run by `infinex.mesh.refiner`."""
