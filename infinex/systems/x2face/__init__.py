"""X2Face: faces driven by pictures, poses and voices through one warp (Wiles, Koepke and Zisserman, ECCV 2018)."""

from infinex.spec import System, Weights

SYSTEM = System(
    label="X2Face",
    engine="engine",
    options=("album", "by", "sound", "motion"),
    recipes="recipe",
    weights=(
        Weights("x2face-face", "trained here, small; infinex/systems/x2face/data/README.md", "Apache-2.0", 11.0,
                bundled="x2face-face.safetensors"),
        Weights("x2face", "O. Wiles et al., X2Face, x2face_model.pth", "MIT", 260, convert="weights",
                otherwise="download x2face_model.pth from robots.ox.ac.uk/~vgg/research/unsup_learn_watch_faces, for "
                "driving by pose posereg.pth and posetobottle.pth beside it"),
    ),
)  # fmt: skip
