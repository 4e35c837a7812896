"""The application."""

from tiny_listener.http import HTTPListener

app = HTTPListener()
