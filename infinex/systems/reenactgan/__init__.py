"""ReenactGAN: a face is drawn from the boundaries of another's, by a decoder of its own (Wu et al. 2018)."""

from infinex.spec import System, Weights

SYSTEM = System(
    label="ReenactGAN, of one trained person",
    engine="engine",
    options=("evaluation", "maps"),
    recipes="recipe",
    weights=(
        Weights("reenactgan-person", "W. Wu et al., the files of one person of CelebV", "none stated", 290,
                convert="weights",
                otherwise="put v8_net_boundary_detection.pth and one person's net_decoder.pth and net_transformer.pth, "
                          "from the links in the README of github.com/wywu/ReenactGAN, into one folder"),
    ),
)  # fmt: skip
