"""Operators' part of the page: the cluster at a glance, drains, and the log level."""
