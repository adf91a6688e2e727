"""Checkpoints: a path becomes a loaded model."""
