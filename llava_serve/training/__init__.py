"""Training: conversations with answers become batches that a model learns from."""
