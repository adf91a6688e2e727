"""Messages become the prompt a checkpoint was trained on."""
