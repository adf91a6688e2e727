"""LLaVA's original layout becomes transformers' classes, with the original code's numbers."""
