"""The Compare tab beyond its answers side by side."""
