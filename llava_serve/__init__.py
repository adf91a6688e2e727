"""Serve and compare LLaVA-family vision-language models."""

__version__ = "0.1.0"
