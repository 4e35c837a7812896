"""From bytes to requests. Pure: no I/O."""
