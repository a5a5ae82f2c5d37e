"""What is known of a set's clips before they are heard: which there are, how long, and which cannot be used."""
