"""The message at the end of a run on a cluster: how it ended, and what it published."""
