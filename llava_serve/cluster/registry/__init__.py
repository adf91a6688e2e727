"""Registry: which workers are alive, what each serves, and which of them gets a request."""
