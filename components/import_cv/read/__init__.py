"""Releases: folders, archives, object stores, and their tables."""
