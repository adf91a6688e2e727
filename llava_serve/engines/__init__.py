"""Request in, deltas out: the engines a worker can hold."""
