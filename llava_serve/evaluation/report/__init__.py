"""Report of a run, and the comparison of two: counts, intervals, and pages to read."""
