"""Operators' routes: health, metrics, the cluster as it is, drains and removals."""
