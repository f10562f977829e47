"""GANimation: expressions by Action Units, painted where an attention mask says so (Pumarola et al. 2018)."""

from infinex.spec import System, Weights

SYSTEM = System(
    label="GANimation",
    engine="engine",
    options=("absolute",),
    recipes="recipe",
    evaluate="evaluate",
    task="expression",
    weights=(
        Weights("ganimation-80", "trained here, a sketch; infinex/systems/ganimation/data/README.md", "Apache-2.0", 1.8,
                bundled="ganimation-80.safetensors"),
        Weights("ganimation-celeba", "D. Chen, ganimation_replicate, 30_net_gen.pth of CelebA",
                "see its repository", 34, convert="weights",
                otherwise="download 30_net_gen.pth from the links in the README of "
                          "github.com/donydchen/ganimation_replicate"),
    ),
)  # fmt: skip
