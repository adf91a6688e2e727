"""Markdown of models: their answers as HTML that neither fetches nor runs anything."""
