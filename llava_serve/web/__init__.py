"""The browser page: chat and side-by-side comparison."""
