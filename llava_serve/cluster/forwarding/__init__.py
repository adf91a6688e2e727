"""Forwarding: one request to a worker and its answer back, over failures of workers."""
