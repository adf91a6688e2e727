"""Replay: greedy answers that are recorded from one model, and compared with another's."""
