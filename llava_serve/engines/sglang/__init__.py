"""Request -> deltas through an SGLang server, over its HTTP API."""
