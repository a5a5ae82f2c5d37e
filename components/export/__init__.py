"""Checkpoint -> ExportedModel."""
