"""StarGAN: one network for every expression, asked for by name (Choi et al. 2018); GANimation's baseline."""

from infinex.spec import System, Weights

SYSTEM = System(
    label="StarGAN",
    engine="engine",
    options=("labels", "discrete", "whole"),
    recipes="recipe",
    weights=(
        Weights("stargan-face", "trained here, small; infinex/systems/stargan/data/README.md", "Apache-2.0", 1.7,
                bundled="stargan-face.safetensors"),
        Weights("stargan-celeba-128", "Y. Choi et al., 200000-G.ckpt of celeba-128x128-5attrs.zip", "MIT", 34,
                convert="weights",
                otherwise="download and unpack celeba-128x128-5attrs.zip by download.sh of github.com/yunjey/stargan"),
    ),
)  # fmt: skip
