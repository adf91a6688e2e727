"""Evaluation of a served model: tasks, answers, metrics and reports."""
