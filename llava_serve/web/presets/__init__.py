"""Presets of the page: system prompts and parameters that are saved by name."""
