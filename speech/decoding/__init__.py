"""CTC decoding: prefix beam search with an external scorer, and the scorer files."""
