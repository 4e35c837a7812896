"""The workers of a server: their slots, and how they start, are replaced, handed over to, and end."""
