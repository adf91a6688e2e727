"""One engine behind HTTP."""
