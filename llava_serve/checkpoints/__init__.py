"""A path becomes a loaded model."""
