"""MoCoGAN-HD: a face that moves as it likes, in the space of a frozen StyleGAN2 (Tian et al. 2021)."""

from infinex.spec import System, Weights

SYSTEM = System(
    label="MoCoGAN-HD",
    actors=(("mocogan-hd", "actor"),),
    recipes="recipe",
    weights=(
        Weights("mocogan-hd-ffhq", "Y. Tian et al., modelR_epoch_N.pth of FFHQ and VoxCeleb", "see its repository", 16,
                convert="weights",
                otherwise="download modelR_epoch_N.pth, pca_comp.npy and pca_stdev.npy into one folder by the links in "
                          "the README of github.com/snap-research/MoCoGAN-HD"),
    ),
)  # fmt: skip
