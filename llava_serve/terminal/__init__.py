"""Chat in the terminal: input, commands, history, output."""
