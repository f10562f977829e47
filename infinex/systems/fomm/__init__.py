"""First Order Motion Model for Image Animation: motion from a driving video by unsupervised keypoints."""

from infinex.spec import System, Weights

_HOW = (
    "download {} from the links in the README of github.com/AliaksandrSiarohin/first-order-model "
    "(a cloud drive, which asks for a click)"
)


def _published(name: str, file: str) -> Weights:
    origin, licence = f"A. Siarohin et al., first-order-model, {file}", "CC BY-NC 4.0 (research only)"
    return Weights(name, origin, licence, 716, otherwise=_HOW.format(file), convert="weights")


SYSTEM = System(
    label="First Order Motion Model",
    engine="engine",
    options=("absolute",),
    recipes="recipe",
    weights=(
        _published("vox-256", "vox-cpk.pth.tar"),
        _published("vox-adv-256", "vox-adv-cpk.pth.tar"),
        Weights("fomm-face", "trained here, small; infinex/systems/fomm/data/README.md", "Apache-2.0", 5.7,
                bundled="fomm-face.safetensors"),
    ),
)  # fmt: skip
