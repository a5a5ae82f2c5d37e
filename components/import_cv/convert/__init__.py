"""From a plan to audio on disk, in worker processes."""
