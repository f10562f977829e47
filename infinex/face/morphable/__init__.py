"""A face made of parameters: who it is, what it does, its skin, the light on it and the camera that sees it."""
