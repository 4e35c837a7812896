"""What builds on the rest and is not needed by it."""
