"""Anthropic's Messages protocol over chat completions."""
