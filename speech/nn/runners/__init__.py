"""Models of several formats, run."""
