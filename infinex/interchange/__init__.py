"""Performances in the formats of other tools: in and out, as files and as streams."""
