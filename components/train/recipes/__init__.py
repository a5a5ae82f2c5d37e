"""Named sets of settings, a TOML file each, and what they are made of."""
