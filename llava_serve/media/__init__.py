"""Bytes become pictures and frames, under limits."""
