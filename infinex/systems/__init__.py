"""The papers' own systems, one folder each, always with the same files; what each offers stands in its `SYSTEM`."""
