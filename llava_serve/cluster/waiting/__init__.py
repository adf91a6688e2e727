"""Waiting line: who gets the next free slot, fairly over keys."""
