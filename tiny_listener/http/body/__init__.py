"""Bodies: those that arrive, what they are decoded to, and those that are sent from files and in pieces."""
