"""Conversations, votes and images on disk."""
