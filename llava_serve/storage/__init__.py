"""Conversations, votes and pictures on disk."""
