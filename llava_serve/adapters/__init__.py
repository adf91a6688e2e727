"""Adapters: other protocols over chat completions, the same on controllers and on workers."""
