"""The published versions: a list, what changed between two, the way back."""
