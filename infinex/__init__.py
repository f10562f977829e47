"""Infinite Expressions: bring a still portrait to life."""
