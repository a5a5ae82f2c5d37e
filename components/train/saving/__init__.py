"""Checkpoints on their way to disk and to object storage, and which are kept."""
