"""Ratings of models from votes on pairs of their answers; no I/O."""
