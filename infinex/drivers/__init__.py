"""Drivers: whatever says how a portrait should move, turned into one stream of motion."""
