"""CTC decoding: from emissions to text, and the scorers that help.

`beam_search` decodes (ds_ctcdecoder's functions and results), `greedy` takes the best path, `ctc` computes the loss.
`scorer` opens `.scorer` files, `packaging` makes them, `tuning` finds their weights; `language_model`, `query` and
`dictionary` are their parts. The work is done by C++ (`cpp`, compiled by `build`, reached through `native`), or by
`portable` where there is no compiler.
"""
