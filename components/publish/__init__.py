"""models and scores -> an immutable version in the model bucket."""
