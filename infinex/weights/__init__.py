"""The registry of weights: origin, size, hash, licence, and where they are kept."""
