"""Corpus -> Checkpoint."""
