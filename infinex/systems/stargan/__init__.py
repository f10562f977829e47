"""StarGAN: one network for every expression, asked for by name (Choi et al. 2018); GANimation's baseline."""

from infinex.spec import System, Weights

SYSTEM = System(
    label="StarGAN",
    engine="engine",
    options=("labels", "discrete"),
    recipes="recipe",
    weights=(
        Weights("stargan-celeba-128", "Y. Choi et al., 200000-G.ckpt of celeba-128x128-5attrs.zip", "MIT", 34,
                convert="weights",
                otherwise="download and unpack celeba-128x128-5attrs.zip by download.sh of github.com/yunjey/stargan"),
    ),
)  # fmt: skip
