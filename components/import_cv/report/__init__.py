"""What an import found, as numbers and as a page."""
