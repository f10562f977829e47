"""Language-guided face animation by a recurrent motion generator (Hang et al.), in W+ and in Action Units."""

from infinex.spec import System, Weights

SYSTEM = System(
    label="Language-guided animation",
    recipes="recipe",
    evaluate="evaluate",
    task="language",
    actors=(("stylegan", "engine"),),
    weights=(
        Weights("recurrent", "trained here, in Action Units; infinex/systems/language/data/README.md", "Apache-2.0",
                3.3, bundled="recurrent.safetensors"),
    ),
)  # fmt: skip
