"""Files that clients upload once and name in many requests."""
