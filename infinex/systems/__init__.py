"""The papers' own systems, one folder each, always with the same files."""
