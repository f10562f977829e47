"""Neural Voice Puppetry: a voice moves one person's face, drawn by a neural texture (Thies et al., ECCV 2020)."""

from infinex.spec import System, Weights

SYSTEM = System(
    label="Neural Voice Puppetry",
    engine="engine",
    options=("sound",),
    films=True,
    recipes="recipe",
    weights=(
        Weights(
            "voice-puppetry",
            "J. Thies et al., NeuralVoicePuppetry, latest_netG.pth: the network that hears, for 116 people",
            "non-commercial research only",
            1.3,
            otherwise="download latest_netG.pth from the checkpoints of github.com/JustusThies/NeuralVoicePuppetry",
            convert="weights",
        ),
    ),
)
