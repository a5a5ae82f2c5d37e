"""What a person reads of an evaluation: console, Markdown, HTML."""
