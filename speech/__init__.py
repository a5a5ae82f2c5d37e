"""What two or more steps share. Knows no step and no kfp."""
