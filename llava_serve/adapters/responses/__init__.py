"""OpenAI's Responses protocol over chat completions."""
