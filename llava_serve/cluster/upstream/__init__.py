"""Upstream: calls from the controller to a worker, and what their streams say."""
