"""What a machine or a step's pod has and lacks: `python -m speech.doctor`, without kfp, in every step's image."""
