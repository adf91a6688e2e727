"""Ollama's protocol over chat completions."""
