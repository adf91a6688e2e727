"""Checkpoints in LLaVA's original layout, loaded into transformers' classes."""
