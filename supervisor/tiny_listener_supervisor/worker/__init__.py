"""A worker, from its fork to its end."""
