"""Tasks of lmms-eval: it makes the questions and computes its own metrics, and we ask them."""
