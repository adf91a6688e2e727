"""Tasks in the formats of their authors: questions, grading and submission files."""
