"""The control socket, which tiny-listenerctl speaks to."""
