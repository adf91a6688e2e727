"""Recording: what is counted and kept of requests, for metrics, limits, audit and operators."""
