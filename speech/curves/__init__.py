"""The curves of a training as TensorBoard reads them: written while it trains, and read again by `speechmill watch`."""
