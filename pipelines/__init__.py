"""The DAG, the runners and the `speechmill` command."""
