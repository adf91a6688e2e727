"""The page's inspections: what a model saw of a question, and what a draft would cost."""
