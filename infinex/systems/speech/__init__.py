"""Voice to mouth: an audio-to-expression network in the manner of Neural Voice Puppetry."""
