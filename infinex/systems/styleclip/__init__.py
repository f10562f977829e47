"""StyleCLIP: a face changed by a text, in the space of a StyleGAN2 (Patashnik et al. 2021)."""

from infinex.spec import System, Weights

_FILES = ("angry", "surprised")  # those of the published mappers that are expressions
_WHERE = "download mapper/pretrained/{}.pt by the link in the README of github.com/orpatashnik/StyleCLIP"

SYSTEM = System(
    label="StyleCLIP",
    actors=(("styleclip", "actor"),),
    recipes="recipe",
    weights=tuple(
        Weights(f"styleclip-{name}", f"O. Patashnik et al., {name}.pt", "MIT", 150, convert="weights",
                otherwise=_WHERE.format(name))
        for name in _FILES
    ),
)  # fmt: skip
