"""What the stores are, each in a few lines, and clients that use them at the same time."""
