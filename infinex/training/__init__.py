"""Data preparation and the one trainer of every model (PyTorch)."""
