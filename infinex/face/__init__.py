"""Faces: finding and tracking them, their mesh topology, rigid pose, Action Units and identity."""
