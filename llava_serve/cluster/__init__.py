"""Controller: which workers are alive, and which of them gets a request."""
