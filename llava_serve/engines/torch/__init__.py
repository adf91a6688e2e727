"""The plain PyTorch engine."""
