"""The chat in the terminal: what is typed, what is asked, what is shown."""
