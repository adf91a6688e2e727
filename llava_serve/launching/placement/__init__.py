"""Placement of replicas on the machines of a Ray cluster; `options` and `scaling` need no Ray."""
