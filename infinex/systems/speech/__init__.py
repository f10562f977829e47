"""Voice to mouth: an audio-to-expression network in the manner of Neural Voice Puppetry."""

from infinex.spec import System, Weights

CARD = "infinex/systems/speech/data/README.md"
SYSTEM = System(
    label="Voice to mouth",
    recipes="recipe",
    weights=(
        Weights("speech", f"trained here; {CARD}", "Apache-2.0", 1.0, bundled="speech.onnx"),
        Weights("speech-listener", f"Moonshine AI, tiny English encoder, its first layers; {CARD}", "MIT", 6.5,
                bundled="listener.onnx"),
    ),
)  # fmt: skip
