"""Sharing: what the controllers of one cluster know of each other's workers and load."""
