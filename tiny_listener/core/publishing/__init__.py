"""Publishing events: from a listener to the carrier."""
