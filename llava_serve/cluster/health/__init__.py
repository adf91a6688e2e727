"""Health of workers: probes of those that failed, and the canary that finds blind ones."""
