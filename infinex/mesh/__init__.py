"""The default engine: a tracked face mesh warps the portrait's own pixels."""
