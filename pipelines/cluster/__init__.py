"""A server of Kubeflow Pipelines: what is sent to it, and what its answers say of a run."""
