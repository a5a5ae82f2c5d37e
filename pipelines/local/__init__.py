"""Runs on this machine: processes, containers, cache, results."""
