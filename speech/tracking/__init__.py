"""Runs and versions in an MLflow tracking server; none of it is needed, and none of it can stop or slow the work."""
