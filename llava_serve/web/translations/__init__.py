"""Translations of the page: one catalogue of words for each language."""
