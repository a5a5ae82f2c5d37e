"""What Kubeflow and Argo tell of a run: its steps, their pods, and why one failed."""
