"""The control socket that tiny-listenerctl connects to."""
