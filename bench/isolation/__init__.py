"""What does a defense see? Unlabelled images, the encoder if it declares that need, seeds; and nothing else."""
