"""Network building blocks that more than one system uses (PyTorch)."""
