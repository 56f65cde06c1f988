"""What does a defense see? Unlabelled images in an order made of their content, the encoder if it declares that need,
seeds; and nothing else. It works in a process of its own."""
