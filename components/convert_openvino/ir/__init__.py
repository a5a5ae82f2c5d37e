"""The acoustic model as an OpenVINO network: built, described, run."""
