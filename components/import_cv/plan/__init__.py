"""Which rows become which clips, decided from the tables alone."""
