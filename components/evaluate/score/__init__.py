"""Test sets, transcripts, rates with intervals, and comparisons."""
