"""Publishing events: from a listener to the carrier, and from the carrier to a handler."""

from .face import Publication, Publishes, open_publisher

__all__ = ["Publication", "Publishes", "open_publisher"]
