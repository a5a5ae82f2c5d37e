"""Common Voice release -> Corpus."""
