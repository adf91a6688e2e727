"""Bytes become images and frames, under limits."""
