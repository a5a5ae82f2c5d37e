"""From emissions to text, with which weights."""
