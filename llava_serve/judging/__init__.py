"""Judging of the arena's battles by a model."""
