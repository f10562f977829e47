"""Monkey-Net: arbitrary objects animated by unsupervised keypoints (Siarohin et al., CVPR 2019)."""

from infinex.spec import System, Weights

SYSTEM = System(
    label="Monkey-Net",
    engine="engine",
    options=("absolute", "adapt_scale", "adapt_shape"),
    recipes="recipe",
    weights=(
        Weights("monkey-net-face", "trained here, small; infinex/systems/monkey_net/data/README.md", "Apache-2.0", 2.9,
                bundled="monkey-net-face.safetensors"),
        Weights("monkey-net-vox", "A. Siarohin et al., monkey-net, the checkpoint for VoxCeleb",
                "none stated by its authors", 400, convert="weights",
                otherwise="download the checkpoint for VoxCeleb from the cloud drive that the README of "
                "github.com/AliaksandrSiarohin/monkey-net links to"),
    ),
)  # fmt: skip
