"""What is measured: models of any format, and their emissions."""
