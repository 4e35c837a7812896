"""The partitions of this server: which it should have, which it has, and what comes of them."""
