"""The build_scorer step: text in, a `.scorer` for the decoder and the clients out."""
