"""How a training is followed from elsewhere: its curves."""
