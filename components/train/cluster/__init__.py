"""Training on several machines, through the Kubeflow Trainer."""
